package catalog_test

import (
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// Reading an entity never fails because of what is computed; the answer says what is
// null for it.
func TestAnswersTellWhatCouldNotBeComputed(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, "test")
		c.blueprint("fn", `"memory":{"type":"number"}`, `"calculationProperties":{
			"gib":{"title":"GiB","type":"number","calculation":".properties.memory / 1024"},
			"wrong":{"title":"Wrong","type":"boolean","calculation":".identifier"}}`)
		c.entity("fn", `{"identifier":"订单","properties":{"memory":512}}`)
		for _, ask := range []struct{ method, target, body string }{
			{"GET", "/v1/blueprints/fn/entities/%E8%AE%A2%E5%8D%95", ""},
			{"GET", "/v1/blueprints/fn/entities", ""},
			{"POST", "/v1/entities/search", `{"combinator":"and","rules":[{"property":"$blueprint","operator":"=","value":"fn"}]}`},
			{"POST", "/v1/blueprints/fn/entities/search", `{"query":{"combinator":"and","rules":[]}}`},
		} {
			got := c.ok(ask.method, ask.target, ask.body)
			entity, _ := got["entity"].(map[string]any)
			if list, ok := got["entities"].([]any); ok && len(list) == 1 {
				entity, _ = list[0].(map[string]any)
			}
			properties, _ := entity["properties"].(map[string]any)
			if v, there := properties["wrong"]; !there || v != nil || properties["gib"] != 0.5 {
				t.Errorf("%s %s: %v", ask.method, ask.target, got)
			}
			warnings, _ := got["warnings"].([]any)
			if len(warnings) != 1 || !strings.Contains(warnings[0].(string), "fn/订单.properties.wrong is null: what was calculated is text, not a boolean") {
				t.Errorf("%s %s: warnings %v", ask.method, ask.target, warnings)
			}
			without := ask.target + "?exclude_calculated_properties=true"
			if got := c.ok(ask.method, without, ask.body); got["warnings"] != nil {
				t.Errorf("%s %s: warnings %v", ask.method, without, got["warnings"])
			}
		}
	})
}
