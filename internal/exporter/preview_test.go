package exporter

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/catalog"
)

var _ Previewer = catalogSink{}

func TestADryRunSaysWhatWasDoneToEntitiesByHand(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.blueprint(`{"identifier": "part", "title": "Part", "schema": {"properties": {"size": {"type": "number"}}},
			"relations": {"of": {"title": "Of", "target": "thing", "required": false, "many": false}}}`)
		w.configure(`{"resources": [{"kind": "AWS::Test::Thing", "port": {"entity": {"mappings": [
			{"identifier": ".Name", "blueprint": "thing", "properties": {"size": ".Size"}},
			{"identifier": ".Name", "blueprint": "part", "properties": {"size": ".Size"}, "relations": {"of": ".Name"}}]}}}]}`)
		names := []string{"untouched", "edited", "deleted", "both", "改"}
		reads := func() (list []Read) {
			for _, name := range names {
				list = append(list, w.look(thing(name)))
			}
			return list
		}
		for _, name := range names {
			w.cloud.put(thing(name), 1)
		}
		created := []Outcome{Created, Created, Created, Created, Created}
		w.applyWith(reads(), applyOptions{DryRun: true}, created...)
		w.apply(reads(), created...)
		w.applyWith(reads(), applyOptions{DryRun: true}, Unchanged, Unchanged, Unchanged, Unchanged, Unchanged)

		w.putThing("curl/8", "edited", 7)
		w.putThing("curl/8", "改", 7)
		for _, ref := range []catalog.EntityRef{{Blueprint: "part", Identifier: "deleted"}, {Blueprint: "part", Identifier: "both"}, {Blueprint: "thing", Identifier: "both"}} {
			results, err := w.catalog.Apply(t.Context(), catalog.Writer{By: "anna"}, []catalog.EntityChange{{Delete: true, Blueprint: ref.Blueprint, Identifier: ref.Identifier}}, catalog.ApplyOptions{})
			if err != nil || results[0].Err != nil {
				t.Fatal(err, results)
			}
		}
		want := []Outcome{Unchanged, Updated, Updated, Updated, Updated}
		w.applyWith(reads(), applyOptions{DryRun: true}, want...)
		if e := w.entity("thing", "edited"); e.Properties["size"] != 7.0 || w.entity("part", "both") != nil {
			t.Error("a dry run has written")
		}
		w.apply(reads(), want...)
		if e := w.entity("thing", "edited"); e.Properties["size"] != 1.0 || w.entity("part", "both") == nil || w.entity("thing", "both") == nil {
			t.Error("what was done by hand stays")
		}
	})
}

func TestADryRunSaysWhatWouldBeRefused(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		w.cloud.set(thing("one"), map[string]any{"Name": "one", "Size": "large"})
		w.cloud.put(thing("two"), 2)
		reads := []Read{w.look(thing("one")), w.look(thing("two"))}
		w.applyWith(reads, applyOptions{DryRun: true}, Failed, Created)
		w.apply(reads, Failed, Created)
	})
}
