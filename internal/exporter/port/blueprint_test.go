package port

import (
	"net/http"
	"slices"
	"testing"
)

func TestABlueprintIsLookedUp(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, nil)
	a.before = func(w http.ResponseWriter, r *http.Request, _ map[string]any) bool {
		switch r.Method + " " + r.URL.EscapedPath() {
		case "GET /v1/blueprints/cloud%2Fq":
			answer(w, http.StatusOK, map[string]any{"blueprint": map[string]any{
				"identifier": "cloud/q", "schema": map[string]any{"properties": map[string]any{"arn": map[string]any{"type": "string"}}, "required": []any{}},
				"relations": map[string]any{"account": map[string]any{"target": "account"}}, "mirrorProperties": map[string]any{"owner": map[string]any{"path": "account.owner"}},
			}})
		case "GET /v1/blueprints/gone":
			refuse(w, http.StatusNotFound, "not_found", "no blueprint gone")
		case "GET /v1/blueprints/broken":
			refuse(w, http.StatusBadGateway, "bad_gateway", "broken")
		default:
			return false
		}
		return true
	}
	properties, relations, err := s.BlueprintKeys(t.Context(), "cloud/q")
	if err != nil || !slices.Equal(properties, []string{"arn"}) || !slices.Equal(relations, []string{"account"}) {
		t.Errorf("properties %q, relations %q, %v", properties, relations, err)
	}
	for blueprint, want := range map[string]int{"gone": http.StatusNotFound, "broken": http.StatusBadGateway} {
		if _, _, err := s.BlueprintKeys(t.Context(), blueprint); status(err) != want {
			t.Errorf("%s: %v", blueprint, err)
		}
	}
}
