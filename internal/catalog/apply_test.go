package catalog

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestCreateReplaceMerge(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false))
		first := w.do(upsert(t, "service", `{"identifier": "cart/长:1", "title": "Cart 🛒", "icon": "Go", "team": "blue",
			"properties": {"language": "火", "tier": "silver", "replicas": 3, "config": {"a": [1, null]}}, "relations": {"domain": "shop"}}`, false))[0]
		if !first.Created || first.Entity.Revision != 1 || first.Entity.id == 0 {
			t.Errorf("created %+v", first)
		}
		w.want("service", "cart/长:1", `{"title": "Cart 🛒", "icon": "Go", "team": ["blue"],
			"properties": {"language": "火", "tier": "silver", "replicas": 3, "config": {"a": [1, null]}}, "relations": {"domain": "shop", "uses": []}}`)

		t.Run("merge leaves what is not given and null clears", func(t *testing.T) {
			w.do(upsert(t, "service", `{"identifier": "cart/长:1", "team": null, "properties": {"language": null, "public": true}}`, true))
			w.want("service", "cart/长:1", `{"title": "Cart 🛒", "icon": "Go", "team": [],
				"properties": {"language": null, "tier": "silver", "replicas": 3, "config": {"a": [1, null]}, "public": true}, "relations": {"domain": "shop", "uses": []}}`)
		})
		t.Run("replace removes what is not given", func(t *testing.T) {
			w.do(upsert(t, "service", `{"identifier": "cart/长:1", "properties": {"tier": "silver"}}`, false))
			w.want("service", "cart/长:1", `{"title": null, "icon": null, "team": [], "properties": {"tier": "silver"}, "relations": {"domain": null, "uses": []}}`)
		})
		t.Run("put replaces and patch merges what is there", func(t *testing.T) {
			w.do(patch(t, "service", "cart/长:1", `{"properties": {"replicas": 1}}`))
			w.want("service", "cart/长:1", `{"properties": {"tier": "silver", "replicas": 1}}`)
			w.do(put(t, "service", "cart/长:1", `{"title": "C", "properties": {"tier": "silver"}}`))
			w.want("service", "cart/长:1", `{"title": "C", "properties": {"tier": "silver"}}`)
		})
		t.Run("a required property that is not given takes its default", func(t *testing.T) {
			w.do(upsert(t, "service", `{"identifier": "plain"}`, false))
			w.want("service", "plain", `{"properties": {"tier": "gold"}}`)
		})
		t.Run("an identifier is made where there is none", func(t *testing.T) {
			for _, body := range []string{`{}`, `{"identifier": null}`, `{"identifier": ""}`} {
				ch := upsert(t, "domain", body, false)
				ch.Upsert = false
				id := w.do(ch)[0].Identifier
				if len(id) != 18 || !strings.HasPrefix(id, "e_") || w.get("domain", id) == "" {
					t.Errorf("the identifier is %q", id)
				}
			}
		})
		e := w.entity("service", "cart/长:1")
		if e.Revision != 5 || !e.UpdatedAt.After(e.CreatedAt) || e.CreatedBy != "anna" || e.Datasource != "test/1" || e.Cause.Origin != "api" {
			t.Errorf("the entity is %+v", e)
		}
	})
}

func TestWhatChangesNothingWritesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false))
		full := `{"identifier": "cart", "title": "Cart", "team": ["a", "b"], "properties": {"tier": "gold", "replicas": 3, "tags": ["x"], "config": {"k": 1.5}},
			"relations": {"domain": "shop", "uses": ["cart"]}}`
		w.do(upsert(t, "service", full, false))
		before, was := w.trace(), w.entity("service", "cart")
		for name, ch := range map[string]EntityChange{
			"the same, replacing":        upsert(t, "service", full, false),
			"the same, merging":          upsert(t, "service", full, true),
			"nothing, merging":           upsert(t, "service", `{"identifier": "cart"}`, true),
			"null of what is not there":  upsert(t, "service", `{"identifier": "cart", "properties": {"language": null}, "icon": null}`, true),
			"a part, by patch":           patch(t, "service", "cart", `{"properties": {"replicas": 3.0}}`),
			"unknown properties":         patch(t, "service", "cart", `{"properties": {"cluster": "x"}}`),
			"renamed to what it is":      patch(t, "service", "cart", `{"identifier": "cart"}`),
			"a target named twice":       patch(t, "service", "cart", `{"relations": {"uses": ["cart", "cart"]}}`),
			"one text for a list of one": patch(t, "service", "cart", `{"relations": {"uses": "cart"}}`),
		} {
			r := w.do(ch)[0]
			if !r.Unchanged || r.Created || r.Entity == nil {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if after := w.trace(); !maps.Equal(before, after) {
			t.Errorf("rows were written: %v, before %v", after, before)
		}
		if is := w.entity("service", "cart"); is.Revision != was.Revision || is.UpdatedAt != was.UpdatedAt {
			t.Errorf("the entity has revision %d of %s, had %d of %s", is.Revision, is.UpdatedAt, was.Revision, was.UpdatedAt)
		}
		t.Run("another datasource is a change", func(t *testing.T) {
			w.w.Datasource = "test/2"
			if w.do(upsert(t, "service", full, false))[0].Unchanged || w.entity("service", "cart").Datasource != "test/2" {
				t.Error("the datasource stayed")
			}
		})
	})
}

