package exporter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

func TestReadsBecomeEntities(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		one, two := thing("one"), thing("two")
		w.cloud.put(one, 1)
		w.apply([]Read{w.look(one), w.look(two)}, Created, Absent)
		w.wantThings(map[string]any{"one": 1.0})
		w.apply([]Read{w.look(one)}, Unchanged)
		w.cloud.put(one, 2)
		out := w.apply([]Read{w.look(one)}, Updated)
		if !out[0].Changed || out[0].Before == nil || len(out[0].Entities) != 1 {
			t.Errorf("an update is %+v", out[0])
		}
		w.wantThings(map[string]any{"one": 2.0})
		w.pass(time.Hour) // so that not finding it counts
		w.cloud.remove(one)
		out = w.apply([]Read{w.look(one)}, Deleted)
		if len(out[0].Removed) != 1 || !out[0].Changed {
			t.Errorf("a delete is %+v", out[0])
		}
		w.wantThings(nil)
		w.apply([]Read{w.look(one)}, Absent)
	})
}

func TestTheReadThatBeganLaterWins(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		early := w.look(k)
		w.cloud.put(k, 2)
		late := w.look(k)
		w.apply([]Read{late}, Created)
		w.apply([]Read{early}, Stale)
		w.apply([]Read{early, late}, Stale, Unchanged)
		w.wantThings(map[string]any{"one": 2.0})
		w.pass(time.Hour)
		w.cloud.remove(k)
		found := late
		found.Ticket = w.x.newRead(k).Ticket
		w.apply([]Read{w.look(k)}, Deleted)
		w.apply([]Read{found}, Stale) // it is not brought back
		w.wantThings(nil)
	})
}

func TestAResourceThatIsNoLongerSelectedHasNoEntity(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		w.apply([]Read{w.look(k)}, Created)
		w.cloud.set(k, map[string]any{"Name": "one", "Hidden": true})
		w.apply([]Read{w.look(k)}, Deselected)
		w.wantThings(nil)
		if r := w.resource(k); r == nil || !r.Present || len(r.Entities) > 0 {
			t.Errorf("what is known is %+v", r)
		}
		w.cloud.put(k, 3)
		w.apply([]Read{w.look(k)}, Created)
		w.wantThings(map[string]any{"one": 3.0})
	})
}

func TestAnEntityGoesWithTheLastOfItsResources(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		a, b := thing("a"), thing("b")
		for i, k := range []Key{a, b} {
			w.cloud.set(k, map[string]any{"Name": "shared", "Size": float64(i)})
		}
		w.apply([]Read{w.look(a), w.look(b)}, Created, Created)
		w.wantThings(map[string]any{"shared": 1.0})
		w.pass(time.Hour)
		w.cloud.remove(b)
		w.apply([]Read{w.look(b)}, Deleted)
		if r := w.resource(a); r.RecheckAt.IsZero() {
			t.Error("the other resource is not read again, though the entity has what the first gave it")
		}
		if _, err := w.x.recheckDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantThings(map[string]any{"shared": 0.0})
		w.cloud.remove(a)
		w.apply([]Read{w.look(a)}, Deleted)
		w.wantThings(nil)
		// Both at once.
		w.cloud.put(a, 1)
		for _, k := range []Key{a, b} {
			w.cloud.set(k, map[string]any{"Name": "shared", "Size": 1.0})
		}
		w.apply([]Read{w.look(a), w.look(b)}, Created, Created)
		w.pass(time.Hour)
		w.cloud.remove(a)
		w.cloud.remove(b)
		w.apply([]Read{w.look(a), w.look(b)}, Deleted, Deleted)
		w.wantThings(nil)
	})
}

