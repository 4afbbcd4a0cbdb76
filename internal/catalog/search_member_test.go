package catalog

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMember(t *testing.T) {
	t.Parallel()
	drawKey := rapid.SampledFrom([]string{"a", "b", `c\d`, "e-f", "@", "value"})
	value := rapid.Custom(func(rt *rapid.T) any {
		leaf := rapid.OneOf(rapid.Map(rapid.String(), asAny), rapid.Map(rapid.Float64(), asAny), rapid.Map(rapid.Bool(), asAny), rapid.Just[any](nil),
			rapid.SampledFrom([]any{`a"b`, `\`, `{"a":1}`, "],}", "文🦀"}))
		return rapid.OneOf(leaf, leaf, rapid.Map(rapid.SliceOfN(leaf, 0, 3), asAny), rapid.Map(rapid.MapOfN(rapid.OneOf(drawKey, rapid.String()), leaf, 0, 3), asAny)).Draw(rt, "value")
	})
	rapid.Check(t, func(rt *rapid.T) {
		object := rapid.MapOf(drawKey, value).Draw(rt, "object")
		text, err := encode(object)
		if err != nil {
			rt.Fatal(err)
		}
		name := drawKey.Draw(rt, "name")
		got, ok := member(string(text), name)
		want, err := encode(object[name])
		if err != nil {
			rt.Fatal(err)
		}
		if _, there := object[name]; !there {
			want = nil
		}
		if diff := cmp.Diff(string(want), got); diff != "" || !ok {
			rt.Errorf("%q of %s: %v %s", name, text, ok, diff)
		}
	})
}

func TestMemberOfWhatTheStoreDoesNotWrite(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "null", "[]", `{`, `{"b":1`, `{"b":"1}`, `{"b"}`, `{ "a":1}`, `{"b":1, "a":1}`, `{"b":[1,2}`} {
		if got, ok := member(text, "a"); ok {
			t.Errorf("of %q it is %q", text, got)
		}
	}
	e := &candidate{of: &Blueprint{Properties: map[string]Property{"a": {Type: "number"}}}, row: entityRow{properties: ` { "b" : 1, "a" : 2 } `}}
	if v, err := e.property("a"); v != 2.0 || err != nil {
		t.Errorf("with white space it is %v: %v", v, err)
	}
	if !json.Valid([]byte(e.row.properties)) {
		t.Error("it is no JSON")
	}
}
