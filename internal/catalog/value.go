package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// maxValueDepth is how deep the value of a property is nested at most.
const maxValueDepth = 32

// normalize returns a value in the forms that JSON has here: nil, bool, float64, string,
// []any and map[string]any. Port: numbers are doubles. The error says what is wrong and,
// below the value, where.
func normalize(v any, deep int) (any, error) {
	if deep > maxValueDepth {
		return nil, fmt.Errorf("is nested deeper than %d levels", maxValueDepth)
	}
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case string:
		return normalText(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = normalize(v[i], deep+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case []string:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = normalText(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		m := make(map[string]any, len(v))
		for key := range v {
			name, err := normalText(key)
			if err != nil {
				return nil, err
			}
			if m[name], err = normalize(v[key], deep+1); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return normalNumber(v)
}

var errNUL = errors.New("contains the character U+0000")

// normalText takes the text that both databases keep: UTF-8 without NUL.
func normalText(s string) (string, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return "", errNUL
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s, nil
}

func normalNumber(v any) (any, error) {
	var f float64
	switch v := v.(type) {
	case float64:
		f = v
	case int:
		f = float64(v)
	case int64:
		f = float64(v)
	case *big.Int:
		f, _ = new(big.Float).SetInt(v).Float64()
	case json.Number:
		var err error
		if f, err = v.Float64(); err != nil {
			return nil, fmt.Errorf("is the number %s, which is too large", shorten(string(v)))
		}
	default:
		return nil, fmt.Errorf("is of type %T, which JSON does not have", v)
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, errors.New("is a number too large for JSON")
	}
	if f == 0 {
		f = 0 // and not -0
	}
	return f, nil
}