func TestTheOldEntityGoesWhenTheIdentifierChanges(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		a, b := thing("a"), thing("b")
		w.cloud.set(a, map[string]any{"Name": "old", "Size": 1.0})
		w.apply([]Read{w.look(a)}, Created)
		w.cloud.set(a, map[string]any{"Name": "new", "Size": 1.0})
		out := w.apply([]Read{w.look(a)}, Updated)
		if len(out[0].Removed) != 1 || out[0].Removed[0].Identifier != "old" {
			t.Errorf("removed: %v", out[0].Removed)
		}
		w.wantThings(map[string]any{"new": 1.0})
		// Another resource takes the name over, in the same write.
		w.cloud.set(a, map[string]any{"Name": "newer", "Size": 1.0})
		w.cloud.set(b, map[string]any{"Name": "new", "Size": 2.0})
		w.apply([]Read{w.look(a), w.look(b)}, Updated, Created)
		w.wantThings(map[string]any{"newer": 1.0, "new": 2.0})
	})
}

func TestWhatWouldGoIsHeld(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		a, b := thing("a"), thing("b")
		w.cloud.put(a, 1)
		w.apply([]Read{w.look(a)}, Created)
		ticket := w.resource(a).Ticket
		w.cloud.set(a, map[string]any{"Name": "a", "Hidden": true})
		w.cloud.put(b, 2)
		out := w.applyWith([]Read{w.look(a), w.look(b)}, applyOptions{HoldRemovals: true}, Deselected, Created)
		if len(out[0].Removed) != 1 || w.resource(a).Ticket != ticket {
			t.Errorf("held: %+v, ticket %d was %d", out[0], w.resource(a).Ticket, ticket)
		}
		w.wantThings(map[string]any{"a": 1.0, "b": 2.0})
	})
}

func TestADryRunWritesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		a, b := thing("a"), thing("b")
		w.cloud.put(a, 1)
		w.apply([]Read{w.look(a)}, Created)
		w.pass(time.Hour)
		w.cloud.remove(a)
		w.cloud.put(b, 1)
		w.applyWith([]Read{w.look(a), w.look(b)}, applyOptions{DryRun: true}, Deleted, Created)
		w.wantThings(map[string]any{"a": 1.0})
		if w.resource(b) != nil {
			t.Error("a dry run has stored a resource")
		}
	})
}

func TestAResourceThatCannotBeMappedKeepsItsEntity(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		a, b := thing("a"), thing("b")
		w.cloud.put(a, 1)
		w.apply([]Read{w.look(a)}, Created)
		w.cloud.set(a, map[string]any{"Size": 2.0}) // without a name
		w.cloud.put(b, 1)
		out := w.apply([]Read{w.look(a), w.look(b)}, Failed, Created)
		if !strings.Contains(out[0].Err.Error(), "identifier") {
			t.Errorf("the error is %v", out[0].Err)
		}
		w.wantThings(map[string]any{"a": 1.0, "b": 1.0})
		if r := w.resource(a); !r.Present || r.Error == "" || len(r.Entities) != 1 {
			t.Errorf("what is known is %+v", r)
		}
		w.cloud.put(a, 3)
		w.apply([]Read{w.look(a)}, Updated)
		if r := w.resource(a); r.Error != "" {
			t.Errorf("the error stays: %s", r.Error)
		}
	})
}

func TestARefusedEntityDoesNotSpoilOthers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		a, b := thing("a"), thing("b")
		w.cloud.set(a, map[string]any{"Name": "a", "Size": "large"}) // no number
		w.cloud.put(b, 1)
		out := w.apply([]Read{w.look(a), w.look(b)}, Failed, Created)
		if out[0].Retry || !strings.Contains(out[0].Err.Error(), "size") {
			t.Errorf("a refusal is %+v", out[0])
		}
		w.wantThings(map[string]any{"b": 1.0})
		if r := w.resource(a); len(r.Entities) > 0 || r.Error == "" {
			t.Errorf("what is known is %+v", r)
		}
	})
}

