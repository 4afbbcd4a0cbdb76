package kind

import (
	"encoding/json"
	"testing"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestBlueprintsAreAcceptedByTheCatalog(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ev := evaluator(t)
		c := catalog.New(catalog.Options{DB: db, JQ: ev, Jobs: work.New(db, "test", nil)})
		blueprints, _ := initial(t, All())
		for _, text := range blueprints {
			if _, err := c.CreateBlueprint(t.Context(), catalog.Writer{By: "test"}, text); err != nil {
				t.Error(err)
			}
		}
		for _, k := range All() {
			e := sample(t, k).Entity
			e.Relations = nil
			acceptEntity(t, c, e)
		}
		if t.Failed() {
			return
		}
		for _, k := range All() {
			acceptEntity(t, c, sample(t, k).Entity)
		}
	})
}

// acceptEntity writes an entity; those that it has relations to are made with it.
func acceptEntity(t *testing.T, c *catalog.Catalog, e sampleEntity) {
	t.Helper()
	change := catalog.EntityChange{Blueprint: e.Blueprint, Upsert: true, Merge: true, CreateMissingRelated: true}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &change.Entity); err != nil {
		t.Fatal(err)
	}
	results, err := c.Apply(t.Context(), catalog.Writer{By: "test"}, []catalog.EntityChange{change}, catalog.ApplyOptions{})
	switch {
	case err != nil:
		t.Errorf("%s: %v", e.Blueprint, err)
	case results[0].Err != nil:
		t.Errorf("%s: %v", e.Blueprint, results[0].Err)
	case len(results[0].Warnings) > 0:
		t.Errorf("%s: %v", e.Blueprint, results[0].Warnings)
	}
}
