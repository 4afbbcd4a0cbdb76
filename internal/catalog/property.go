package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// propertyTypes are the types of properties. Port has these.
var propertyTypes = []string{"string", "number", "boolean", "object", "array"}

// formatTypes are the formats of properties and the types they belong to. Port has these;
// those without a check in format.go say how a value is shown.
var formatTypes = map[string][]string{
	"date-time": {"string"}, "url": {"string"}, "email": {"string"}, "idn-email": {"string"},
	"ipv4": {"string"}, "ipv6": {"string"}, "markdown": {"string"}, "yaml": {"string"},
	"user": {"string"}, "blueprints": {"string"}, "team": {"string"}, "timer": {"string"},
	"proto": {"string"}, "labeled-url": {"string", "object"},
}

// specs are what a property's spec may be.
var specs = []string{"open-api", "embedded-url", "async-api"}

// colours of values.
var colours = []string{
	"blue", "turquoise", "orange", "purple", "pink", "yellow", "green", "red", "gold", "silver", "paleBlue",
	"darkGray", "lightGray", "bronze", "lime", "olive", "brown",
}

// unsupported are keywords of JSON Schema that a property's definition may not use: stored
// and not checked they would be a promise not kept.
var unsupported = []string{
	"$ref", "$id", "$schema", "$defs", "definitions", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
	"patternProperties", "propertyNames", "dependencies", "dependentRequired", "dependentSchemas", "contains", "minContains", "maxContains",
	"additionalItems", "prefixItems", "unevaluatedItems", "unevaluatedProperties", "const", "contentEncoding", "contentMediaType",
}

// Limits of a property's definition.
const (
	maxEnum       = 1000
	maxSchemas    = 100 // a definition and those below it
	maxSchemaDeep = 8
)

// keywords are those of JSON Schema that values are checked against.
var keywords = map[string]func(v any) string{
	"minLength": checkCount, "maxLength": checkCount, "minItems": checkCount, "maxItems": checkCount,
	"minProperties": checkCount, "maxProperties": checkCount,
	"minimum": checkNumber, "maximum": checkNumber, "exclusiveMinimum": checkNumber, "exclusiveMaximum": checkNumber,
	"multipleOf": checkPositive, "uniqueItems": checkBoolean, "additionalProperties": checkBoolean,
}

func checkCount(v any) string {
	n, ok := v.(float64)
	if !ok || n < 0 || n > 1<<31 || n != float64(int64(n)) {
		return "must be a whole number of at least 0"
	}
	return ""
}

func checkNumber(v any) string {
	if _, ok := v.(float64); !ok {
		return "must be a number"
	}
	return ""
}

func checkPositive(v any) string {
	if n, ok := v.(float64); !ok || n <= 0 {
		return "must be a number above 0"
	}
	return ""
}

func checkBoolean(v any) string {
	if _, ok := v.(bool); !ok {
		return "must be true or false"
	}
	return ""
}

// property reads the definition of a property.
func (d *definition) property(at string, v map[string]any) Property {
	p := Property{
		Type:   d.oneOf(v, at, "type", true, propertyTypes),
		Format: d.text(v, at, "format", 0, false),
		Title:  d.text(v, at, "title", maxTitle, false),
		Raw:    v,
	}
	d.text(v, at, "description", 0, false)
	d.text(v, at, "icon", maxIcon, false)
	d.format(at, p.Type, p.Format)
	d.spec(at, v)
	d.colours(v, at, "enumColors")
	if p.Type == "array" {
		p.Items = d.object(v, at, "items")
	}
	p.Default, p.HasDefault = v["default"]
	count := 0
	d.keywords(at, v, 0, &count)
	return p
}

