package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestHistoryHasWhatChangedAndWhy(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false), upsert(t, "domain", `{"identifier": "bank"}`, false))
		w.do(upsert(t, "service", `{"identifier": "cart", "title": "Cart", "properties": {"replicas": 1}, "relations": {"domain": "shop"}}`, false))
		w.w = Writer{By: "exporter", Datasource: "rialto-exporter", Cause: Cause{
			Origin: "exporter-event", EventID: "e-1", EventTime: "2026-01-15T21:00:00Z", RuleARN: "arn:aws:events:us-east-1:000000000000:rule/r", RunID: "run-1", Record: "AWS::Lambda::Function/cart",
		}}
		w.do(upsert(t, "service", `{"identifier": "cart", "title": "购物车", "team": "blue", "properties": {"replicas": null, "public": true}, "relations": {"domain": "bank"}}`, true))
		w.do(remove("service", "cart", false))

		h, err := w.History(t.Context(), "service", "cart", 0, 0)
		if err != nil || len(h) != 3 {
			t.Fatalf("%+v, %v", h, err)
		}
		if h[0].Action != ActionDelete || h[1].Action != ActionUpdate || h[2].Action != ActionCreate {
			t.Errorf("actions %s %s %s", h[0].Action, h[1].Action, h[2].Action)
		}
		want := map[string][2]string{
			"title": {`"Cart"`, `"购物车"`}, "team": {`null`, `["blue"]`}, "datasource": {`"test/1"`, `"rialto-exporter"`},
			"properties.replicas": {`1`, `null`}, "properties.public": {`null`, `true`}, "relations.domain": {`"shop"`, `"bank"`},
		}
		for name, v := range want {
			if f := h[1].Fields[name]; string(f.Before) != v[0] || string(f.After) != v[1] {
				t.Errorf("%s changed from %s to %s, want %s to %s", name, f.Before, f.After, v[0], v[1])
			}
		}
		if len(h[1].Fields) != len(want) {
			t.Errorf("%d fields changed: %v", len(h[1].Fields), h[1].Fields)
		}
		if h[1].Cause != w.w.Cause || h[1].By != "exporter" || h[1].Datasource != "rialto-exporter" || h[2].By != "anna" {
			t.Errorf("%+v", h[1])
		}
		if string(h[0].Fields["properties.public"].Before) != "true" || string(h[0].Fields["properties.public"].After) != "null" {
			t.Errorf("the delete has %v", h[0].Fields)
		}
		t.Run("in pages", func(t *testing.T) {
			page, err := w.History(t.Context(), "service", "cart", h[0].ID, 1)
			if err != nil || len(page) != 1 || page[0].ID != h[1].ID {
				t.Errorf("%+v, %v", page, err)
			}
		})
		t.Run("of what never was", func(t *testing.T) {
			_, err := w.History(t.Context(), "nope", "cart", 0, 0)
			refused(t, err, CodeNotFound, "nope")
			if h, err := w.History(t.Context(), "service", "never", 0, 0); err != nil || len(h) != 0 {
				t.Errorf("%+v, %v", h, err)
			}
		})
		for name, c := range map[string]struct {
			filter ChangeFilter
			n      int
		}{
			"all":         {ChangeFilter{}, 8},
			"entities":    {ChangeFilter{Resource: ResourceEntity}, 5},
			"one entity":  {ChangeFilter{Blueprint: "service", Identifier: "cart"}, 3},
			"action":      {ChangeFilter{Resource: ResourceEntity, Action: ActionDelete}, 1},
			"origin":      {ChangeFilter{Origin: "exporter-sync,exporter-event"}, 2},
			"run":         {ChangeFilter{RunID: "run-1"}, 2},
			"by":          {ChangeFilter{By: "exporter"}, 2},
			"from":        {ChangeFilter{From: h[1].At}, 2},
			"to":          {ChangeFilter{To: h[1].At, Blueprint: "service", Resource: ResourceEntity}, 2},
			"nothing":     {ChangeFilter{From: time.Now().Add(1e6 * time.Hour)}, 0},
			"limit":       {ChangeFilter{Limit: 2}, 2},
			"before":      {ChangeFilter{Before: h[2].ID}, 5},
			"no such one": {ChangeFilter{Blueprint: "nope", Identifier: "x"}, 0},
		} {
			if list, err := w.Audits(t.Context(), c.filter); err != nil || len(list) != c.n {
				t.Errorf("%s: %d changes, %v, want %d", name, len(list), err, c.n)
			}
		}
	})
}

func TestEachChangeHasItsOwnCause(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		first, second := upsert(t, "domain", `{"identifier": "a"}`, false), upsert(t, "domain", `{"identifier": "b"}`, false)
		first.Cause = &Cause{Origin: "exporter-event", EventID: "e-1", Record: strings.Repeat("长", 1000) + "\x00"}
		gone := remove("domain", "b", false)
		gone.Cause = &Cause{Origin: "exporter-sync", RunID: "r"}
		w.do(first, second)
		w.do(gone)
		a, b := w.entity("domain", "a"), w.w
		if a.Cause.EventID != "e-1" || len(a.Cause.Record) > maxCause || strings.ContainsRune(a.Cause.Record, 0) {
			t.Errorf("the cause is %+v", a.Cause)
		}
		h, err := w.History(t.Context(), "domain", "b", 0, 0)
		if err != nil || h[0].Cause != *gone.Cause || h[1].Cause != b.Cause {
			t.Errorf("%+v, %v", h, err)
		}
	})
}

