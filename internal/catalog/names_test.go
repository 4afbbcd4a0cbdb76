package catalog

import (
	"testing"
)

// PostgreSQL takes neither text, and a statement it refuses would take its neighbours along.
func TestNamesThatNoEntityCanHaveAreOfNoEntity(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		for _, name := range []string{"a\x00b", "a\xffb"} {
			w.do(upsert(t, "domain", `{"identifier": "d"}`, true))
			results, err := w.Apply(t.Context(), w.w, []EntityChange{remove("domain", name, true), remove("domain", "d", true)}, ApplyOptions{})
			if err != nil {
				t.Fatalf("delete of %q: %v", name, err)
			}
			refused(t, results[0].Err, CodeNotFound)
			if results[1].Err != nil {
				t.Errorf("the neighbour of %q: %v", name, results[1].Err)
			}
			_, err = w.Entity(t.Context(), "domain", name)
			refused(t, err, CodeNotFound)
			if list, err := w.History(t.Context(), "domain", name, 0, 0); err != nil || len(list) > 0 {
				t.Errorf("history of %q: %v, %v", name, list, err)
			}
			for _, f := range []ChangeFilter{
				{Blueprint: "domain", Identifier: name}, {Blueprint: name}, {Identifier: name}, {Action: name}, {Origin: "api," + name}, {RunID: name}, {By: name}, {Resource: name},
			} {
				if list, err := w.Audits(t.Context(), f); err != nil || f.Origin == "" && len(list) > 0 {
					t.Errorf("audits of %+v: %v, %v", f, list, err)
				}
			}
		}
	})
}
