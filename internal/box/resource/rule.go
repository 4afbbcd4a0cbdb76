package resource

import "strings"

// rule says what a service would do with the properties of a document type.
type rule struct {
	// global says that there is one resource of a name in all regions of an account.
	global bool
	// absent are values of properties that were not given; always those that only the service sets. In
	// both, {partition}, {region}, {account}, {name} and {Property} stand for what they say, and
	// later ones may use earlier ones.
	absent, always []value
	// more sets what a text cannot say.
	more func(f *filling)
	// canonical is the identifier that is stored for one that is asked for; nil: the same.
	canonical func(s scope, identifier string) string
	// narrow is the value that is stored for one that a list is narrowed by; nil: the same.
	narrow func(s scope, property string, v any) any
	// ref is the property that Ref in a template stands for; empty: the primary identifier.
	ref string
	// trail is what the service's calls are, for events; nil: there are none.
	trail *trail
}

// value is what a property is set to.
type value struct{ property, text string }

func (r *rule) fill(f *filling, schema *Schema) {
	for _, v := range r.absent {
		f.absent(v.property, v.text)
	}
	if r.more != nil {
		r.more(f)
	}
	for _, v := range r.always {
		f.always(v.property, v.text)
	}
	if r.generic() {
		fillRegistered(f, schema)
	}
}

// generic says whether the rule is that of registered types.
func (r *rule) generic() bool { return r.absent == nil && r.always == nil && r.more == nil }

// fillRegistered is the rule of types that were registered. The parts of the primary identifier that
// are not given are generated: a read-only one that ends in Arn is an ARN, another read-only one
// a UUID, one that could have been given a name. The read-only properties Arn and Id, also
// with the type's name before it, are an ARN and a UUID too. All others stay absent.
func fillRegistered(f *filling, schema *Schema) {
	kind := f.typ[strings.LastIndexByte(f.typ, ':')+1:]
	service := strings.ToLower(strings.Split(f.typ, "::")[1])
	arn := "arn:{partition}:" + service + ":{region}:{account}:" + strings.ToLower(kind) + "/" + f.seed
	for _, p := range schema.PrimaryIdentifier {
		switch {
		case len(p) > 1:
			continue // Identifier says what is missing
		case !schema.readOnly(p[0]):
			f.absent(p[0], f.name)
		case strings.HasSuffix(p[0], "Arn") || strings.HasSuffix(p[0], "ARN"):
			f.always(p[0], arn)
		default:
			f.always(p[0], f.seed)
		}
	}
	for _, p := range schema.ReadOnly {
		switch p.String() {
		case "/properties/Arn", "/properties/" + kind + "Arn":
			f.always(p[0], arn)
		case "/properties/Id", "/properties/" + kind + "Id":
			f.always(p[0], f.seed)
		}
	}
}

// readOnly says whether a top-level property is set by the service alone.
func (s *Schema) readOnly(property string) bool {
	for _, p := range s.ReadOnly {
		if len(p) == 1 && p[0] == property {
			return true
		}
	}
	return false
}
