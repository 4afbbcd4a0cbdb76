package resource

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// Whatever is done in whatever order, documents are what a map of models would hold, and each change
// leaves one event at least, what changes nothing none.
func TestDocumentsAreWhatWasAskedForLast(t *testing.T) {
	db := storetest.SQLite(t)
	f := newFixture(t, db)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		typ := "AWS::DynamoDB::Table"
		want := map[string]int{} // names and write capacities
		token := 0
		name := rapid.Custom(func(rt *rapid.T) string {
			return fmt.Sprintf("table-%d-%d", run, rapid.IntRange(1, 3).Draw(rt, "name"))
		})
		desired := func(name string, units int) Model {
			return Model{
				"TableName": name, "KeySchema": []any{map[string]any{"AttributeName": "id", "KeyType": "HASH"}},
				"ProvisionedThroughput": map[string]any{"ReadCapacityUnits": 1, "WriteCapacityUnits": units},
			}
		}
		events := func() (n int) {
			if err := db.QueryRow(f.ctx, `SELECT COUNT(*) FROM outbox`).Scan(&n); err != nil {
				rt.Fatal(err)
			}
			return n
		}
		if err := db.Update(f.ctx, func(tx *store.Tx) error { _, err := tx.Exec(f.ctx, `DELETE FROM outbox`); return err }); err != nil {
			rt.Fatal(err)
		}
		told := func(what string, err error, before int, changed bool) {
			if after := events(); (after > before) != (changed && err == nil) {
				rt.Fatalf("%s: %v, and %d events", what, err, after-before)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				n, units, before := name.Draw(rt, "name"), rapid.IntRange(1, 3).Draw(rt, "units"), events()
				token++
				r := request("")
				r.Desired, r.Token = desired(n, units), fmt.Sprint(run, token)
				_, there := want[n]
				_, err := f.Create(f.ctx, typ, r)
				if (CodeOf(err) == AlreadyExists) != there || err != nil && !there {
					rt.Fatalf("create %s: %v", n, err)
				}
				told("create", err, before, true)
				if err == nil {
					want[n] = units
					if _, err := f.Create(f.ctx, typ, r); err != nil {
						rt.Fatalf("create %s again: %v", n, err)
					}
				}
			},
			"update": func(rt *rapid.T) {
				n, units, before := name.Draw(rt, "name"), rapid.IntRange(1, 3).Draw(rt, "units"), events()
				had, there := want[n]
				r := request(n)
				r.Previous, r.Desired = desired(n, had), desired(n, units)
				_, err := f.Update(f.ctx, typ, r)
				if (CodeOf(err) == NotFound) == there || err != nil && there {
					rt.Fatalf("update %s: %v", n, err)
				}
				told("update", err, before, there && had != units)
				if there {
					want[n] = units
				}
			},
			"delete": func(rt *rapid.T) {
				n, before := name.Draw(rt, "name"), events()
				_, there := want[n]
				err := f.Delete(f.ctx, typ, request(n))
				if (CodeOf(err) == NotFound) == there || err != nil && there {
					rt.Fatalf("delete %s: %v", n, err)
				}
				told("delete", err, before, there)
				delete(want, n)
			},
			"": func(rt *rapid.T) {
				r := request("")
				r.Max = 2
				have := map[string]int{}
				for {
					models, next, err := f.List(f.ctx, typ, r)
					if err != nil {
						rt.Fatal(err)
					}
					for _, m := range models {
						units, _ := Path{"ProvisionedThroughput", "WriteCapacityUnits"}.Get(m)
						have[scalar(m["TableName"])] = int(scalar(units)[0] - '0')
					}
					if next == "" {
						break
					}
					r.Next = next
				}
				if !maps.Equal(have, want) {
					rt.Fatalf("there are %v, want %v", have, want)
				}
			},
		})
		for _, n := range slices.Sorted(maps.Keys(want)) {
			if err := f.Delete(f.ctx, typ, request(n)); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
