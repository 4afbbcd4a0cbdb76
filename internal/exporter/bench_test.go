package exporter

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func onEachB(b *testing.B, f func(b *testing.B, w *world)) {
	b.Run("sqlite", func(b *testing.B) { f(b, newWorld(b, storetest.SQLite(b))) })
	b.Run("postgres", func(b *testing.B) {
		f(b, newWorld(b, storetest.Postgres(b)))
	})
}

// BenchmarkApply applies reads of new resources, of the same again, and of changed
// ones, some at a time.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 10, 25, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			onEachB(b, func(b *testing.B, w *world) {
				for _, kind := range []string{"new", "unchanged", "changed"} {
					b.Run(kind, func(b *testing.B) { benchApply(b, w, n, kind) })
				}
			})
		})
	}
}

func benchApply(b *testing.B, w *world, n int, kind string) {
	var longest time.Duration
	round := 0
	for b.Loop() {
		round++
		reads := make([]Read, n)
		for i := range reads {
			id := fmt.Sprintf("%s-%d", kind, i)
			size := 1.0
			switch kind {
			case "new":
				id = fmt.Sprintf("new-%d-%d-%d", b.N, round, i)
			case "changed":
				size = float64(round)
			}
			reads[i] = w.x.newRead(thing(id))
			reads[i].Found = true
			reads[i].Properties = map[string]any{"Name": id, "Size": size, "Arn": "arn:aws:test:::" + id}
		}
		began := time.Now()
		if _, err := w.x.apply(b.Context(), reads, catalog.Cause{Origin: "bench"}, applyOptions{}); err != nil {
			b.Fatal(err)
		}
		longest = max(longest, time.Since(began))
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "reads/s")
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
}

// BenchmarkRecord is the time from a record on the queue to its entity.
func BenchmarkRecord(b *testing.B) {
	onEachB(b, func(b *testing.B, w *world) {
		q := w.queue("events", nil)
		stored := make(chan struct{}, 1)
		w.x.followers = append(w.x.followers, func(settled) { stored <- struct{}{} })
		w.run(w.x)
		k := thing("one")
		var lags []time.Duration
		n := 0
		for b.Loop() {
			n++
			w.cloud.put(k, float64(n))
			began := time.Now()
			if _, err := w.client().SendMessage(b.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: aws.String(body("one", "upsert", ""))}); err != nil {
				b.Fatal(err)
			}
			<-stored
			lags = append(lags, time.Since(began))
		}
		slices.Sort(lags)
		b.ReportMetric(float64(lags[len(lags)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(lags[len(lags)*99/100].Microseconds())/1000, "p99-ms")
	})
}

// BenchmarkBurst drains records of many resources that wait in a queue.
func BenchmarkBurst(b *testing.B) {
	const records = 10_000
	onEachB(b, func(b *testing.B, w *world) {
		q := w.queue("events", nil)
		var done atomic.Int64
		all := make(chan struct{}, 1)
		w.x.followers = append(w.x.followers, func(settled) {
			if done.Add(1)%records == 0 {
				all <- struct{}{}
			}
		})
		round := 0
		for b.Loop() {
			b.StopTimer()
			round++
			fill(b, w, q, round, records)
			b.StartTimer()
			stop := w.run(w.x)
			<-all
			stop()
		}
		b.ReportMetric(float64(b.N*records)/b.Elapsed().Seconds(), "records/s")
	})
}

func fill(b *testing.B, w *world, q Queue, round, n int) {
	var all sync.WaitGroup
	for from := range 10 {
		all.Go(func() {
			for i := from; i < n/10; i += 10 {
				entries := make([]types.SendMessageBatchRequestEntry, 10)
				for j := range entries {
					id := fmt.Sprintf("r-%d-%d", round, i*10+j)
					w.cloud.put(thing(id), 1)
					entries[j] = types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(j)), MessageBody: aws.String(body(id, "upsert", ""))}
				}
				if _, err := w.client().SendMessageBatch(b.Context(), &sqs.SendMessageBatchInput{QueueUrl: &q.URL, Entries: entries}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
}
