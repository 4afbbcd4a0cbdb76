package template

import (
	"bytes"
	"encoding/json"
	"sort"
)

// ordered is an object whose keys keep the order in which they were written: Fn::ToJsonString shows it.
type ordered struct {
	keys   []string
	values []any
}

func (o *ordered) add(key string, value any) {
	o.keys = append(o.keys, key)
	o.values = append(o.values, value)
}

// plain returns v with maps for ordered objects.
func plain(v any) any {
	switch v := v.(type) {
	case *ordered:
		m := make(map[string]any, len(v.keys))
		for i, k := range v.keys {
			m[k] = plain(v.values[i])
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = plain(v[i])
		}
		return l
	default:
		return v
	}
}

// fromJSON returns a Resolver's value with ordered objects for maps, keys sorted, and json.Number for
// numbers.
func fromJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		o := &ordered{keys: make([]string, 0, len(v))}
		for k := range v {
			o.keys = append(o.keys, k)
		}
		sort.Strings(o.keys)
		for _, k := range o.keys {
			o.values = append(o.values, fromJSON(v[k]))
		}
		return o
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = fromJSON(v[i])
		}
		return l
	case []string:
		l := make([]any, len(v))
		for i := range v {
			l[i] = v[i]
		}
		return l
	case float32, float64, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64:
		text, err := json.Marshal(v)
		if err != nil {
			return nil // NaN or infinite, which no JSON value is
		}
		return json.Number(text)
	default:
		return v
	}
}

// encode writes v as compact JSON, keys in their order, without escaping <, > and &.
func encode(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case *ordered:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encode(b, k); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := encode(b, v.values[i]); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := encode(b, v[i]); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	default:
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the encoder's line end
	}
	return nil
}
