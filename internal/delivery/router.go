package delivery

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/work"
)

// rulesPause and rulesPauseMax bound the pause before the rules of an event are
// asked for again.
const (
	rulesPause    = 50 * time.Millisecond
	rulesPauseMax = 5 * time.Second
)

// unrouted is a batch that a stop interrupted, with the entry to go on at.
type unrouted struct {
	batch *eventlog.Batch
	held  *held
	index int
}

// route hands each event of a batch to the lanes of the subscriptions that
// match it. The attempts that follow live under their own context, so that a
// stop lets them end.
func (d *Delivery) route(ctx, attempts context.Context, b *eventlog.Batch) {
	d.routeFrom(ctx, attempts, unrouted{batch: b, held: d.holds.begin(b.Seq, b.Ack)})
}

// routeFrom stops where ctx ends: the batch stays held, and the next tenure goes
// on there. The log would not bring a batch again that this process holds.
func (d *Delivery) routeFrom(ctx, attempts context.Context, u unrouted) {
	var subs []*bus.Subscription
	for i := u.index; i < len(u.batch.Entries); i++ {
		rec, err := event.DecodeRecord(u.batch.Entries[i])
		if err != nil {
			d.Logger.Error("a record of the log cannot be read and is passed over", "sequence", u.batch.Seq, "index", i, "error", err)
			continue
		}
		if !d.awaitRules(ctx, &rec) {
			u.index = i
			d.interrupted = append(d.interrupted, u)
			return
		}
		d.counters.routed.Add(1)
		if subs, err = d.Buses.Match(&rec, subs[:0]); err != nil {
			d.Logger.Error("an event cannot be matched and is passed over", "event", rec.ID, "error", err)
			continue
		}
		if d.Trace != nil {
			d.Trace.Routed(u.batch.Seq, i, &rec, subs)
		}
		taken := false
		for _, sub := range subs {
			d.counters.matched.Add(1)
			p := &pair{seq: u.batch.Seq, index: i, rec: rec, sub: sub}
			u.held.add(p)
			taken = d.lane(sub).offer(ctx, attempts, p) || taken
		}
		if taken && d.Observe != nil {
			d.Observe(&rec)
		}
	}
	u.held.settle()
}

// resume routes what the tenure before was interrupted at.
func (d *Delivery) resume(ctx, attempts context.Context) {
	again := d.interrupted
	d.interrupted = nil
	for _, u := range again {
		d.routeFrom(ctx, attempts, u)
	}
}

// awaitRules returns once this node's rules are as new as the event's, however
// long the database cannot be asked for them: without them the event might miss
// a rule. It returns false if ctx ended first.
func (d *Delivery) awaitRules(ctx context.Context, rec *event.Record) bool {
	for tries := 1; ; tries++ {
		err := d.Buses.WaitVersion(ctx, rec.Bus, rec.RuleVersion)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		d.Logger.Error("events wait for the rules of their bus, which cannot be read; trying again", "bus", rec.Bus.ARN(), "error", err)
		if !sleep(ctx, work.Backoff(tries, rulesPause, rulesPauseMax, nil)) {
			return false
		}
	}
}
