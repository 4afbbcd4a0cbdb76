package catalog

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// searchCase is a file of testdata/search/cases.
type searchCase struct {
	Blueprint string          `json:"blueprint"`
	Query     json.RawMessage `json:"query"`
	Caller    struct {
		User  map[string]string `json:"user"`
		Teams []string          `json:"teams"`
	} `json:"caller"`
	Want []string `json:"want"`
}

func searchCases(t testing.TB) map[string]searchCase {
	t.Helper()
	files, err := filepath.Glob("testdata/search/cases/*.json")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d cases of the search language: %v", len(files), err)
	}
	cases := map[string]searchCase{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var c searchCase
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		cases[strings.TrimSuffix(filepath.Base(f), ".json")] = c
	}
	return cases
}

func TestSearch(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		for name, c := range searchCases(t) {
			t.Run(name, func(t *testing.T) {
				q, err := ParseQuery(c.Query)
				if err != nil {
					t.Fatal(err)
				}
				o := SearchOptions{Blueprint: c.Blueprint, Caller: Caller{User: c.Caller.User, Teams: c.Caller.Teams}}
				got := names(w.all(t, q, o))
				want := slices.Clone(c.Want)
				if !slices.IsSorted(got) {
					t.Errorf("the order is %v", got)
				}
				slices.Sort(want)
				if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
					t.Error(diff)
				}
				o.Limit = 1 // the same, page by page
				if diff := cmp.Diff(got, names(w.all(t, q, o))); diff != "" {
					t.Errorf("in pages of one: %s", diff)
				}
				o.Limit, w.plan.pageBytes = 0, 1000
				if diff := cmp.Diff(got, names(w.all(t, q, o))); diff != "" {
					t.Errorf("in pages of a thousand bytes: %s", diff)
				}
				w.plan.pageBytes = defaultPlan.pageBytes
			})
		}
	})
}
