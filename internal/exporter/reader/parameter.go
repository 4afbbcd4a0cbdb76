package reader

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// paging are the parameters that belong to the paging of lists.
var paging = []string{"NextToken", "Marker"}

// setParameters sets the members of an SDK call's input, a pointer, from list
// parameters, which are not changed. The error names the path of what the call does
// not have, or cannot take.
func setParameters(in any, parameters map[string]any) error {
	for _, name := range paging {
		if _, given := parameters[name]; given {
			return invalid("list_parameters.%s: pages are turned by the sync itself", name)
		}
	}
	return setMembers(reflect.ValueOf(in).Elem(), "list_parameters", parameters)
}

func setMembers(into reflect.Value, path string, object map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		i := slices.IndexFunc(membersOf(into.Type()), func(m member) bool { return sameName(m.name, name) })
		if i < 0 {
			return invalid("%s.%s: there is no such parameter; there are %s", path, name, strings.Join(names(into.Type()), ", "))
		}
		field := into.Field(membersOf(into.Type())[i].index)
		if err := set(field, path+"."+name, object[name]); err != nil {
			return err
		}
	}
	return nil
}

// sameName compares a member's name in the SDK and on the wire. AWS: some services
// begin names with a small letter, as ACM does with keyTypes.
func sameName(field, name string) bool {
	return name != "" && strings.EqualFold(field[:1], name[:1]) && field[1:] == name[1:]
}

func names(t reflect.Type) []string {
	var list []string
	for _, m := range membersOf(t) {
		if !slices.Contains(paging, m.name) {
			list = append(list, m.name)
		}
	}
	return list
}

func set(into reflect.Value, path string, v any) error {
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		return set(into.Elem(), path, v)
	case reflect.Struct:
		object, ok := v.(map[string]any)
		if !ok {
			return mismatch(path, "an object", v)
		}
		return setMembers(into, path, object)
	case reflect.Slice:
		return setList(into, path, v)
	case reflect.String:
		return setText(into, path, v)
	case reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			return mismatch(path, "true or false", v)
		}
		into.SetBool(b)
		return nil
	case reflect.Int32, reflect.Int64:
		n, ok := integer(v)
		if !ok || into.OverflowInt(n) {
			return mismatch(path, "a whole number", v)
		}
		into.SetInt(n)
		return nil
	}
	return invalid("%s: it cannot be set here", path)
}

func setList(into reflect.Value, path string, v any) error {
	list, ok := v.([]any)
	if !ok {
		return mismatch(path, "a list", v)
	}
	into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
	for i, item := range list {
		if err := set(into.Index(i), fmt.Sprintf("%s[%d]", path, i), item); err != nil {
			return err
		}
	}
	return nil
}

// setText also refuses values that the SDK's enumeration does not have.
func setText(into reflect.Value, path string, v any) error {
	text, ok := v.(string)
	if !ok {
		return mismatch(path, "a string", v)
	}
	into.SetString(text)
	values := into.MethodByName("Values")
	if !values.IsValid() {
		return nil
	}
	var known []string
	for _, value := range values.Call(nil)[0].Seq2() {
		if value.String() == text {
			return nil
		}
		known = append(known, value.String())
	}
	return invalid("%s: %q is none of %s", path, text, strings.Join(known, ", "))
}

func mismatch(path, want string, v any) error {
	text, err := json.Marshal(v)
	if err != nil || len(text) > 100 {
		text = fmt.Appendf(nil, "%T", v)
	}
	return invalid("%s: want %s, not %s", path, want, text)
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}
