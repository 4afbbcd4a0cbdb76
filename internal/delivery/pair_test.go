package delivery

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

// still is a Delivery whose jobs do not run.
func still(db *store.DB) *Delivery {
	return New(Options{DB: db, Work: work.New(db, "test", nil), Logger: slog.New(slog.DiscardHandler), Now: time.Now})
}

func somePair(d *Delivery, state pairState) *pair {
	p := &pair{seq: 7, state: state, sub: &bus.Subscription{ID: 3}, rec: event.Record{ID: "e", JSON: []byte(`{}`)}}
	h := d.holds.begin(7, func() {})
	h.add(p)
	h.settle() // the router is done with it
	return p
}

func jobs(t *testing.T, d *Delivery) int {
	t.Helper()
	counts, err := d.Work.Counts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		if c.Queue == jobQueue {
			return c.Due + c.Later
		}
	}
	return 0
}

func TestHoldAndAttemptThatEndTogetherLeaveTheRightJob(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(context.Context, *Delivery, *pair)
		want int
	}{
		"a failed attempt's own job stays":         {func(ctx context.Context, d *Delivery, p *pair) { d.park(ctx, p, time.Hour) }, 1},
		"a delivered event's job goes":             {func(ctx context.Context, d *Delivery, p *pair) { d.conclude(ctx, p) }, 0},
		"an attempt still under way keeps its job": {func(context.Context, *Delivery, *pair) {}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, db *store.DB) {
				ctx, d := context.Background(), still(db)
				p := somePair(d, attempting)
				claims, made, err := claimJobs([]*pair{p})
				if err != nil || len(made) != 1 {
					t.Fatal(made, err)
				}
				test.end(ctx, d, p)
				if err := db.Update(ctx, func(tx *store.Tx) error { return d.Work.Enqueue(ctx, tx, made...) }); err != nil {
					t.Fatal(err)
				}
				d.noteJobs(ctx, claims)
				if got := jobs(t, d); got != test.want {
					t.Errorf("%d jobs, want %d", got, test.want)
				}
				if due, _ := d.holds.overdue(time.Now()); len(due) != 0 {
					t.Error("the batch is still held")
				}
			})
		})
	}
}

func TestAPairIsSettledOnce(t *testing.T) {
	ctx, d := context.Background(), still(storetest.SQLite(t))
	settled := 0
	h := d.holds.begin(1, func() { settled++ })
	p := &pair{state: attempting, sub: &bus.Subscription{ID: 3}}
	other := &pair{state: waiting, sub: &bus.Subscription{ID: 4}}
	h.add(p)
	h.add(other)
	h.settle()
	p.noteJob()
	p.noteJob()
	d.conclude(ctx, p)
	d.conclude(ctx, p)
	if settled != 0 {
		t.Fatal("settled before the other was")
	}
	other.end(parked)
	other.end(done)
	if settled != 1 {
		t.Errorf("settled %d times, want once", settled)
	}
}

func TestDrainReturnsWhenNothingIsHeld(t *testing.T) {
	l := holdList{wake: make(chan struct{}, 1)}
	l.drain(context.Background())
	a, b := l.begin(1, func() {}), l.begin(2, func() {})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		l.drain(context.Background())
	}()
	a.settle()
	select {
	case <-drained:
		t.Fatal("drained while a batch is held")
	default:
	}
	b.settle()
	<-drained
}

func TestPositionIsTheFirstEntryThatIsNotSettled(t *testing.T) {
	var p progress
	p.seek(cursor{5, 2})
	check := func(when string, want cursor) {
		t.Helper()
		if got := p.position(); got != want {
			t.Errorf("%s: position %v, want %v", when, got, want)
		}
	}
	check("before reading", cursor{5, 2})
	h := newHeld(5, func() { p.end(5) })
	p.begin(h, 2)
	check("at the first entry", cursor{5, 2})
	a, b := &pair{index: 2}, &pair{index: 4}
	h.add(a)
	p.at(4)
	check("with an open delivery", cursor{5, 2})
	a.end(done)
	check("with all that was handed over settled", cursor{5, 4})
	h.add(b)
	p.at(6)
	check("with a later one open", cursor{5, 4})
	h.settle()
	next := newHeld(6, func() { p.end(6) })
	p.begin(next, 0)
	check("with two batches open", cursor{5, 4})
	b.end(parked)
	check("with the first settled", cursor{6, 0})
	next.settle()
	check("with all settled", cursor{7, 0})
	p.seek(cursor{90, 3})
	check("off the shared path again", cursor{90, 3})
}

func TestAFormIsTheNewestThatWasInForce(t *testing.T) {
	c := newCatchUp([]*bus.Subscription{{Revision: 3}}, cursor{})
	for _, revision := range []int64{3, 5, 4, 9} {
		c.learn(&bus.Subscription{Revision: revision})
	}
	for version, want := range map[uint64]int64{1: 3, 3: 3, 4: 3, 5: 5, 8: 5, 9: 9, 20: 9} {
		if got := c.form(version).Revision; got != want {
			t.Errorf("version %d: revision %d, want %d", version, got, want)
		}
	}
	for revision := range int64(100) {
		c.learn(&bus.Subscription{Revision: 10 + revision})
	}
	if len(c.forms) > maxForms {
		t.Errorf("%d forms are kept, want at most %d", len(c.forms), maxForms)
	}
}