func TestUnknownPropertiesAreLeftOutWithAWarning(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		r := w.do(upsert(t, "service", `{"identifier": "a", "properties": {"cluster": "x", "public": true}}`, false))[0]
		if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "properties.cluster") {
			t.Errorf("warnings: %q", r.Warnings)
		}
		w.want("service", "a", `{"properties": {"public": true, "tier": "gold"}}`)
	})
}

func TestRefusedChangesNameTheFieldAndChangeNothing(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 1001)
	cases := map[string]struct {
		change func(t *testing.T) EntityChange
		code   string
		texts  []string
	}{
		"unknown blueprint":        {entityOf("nope", `{"identifier": "x"}`), CodeNotFound, []string{"nope"}},
		"exists":                   {createOf("service", `{"identifier": "cart"}`), CodeIdentifierTaken, []string{"cart"}},
		"put of what is not there": {putOf("service", "gone", `{}`), CodeNotFound, []string{"gone"}},
		"identifier with a space":  {entityOf("service", `{"identifier": "a b"}`), CodeValidation, []string{"identifier", "a b"}},
		"identifier of two dots":   {entityOf("service", `{"identifier": ".."}`), CodeValidation, []string{"identifier"}},
		"identifier with a bar":    {entityOf("service", `{"identifier": "arn|x"}`), CodeValidation, []string{"identifier", "arn|x"}},
		"identifier too long":      {entityOf("service", `{"identifier": "`+long+`"}`), CodeValidation, []string{"identifier", "1001 characters"}},
		"identifier of many bytes": {entityOf("service", `{"identifier": "`+strings.Repeat("长", 700)+`"}`), CodeValidation, []string{"identifier", "2100 bytes"}},
		"identifier a number":      {entityOf("service", `{"identifier": 7}`), CodeValidation, []string{"identifier"}},
		"title a number":           {entityOf("service", `{"identifier": "x", "title": 7}`), CodeValidation, []string{"title"}},
		"title with NUL":           {entityOf("service", `{"identifier": "x", "title": "a\u0000"}`), CodeValidation, []string{"title", "U+0000"}},
		"icon too long":            {entityOf("service", `{"identifier": "x", "icon": "`+long+`"}`), CodeValidation, []string{"icon", "1001"}},
		"team with a slash":        {entityOf("service", `{"identifier": "x", "team": ["ok", "a/b"]}`), CodeValidation, []string{"team[1]", "a/b"}},
		"team a number":            {entityOf("service", `{"identifier": "x", "team": [1]}`), CodeValidation, []string{"team[0]"}},
		"string for a number":      {entityOf("service", `{"identifier": "x", "properties": {"replicas": "3"}}`), CodeValidation, []string{"properties.replicas", "number", "string"}},
		"number for a string":      {entityOf("service", `{"identifier": "x", "properties": {"url": 3}}`), CodeValidation, []string{"properties.url", "string"}},
		"not of the enum":          {entityOf("service", `{"identifier": "x", "properties": {"language": "c"}}`), CodeValidation, []string{"properties.language", "rust", `"c"`}},
		"below the minimum":        {entityOf("service", `{"identifier": "x", "properties": {"replicas": -1}}`), CodeValidation, []string{"properties.replicas", "-1"}},
		"above the maximum":        {entityOf("service", `{"identifier": "x", "properties": {"replicas": 101}}`), CodeValidation, []string{"properties.replicas", "100"}},
		"no url":                   {entityOf("service", `{"identifier": "x", "properties": {"url": "somewhere"}}`), CodeValidation, []string{"properties.url", "somewhere"}},
		"no time":                  {entityOf("service", `{"identifier": "x", "properties": {"since": "2026-11-20 23:16:55.905650+00:00"}}`), CodeValidation, []string{"properties.since"}},
		"no mail address":          {entityOf("service", `{"identifier": "x", "properties": {"owner": "anna"}}`), CodeValidation, []string{"properties.owner"}},
		"no IPv4 address":          {entityOf("service", `{"identifier": "x", "properties": {"address": "::1"}}`), CodeValidation, []string{"properties.address"}},
		"not of the pattern":       {entityOf("service", `{"identifier": "x", "properties": {"code": "a-12"}}`), CodeValidation, []string{"properties.code", "pattern"}},
		"too long for a pattern":   {entityOf("service", `{"identifier": "x", "properties": {"code": "`+strings.Repeat("a", 6_000_000)+`"}}`), CodeValidation, []string{"properties.code", "6000000 bytes"}},
		"too long":                 {entityOf("service", `{"identifier": "x", "properties": {"code": "abcd-123456"}}`), CodeValidation, []string{"properties.code", "11 characters"}},
		"too many items":           {entityOf("service", `{"identifier": "x", "properties": {"tags": ["a", "b", "c", "d"]}}`), CodeValidation, []string{"properties.tags", "4 items"}},
		"an item of another type":  {entityOf("service", `{"identifier": "x", "properties": {"tags": ["a", 1]}}`), CodeValidation, []string{"properties.tags[1]"}},
		"an item that lacks":       {entityOf("service", `{"identifier": "x", "properties": {"ports": [{"port": 1}, {}]}}`), CodeValidation, []string{"properties.ports[1]", "port"}},
		"NUL within":               {entityOf("service", `{"identifier": "x", "properties": {"config": {"a": ["\u0000"]}}}`), CodeValidation, []string{"properties.config", "U+0000"}},
		"nested too deep":          {entityOf("service", `{"identifier": "x", "properties": {"config": `+strings.Repeat(`{"a":`, 40)+`1`+strings.Repeat(`}`, 40)+`}}`), CodeValidation, []string{"properties.config", "32 levels"}},
		"required is null":         {patchOf("pod", "p1", `{"relations": {"service": null}}`), CodeValidation, []string{"relations.service", "required"}},
		"required is missing":      {entityOf("pod", `{"identifier": "p2"}`), CodeValidation, []string{"relations.service", "required"}},
		"relation of no blueprint": {entityOf("service", `{"identifier": "x", "relations": {"nope": "y"}}`), CodeValidation, []string{"relations.nope"}},
		"relation a number":        {entityOf("service", `{"identifier": "x", "relations": {"domain": 1}}`), CodeValidation, []string{"relations.domain"}},
		"list for one":             {entityOf("service", `{"identifier": "x", "relations": {"domain": ["shop"]}}`), CodeValidation, []string{"relations.domain"}},
		"null in a list":           {entityOf("service", `{"identifier": "x", "relations": {"uses": ["cart", null]}}`), CodeValidation, []string{"relations.uses[1]"}},
		"related is not there":     {entityOf("service", `{"identifier": "x", "relations": {"domain": "gone"}}`), CodeNotFound, []string{"gone", "domain"}},
		"rule of no operator":      {entityOf("service", `{"identifier": "x", "relations": {"domain": {"combinator": "and", "rules": [{"property": "$title", "operator": "??", "value": "x"}]}}}`), CodeInvalidRequest, []string{"??"}},
		"renamed to another":       {patchOf("service", "cart", `{"identifier": "book"}`), CodeIdentifierTaken, []string{"cart", "book"}},
		"delete of what is gone":   {func(*testing.T) EntityChange { return remove("service", "gone", true) }, CodeNotFound, []string{"gone"}},
		"delete with dependents":   {func(*testing.T) EntityChange { return remove("service", "cart", false) }, CodeHasDependents, []string{"has_dependents", "p1", "pod"}},
		"delete of nothing":        {func(*testing.T) EntityChange { return remove("service", "", false) }, CodeValidation, []string{"identifier"}},
	}
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false),
			upsert(t, "service", `{"identifier": "cart"}`, false), upsert(t, "service", `{"identifier": "book"}`, false),
			upsert(t, "pod", `{"identifier": "p1", "relations": {"service": "cart"}}`, false))
		before := w.trace()
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				for _, validateOnly := range []bool{true, false} {
					results, err := w.Apply(t.Context(), w.w, []EntityChange{c.change(t)}, ApplyOptions{ValidateOnly: validateOnly})
					if err != nil {
						t.Fatal(err)
					}
					refused(t, results[0].Err, c.code, c.texts...)
					if results[0].Entity != nil {
						t.Error("there is an entity beside the error")
					}
				}
				if after := w.trace(); !maps.Equal(before, after) {
					t.Fatalf("something was written: %v, before %v", after, before)
				}
			})
		}
		t.Run("a refused change does not spoil its neighbours", func(t *testing.T) {
			results := w.try(upsert(t, "domain", `{"identifier": "n1"}`, false), upsert(t, "domain", `{"identifier": "n 2"}`, false),
				upsert(t, "domain", `{"identifier": "n3"}`, false))
			if results[0].Err != nil || results[1].Err == nil || results[2].Err != nil || w.get("domain", "n1") == "" || w.get("domain", "n3") == "" {
				t.Errorf("%+v", results)
			}
		})
		t.Run("too many changes", func(t *testing.T) {
			_, err := w.Apply(t.Context(), w.w, make([]EntityChange, MaxChanges+1), ApplyOptions{})
			refused(t, err, CodeInvalidRequest, "101")
		})
	})
}

