package template

// Input is what a stack operation gives to a template.
type Input struct {
	// Parameters are the values by name, those kept from before (UsePreviousValue) included. Defaults apply to what is missing.
	Parameters map[string]string
	Pseudo     Pseudo
}

// Pseudo holds the values of the pseudo parameters: Ref of AWS::AccountId, AWS::Region and so on.
type Pseudo struct {
	AccountID, Region, Partition, URLSuffix, StackID, StackName string
	NotificationARNs                                            []string
}

// Resolver knows what exists: resources that were made, and exports of other stacks. Values are JSON values: string, bool,
// json.Number (or any Go number), []any, map[string]any. An error from it is returned from the evaluation
// wrapped, with the place, so that errors.Is and errors.As find it.
type Resolver interface {
	// Ref returns the value of Ref for a resource of this template that is not switched off.
	Ref(logicalID string) (any, error)
	// GetAtt returns an attribute of it; nested ones have dots: "Endpoint.Address".
	GetAtt(logicalID, attribute string) (any, error)
	// Import returns the value of an export of this account and region.
	Import(name string) (string, error)
}

// Bound is a template with its parameters: conditions are evaluated and what they switch off is gone.
type Bound struct {
	parameters []BoundParameter
	resources  []*Resource
	outputs    []*Output
	imports    []string
}

// BoundParameter is a parameter of a stack with the value in use.
type BoundParameter struct {
	Name, Type string
	// Value is as given, or the default.
	Value string
	// Shown is what may be shown of Value: "****" for NoEcho.
	Shown   string
	Default bool // nothing was given, the default applies
	NoEcho  bool
}

// Parameters returns the template's parameters in their order there.
func (b *Bound) Parameters() []BoundParameter { return b.parameters }

// Resources returns the stack's resources in an order in which they can be made one after another; the reverse is an order in which they
// can be deleted. The order depends on the template alone: of resources that could be next, the one written first is.
// Resources whose DependsOn do not lead to one another may be made at the same time.
func (b *Bound) Resources() []*Resource { return b.resources }

// Outputs returns the stack's outputs in their order in the template.
func (b *Bound) Outputs() []*Output { return b.outputs }

// Imports returns the names of exports that the stack uses, as far as they can be known before any resource
// exists; sorted, each once. AWS refuses names that depend on resources, and so does Bind.
func (b *Bound) Imports() []string { return b.imports }
