package catalog

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestDatasourceEntities(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		teams := []string{"team/core", "team/ops", "team/web"}
		for name, c := range map[string]struct {
			prefix, suffix string
			before         time.Time
			want           []string
		}{
			"by beginning and end":           {"port-ocean/aws/", "/main/exporter", time.Time{}, append([]string{"region/eu", "region/us"}, teams...)},
			"by beginning":                   {"port-ocean/aws/", "", time.Time{}, append([]string{"region/ap", "region/eu", "region/us"}, teams...)},
			"by end":                         {"", "region/us-east-1)", time.Time{}, []string{"service/web"}},
			"last changed before":            {"port-ocean/aws/", "", time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), teams},
			"last changed before, by 1 ms":   {"port-ocean/aws/", "/other/exporter", time.Date(2026, 2, 1, 0, 0, 0, 1e6, time.UTC), []string{"region/ap"}},
			"beginning and end do not lap":   {"port-ocean/aws/1.2.0/main/exporter", "/main/exporter", time.Time{}, []string{}},
			"percent and underline are text": {"port%", "_", time.Time{}, []string{}},
			"of nobody":                      {"nobody", "", time.Time{}, []string{}},
		} {
			for _, limit := range []int{1, 2, 100} {
				got := []string{}
				from := ""
				for {
					list, next, err := w.DatasourceEntities(ctx, c.prefix, c.suffix, c.before, from, limit)
					if err != nil {
						t.Fatal(err)
					}
					if len(list) > limit {
						t.Errorf("%s: a page of %d", name, len(list))
					}
					got = append(got, names(list)...)
					if from = next; from == "" {
						break
					}
				}
				slices.Sort(got)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s, in pages of %d: %s", name, limit, diff)
				}
			}
		}
		for _, c := range []struct {
			from  string
			limit int
		}{{"", 0}, {"", 5001}, {"nope", 10}, {"MS4y", 10}} {
			if _, _, err := w.DatasourceEntities(ctx, "port", "", time.Time{}, c.from, c.limit); err == nil {
				t.Errorf("from %q and limit %d are taken", c.from, c.limit)
			}
		}
		for blueprint, want := range map[string]int{"team": 3, "service": 5} {
			if n, err := w.Count(ctx, blueprint); n != want || err != nil {
				t.Errorf("%s has %d: %v", blueprint, n, err)
			}
		}
		if _, err := w.Count(ctx, "nope"); err == nil {
			t.Error("what is not there is counted")
		}
	})
}
