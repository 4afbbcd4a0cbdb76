package catalog

import (
	"context"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// Each text is prepared, and kept by each connection to PostgreSQL.
func TestPostgresIsAskedInTheSameWordsWhicheverTheIDs(t *testing.T) {
	t.Parallel()
	db := storetest.Postgres(t)
	for name, ask := range map[string]func(context.Context, store.Querier, []int64) error{
		"entities by id": func(ctx context.Context, q store.Querier, ids []int64) error {
			_, err := entitiesByID(ctx, q, ids)
			return err
		},
		"relations": func(ctx context.Context, q store.Querier, ids []int64) error {
			_, err := relationsOf(ctx, q, ids)
			return err
		},
		"what points": func(ctx context.Context, q store.Querier, ids []int64) error {
			_, err := edgesTo(ctx, q, ids, 9)
			return err
		},
		"links": func(ctx context.Context, q store.Querier, ids []int64) error {
			_, err := linksOf(ctx, q, ids, ids, ids[1:], false)
			return err
		},
		"mirrors": func(ctx context.Context, q store.Querier, ids []int64) error {
			_, err := relationsAlong(ctx, q, ids, ids, len(ids))
			return err
		},
		"aggregates": func(ctx context.Context, q store.Querier, ids []int64) error {
			_, err := aggregatesOf(ctx, q, ids)
			return err
		},
		"writers": func(ctx context.Context, q store.Querier, ids []int64) error {
			s := datasourceSource(q.Dialect(), 1, ids)
			_, err := s.read(ctx, q)
			return err
		},
	} {
		texts := map[string]bool{}
		for _, ids := range [][]int64{{1}, {2, 3}, {4, 5, 6, 7}} {
			asked := &statements{Querier: db}
			if err := ask(t.Context(), asked, ids); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, text := range asked.texts {
				texts[text] = true
			}
		}
		if len(texts) != 1 {
			t.Errorf("%s: %d texts: %v", name, len(texts), texts)
		}
	}
}
