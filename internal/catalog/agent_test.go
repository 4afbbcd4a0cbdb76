package catalog

import (
	"fmt"
	"testing"
)

func TestUserAgentsAreKeptUpToALimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.agents.most = w.count("catalog_datasources") + 3
		write := func(agent string) string {
			t.Helper()
			var err error
			by := w.w
			if by.Datasource, err = w.datasourceOf(t.Context(), agent); err != nil {
				t.Fatal(err)
			}
			results, err := w.Apply(t.Context(), by, []EntityChange{upsert(t, "domain", `{"identifier": "shop"}`, false)}, ApplyOptions{})
			if err != nil || results[0].Err != nil {
				t.Fatalf("%v %v", err, results)
			}
			return w.entity("domain", "shop").Datasource
		}
		for i := range 3 {
			agent := fmt.Sprintf("port-ocean/%d", i)
			if got := write(agent); got != agent {
				t.Errorf("%s is kept as %q", agent, got)
			}
		}
		for _, agent := range []string{"one/too-many", "two/too-many"} {
			if got := write(agent); got != otherAgent {
				t.Errorf("%s is kept as %q", agent, got)
			}
		}
		if got := write("port-ocean/1"); got != "port-ocean/1" {
			t.Errorf("one that was kept before is kept as %q", got)
		}
		if n := w.count("catalog_datasources"); n != w.agents.most+1 {
			t.Errorf("%d are kept, want %d and the one for others", n, w.agents.most)
		}
	})
}
