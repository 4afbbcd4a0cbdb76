package template

import "strings"

// DeletionPolicy says what becomes of a resource that leaves its stack or is replaced.
type DeletionPolicy string

// The deletion policies. AWS's default is Delete; RetainExceptOnCreate is Retain, but a resource made by an
// operation that is rolled back is deleted. Snapshot is refused: nothing here makes snapshots.
const (
	Delete               DeletionPolicy = "Delete"
	Retain               DeletionPolicy = "Retain"
	RetainExceptOnCreate DeletionPolicy = "RetainExceptOnCreate"
)

// resource is a member of the Resources section.
type resource struct {
	name, kind                        string
	at                                *node
	condition                         *node // nil: always
	dependsOn                         []*node
	properties, metadata              *node // nil without
	deletionPolicy, updateReplacement *node
}

func (t *Template) readResources(n *node) error {
	if err := section(n, "Resource", "resources", MaxResources); err != nil {
		return err
	}
	if len(n.keys) == 0 {
		return n.errorf("Template format error: At least one Resources member must be defined.")
	}
	for i, k := range n.keys {
		if t.parameterNamed[k.name] != nil {
			return n.keyErrorf(i, "Template format error: %s is the name of a parameter and of a resource. Rename one of them.", k.name)
		}
		r := &resource{name: k.name, at: n.items[i]}
		if err := t.readResource(r); err != nil {
			return err
		}
		t.resources = append(t.resources, r)
		t.resourceNamed[r.name] = r
	}
	return nil
}

func (t *Template) readResource(r *resource) error {
	n := r.at
	if n.kind != object {
		return n.errorf("Template format error: Any Resources member must be an object; %s is %s.", r.name, n.kindName())
	}
	for i, k := range n.keys {
		v := n.items[i]
		var err error
		switch k.name {
		case "Type":
			r.kind, err = v.resourceType()
		case "Properties":
			r.properties = v
			err = t.readAttributeObject(v)
		case "Metadata":
			r.metadata = v
			err = t.readAttributeObject(v)
		case "DependsOn":
			r.dependsOn, err = v.names("DependsOn")
		case "Condition":
			if r.condition = v; !v.name() {
				err = v.errorf("Template format error: Every Condition member must be a string.")
			}
		case "DeletionPolicy":
			r.deletionPolicy = v
			err = t.readPolicy(v)
		case "UpdateReplacePolicy":
			r.updateReplacement = v
			err = t.readPolicy(v)
		case "Description":
			_, err = v.textLiteral("Description")
		case "CreationPolicy", "UpdatePolicy":
			err = n.keyErrorf(i, "Template format error: the attribute %s of resource %s is not supported: no type here waits for signals or updates group by group. Remove it.", k.name, r.name)
		default:
			err = n.keyErrorf(i, "Invalid template resource property '%s'", k.name)
		}
		if err != nil {
			return err
		}
	}
	if n.get("Type") == nil {
		return n.errorf("Template format error: [/%s] Every Resources object must contain a Type member.", n.path())
	}
	return nil
}

func (n *node) resourceType() (string, error) {
	if n.kind != text || strings.Count(n.text, "::") < 1 || len(n.text) > MaxNameLength || strings.ContainsAny(n.text, " \t\r\n") {
		return "", n.errorf("Template format error: Every Type member must be a string that names a resource type, such as AWS::SQS::Queue.")
	}
	return n.text, nil
}

// readAttributeObject reads properties or metadata.
func (t *Template) readAttributeObject(n *node) error {
	if n.kind != object && n.kind != call {
		return n.errorf("Template format error: %s must be an object, not %s.", n.path(), n.kindName())
	}
	if err := t.compile(n, inResource); err != nil {
		return err
	}
	if n.kind == call {
		return n.errorf("Template format error: %s must be an object; %s cannot stand for the whole of it.", n.path(), n.text)
	}
	return nil
}

