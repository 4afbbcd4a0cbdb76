package jq

import "testing"

func TestFirstOutput(t *testing.T) {
	e := New(Options{})
	defer e.Close()
	p, err := Compile(`.Tags[]? | select(.Key=="Name") | .Value`)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]any{"Tags": []any{map[string]any{"Key": "Name", "Value": "web 🚀"}}}
	if o := e.First(t.Context(), p, in); o.Err != nil || o.Value != "web 🚀" {
		t.Fatalf("got %+v", o)
	}
	if o := e.First(t.Context(), p, map[string]any{}); o.Err != nil || o.OK {
		t.Fatalf("got %+v", o)
	}
}
