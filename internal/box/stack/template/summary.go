package template

// Template is a template that was read and checked.
type Template struct{}

// Parse reads a template.
func Parse(body []byte) (*Template, error) { return &Template{}, nil }

// Bind gives the template its parameters.
func (t *Template) Bind(in Input) (*Bound, error) { return &Bound{}, nil }

// Summary is what a template declares, for GetTemplateSummary and ValidateTemplate.
type Summary struct {
	Version, Description string
	// Metadata is the template's Metadata section as JSON text, "" without one.
	Metadata   string
	Parameters []Parameter
	// ResourceTypes are the types of all resources, each once, sorted.
	ResourceTypes []string
	// Resources are the logical ids of each of these types, in their order in the template.
	Resources          map[string][]string
	DeclaredTransforms []string
	// Capabilities are what a caller must acknowledge to create the stack, CapabilitiesReason says why (AWS's text).
	Capabilities       []string
	CapabilitiesReason string
}

// Parameter is a parameter that a template declares.
type Parameter struct {
	Name, Type, Description string
	Default                 *string // nil: a value is required
	NoEcho                  bool
	AllowedValues           []string
	AllowedPattern          string
	ConstraintDescription   string
	// Bounds as written; "" for none.
	MinLength, MaxLength, MinValue, MaxValue string
}

// Summary returns what the template declares.
func (t *Template) Summary() Summary { return Summary{} }

// Parameters returns the declared parameters in their order in the template.
func (t *Template) Parameters() []Parameter { return nil }
