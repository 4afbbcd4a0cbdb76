package template

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Either each name comes after those it needs, or the circle that is named is one.
func TestOrderHoldsForAllGraphs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "names")
		given := make([]string, n)
		for i := range given {
			given[i] = fmt.Sprint("N", i)
		}
		needs := map[string][]string{}
		for range rapid.IntRange(0, 2*n).Draw(t, "edges") {
			from := rapid.SampledFrom(given).Draw(t, "from")
			needs[from] = append(needs[from], rapid.SampledFrom(given).Draw(t, "to"))
		}
		sorted, cycle := order(given, needs)
		for i, name := range cycle {
			if next := cycle[(i+1)%len(cycle)]; !slices.Contains(needs[name], next) {
				t.Fatalf("%s does not need %s: %v in %v", name, next, cycle, needs)
			}
		}
		if cycle != nil {
			return
		}
		if len(sorted) != n {
			t.Fatalf("%v of %v", sorted, given)
		}
		for i, name := range sorted {
			for _, need := range needs[name] {
				if at := slices.Index(sorted, need); at < 0 || at >= i {
					t.Fatalf("%s needs %s: %v", name, need, sorted)
				}
			}
		}
		if len(needs) == 0 && !slices.Equal(sorted, given) {
			t.Fatalf("%v", sorted)
		}
	})
}
