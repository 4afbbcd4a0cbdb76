package queue

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// durable opens a database that syncs, as in production.
func durable(b *testing.B) *store.DB {
	b.Helper()
	db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

func eachDatabase(b *testing.B, f func(b *testing.B, q *fixture)) {
	b.Run("sqlite", func(b *testing.B) { f(b, newFixture(b, durable(b))) })
	b.Run("postgres", func(b *testing.B) { f(b, newFixture(b, storetest.Postgres(b))) })
}

var kilobyte = strings.Repeat("x", 1024)

// parallel runs f in many goroutines, b.N times in all, and reports how many a second.
func parallel(b *testing.B, each float64, f func(ctx context.Context) error) {
	b.SetParallelism(16)
	ctx := as(context.Background(), account)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := f(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(each*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func BenchmarkSend(b *testing.B) {
	eachDatabase(b, func(b *testing.B, q *fixture) {
		url := q.create("orders", nil)
		parallel(b, 1, func(ctx context.Context) error {
			_, err := q.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &kilobyte})
			return err
		})
	})
}

func BenchmarkSendFIFO(b *testing.B) {
	eachDatabase(b, func(b *testing.B, q *fixture) {
		url := q.create("orders.fifo", nil)
		var n atomic.Int64
		parallel(b, 1, func(ctx context.Context) error {
			k := n.Add(1)
			_, err := q.SendMessage(ctx, &sqs.SendMessageInput{
				QueueUrl: &url, MessageBody: &kilobyte, MessageGroupId: new(sequenceNumber(k % 100)), MessageDeduplicationId: new(sequenceNumber(k)),
			})
			return err
		})
	})
}

func batch() []sqs.SendMessageBatchRequestEntry {
	var list []sqs.SendMessageBatchRequestEntry
	for _, id := range []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"} {
		list = append(list, sqs.SendMessageBatchRequestEntry{Id: &id, MessageBody: &kilobyte})
	}
	return list
}

func BenchmarkSendBatch(b *testing.B) {
	eachDatabase(b, func(b *testing.B, q *fixture) {
		url := q.create("orders", nil)
		parallel(b, 10, func(ctx context.Context) error {
			_, err := q.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: batch()})
			return err
		})
	})
}

// BenchmarkReceiveDelete takes ten messages at a time from a queue that is
// never empty and deletes them in a batch.
func BenchmarkReceiveDelete(b *testing.B) {
	eachDatabase(b, func(b *testing.B, q *fixture) {
		url := q.create("orders", nil)
		for range b.N + 64 {
			if _, err := q.SendMessageBatch(q.ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: batch()}); err != nil {
				b.Fatal(err)
			}
		}
		parallel(b, 10, func(ctx context.Context) error {
			out, err := q.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: new(int32(10))})
			if err != nil {
				return err
			}
			in := &sqs.DeleteMessageBatchInput{QueueUrl: &url}
			for _, m := range out.Messages {
				in.Entries = append(in.Entries, sqs.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
			}
			if len(in.Entries) == 0 {
				return nil
			}
			_, err = q.DeleteMessageBatch(ctx, in)
			return err
		})
	})
}

// BenchmarkReceiveEmpty is what idle pollers cost.
func BenchmarkReceiveEmpty(b *testing.B) {
	eachDatabase(b, func(b *testing.B, q *fixture) {
		url := q.create("orders", nil)
		parallel(b, 0, func(ctx context.Context) error {
			_, err := q.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url})
			return err
		})
	})
}
