package catalog

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// plain is what a catalog of the world's blueprints has to come to, by the simplest means.
type plain map[EntityRef]*plainEntity

type plainEntity struct {
	title     string
	rank      any // the one property: n, rank or replicas
	relations map[string][]string
}

var plainRelations = map[string]map[string]struct {
	target         string
	many, required bool
}{
	"domain":  {},
	"service": {"domain": {"domain", false, false}, "uses": {"service", true, false}},
	"pod":     {"service": {"service", false, true}, "hosts": {"domain", true, false}},
}

var plainProperty = map[string]string{"domain": "rank", "service": "replicas", "pod": "n"}

// step is one change, for both.
type step struct {
	Blueprint, Identifier, NewIdentifier string
	Delete, Dependents, Merge, Stubs     bool
	Title                                string // "": not given; "-": null
	Rank                                 int    // 0: not given; 1: null
	Relations                            map[string][]string
}

func (s step) change() EntityChange {
	ch := EntityChange{
		Blueprint: s.Blueprint, Delete: s.Delete, DeleteDependents: s.Dependents, Merge: s.Merge, CreateMissingRelated: s.Stubs,
		Upsert: true, Identifier: s.Identifier,
	}
	if s.NewIdentifier != "" {
		ch.Entity.Identifier = Given(s.NewIdentifier)
	}
	switch s.Title {
	case "":
	case "-":
		ch.Entity.Title = Given(nil)
	default:
		ch.Entity.Title = Given(s.Title)
	}
	if s.Rank > 0 {
		ch.Entity.Properties = map[string]any{plainProperty[s.Blueprint]: any(s.Rank)}
		if s.Rank == 1 {
			ch.Entity.Properties = map[string]any{plainProperty[s.Blueprint]: nil}
		}
	}
	if s.Relations != nil {
		ch.Entity.Relations = map[string]any{}
		for key, targets := range s.Relations {
			switch {
			case len(targets) == 0:
				ch.Entity.Relations[key] = nil
			case plainRelations[s.Blueprint][key].many:
				ch.Entity.Relations[key] = targets
			default:
				ch.Entity.Relations[key] = targets[0]
			}
		}
	}
	return ch
}

// apply says whether the step is done; if it is not, nothing is changed.
func (m plain) apply(s step) bool {
	ref := EntityRef{s.Blueprint, s.Identifier}
	e := m[ref]
	if s.Delete {
		return e != nil && m.remove(ref, s.Dependents)
	}
	renamed := s.NewIdentifier != "" && s.NewIdentifier != s.Identifier
	if renamed && (e == nil || m[EntityRef{s.Blueprint, s.NewIdentifier}] != nil) {
		return false
	}
	next := &plainEntity{relations: map[string][]string{}}
	if e != nil && s.Merge {
		*next = plainEntity{e.title, e.rank, maps.Clone(e.relations)}
	}
	switch s.Title {
	case "":
	case "-":
		next.title = ""
	default:
		next.title = s.Title
	}
	if s.Rank == 1 {
		next.rank = nil
	} else if s.Rank > 1 {
		next.rank = float64(s.Rank)
	}
	var stubs []EntityRef
	for key, targets := range s.Relations {
		var list []string
		for _, t := range targets {
			to := EntityRef{plainRelations[s.Blueprint][key].target, t}
			if renamed && to == (EntityRef{s.Blueprint, s.NewIdentifier}) {
				to, t = ref, s.Identifier // that is itself
			}
			if m[to] == nil && to != ref {
				if !s.Stubs {
					return false
				}
				stubs = append(stubs, to)
			}
			if !slices.Contains(list, t) {
				list = append(list, t)
			}
		}
		next.relations[key] = list
	}
	for key, r := range plainRelations[s.Blueprint] {
		if r.required && len(next.relations[key]) == 0 {
			return false
		}
	}
	for _, stub := range stubs {
		m[stub] = &plainEntity{relations: map[string][]string{}}
	}
	m[ref] = next
	if renamed {
		m.rename(ref, s.NewIdentifier)
	}
	return true
}