func (d *definition) format(at, typ, format string) {
	if format == "" || typ == "" {
		return
	}
	types, known := formatTypes[format]
	switch {
	case !known:
		d.wrongf(at+"format", "is %q; it must be one of %s", shorten(format), strings.Join(slices.Sorted(maps.Keys(formatTypes)), ", "))
	case !slices.Contains(types, typ):
		d.wrongf(at+"format", "is %s, which is for type %s, not %s", format, strings.Join(types, " or "), typ)
	}
}

func (d *definition) spec(at string, v map[string]any) {
	d.oneOf(v, at, "spec", false, specs)
	auth := d.object(v, at, "specAuthentication")
	if auth == nil {
		return
	}
	for _, key := range []string{"clientId", "authorizationUrl", "tokenUrl"} {
		d.text(auth, at+"specAuthentication.", key, 2048, true)
	}
}

func (d *definition) colours(v map[string]any, at, key string) {
	m := d.object(v, at, key)
	for _, value := range slices.Sorted(maps.Keys(m)) {
		if c, ok := m[value].(string); !ok || !slices.Contains(colours, c) {
			d.wrongf(at+key+"."+shorten(value), "is no colour: it must be one of %s", strings.Join(colours, ", "))
		}
	}
}

// keywords checks what values are to be checked against, here and below.
func (d *definition) keywords(at string, v map[string]any, deep int, count *int) {
	if *count++; *count > maxSchemas || deep > maxSchemaDeep {
		d.wrongf(strings.TrimSuffix(at, "."), "is made of too many schemas: at most %d, nested %d deep, are allowed", maxSchemas, maxSchemaDeep)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		value := v[name]
		if slices.Contains(unsupported, name) {
			d.wrongf(at+name, "is not available in a property's definition")
			continue
		}
		if value == nil {
			continue
		}
		if check := keywords[name]; check != nil {
			if what := check(value); what != "" {
				d.wrongf(at+name, "%s", what)
			}
		}
	}
	d.enum(at, v)
	if text := d.text(v, at, "pattern", 0, false); text != "" {
		if _, err := compilePattern(text); err != nil {
			d.wrongf(at+"pattern", "%v", err)
		}
	}
	d.below(at, v, deep, count)
}

func (d *definition) enum(at string, v map[string]any) {
	raw, there := v["enum"]
	if !there || raw == nil {
		return
	}
	list, ok := raw.([]any)
	switch {
	case ok && len(list) > 0 && len(list) <= maxEnum:
	case isComputed(raw):
		d.wrongf(at+"enum", "is computed by jq, which is for actions' inputs, not for properties")
	default:
		d.wrongf(at+"enum", "must be a list of 1 to %d values", maxEnum)
	}
}

// isComputed says whether a list is to be computed by jq: {"jqQuery": …}.
func isComputed(v any) bool {
	m, ok := v.(map[string]any)
	_, jq := m["jqQuery"]
	return ok && jq
}

// below checks the schemas of items and of an object's properties.
func (d *definition) below(at string, v map[string]any, deep int, count *int) {
	if items := d.object(v, at, "items"); items != nil {
		typ := d.oneOf(items, at+"items.", "type", false, append([]string{"integer", "null"}, propertyTypes...))
		d.format(at+"items.", typ, d.text(items, at+"items.", "format", 0, false))
		d.keywords(at+"items.", items, deep+1, count)
	}
	members := d.object(v, at, "properties")
	for _, key := range slices.Sorted(maps.Keys(members)) {
		path := fmt.Sprintf("%sproperties.%s.", at, shorten(key))
		m, ok := members[key].(map[string]any)
		if !ok {
			d.wrongf(strings.TrimSuffix(path, "."), "must be an object")
			continue
		}
		d.oneOf(m, path, "type", false, append([]string{"integer", "null"}, propertyTypes...))
		d.keywords(path, m, deep+1, count)
	}
	if list, there := v["required"]; there && list != nil {
		names, ok := list.([]any)
		for _, n := range names {
			if _, text := n.(string); !text {
				ok = false
			}
		}
		if !ok {
			d.wrongf(at+"required", "must be a list of strings")
		}
	}
}
