package kind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// text is a scalar property as text, empty for none: APIs have text where models have
// numbers and booleans.
func text(v any) string {
	s, _ := scalar(v)
	return s
}

// scalar returns the text of a string, number or boolean.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int, int32, int64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// given returns a pointer to the property's text, nil for none.
func given(v any) *string {
	if v == nil {
		return nil
	}
	s, ok := scalar(v)
	if !ok {
		return nil
	}
	return &s
}

// str returns what p points to, empty for nil.
func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// document is a property that holds JSON, as an object or as its text, in the text that APIs take.
// Numbers stay as they are written.
func document(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "" // models hold JSON values only
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// givenDocument is a pointer to a document, nil for none.
func givenDocument(v any) *string {
	if v == nil {
		return nil
	}
	return new(document(v))
}

// object is the value of a JSON text; a text that is no JSON stays a text.
func object(document string) any {
	dec := json.NewDecoder(strings.NewReader(document))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return document
	}
	return v
}

// same says whether two properties have the same value: numbers and booleans may be text, documents
// an object or its text, and lists of tags are in any order. What is empty is none.
func same(a, b any) bool {
	if none(a) || none(b) {
		return none(a) && none(b)
	}
	s, plainA := scalar(a)
	t, plainB := scalar(b)
	switch {
	case plainA && plainB:
		return s == t || sameNumber(a, b, s, t)
	case plainA:
		return sameParts(object(s), object(document(b)))
	case plainB:
		return sameParts(object(document(a)), object(t))
	}
	return sameParts(object(document(a)), object(document(b)))
}

func none(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// sameNumber compares numbers, of which one may be text.
func sameNumber(a, b any, s, t string) bool {
	_, numberA := a.(json.Number)
	_, numberB := b.(json.Number)
	x, errX := strconv.ParseFloat(s, 64)
	y, errY := strconv.ParseFloat(t, 64)
	return (numberA || numberB) && errX == nil && errY == nil && x == y
}

// sameParts compares objects and lists.
func sameParts(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return false
		}
		for k := range b {
			if _, both := a[k]; !both && !none(b[k]) {
				return false
			}
		}
		for k := range a {
			if !same(a[k], b[k]) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		if tagged(a) && tagged(b) {
			a, b = sortedTags(a), sortedTags(b)
		}
		return slices.EqualFunc(a, b, same)
	}
	return false
}

// renamed are properties that CloudFormation calls otherwise than the API does.
var renamed = map[string]string{"PlacementStrategies": "PlacementStrategy", "TagList": "Tags"}

// shape fills dst, which points to one of the services' shapes, from the value of a property: members
// by their names, numbers and booleans from text too. Its error names the property.
func shape(property string, v, dst any) error {
	return fill(property, v, reflect.ValueOf(dst).Elem())
}

func fill(place string, v any, dst reflect.Value) error {
	if v == nil {
		return nil
	}
	switch dst.Kind() {
	case reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		return fill(place, v, dst.Elem())
	case reflect.Struct:
		if at, ok := reflect.TypeAssert[*time.Time](dst.Addr()); ok {
			return fillTime(place, v, at)
		}
		return fillStruct(place, v, dst)
	case reflect.Slice:
		return fillSlice(place, v, dst)
	case reflect.Map:
		return fillMap(place, v, dst)
	}
	return fillScalar(place, v, dst)
}

func fillStruct(place string, v any, dst reflect.Value) error {
	members, ok := v.(map[string]any)
	if !ok {
		return invalid(place, "must be an object.")
	}
	for name, member := range members {
		field := dst.FieldByName(name)
		if other := renamed[name]; other != "" && !field.IsValid() {
			field = dst.FieldByName(other)
		}
		at := join(place, name)
		if !field.IsValid() {
			return invalid(at, "is unknown.")
		}
		if err := fill(at, member, field); err != nil {
			return err
		}
	}
	return nil
}

func join(place, name string) string {
	if place == "" {
		return name
	}
	return place + "/" + name
}

func fillSlice(place string, v any, dst reflect.Value) error {
	items, ok := v.([]any)
	if !ok {
		return invalid(place, "must be a list.")
	}
	list := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		if err := fill(join(place, strconv.Itoa(i)), item, list.Index(i)); err != nil {
			return err
		}
	}
	dst.Set(list)
	return nil
}

func fillMap(place string, v any, dst reflect.Value) error {
	members, ok := v.(map[string]any)
	if !ok {
		return invalid(place, "must be an object.")
	}
	dst.Set(reflect.MakeMapWithSize(dst.Type(), len(members)))
	for name, member := range members {
		value := reflect.New(dst.Type().Elem()).Elem()
		if err := fill(join(place, name), member, value); err != nil {
			return err
		}
		dst.SetMapIndex(reflect.ValueOf(name), value)
	}
	return nil
}

func fillScalar(place string, v any, dst reflect.Value) error {
	s, ok := scalar(v)
	if !ok {
		return invalid(place, "must be a %s.", word(dst.Kind()))
	}
	switch dst.Kind() {
	case reflect.String:
		dst.SetString(s)
		return nil
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || n != math.Trunc(n) || math.Abs(n) >= 1<<53 || dst.OverflowInt(int64(n)) {
			return invalid(place, "must be an integer, not %q.", s)
		}
		dst.SetInt(int64(n))
		return nil
	case reflect.Float64:
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return invalid(place, "must be a number, not %q.", s)
		}
		dst.SetFloat(n)
		return nil
	case reflect.Bool:
		if s != "true" && s != "false" {
			return invalid(place, "must be true or false, not %q.", s)
		}
		dst.SetBool(s == "true")
		return nil
	}
	return fmt.Errorf("property %s: no value for a %s", place, dst.Type())
}

func word(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "boolean"
	case reflect.Int32, reflect.Int64, reflect.Float64:
		return "number"
	}
	return "string"
}

// fillTime reads seconds since 1970.
func fillTime(place string, v any, at *time.Time) error {
	s, _ := scalar(v)
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(seconds) >= 1<<40 {
		return invalid(place, "must be a time in seconds since 1970.")
	}
	*at = time.UnixMilli(int64(seconds * 1000)).UTC()
	return nil
}

// pick returns those of the properties that the model has.
func pick(m resource.Model, properties ...string) map[string]any {
	picked := map[string]any{}
	for _, p := range properties {
		if v, ok := m[p]; ok {
			picked[p] = v
		}
	}
	return picked
}

// value is a service's shape as a property: nil for what is not set.
func value(v any) any { return valueOf(reflect.ValueOf(v)) }

func valueOf(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Invalid:
		return nil
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return valueOf(v.Elem())
	case reflect.Struct:
		if at, ok := reflect.TypeAssert[time.Time](v); ok {
			return json.Number(strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', -1, 64))
		}
		members := map[string]any{}
		for i := range v.NumField() {
			if member := valueOf(v.Field(i)); member != nil {
				members[v.Type().Field(i).Name] = member
			}
		}
		return members
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		items := make([]any, v.Len())
		for i := range items {
			items[i] = valueOf(v.Index(i))
		}
		return items
	case reflect.Map:
		if v.IsNil() {
			return nil
		}
		members := map[string]any{}
		for _, k := range v.MapKeys() {
			members[k.String()] = valueOf(v.MapIndex(k))
		}
		return members
	case reflect.Int32, reflect.Int64:
		return json.Number(strconv.FormatInt(v.Int(), 10))
	}
	return v.Interface()
}

// put sets a property of a model unless there is nothing to set.
func put(m resource.Model, property string, v any) {
	if v = value(v); v != nil && v != "" {
		m[property] = v
	}
}
