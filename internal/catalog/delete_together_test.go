package catalog

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
)

// Relations to what is deleted are emptied a few at a time, and only once nothing stands in the way of
// any of the deletes.
func TestDeletesTogetherAreSmallAndAllOrNone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		const many, each = 8, 60 // each fewer than one transaction takes, all together more
		const large = 2*maxFan + 5
		var domains []EntityChange
		for i := range many {
			name := fmt.Sprintf("d%d", i)
			w.do(upsert(t, "domain", fmt.Sprintf(`{"identifier": %q}`, name), false), upsert(t, "service", fmt.Sprintf(`{"identifier": "s%d"}`, i), false))
			w.fill("pod", each, fmt.Sprintf(`{"identifier": "%s-%%d", "relations": {"service": "s%d", "hosts": [%q]}}`, name, i, name))
			domains = append(domains, remove("domain", name, false))
		}
		w.do(upsert(t, "domain", `{"identifier": "large"}`, false))
		w.fill("pod", large, `{"identifier": "of-large-%d", "relations": {"service": "s1", "hosts": ["large"]}}`)

		before := w.trace()
		_, err := w.deleteTogether(t.Context(), w.w, append([]EntityChange{remove("domain", "large", false), remove("service", "s1", false)}, domains...))
		refused(t, err, CodeHasDependents, "s1")
		if after := w.trace(); !maps.Equal(before, after) {
			t.Errorf("something was written: %v, before %v", after, before)
		}

		seen, largest := w.count("catalog_changes"), 0
		ctx := store.WithHook(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			var n int
			err := tx.QueryRow(ctx, `SELECT count(*) FROM catalog_changes`).Scan(&n)
			largest, seen = max(largest, n-seen), n
			return err
		})
		deleted, err := w.deleteTogether(ctx, w.w, append(domains, remove("domain", "none", false), remove("domain", "large", false)))
		if err != nil || len(deleted) != many+1 {
			t.Errorf("%d are deleted: %v", len(deleted), err)
		}
		if most := 2*maxFan + len(domains) + 1; largest > most {
			t.Errorf("a transaction changes %d entities, more than %d", largest, most)
		}
		if n := w.count("catalog_relations"); n != many*each+large {
			t.Errorf("%d relations are left", n)
		}
	})
}
