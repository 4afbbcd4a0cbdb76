package catalog

import (
	"context"
	"maps"
	"slices"

	"github.com/rialto-bus/rialto/internal/store"
)

// loadTitles replaces the values of titles, whose keys are identifiers of a blueprint's
// entities, by the titles of those that have one.
func loadTitles(ctx context.Context, q store.Querier, blueprint int64, titles map[string]string) error {
	const atOnce = 500
	type titled struct{ identifier, title string }
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(titles)), atOnce) {
		var a argList
		rows, err := q.Query(ctx, `SELECT identifier, title FROM catalog_entities WHERE blueprint_id = `+a.add(blueprint)+
			` AND title IS NOT NULL AND title <> '' AND identifier`+a.inTexts(q.Dialect(), chunk), a.args...)
		list, err := store.All(rows, err, func(row store.Row) (t titled, err error) { return t, row.Scan(&t.identifier, &t.title) })
		if err != nil {
			return err
		}
		for _, t := range list {
			titles[t.identifier] = t.title
		}
	}
	return nil
}