func (m plain) rename(ref EntityRef, name string) {
	m[EntityRef{ref.Blueprint, name}] = m[ref]
	delete(m, ref)
	for from, e := range m {
		for key, list := range e.relations {
			if plainRelations[from.Blueprint][key].target != ref.Blueprint {
				continue
			}
			list = slices.Clone(list)
			for i := range list {
				if list[i] == ref.Identifier {
					list[i] = name
				}
			}
			e.relations[key] = list
		}
	}
}

func (m plain) remove(ref EntityRef, dependents bool) bool {
	gone := map[EntityRef]bool{ref: true}
	left := func(from EntityRef, key string) (list []string) {
		for _, t := range m[from].relations[key] {
			if !gone[EntityRef{plainRelations[from.Blueprint][key].target, t}] {
				list = append(list, t)
			}
		}
		return list
	}
	for again := true; again; {
		again = false
		for from := range m {
			for key, r := range plainRelations[from.Blueprint] {
				if r.required && !gone[from] && len(m[from].relations[key]) > 0 && len(left(from, key)) == 0 {
					gone[from], again = true, true
				}
			}
		}
	}
	if len(gone) > 1 && !dependents {
		return false
	}
	for from, e := range m {
		for key := range e.relations {
			e.relations[key] = left(from, key)
		}
	}
	maps.DeleteFunc(m, func(r EntityRef, _ *plainEntity) bool { return gone[r] })
	return true
}

func (m plain) lines() []string {
	var lines []string
	for ref, e := range m {
		line := fmt.Sprint(ref, " ", e.title, " ", e.rank)
		for _, key := range sortedKeys(plainRelations[ref.Blueprint]) {
			line += fmt.Sprint(" ", key, len(e.relations[key]), e.relations[key])
		}
		lines = append(lines, line)
	}
	sort.Strings(lines)
	return lines
}

// lines are the entities as plain.lines has them.
func (w *world) lines(t *rapid.T) []string {
	ctx := w.t.Context()
	m, err := w.model(ctx, w.db)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, b := range m.sorted() {
		rows, err := entityRowsAfter(ctx, w.db, b.id, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			e := w.entity(b.Identifier, row.identifier)
			title := ""
			if e.Title != nil {
				title = *e.Title
			}
			line := fmt.Sprint(EntityRef{e.Blueprint, e.Identifier}, " ", title, " ", e.Properties[plainProperty[e.Blueprint]])
			for _, key := range sortedKeys(b.Relations) {
				var list []string
				switch v := e.Relations[key].(type) {
				case string:
					list = []string{v}
				case []string:
					list = v
				}
				line += fmt.Sprint(" ", key, len(list), list)
			}
			lines = append(lines, line)
		}
	}
	sort.Strings(lines)
	return lines
}

func drawStep(t *rapid.T) step {
	identifier := rapid.SampledFrom([]string{"a", "b", "长"})
	s := step{
		Blueprint:  rapid.SampledFrom([]string{"domain", "service", "pod"}).Draw(t, "blueprint"),
		Identifier: identifier.Draw(t, "identifier"),
		Delete:     rapid.IntRange(0, 4).Draw(t, "delete") == 0,
		Dependents: rapid.Bool().Draw(t, "dependents"),
	}
	if s.Delete {
		return s
	}
	s.Merge, s.Stubs = rapid.Bool().Draw(t, "merge"), rapid.Bool().Draw(t, "stubs")
	if rapid.IntRange(0, 5).Draw(t, "rename") == 0 {
		s.NewIdentifier = identifier.Draw(t, "new")
	}
	s.Title = rapid.SampledFrom([]string{"", "-", "T", "U"}).Draw(t, "title")
	s.Rank = rapid.IntRange(0, 4).Draw(t, "rank")
	for _, key := range sortedKeys(plainRelations[s.Blueprint]) {
		if rapid.Bool().Draw(t, key) {
			continue
		}
		if s.Relations == nil {
			s.Relations = map[string][]string{}
		}
		most := 1
		if plainRelations[s.Blueprint][key].many {
			most = 3
		}
		s.Relations[key] = rapid.SliceOfN(identifier, 0, most).Draw(t, key)
	}
	return s
}