func TestAMissingRelatedEntityIsWaitedFor(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.blueprint(`{"identifier": "part", "title": "Part", "schema": {"properties": {}}, "relations": {"of": {"target": "thing", "required": true}}}`)
		w.configure(`{"resources": [
			{"kind": "AWS::Test::Part", "port": {"entity": {"mappings": [{"identifier": ".Name", "blueprint": "part", "properties": {}, "relations": {"of": ".Of"}}]}}},
			{"kind": "AWS::Test::Thing", "port": {"entity": {"mappings": [{"identifier": ".Name", "blueprint": "thing", "properties": {"size": ".Size"}}]}}}]}`)
		whole := thing("whole")
		part := Key{Account: testAccount, Region: testRegion, Kind: "AWS::Test::Part", Identifier: "part"}
		w.cloud.set(part, map[string]any{"Name": "part", "Of": "whole"})
		out := w.apply([]Read{w.look(part)}, Failed)
		if !out[0].Retry || w.resource(part).RecheckAt.IsZero() {
			t.Errorf("a missing relation is %+v", out[0])
		}
		w.cloud.put(whole, 1)
		w.apply([]Read{w.look(whole)}, Created)
		w.pass(time.Minute)
		if _, err := w.x.recheckDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.entity("part", "part") == nil {
			t.Fatal("the part is not there")
		}
		// What it depends on goes, and it with that, though it exists.
		w.pass(time.Hour)
		w.cloud.remove(whole)
		w.apply([]Read{w.look(whole)}, Deleted)
		if w.entity("part", "part") != nil {
			t.Fatal("the part is there without the whole")
		}
		if r := w.resource(part); r.RecheckAt.IsZero() {
			t.Error("the part is not read again")
		}
		w.cloud.put(whole, 2)
		w.apply([]Read{w.look(whole)}, Created)
		if _, err := w.x.recheckDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.entity("part", "part") == nil {
			t.Error("the part does not come back")
		}
	})
}

func TestWhatIsNotConfiguredIsLeftAlone(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k, elsewhere := thing("one"), Key{Account: testAccount, Region: "us-east-1", Kind: testKind, Identifier: "two"}
		w.cloud.put(k, 1)
		w.cloud.put(elsewhere, 1)
		w.apply([]Read{w.look(k), w.look(elsewhere)}, Created, Ignored)
		w.configure(`{"resources": []}`)
		w.cloud.put(k, 2)
		w.apply([]Read{w.look(k)}, Ignored)
		w.wantThings(map[string]any{"one": 1.0})
	})
}

func TestTheConfigurationInForceDecides(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		read := w.look(k)
		// Another configuration comes into force between the mapping and the write.
		w.x.o.Sink = &meddlingSink{Sink: w.sink, meddle: func() {
			w.configure(strings.ReplaceAll(testConfig, `"identifier": ".Name"`, `"identifier": ".Name + \"-x\""`))
		}}
		w.apply([]Read{read}, Created)
		w.wantThings(map[string]any{"one-x": 1.0})
	})
}

// meddlingSink does something before the first write.
type meddlingSink struct {
	Sink
	meddle func()
}

// Write implements Sink.
func (s *meddlingSink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	if f := s.meddle; f != nil {
		s.meddle = nil
		f()
	}
	return s.Sink.Write(ctx, w, changes, commit)
}

func TestANodeWithoutTheLeaseWritesNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		read := w.look(k)
		other := w.node("b")
		// The lease is lost between the plan and the write.
		w.x.o.Sink = &meddlingSink{Sink: w.sink, meddle: func() {
			if err := other.takeOver(t.Context()); err != nil {
				t.Error(err)
			}
		}}
		if _, err := w.x.apply(t.Context(), []Read{read}, catalog.Cause{}, applyOptions{}); !errors.Is(err, errDeposed) {
			t.Fatalf("the error is %v", err)
		}
		w.wantThings(nil)
		if w.resource(k) != nil {
			t.Error("something is known that was not to be written")
		}
		if a, b := w.x.newRead(k).Ticket, other.newRead(k).Ticket; a >= b {
			t.Errorf("the old node's ticket %d is not below the new one's, %d", a, b)
		}
	})
}

