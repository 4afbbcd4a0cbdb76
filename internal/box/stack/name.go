package stack

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// nameLengths are the lengths that names chosen for resources are tried with: the longest that the type takes is taken.
var nameLengths = []int{255, 128, 80, 64, 63, 48, 32}

// randomLength is that of the random end of such names.
const randomLength = 12

// chooseName gives a resource a name where its type takes one and the template gives none, the one that old has if it was chosen,
// too. AWS: <stack>-<logical id>-<12 random characters>.
func (d *details) chooseName(typ *resource.Type, stack, logicalID string, old *Resource) {
	property := nameProperty(typ.Schema)
	if property == "" {
		return
	}
	if _, given := d.Properties[property]; given {
		return
	}
	if old != nil && old.details.Name != "" {
		d.Name = old.details.Name
	} else {
		d.Name = d.newName(typ.Schema, property, stack, logicalID)
	}
	d.Properties[property] = d.Name
}

// newName makes a name that the property can have. AWS: buckets and the like have theirs in lower case.
func (d *details) newName(schema *resource.Schema, property, stack, logicalID string) string {
	end := "-" + rand.Text()[:randomLength]
	if isFIFO(d.Properties) {
		end += fifoSuffix
	}
	name := ""
	for _, write := range []func(string) string{func(s string) string { return s }, strings.ToLower} {
		for _, length := range nameLengths {
			name = write(shorten(stack, logicalID, length-len(end)-1)) + write(end)
			if fits(schema, property, name) {
				return name
			}
		}
	}
	return name // what the type says to that is told
}

// shorten joins both names, cut to so many characters beside the hyphen: the logical id is cut to no less than half of them.
func shorten(stack, logicalID string, room int) string {
	logicalID = logicalID[:min(len(logicalID), max(room/2, room-len(stack)))]
	return stack[:min(len(stack), room-len(logicalID))] + "-" + logicalID
}

// fits says whether a property may have the value.
func fits(schema *resource.Schema, property string, value any) bool {
	return !slices.ContainsFunc(schema.Validate(resource.Model{property: value}), func(p resource.Problem) bool { return p.At == "#/"+property })
}

// nameProperty is the property that names resources of a type if it is given, empty where it must be
// given or there is none: the identifier itself, or Name, or QueueName of AWS::SQS::Queue.
func nameProperty(schema *resource.Schema) string {
	last := schema.TypeName[strings.LastIndex(schema.TypeName, ":")+1:]
	candidates := []string{last + "Name", "Name"}
	if len(schema.PrimaryIdentifier) == 1 && len(schema.PrimaryIdentifier[0]) == 1 {
		candidates = slices.Insert(candidates, 0, schema.PrimaryIdentifier[0][0])
	}
	for _, name := range candidates {
		top := func(p resource.Path) bool { return len(p) == 1 && p[0] == name }
		if slices.ContainsFunc(schema.CreateOnly, top) && !slices.ContainsFunc(schema.ReadOnly, top) && !slices.Contains(schema.Required, name) {
			return name
		}
	}
	return ""
}

// fifoSuffix ends the names of FIFO queues and topics.
const fifoSuffix = ".fifo"

func isFIFO(m resource.Model) bool {
	return m["FifoQueue"] == true || m["FifoTopic"] == true
}

// complete reads properties of a template as the type's schema has them and puts the stack's tags to
// those of a resource that can have some.
func complete(typ *resource.Type, properties resource.Model, stackTags []Tag) (resource.Model, error) {
	properties, err := typ.Schema.Coerce(properties)
	if err != nil || !typ.Schema.Taggable || len(typ.Schema.TagProperty) != 1 || len(stackTags) == 0 {
		return properties, err
	}
	name := typ.Schema.TagProperty[0]
	own := properties[name]
	if own == nil && !fits(typ.Schema, name, []any{}) {
		own = map[string]any{} // some types have a map of them
	}
	switch own := own.(type) {
	case map[string]any:
		tags := maps.Clone(own)
		for _, t := range stackTags {
			if _, has := tags[t.Key]; !has {
				tags[t.Key] = t.Value
			}
		}
		properties[name] = tags
	case []any, nil:
		list, _ := own.([]any)
		list = slices.Clone(list)
		for _, t := range stackTags {
			if !hasTag(list, t.Key) {
				list = append(list, map[string]any{"Key": t.Key, "Value": t.Value})
			}
		}
		properties[name] = list
	}
	return properties, nil
}

func hasTag(list []any, key string) bool {
	return slices.ContainsFunc(list, func(v any) bool {
		tag, _ := v.(map[string]any)
		return tag["Key"] == key
	})
}

// masked writes properties for an event, without the values of NoEcho parameters.
func masked(m resource.Model, parameters []Parameter) string {
	if r := secretsOf(parameters); r != nil {
		return encode(mask(m, r))
	}
	return encode(m)
}

// secretsOf replaces the values of NoEcho parameters by what may be shown of them: those of lists one by one, too, and in base64
// as user data has them. It is nil if there are none.
func secretsOf(parameters []Parameter) *strings.Replacer {
	shown := map[string]string{}
	for _, p := range parameters {
		if p.Value == p.Shown || p.Value == "" {
			continue
		}
		shown[base64.StdEncoding.EncodeToString([]byte(p.Value))] = p.Shown
		for item := range strings.SplitSeq(p.Value, ",") {
			shown[strings.TrimSpace(item)] = p.Shown
		}
		shown[p.Value] = p.Shown
	}
	delete(shown, "")
	if len(shown) == 0 {
		return nil
	}
	// Of those that begin alike the longest counts.
	secrets := slices.SortedFunc(maps.Keys(shown), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, secret := range secrets {
		pairs = append(pairs, secret, shown[secret])
	}
	return strings.NewReplacer(pairs...)
}

func mask(v any, r *strings.Replacer) any {
	switch v := v.(type) {
	case string:
		return r.Replace(v)
	case json.Number:
		if shown := r.Replace(string(v)); shown != string(v) {
			return shown
		}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = mask(v[i], r)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = mask(v[k], r)
		}
		return out
	}
	return v
}
