package reader

import (
	"encoding/base64"
	"reflect"
	"sync"
	"time"
)

// shape turns what a describe call answered into JSON values: members have the
// names that AWS's API reference gives them, those that were not answered are left
// out, and times are RFC 3339 in UTC.
func shape(v any) map[string]any {
	object, _ := shaped(reflect.ValueOf(v)).(map[string]any)
	return object
}

// shapes is shape for a list; never nil.
func shapes[T any](list []T) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = shape(list[i])
	}
	return out
}

// member is a field of an SDK structure that AWS's answer has.
type member struct {
	index int
	name  string
}

var members sync.Map // reflect.Type: []member

// membersOf returns the fields of a structure that hold what was answered, and not
// what the SDK adds.
func membersOf(t reflect.Type) []member {
	if have, ok := members.Load(t); ok {
		return have.([]member)
	}
	var list []member
	for i := range t.NumField() {
		f := t.Field(i)
		if f.IsExported() && f.Name != "ResultMetadata" {
			list = append(list, member{i, f.Name})
		}
	}
	have, _ := members.LoadOrStore(t, list)
	return have.([]member)
}

var timeType = reflect.TypeFor[time.Time]()

// shaped returns nil for what was not answered.
func shaped(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return shaped(v.Elem())
	case reflect.Struct:
		return shapedStruct(v)
	case reflect.Slice:
		return shapedList(v)
	case reflect.Map:
		return shapedMap(v)
	case reflect.String:
		if v.Len() == 0 && v.Type().PkgPath() != "" { // an enumeration; texts are behind pointers
			return nil
		}
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return int(v.Int())
	case reflect.Float32, reflect.Float64:
		return v.Float()
	}
	return nil
}

func shapedStruct(v reflect.Value) any {
	if v.Type() == timeType {
		return v.Interface().(time.Time).UTC().Format(time.RFC3339Nano)
	}
	list := membersOf(v.Type())
	object := make(map[string]any, len(list))
	for _, m := range list {
		if value := shaped(v.Field(m.index)); value != nil {
			object[m.name] = value
		}
	}
	return object
}

func shapedList(v reflect.Value) any {
	if v.IsNil() {
		return nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return base64.StdEncoding.EncodeToString(v.Bytes())
	}
	list := make([]any, v.Len())
	for i := range list {
		list[i] = shaped(v.Index(i))
	}
	return list
}

func shapedMap(v reflect.Value) any {
	if v.IsNil() {
		return nil
	}
	object := make(map[string]any, v.Len())
	for key, value := range v.Seq2() {
		object[key.String()] = shaped(value)
	}
	return object
}