// Whatever is done in whatever batches: the catalog comes to what the simplest means come to, its
// index and relations are those of its entities, and each change has its history and event.
func TestApplyDoesWhatItSays(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		rapid.Check(t, func(r *rapid.T) {
			w.clear(r)
			m := plain{}
			for range rapid.IntRange(1, 6).Draw(r, "batches") {
				steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 6).Draw(r, "steps")
				changes, done := make([]EntityChange, len(steps)), make([]bool, len(steps))
				for i, s := range steps {
					changes[i], done[i] = s.change(), m.apply(s)
				}
				results, err := w.Apply(w.t.Context(), w.w, changes, ApplyOptions{})
				if err != nil {
					r.Fatal(err)
				}
				for i := range results {
					if (results[i].Err == nil) != done[i] {
						r.Fatalf("step %+v: done %v, but %v", steps[i], done[i], results[i].Err)
					}
				}
				if got, want := w.lines(r), m.lines(); !slices.Equal(got, want) {
					r.Fatalf("there is\n%q\nwant\n%q", got, want)
				}
			}
			w.checkTables(r, m)
		})
	})
}

// clear takes all entities away.
func (w *world) clear(t *rapid.T) {
	ctx := w.t.Context()
	err := w.db.Update(ctx, func(tx *store.Tx) error {
		for _, table := range []string{"catalog_relations", "catalog_values", "catalog_entities", "catalog_changes", "outbox"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) checkTables(t *rapid.T, m plain) {
	ctx := w.t.Context()
	edges := 0
	for _, e := range m {
		for _, list := range e.relations {
			edges += len(list)
		}
	}
	if n := w.count("catalog_relations"); n != edges {
		t.Fatalf("there are %d relations, want %d", n, edges)
	}
	var want, got []string
	for ref := range m {
		e := w.entity(ref.Blueprint, ref.Identifier)
		for _, r := range indexRows(e) {
			want = append(want, fmt.Sprint(e.id, r))
		}
	}
	rows, err := w.db.Query(ctx, `SELECT v.entity_id, k.property, v.value FROM catalog_values v JOIN catalog_value_keys k ON k.id = v.key_id`)
	got, err = store.All(rows, err, func(row store.Row) (string, error) {
		var id int64
		var r indexRow
		err := row.Scan(&id, &r.property, &r.value)
		return fmt.Sprint(id, r), err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(want)
	sort.Strings(got)
	if !slices.Equal(got, want) {
		t.Fatalf("the index has\n%q\nwant\n%q", got, want)
	}
	w.checkHistory(t, m)
}

// checkHistory follows the history of what there is, and counts the events.
func (w *world) checkHistory(t *rapid.T, m plain) {
	ctx := w.t.Context()
	all, err := w.Audits(ctx, ChangeFilter{Resource: ResourceEntity, Limit: mostChanges})
	if err != nil {
		t.Fatal(err)
	}
	renames := 0
	seen := map[string]bool{}
	for _, c := range all {
		if len(c.Fields) == 0 && c.Action == ActionUpdate {
			t.Fatalf("a change of nothing: %+v", c)
		}
		if key := fmt.Sprint(c.At, c.Blueprint, string(c.Fields["identifier"].Before), string(c.Fields["identifier"].After)); c.Fields["identifier"].After != nil {
			if seen[key] {
				renames++
			}
			seen[key] = true
		}
	}
	if n := w.count("outbox"); n != len(all)-renames {
		t.Fatalf("%d events of %d changes, %d of them twice as renames", n, len(all), renames)
	}
	for ref := range m {
		h, err := w.History(ctx, ref.Blueprint, ref.Identifier, 0, 1)
		if err != nil || len(h) != 1 || h[0].Action == ActionDelete {
			t.Fatalf("the history of %v ends in %+v, %v", ref, h, err)
		}
	}
}