// names reads a string or a list of strings.
func (n *node) names(what string) ([]*node, error) {
	names := []*node{n}
	if n.kind == list {
		names = n.items
	}
	for _, name := range names {
		if !name.name() {
			return nil, name.errorf("Template format error: %s must be a string or a list of strings, not %s.", what, name.kindName())
		}
	}
	return names, nil
}

func (t *Template) readPolicy(n *node) error {
	if n.kind == text {
		_, err := n.policy(n.text)
		return err
	}
	if !t.extended {
		return n.errorf("Template format error: Every %s member must be a string. Functions are allowed here with the transform %s.", n.parent.nameOf(n), languageExtensions)
	}
	return t.compile(n, inPolicy)
}

// policy checks the value of a policy attribute.
func (n *node) policy(value string) (DeletionPolicy, error) {
	attribute := n.parent.nameOf(n)
	id := n.parent.parent.nameOf(n.parent)
	switch p := DeletionPolicy(value); {
	case p == Delete || p == Retain || p == RetainExceptOnCreate && attribute == "DeletionPolicy":
		return p, nil
	case value == "Snapshot":
		return "", n.errorf("Template error: resource %s does not support the %s Snapshot: nothing here makes snapshots. Use Retain or Delete.", id, attribute)
	default:
		return "", n.errorf("Template format error: Unrecognized %s %s for resource %s", attribute, value, id)
	}
}

// Resource is a resource of a bound template. Its methods may be called from many goroutines.
type Resource struct {
	LogicalID, Type string
	// DependsOn names the resources that must exist before this one, in the order of Bound.Resources: those of its DependsOn
	// attribute and those that its properties and metadata refer to.
	DependsOn           []string
	DeletionPolicy      DeletionPolicy
	UpdateReplacePolicy DeletionPolicy
	// Line and Column are the place of the resource in the template.
	Line, Column int

	bound      *Bound
	declared   *resource
	references []Reference
}

// Path returns where the resource stands in its template: "Resources/Queue".
func (r *Resource) Path() string { return "Resources/" + r.LogicalID }

// PropertyNames returns the names of the top-level properties in their order in the template, those
// included that evaluate to nothing (AWS::NoValue).
func (r *Resource) PropertyNames() []string {
	if r.declared.properties == nil {
		return nil
	}
	names := make([]string, len(r.declared.properties.keys))
	for i, k := range r.declared.properties.keys {
		names[i] = k.name
	}
	return names
}

// Properties evaluates the properties: string, bool, json.Number (as written, never rounded), []any and map[string]any. What is AWS::NoValue
// is left out. Ref of a parameter is always a string (or a list of strings), whatever its type, as in AWS: who knows the
// resource's schema turns "10" into 10 and "true" into true.
// The error is an *Error with the place; errors of the Resolver can be found in it with errors.Is and errors.As.
func (r *Resource) Properties(res Resolver) (map[string]any, error) {
	return r.bound.object(r.declared.properties, res)
}

// Property evaluates one top-level property; ok is false when it is absent or AWS::NoValue. A change set asks property by
// property, so that one which depends on a resource not made yet does not hide the others.
func (r *Resource) Property(name string, res Resolver) (v any, ok bool, err error) {
	if r.declared.properties == nil {
		return nil, false, nil
	}
	n := r.declared.properties.get(name)
	if n == nil {
		return nil, false, nil
	}
	v, err = r.bound.evaluator(res).eval(n)
	if err != nil || v == (noValue{}) {
		return nil, false, err
	}
	return plain(v), true, nil
}

// Metadata evaluates the Metadata attribute; nil without one.
func (r *Resource) Metadata(res Resolver) (map[string]any, error) {
	if r.declared.metadata == nil {
		return nil, nil
	}
	return r.bound.object(r.declared.metadata, res)
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
	Property  string // the top-level property it stands in; "" in Metadata
	Kind      ReferenceKind
	Name      string // of the parameter or resource
	Attribute string // for ResourceAttribute
}

// References returns what the properties and the metadata refer to, in their order in the template, each once. Branches of Fn::If that
// are not taken count for nothing.
func (r *Resource) References() []Reference { return r.references }
