package exporter

import (
	"testing"
)

func TestARecordBecomesAnEntityAndIsDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		w.run(w.x)
		k := thing("one")
		w.cloud.put(k, 1)
		w.send(q, body("one", "upsert", ""))
		w.eventually("the entity is there", func() bool { return w.entity("thing", "one") != nil })
		w.cloud.put(k, 2)
		w.send(q, body("one", "upsert", ""))
		w.eventually("the entity is changed", func() bool { return w.things()["one"] == 2.0 })
		w.cloud.remove(k)
		w.send(q, body("one", "delete", ""))
		w.eventually("the entity is gone", func() bool { return w.entity("thing", "one") == nil })
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
		if dead := w.dead(); len(dead) > 0 {
			t.Fatalf("dead records: %+v", dead)
		}
	})
}
