package trace_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/trace"
	"github.com/rialto-bus/rialto/internal/work"
)

// swallow is a target that takes everything at once.
type swallow struct{ took chan struct{} }

func (s *swallow) Invoke(context.Context, target.Attempt) error {
	s.took <- struct{}{}
	return nil
}

func (s *swallow) DeadLetter(context.Context, target.Attempt, target.DeadLetterReason) error {
	return nil
}
func (s *swallow) Wait(context.Context, *bus.Subscription) error { return nil }

type plain struct{}

func (plain) Seal(_ string, b []byte) []byte          { return b }
func (plain) Open(_ string, b []byte) ([]byte, error) { return b, nil }

// deliver has events put, routed and delivered, some hundreds on their way at a time so
// that no lane leaves the shared path, and returns the processor time that each took.
func deliver(b *testing.B, events int, traced bool) time.Duration {
	b.Helper()
	dir, ctx, logger := b.TempDir(), context.Background(), slog.New(slog.DiscardHandler)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	db, err := store.Open(ctx, store.Options{DataDir: dir})
	must(err)
	defer db.Close()
	log, err := eventlog.Open(ctx, eventlog.Options{Dir: dir + "/events", Name: "bench", MaxBytes: 4 << 30, Logger: logger})
	must(err)
	defer log.Close()
	jobs := work.New(db, "bench", logger)
	buses, err := bus.Open(ctx, bus.Options{DB: db, Log: log, Secrets: plain{}, Jobs: jobs, Now: time.Now})
	must(err)
	ref := event.BusRef{Account: "111122223333", Region: "us-east-1", Name: event.DefaultBus}
	_, err = buses.PutRule(ctx, bus.Rule{Bus: ref, Name: "all", Pattern: `{"source":["shop"]}`, State: bus.RuleEnabled}, nil)
	must(err)
	must(buses.PutTargets(ctx, ref, "all", []bus.RuleTarget{{ID: "q", ARN: "arn:aws:sqs:us-east-1:111122223333:q"}}))
	detail := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("abcdefghij", 90))
	put := func(n int) {
		recs := make([]event.Record, n)
		for i := range recs {
			e := event.Event{ID: event.NewID(), Source: "shop", DetailType: "order", Account: ref.Account, Region: ref.Region, Time: time.Now(), Detail: detail}
			recs[i] = event.Record{Bus: ref, ID: e.ID, Origin: event.OriginPutEvents + " AKIAEXAMPLE", JSON: e.AppendJSON(nil)}
		}
		must(buses.Put(ctx, recs))
	}
	const onTheWay, batch = 800, 200
	s := &swallow{took: make(chan struct{}, onTheWay)}
	o := delivery.Options{DB: db, Log: log, Buses: buses, Targets: s, Work: jobs, Node: "bench", Logger: logger, Now: time.Now}
	var recorder *trace.Recorder
	if traced {
		recorder, err = trace.OpenRecorder(trace.RecorderOptions{Dir: dir + "/traces", Bytes: 256 << 20, Node: "bench", Logger: logger, Now: time.Now})
		must(err)
		o.Trace = recorder
	}
	d := delivery.New(o)
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if traced {
		wg.Go(func() { _ = recorder.Run(run) })
	}
	wg.Go(func() { _ = jobs.Run(run) })
	wg.Go(func() { _ = d.Run(run) })
	for range onTheWay / batch {
		put(batch)
	}
	began := processorTime(b)
	for range events / batch {
		for range batch {
			<-s.took
		}
		put(batch)
	}
	took := processorTime(b) - began
	for range onTheWay {
		<-s.took
	}
	if traced && recorder.Stats().Dropped > 0 {
		b.Errorf("%d entries were dropped", recorder.Stats().Dropped)
	}
	if d.Stats().Diverted > 0 {
		b.Error("a lane left the shared path")
	}
	return took / time.Duration(events)
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDelivery compares putting, routing and delivering with and without traces,
// in pairs, by the processor time of an event: on/off is what they make of it.
func BenchmarkDelivery(b *testing.B) {
	const events = 40_000
	var ratios, on, off []float64
	for b.Loop() {
		var without, with time.Duration
		if len(ratios)%2 == 0 { // the second of a pair finds a warmer machine
			without, with = deliver(b, events, false), deliver(b, events, true)
		} else {
			with, without = deliver(b, events, true), deliver(b, events, false)
		}
		ratios = append(ratios, float64(with)/float64(without))
		on, off = append(on, float64(with.Nanoseconds())), append(off, float64(without.Nanoseconds()))
	}
	median := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	b.ReportMetric(median(ratios), "on/off")
	b.ReportMetric(median(on), "cpu-ns/event-on")
	b.ReportMetric(median(off), "cpu-ns/event-off")
}