func TestAReadFromBeforeADeleteByAnotherNameIsMadeAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("arn:aws:test:eu-west-1:123456789012:thing/one")
		w.cloud.put(k, 1)
		early := w.look(k)
		w.cloud.remove(k)
		byName := w.x.newRead(thing("one"))
		byName.DeleteAt = w.now()
		w.apply([]Read{byName}, Absent)
		early.UpsertAt = w.now().Add(-time.Minute)
		w.apply([]Read{early}, Pending) // read again, and not found
		w.wantThings(nil)
		w.cloud.put(k, 2)
		w.apply([]Read{w.look(k)}, Created)
		w.wantThings(map[string]any{"one": 2.0})
		if r := w.resource(k); r.RecheckAt.IsZero() {
			t.Error("it is not looked at again, though something so called was deleted just now")
		}
	})
}

func TestWhereNothingCanBeReadEventsDecide(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		w.apply([]Read{w.look(k)}, Created)
		denied := func(upsert, deleted time.Duration) Read {
			r := w.x.newRead(k)
			r.Unread = &reader.Error{Class: reader.Denied, Err: errors.New("access denied")}
			if upsert != 0 {
				r.UpsertAt = w.now().Add(upsert)
			}
			if deleted != 0 {
				r.DeleteAt = w.now().Add(deleted)
			}
			return r
		}
		w.apply([]Read{denied(0, -time.Hour)}, Unchanged) // from before it was read
		w.apply([]Read{denied(-time.Minute, 0)}, Failed)
		w.wantThings(map[string]any{"one": 1.0})
		w.pass(time.Minute)
		w.apply([]Read{denied(0, -time.Second)}, Deleted)
		w.wantThings(nil)
		w.apply([]Read{denied(-2*time.Second, 0)}, Absent) // the tombstone holds it back
		if r := w.resource(k); !r.ReadAt.IsZero() {
			t.Errorf("what is known rests on a read: %+v", r)
		}
	})
}

func TestEveryChangeKeepsItsCause(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		var reads []Read
		for i := range 3 {
			k := thing(fmt.Sprint("one-", i))
			w.cloud.put(k, 1)
			r := w.look(k)
			r.Cause = catalog.Cause{Origin: originEvent, EventID: fmt.Sprint("event-", i), RuleARN: "arn:aws:events:eu-west-1:123456789012:rule/r", Record: "m"}
			reads = append(reads, r)
		}
		w.apply(reads, Created, Created, Created)
		w.pass(time.Hour)
		for i := range reads {
			id := fmt.Sprint("one-", i)
			w.cloud.remove(thing(id))
			if e := w.entity("thing", id); e.Cause.EventID != fmt.Sprint("event-", i) {
				t.Errorf("entity %s has cause %+v", id, e.Cause)
			}
			reads[i] = w.look(thing(id))
			reads[i].Cause = catalog.Cause{Origin: originEvent, EventID: fmt.Sprint("deleted-", i)}
		}
		w.apply(reads, Deleted, Deleted, Deleted)
		for i := range reads {
			id := fmt.Sprint("one-", i)
			history, err := w.catalog.History(t.Context(), "thing", id, 0, 10)
			if err != nil || len(history) != 2 || history[0].Cause.EventID != fmt.Sprint("deleted-", i) {
				t.Errorf("history of %s: %+v, %v", id, history, err)
			}
			if r := w.resource(thing(id)); r.Cause.EventID != fmt.Sprint("deleted-", i) {
				t.Errorf("resource %s has cause %+v", id, r.Cause)
			}
		}
	})
}

func TestWhatIsAppliedIsCommittedWithTheCallersOwn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		read := w.look(k)
		no := errors.New("no")
		_, err := w.x.apply(t.Context(), []Read{read}, catalog.Cause{}, applyOptions{Commit: func(_ context.Context, _ *store.Tx, done []Applied) error {
			if len(done) != 1 || done[0].Outcome != Created {
				t.Errorf("committed: %+v", done)
			}
			return no
		}})
		if !errors.Is(err, no) {
			t.Fatalf("the error is %v", err)
		}
		w.wantThings(nil)
		if w.resource(k) != nil {
			t.Error("something is known that was undone")
		}
	})
}