func TestChangesArePublished(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		storetest.TakeOutbox(t, w.db)
		w.do(upsert(t, "service", `{"identifier": "cart/长", "title": "C", "properties": {"replicas": 1}}`, false))
		w.do(patch(t, "service", "cart/长", `{"properties": {"replicas": 2}}`))
		w.do(remove("service", "cart/长", false))
		var got []string
		for _, rec := range storetest.TakeOutbox(t, w.db) {
			var e struct {
				Source, Account, Region string
				Type                    string `json:"detail-type"`
				Detail                  struct {
					Change, Blueprint, Identifier, By string
					Entity                            struct {
						Title      string
						Properties map[string]any
						Revision   int
					}
					Fields map[string]FieldChange
					Cause  Cause
				}
			}
			if err := json.Unmarshal(rec.JSON, &e); err != nil {
				t.Fatal(err)
			}
			if rec.Bus.Name != "default" || rec.Bus.Account != "000000000000" || rec.Bus.Region != "us-east-1" || e.Source != "rialto" {
				t.Errorf("%+v of %s", rec.Bus, e.Source)
			}
			d := e.Detail
			got = append(got, fmt.Sprint(e.Type, d.Change, d.Blueprint, d.Identifier, d.By, d.Entity.Title, d.Entity.Properties["replicas"], d.Entity.Revision, len(d.Fields), d.Cause.Origin))
		}
		want := []string{
			fmt.Sprint("entity.created", "created", "service", "cart/长", "anna", "C", 1, 1, 0, "api"),
			fmt.Sprint("entity.updated", "updated", "service", "cart/长", "anna", "C", 2, 2, 1, "api"),
			fmt.Sprint("entity.deleted", "deleted", "service", "cart/长", "anna", "C", 2, 2, 0, "api"),
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		t.Run("without what is too large, which the history has", func(t *testing.T) {
			big := strings.Repeat("长", 100_000)
			w.do(upsert(t, "service", `{"identifier": "big", "properties": {"config": {"a": "`+big+`"}}}`, false))
			recs := storetest.TakeOutbox(t, w.db)
			if len(recs) != 1 || len(recs[0].JSON) > 2000 || !strings.Contains(string(recs[0].JSON), `"truncated":true`) {
				t.Errorf("%d events, the first of %d bytes", len(recs), len(recs[0].JSON))
			}
			h, err := w.History(t.Context(), "service", "big", 0, 0)
			if err != nil || !strings.Contains(string(h[0].Fields["properties.config"].After), big) {
				t.Errorf("the history lacks it, %v", err)
			}
		})
	})
}

func TestEntityThatGrowsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		text := strings.Repeat("x", 600_000)
		w.do(upsert(t, "service", `{"identifier": "big", "properties": {"config": {"a": "`+text+`"}}}`, true))
		refused(t, w.try(upsert(t, "service", `{"identifier": "big", "properties": {"url": "https://`+text+`"}}`, true))[0].Err, CodeTooLarge, "big")
		w.want("service", "big", `{"properties": {"config": {"a": "`+text+`"}, "tier": "gold"}}`)
	})
}

func TestLargeHistoryIsDeletedSomeAtATime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		for i := range 12 {
			w.do(upsert(t, "service", fmt.Sprintf(`{"identifier": "s%d", "properties": {"config": {"a": "%s"}}}`, i, strings.Repeat("x", 900_000)), true))
		}
		w.o.KeepChanges = -time.Hour
		var left []int
		ctx := store.WithHook(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			var n int
			err := tx.QueryRow(ctx, `SELECT count(*) FROM catalog_changes WHERE resource = 'entity'`).Scan(&n)
			left = append(left, n)
			return err
		})
		if err := w.sweepOldChanges(ctx); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(left, []int{3, 0}) {
			t.Errorf("of 12 entries of 900,000 bytes there were left, by and by, %v", left)
		}
	})
}

func TestAuditsThatTakeTooLongSaySo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.plan.time = time.Nanosecond
		_, err := w.Audits(t.Context(), ChangeFilter{RunID: "r"})
		refused(t, err, CodeTooBroad, "from", "to")
	})
}

func TestOldHistoryIsDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.fill("domain", 3, `{"identifier": "d%d"}`)
		w.o.KeepChanges = time.Hour
		if err := w.sweepOldChanges(t.Context()); err != nil || w.count("catalog_changes") != 6 {
			t.Errorf("%d are left, %v", w.count("catalog_changes"), err)
		}
		w.o.KeepChanges = -time.Hour
		if err := w.sweepOldChanges(t.Context()); err != nil || w.count("catalog_changes") != 0 {
			t.Errorf("%d are left, %v", w.count("catalog_changes"), err)
		}
	})
}