func entityOf(blueprint, body string) func(*testing.T) EntityChange {
	return func(t *testing.T) EntityChange { return upsert(t, blueprint, body, false) }
}

func createOf(blueprint, body string) func(*testing.T) EntityChange {
	return func(t *testing.T) EntityChange {
		ch := upsert(t, blueprint, body, false)
		ch.Upsert = false
		return ch
	}
}

func patchOf(blueprint, identifier, body string) func(*testing.T) EntityChange {
	return func(t *testing.T) EntityChange { return patch(t, blueprint, identifier, body) }
}

func putOf(blueprint, identifier, body string) func(*testing.T) EntityChange {
	return func(t *testing.T) EntityChange { return put(t, blueprint, identifier, body) }
}

func TestNullIsRightForEveryProperty(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "service", `{"identifier": "x", "properties": {"language": null, "url": null, "since": null, "owner": null, "code": null,
			"replicas": null, "public": null, "tags": null, "ports": null, "config": null, "address": null}}`, true))
	})
}

func TestValidateOnlyWritesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false))
		before := w.trace()
		results, err := w.Apply(t.Context(), w.w, []EntityChange{
			upsert(t, "service", `{"identifier": "x", "relations": {"domain": "shop"}}`, false), remove("domain", "shop", false),
		}, ApplyOptions{ValidateOnly: true, Commit: func(context.Context, *store.Tx, []ChangeResult) error {
			t.Error("Commit was called")
			return nil
		}})
		if err != nil || results[0].Err != nil || !results[0].Created || !results[1].Deleted {
			t.Errorf("%v, %+v", err, results)
		}
		if after := w.trace(); !maps.Equal(before, after) {
			t.Errorf("something was written: %v, before %v", after, before)
		}
	})
}

