package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

// taking are targets that take everything.
type taking struct{}

func (taking) Invoke(context.Context, target.Attempt) error                              { return nil }
func (taking) DeadLetter(context.Context, target.Attempt, target.DeadLetterReason) error { return nil }
func (taking) Wait(context.Context, *bus.Subscription) error                             { return nil }

// BenchmarkDelivered is what a delivery costs beside matching and the target: the pair,
// its place in the batch, the attempt, and its end.
func BenchmarkDelivered(b *testing.B) {
	db := storetest.SQLite(b)
	d := New(Options{DB: db, Work: work.New(db, "test", nil), Targets: taking{}, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	sub := &bus.Subscription{ID: 3, Target: bus.Target{RetryPolicy: bus.RetryPolicy{MaximumEventAge: bus.DefaultMaximumEventAge}}}
	rec := event.Record{ID: "0d0a608b-b6bd-e22d-739b-365f723ccf4b", Accepted: time.Now(), JSON: []byte(`{"id":"0d0a608b-b6bd-e22d-739b-365f723ccf4b"}`)}
	l := newLane(d, sub)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		h := newHeld(1, func() {})
		p := &pair{seq: 1, rec: rec, sub: sub}
		h.add(p)
		h.settle()
		p.begin()
		d.attempt(ctx, l, p)
	}
}

// BenchmarkKept is what a delivery costs that is given up and kept, with 64 under way at
// once as a lane has them.
func BenchmarkKept(b *testing.B) {
	db := storetest.SQLite(b)
	d := New(Options{
		DB: db, Work: work.New(db, "test", nil), Targets: taking{}, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
		DeadLetters: DeadLetterLimits{Age: time.Hour, Bytes: 1 << 40},
	})
	sub := &bus.Subscription{ID: 3, RuleName: "rule", RuleARN: "arn:aws:events:us-east-1:000000000000:rule/rule", Target: bus.Target{ID: "1", ARN: "arn:aws:sqs:us-east-1:000000000000:q"}}
	detail := strings.Repeat("x", 400)
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := event.NewID()
			p := &pair{seq: uint64(n.Add(1)), sub: sub, rec: event.Record{ID: id, JSON: fmt.Appendf(nil, `{"version":"0","id":%q,"detail-type":"order placed","source":"shop","detail":{"text":%q}}`, id, detail)}}
			if v := d.keep(context.Background(), p, target.DeadLetterReason{Code: target.CodeNoResource, Message: "The specified queue does not exist."}, nil); v.kind != verdictDone {
				b.Error("not kept")
			}
		}
	})
}
