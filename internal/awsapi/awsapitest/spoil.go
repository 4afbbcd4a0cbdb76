// Package awsapitest helps test implementations of AWS services.
package awsapitest

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

// Spoiled returns copies of an operation's input, given as JSON: in each, another
// text of it, a map's key or a value, has the spoil at its end, or at the end of one
// of its parts if it has colons, as an ARN does. The first of the pair says which.
func Spoiled(t testing.TB, op awsapi.Operation, input, spoil string) iter.Seq2[string, any] {
	t.Helper()
	return func(yield func(string, any) bool) {
		for n := 0; ; n++ {
			var body any
			if err := json.Unmarshal([]byte(input), &body); err != nil {
				t.Fatalf("%s %s: %v", op.Name, input, err)
			}
			s := spoiler{left: n, spoil: spoil}
			body = s.value(body)
			if s.spoiled == "" {
				return
			}
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			in := op.New()
			if err := awsapi.DecodeJSON(op.Input, text, in); err != nil {
				continue // refused before the service sees it
			}
			if !yield(op.Name+" "+string(text), in) {
				return
			}
		}
	}
}

// spoiler spoils one place of one text, after as many others as are left.
type spoiler struct {
	left    int
	spoil   string
	spoiled string
}

func (s *spoiler) text(text string) string {
	for at := range len(text) + 1 {
		if at < len(text) && text[at] != ':' {
			continue
		}
		if s.left--; s.left == -1 {
			s.spoiled = text[:at] + s.spoil + text[at:]
			return s.spoiled
		}
	}
	return text
}

func (s *spoiler) value(v any) any {
	switch v := v.(type) {
	case string:
		return s.text(v)
	case []any:
		for i := range v {
			v[i] = s.value(v[i])
		}
	case map[string]any:
		return s.object(v)
	}
	return v
}

func (s *spoiler) object(v map[string]any) map[string]any {
	spoiled := make(map[string]any, len(v))
	for _, key := range slices.Sorted(maps.Keys(v)) {
		spoiled[s.text(key)] = s.value(v[key])
	}
	return spoiled
}
