package jq

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Main()
	goleak.VerifyTestMain(m)
}

func compile(t testing.TB, text string) *Program {
	t.Helper()
	p, err := Compile(text)
	if err != nil {
		t.Fatalf("compile %s: %v", text, err)
	}
	return p
}

func evaluator(t testing.TB, o Options) *Evaluator {
	t.Helper()
	e := New(o)
	t.Cleanup(func() { e.Close() })
	return e
}

// value reads JSON as a caller has it.
func value(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
