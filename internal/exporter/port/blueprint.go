package port

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// BlueprintKeys returns the properties and the relations of a blueprint that entities may be
// given. Where Port has none of that name, the error is its own, a *catalog.Error of status 404.
func (s *Sink) BlueprintKeys(ctx context.Context, blueprint string) (properties, relations []string, err error) {
	var out struct {
		Blueprint struct {
			Schema struct {
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"schema"`
			Relations map[string]json.RawMessage `json:"relations"`
		} `json:"blueprint"`
	}
	err = s.call(ctx, request{
		method: http.MethodGet, path: "/blueprints/" + escape(blueprint), agent: UserAgent(s.o.Place.Account, s.o.Place.Region), tries: 2,
	}, &out)
	if err != nil {
		return nil, nil, fmt.Errorf("look up blueprint %s in port: %w", blueprint, err)
	}
	return slices.Collect(maps.Keys(out.Blueprint.Schema.Properties)), slices.Collect(maps.Keys(out.Blueprint.Relations)), nil
}