func TestCommitIsPartOfTheTransaction(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		before := w.trace()
		failed := errors.New("no")
		change := upsert(t, "domain", `{"identifier": "x"}`, false)
		_, err := w.Apply(t.Context(), w.w, []EntityChange{change}, ApplyOptions{Commit: func(ctx context.Context, tx *store.Tx, results []ChangeResult) error {
			if !results[0].Created || results[0].Entity.id == 0 {
				t.Errorf("%+v", results[0])
			}
			var n int
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM catalog_entities`).Scan(&n); err != nil || n != 1 {
				t.Errorf("it sees %d entities, %v", n, err)
			}
			return failed
		}})
		if !errors.Is(err, failed) {
			t.Errorf("the error is %v", err)
		}
		if after := w.trace(); !maps.Equal(before, after) {
			t.Errorf("history, index, event or row is left of a transaction that failed: %v, before %v", after, before)
		}
		w.do(change)
		called := 0
		_, err = w.Apply(t.Context(), w.w, []EntityChange{change}, ApplyOptions{Commit: func(_ context.Context, _ *store.Tx, results []ChangeResult) error {
			called++
			if !results[0].Unchanged {
				t.Errorf("%+v", results[0])
			}
			return nil
		}})
		if err != nil || called != 1 {
			t.Errorf("Commit was called %d times for what changed nothing, %v", called, err)
		}
	})
}

func TestIdentifierRenameKeepsRelationsAndHistory(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop", "title": "Shop"}`, false),
			upsert(t, "service", `{"identifier": "cart", "relations": {"domain": "shop"}}`, false))
		storetest.TakeOutbox(t, w.db)
		r := w.do(patch(t, "domain", "shop", `{"identifier": "市场", "properties": {"rank": 1}}`))[0]
		if r.Identifier != "市场" || w.get("domain", "shop") != "" {
			t.Errorf("%+v", r)
		}
		w.want("service", "cart", `{"relations": {"domain": "市场", "uses": []}}`)
		w.want("domain", "市场", `{"title": "Shop", "properties": {"rank": 1}}`)
		for _, name := range []string{"shop", "市场"} {
			h, err := w.History(t.Context(), "domain", name, 0, 0)
			if err != nil || len(h) == 0 || string(h[0].Fields["identifier"].After) != `"市场"` {
				t.Errorf("history of %s: %+v, %v", name, h, err)
			}
		}
		if recs := storetest.TakeOutbox(t, w.db); len(recs) != 1 {
			t.Errorf("%d events", len(recs))
		}
		t.Run("in one batch, in turn", func(t *testing.T) {
			w.do(upsert(t, "domain", `{"identifier": "a"}`, false), upsert(t, "domain", `{"identifier": "b", "title": "B"}`, false))
			w.do(patch(t, "domain", "b", `{"identifier": "c"}`), patch(t, "domain", "a", `{"identifier": "b"}`),
				upsert(t, "domain", `{"identifier": "a", "title": "new"}`, false))
			w.want("domain", "c", `{"title": "B"}`)
			w.want("domain", "b", `{"title": null}`)
			w.want("domain", "a", `{"title": "new"}`)
		})
		t.Run("to the name of one deleted before", func(t *testing.T) {
			w.do(remove("domain", "b", false), patch(t, "domain", "c", `{"identifier": "b"}`))
			w.want("domain", "b", `{"title": "B"}`)
		})
		t.Run("the history of a name ends with what has it", func(t *testing.T) {
			w.do(upsert(t, "domain", `{"identifier": "old"}`, false))
			w.do(patch(t, "domain", "b", `{"title": "first"}`), remove("domain", "old", false), patch(t, "domain", "b", `{"identifier": "old"}`))
			h, err := w.History(t.Context(), "domain", "old", 0, 0)
			if err != nil || len(h) != 3 || h[0].Action != ActionUpdate || h[1].Action != ActionDelete {
				t.Errorf("%+v, %v", h, err)
			}
		})
	})
}