func TestAResourceOfManyEntities(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.configure(`{"resources": [{"kind": "AWS::Test::Thing", "port": {"entity": {"mappings": [
			{"itemsToParse": ".Parts", "identifier": ".item.Name", "blueprint": "thing", "properties": {"size": ".item.Size"}}]}}}]}`)
		k := thing("whole")
		parts := func(n int) map[string]any {
			want := map[string]any{}
			var list []any
			for i := range n {
				name := fmt.Sprintf("part-%d", i)
				want[name] = float64(i)
				list = append(list, map[string]any{"Name": name, "Size": float64(i)})
			}
			w.cloud.set(k, map[string]any{"Parts": list})
			return want
		}
		want := parts(250)
		w.apply([]Read{w.look(k)}, Created)
		w.wantThings(want)
		w.apply([]Read{w.look(k)}, Unchanged)
		want = parts(3)
		w.apply([]Read{w.look(k)}, Updated)
		w.wantThings(want)
		if r := w.resource(k); !r.RecheckAt.IsZero() || len(r.Entities) != 3 {
			t.Errorf("what is known is %+v", r)
		}
	})
}

func TestAnInterruptedWriteIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		sink := &crashingSink{w: w, at: 1, stored: map[catalog.EntityRef]map[string]any{}}
		w.x.o.Sink = sink
		k := thing("one")
		w.cloud.set(k, map[string]any{"Name": "before", "Size": 1.0})
		if _, err := w.x.apply(t.Context(), []Read{w.look(k)}, catalog.Cause{}, applyOptions{}); !errors.Is(err, errCrash) {
			t.Fatalf("the error is %v", err)
		}
		// The entity is in the sink; what is known says so.
		r := w.resource(k)
		if len(sink.stored) != 1 || r == nil || len(r.Entities) != 1 || r.RecheckAt.IsZero() {
			t.Fatalf("stored: %v, known: %+v", sink.stored, r)
		}
		sink.crashAt(-1)
		w.cloud.set(k, map[string]any{"Name": "after", "Size": 2.0})
		w.pass(time.Hour)
		if _, err := w.x.recheckDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ok := sink.stored[catalog.EntityRef{Blueprint: "thing", Identifier: "after"}]; !ok || len(sink.stored) != 1 {
			t.Errorf("stored: %v", sink.stored)
		}
	})
}

func TestWritersDoNotLoseEachOther(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		const writers, rounds = 8, 5
		keys := []Key{thing("a"), thing("b"), thing("c")}
		errs := make(chan error, writers)
		for n := range writers {
			go func() {
				for i := range rounds {
					k := keys[(n+i)%len(keys)]
					w.cloud.set(k, map[string]any{"Name": "shared-" + fmt.Sprint((n*i)%3), "Size": float64(n)})
					var reads []Read
					for _, k := range keys {
						r, err := w.x.read(t.Context(), k, w.x.tickets.mark())
						if err != nil {
							errs <- err
							return
						}
						reads = append(reads, r)
					}
					if _, err := w.x.apply(t.Context(), reads, catalog.Cause{}, applyOptions{}); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range writers {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range keys {
			w.cloud.put(k, 7)
		}
		var reads []Read
		for _, k := range keys {
			reads = append(reads, w.look(k))
		}
		if _, err := w.x.apply(t.Context(), reads, catalog.Cause{}, applyOptions{}); err != nil {
			t.Fatal(err)
		}
		w.wantThings(map[string]any{"a": 7.0, "b": 7.0, "c": 7.0})
	})
}

func TestWhatIsGoneIsForgottenInTheEnd(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		a, b := thing("a"), thing("b")
		w.cloud.put(a, 1)
		w.apply([]Read{w.look(a), w.look(b)}, Created, Absent)
		w.pass(goneFor - time.Hour)
		if n, err := w.x.sweepOnce(t.Context()); n != 0 || err != nil {
			t.Errorf("%d were forgotten, %v", n, err)
		}
		w.pass(2 * time.Hour)
		if n, err := w.x.sweepOnce(t.Context()); n != 1 || err != nil {
			t.Errorf("%d were forgotten, %v", n, err)
		}
		if w.resource(a) == nil || w.resource(b) != nil {
			t.Error("the wrong one was forgotten")
		}
	})
}
