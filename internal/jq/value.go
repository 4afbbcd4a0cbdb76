package jq

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// maxDepth is how deep a value may be nested on its way in or out.
const maxDepth = 1000

// maxExact is the first whole number of which a float64, which is what jq
// knows, cannot tell the neighbours apart.
const maxExact = 1 << 53

// maxInput is how large an input may be, as measured by normalize.
const maxInput = 64 << 20

// normalize returns v as programs see it: numbers int or float64, strings
// valid UTF-8, and of Go's many types those of JSON. What is as it should be is
// shared with v, not copied. It also measures v, about as it is in memory.
func normalize(v any) (any, int, error) {
	n := &normalizer{}
	v, err := n.value(v, 0)
	return v, n.size, err
}

type normalizer struct{ size int }

func (n *normalizer) value(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	if n.size += nodeSize; n.size > maxInput {
		return nil, fmt.Errorf("it is larger than %d MiB", maxInput>>20)
	}
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case string:
		n.size += len(v)
		return valid(v), nil
	case float64:
		return finite(v), nil
	case int:
		return wholeNumber(int64(v)), nil
	case []any:
		return n.array(v, depth)
	case map[string]any:
		return n.object(v, depth)
	}
	return n.other(v, depth)
}

func (n *normalizer) array(v []any, depth int) (any, error) {
	n.size += arraySize - nodeSize
	var copied []any
	for i, x := range v {
		y, err := n.value(x, depth+1)
		if err != nil {
			return nil, err
		}
		if copied == nil && !same(x, y) {
			copied = append(make([]any, 0, len(v)), v[:i]...)
		}
		if copied != nil {
			copied = append(copied, y)
		}
	}
	switch {
	case copied != nil:
		return copied, nil
	case v == nil:
		return nil, nil // as encoding/json writes it
	}
	return v, nil
}

func (n *normalizer) object(v map[string]any, depth int) (any, error) {
	n.size += mapSize - nodeSize
	var copied map[string]any
	for k, x := range v {
		n.size += keySize + len(k)
		y, err := n.value(x, depth+1)
		if err != nil {
			return nil, err
		}
		isValid := utf8.ValidString(k)
		if isValid && same(x, y) {
			continue
		}
		if copied == nil {
			copied = maps.Clone(v)
		}
		if !isValid {
			delete(copied, k)
		}
		copied[valid(k)] = y
	}
	switch {
	case copied != nil:
		return copied, nil
	case v == nil:
		return nil, nil
	}
	return v, nil
}

// other is for what encoding/json does not make of JSON by itself, but Go
// programs put into such values.
func (n *normalizer) other(v any, depth int) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return decimal(v)
	case int64:
		return wholeNumber(v), nil
	case int32:
		return int(v), nil
	case []string:
		w := make([]any, len(v))
		for i, s := range v {
			w[i] = s
		}
		return n.array(w, depth)
	case map[string]string:
		w := make(map[string]any, len(v))
		for k, s := range v {
			w[k] = s
		}
		return n.object(w, depth)
	case []map[string]any:
		w := make([]any, len(v))
		for i, m := range v {
			w[i] = m
		}
		return n.array(w, depth)
	}
	return nil, fmt.Errorf("it holds a Go %T, which is not JSON", v)
}

// valid is s without what is not UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// same reports whether normal returned what it was given.
func same(x, y any) bool {
	switch x := x.(type) {
	case []any:
		y, ok := y.([]any)
		return ok && len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0])
	case map[string]any:
		y, ok := y.(map[string]any)
		return ok && reflect.ValueOf(x).Pointer() == reflect.ValueOf(y).Pointer()
	case string:
		y, ok := y.(string)
		return ok && x == y
	case nil, bool:
		return true
	case int:
		_, ok := y.(int)
		return ok
	case float64:
		_, ok := y.(float64)
		return ok
	}
	return false
}

// number returns f as an int where it is whole and exactly that.
func number(f float64) any {
	if f == math.Trunc(f) && math.Abs(f) < maxExact {
		return int(f)
	}
	return f
}

// wholeNumber returns i as jq knows it: exactly, up to 2^53.
func wholeNumber(i int64) any {
	if -maxExact < i && i < maxExact {
		return int(i)
	}
	return float64(i)
}

func decimal(n json.Number) (any, error) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return wholeNumber(i), nil
	}
	f, err := n.Float64()
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("it holds the number %q", n.String())
	}
	return finite(f), nil
}

// outward returns a copy of an output as callers see it, and ErrOutput where it
// is longer, as JSON, than the bytes that are left, which are fewer then. As in
// jq 1.6, what is not a number is null and what is beyond the numbers is the
// largest of them.
func outward(v any, left *int) (any, error) { return out(v, left, 0) }

func out(v any, left *int, depth int) (any, error) {
	if *left -= 2; *left < 0 || depth > maxDepth {
		return nil, ErrOutput
	}
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case int:
		*left -= 8
		return wholeNumber(int64(v)), nil
	case float64:
		*left -= 8
		return finite(v), nil
	case *big.Int:
		f, _ := gojq.ToFloat64(v)
		return finite(f), nil
	case json.Number:
		f, _ := gojq.ToFloat64(v)
		return finite(f), nil
	case string:
		if *left -= len(v); *left < 0 {
			return nil, ErrOutput
		}
		return valid(v), nil
	case []any:
		return outArray(v, left, depth)
	case map[string]any:
		return outObject(v, left, depth)
	}
	return nil, fmt.Errorf("the jq program's output holds a Go %T", v)
}

func outArray(v []any, left *int, depth int) (any, error) {
	if 2*len(v) > *left {
		return nil, ErrOutput
	}
	w := make([]any, len(v))
	for i, x := range v {
		y, err := out(x, left, depth+1)
		if err != nil {
			return nil, err
		}
		w[i] = y
	}
	return w, nil
}

func outObject(v map[string]any, left *int, depth int) (any, error) {
	if 4*len(v) > *left {
		return nil, ErrOutput
	}
	w := make(map[string]any, len(v))
	for k, x := range v {
		*left -= len(k) + 4
		y, err := out(x, left, depth+1)
		if err != nil {
			return nil, err
		}
		w[valid(k)] = y
	}
	return w, nil
}

func finite(f float64) any {
	switch {
	case math.IsNaN(f):
		return nil
	case math.IsInf(f, 1):
		return math.MaxFloat64
	case math.IsInf(f, -1):
		return -math.MaxFloat64
	}
	return number(f)
}