func TestChangesOfABatchSeeThoseBefore(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		results := w.try(
			upsert(t, "service", `{"identifier": "early", "relations": {"domain": "shop"}}`, false),
			upsert(t, "domain", `{"identifier": "shop"}`, false),
			upsert(t, "service", `{"identifier": "late", "relations": {"domain": "shop", "uses": ["late"]}}`, false),
			patch(t, "service", "late", `{"properties": {"replicas": 2}}`),
			patch(t, "service", "late", `{"title": "L"}`))
		refused(t, results[0].Err, CodeNotFound, "shop")
		for _, r := range results[1:] {
			if r.Err != nil {
				t.Error(r.Err)
			}
		}
		w.want("service", "late", `{"title": "L", "properties": {"replicas": 2, "tier": "gold"}, "relations": {"domain": "shop", "uses": ["late"]}}`)
		if e := w.entity("service", "late"); e.Revision != 1 {
			t.Errorf("the revision is %d", e.Revision)
		}
		w.do(remove("service", "late", false), upsert(t, "service", `{"identifier": "late", "title": "again"}`, false))
		w.want("service", "late", `{"title": "again", "properties": {"tier": "gold"}, "relations": {"domain": null, "uses": []}}`)
	})
}

func TestNamesCanBeSwappedWithinABatch(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "a", "title": "A"}`, false), upsert(t, "domain", `{"identifier": "b", "title": "B"}`, false))
		w.do(patch(t, "domain", "a", `{"identifier": "x"}`), patch(t, "domain", "b", `{"identifier": "a"}`), patch(t, "domain", "x", `{"identifier": "b"}`))
		w.want("domain", "a", `{"title": "B"}`)
		w.want("domain", "b", `{"title": "A"}`)
	})
}
