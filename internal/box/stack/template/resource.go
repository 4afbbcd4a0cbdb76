package template

import "errors"

// DeletionPolicy says what becomes of a resource that leaves its stack or is replaced.
type DeletionPolicy string

// The deletion policies. AWS's default is Delete; RetainExceptOnCreate is Retain, but a resource made by an
// operation that is rolled back is deleted. Snapshot is refused: nothing here makes snapshots.
const (
	Delete               DeletionPolicy = "Delete"
	Retain               DeletionPolicy = "Retain"
	RetainExceptOnCreate DeletionPolicy = "RetainExceptOnCreate"
)

// Resource is a resource of a bound template.
type Resource struct {
	LogicalID, Type string
	// DependsOn names the resources that must exist before this one, in the order of Bound.Resources: those of its DependsOn
	// attribute and those that its properties refer to.
	DependsOn           []string
	DeletionPolicy      DeletionPolicy
	UpdateReplacePolicy DeletionPolicy
	// Metadata is the Metadata attribute as JSON; nil without one.
	Metadata map[string]any
	// Line and Column are the place of the resource in the template.
	Line, Column int
}

// Path returns where the resource stands in its template: "Resources/Queue".
func (r *Resource) Path() string { return "Resources/" + r.LogicalID }

// PropertyNames returns the names of the top-level properties in their order in the template, those
// included that evaluate to nothing (AWS::NoValue).
func (r *Resource) PropertyNames() []string { return nil }

// Properties evaluates the properties: string, bool, json.Number (as written, never rounded), []any and map[string]any. What is AWS::NoValue
// is left out. Ref of a parameter is always a string (or a list of strings), whatever its type, as in AWS: who knows the
// resource's schema turns "10" into 10 and "true" into true.
// The error is an *Error with the place; errors of the Resolver can be found in it with errors.Is and errors.As.
func (r *Resource) Properties(res Resolver) (map[string]any, error) {
	return nil, errors.New("unfinished")
}

// Property evaluates one top-level property; ok is false when it is absent or AWS::NoValue. A change set asks property by
// property, so that one which depends on a resource not made yet does not hide the others.
func (r *Resource) Property(name string, res Resolver) (v any, ok bool, err error) {
	return nil, false, errors.New("unfinished")
}

// ReferenceKind says what a reference is to.
type ReferenceKind string

// The kinds of references, named as change sets name the source of a change.
const (
	ParameterReference ReferenceKind = "ParameterReference" // Ref of a parameter
	ResourceReference  ReferenceKind = "ResourceReference"  // Ref of a resource
	ResourceAttribute  ReferenceKind = "ResourceAttribute"  // Fn::GetAtt
)

// Reference is one use of a parameter or resource in a property.
type Reference struct {
	Property  string // the top-level property it stands in
	Kind      ReferenceKind
	Name      string // of the parameter or resource
	Attribute string // for ResourceAttribute
}

// References returns what the properties refer to, in their order in the template, each once. Conditions that
// are evaluated already leave none.
func (r *Resource) References() []Reference { return nil }

// Output is an output of a bound template.
type Output struct {
	Name, Description string
	Exported          bool // it has an Export
}

// Value evaluates the output. AWS: it is a string; numbers and booleans become their text.
func (o *Output) Value(res Resolver) (string, error) { return "", errors.New("unfinished") }

// ExportName evaluates the name of the export; ok is false when there is none. Names cannot depend on resources
// (AWS), so it needs no Resolver but for Fn::ImportValue.
func (o *Output) ExportName(res Resolver) (name string, ok bool, err error) {
	return "", false, errors.New("unfinished")
}
