package loggroup

import (
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// eachDatabase runs the benchmark on databases that sync, as in production.
func eachDatabase(b *testing.B, f func(b *testing.B, g *fixture)) {
	b.Run("sqlite", func(b *testing.B) {
		db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { db.Close() })
		f(b, newFixture(b, db))
	})
	b.Run("postgres", func(b *testing.B) { f(b, newFixture(b, storetest.Postgres(b))) })
}

var kilobyte = strings.Repeat("x", 1000)

// BenchmarkPutOne is what the delivery of an event costs, from many lanes at once.
func BenchmarkPutOne(b *testing.B) {
	eachDatabase(b, func(b *testing.B, g *fixture) {
		g.group("g")
		g.stream("g", "s")
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				in := &logs.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), LogEvents: []logs.InputLogEvent{g.at(0, kilobyte)}}
				if _, err := g.PutLogEvents(g.ctx, in); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkPutFull puts batches of the most events that AWS allows.
func BenchmarkPutFull(b *testing.B) {
	eachDatabase(b, func(b *testing.B, g *fixture) {
		g.group("g")
		g.stream("g", "s")
		events := make([]logs.InputLogEvent, 10_000)
		for i := range events {
			events[i] = g.at(0, kilobyte[:78])
		}
		for b.Loop() {
			if _, err := g.PutLogEvents(g.ctx, &logs.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), LogEvents: events}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
