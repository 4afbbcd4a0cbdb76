package awsapi

import (
	"encoding/base64"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
)

// EncodeJSON writes the struct that out points to, whose fields are in the order
// of the shape's members. Absent members are left out; a nil pointer is {}.
func EncodeJSON(shape *Shape, out any) []byte {
	v := reflect.ValueOf(out)
	if !v.IsValid() || v.IsNil() {
		return []byte("{}")
	}
	return appendJSONValue(make([]byte, 0, 512), shape, v.Elem())
}

// absent reports whether a member or an item is not to be written.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	}
	return false
}

func appendJSONValue(b []byte, shape *Shape, v reflect.Value) []byte {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch shape.Kind {
	case Structure:
		return appendJSONStructure(b, shape, v)
	case List:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSONValue(b, shape.Elem, v.Index(i))
		}
		return append(b, ']')
	case Map:
		return appendJSONMap(b, shape, v)
	case Integer, Long:
		return strconv.AppendInt(b, v.Int(), 10)
	case Double:
		return appendJSONFloat(b, v.Float())
	case Boolean:
		return strconv.AppendBool(b, v.Bool())
	case Timestamp:
		return appendEpoch(b, v.Interface().(time.Time))
	case Blob:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"')
	}
	return event.AppendText(b, v.String())
}

func appendJSONStructure(b []byte, shape *Shape, v reflect.Value) []byte {
	b = append(b, '{')
	open := len(b)
	for i := range shape.Members {
		field := v.Field(i)
		if absent(field) {
			continue
		}
		if len(b) > open {
			b = append(b, ',')
		}
		b = event.AppendText(b, shape.Members[i].Name)
		b = append(b, ':')
		b = appendJSONValue(b, shape.Members[i].Shape, field)
	}
	return append(b, '}')
}

func appendJSONMap(b []byte, shape *Shape, v reflect.Value) []byte {
	b = append(b, '{')
	for i, key := range sortedKeys(v) {
		if i > 0 {
			b = append(b, ',')
		}
		b = event.AppendText(b, key)
		b = append(b, ':')
		b = appendJSONValue(b, shape.Elem, v.MapIndex(reflect.ValueOf(key)))
	}
	return append(b, '}')
}

// sortedKeys makes answers the same for the same map.
func sortedKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for _, key := range v.MapKeys() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	return keys
}

// appendJSONFloat writes a number; JSON has none for NaN and the infinities.
func appendJSONFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendEpoch writes epoch seconds: whole ones as an integer, others with
// milliseconds.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', -1, 64)
}
