package topic

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// instant takes everything at once.
type instant struct{}

func (instant) Invoke(context.Context, string, []byte) error { return nil }

func (f *fixture) subscribeFunctions(name string, n int, attrs map[string]string) {
	f.t.Helper()
	have, err := f.Find(f.ctx, Ref{account, region, name})
	if err != nil {
		f.t.Fatal(err)
	}
	err = f.db.Update(f.ctx, func(tx *store.Tx) error {
		for i := range n {
			s := &Subscription{Topic: have, UUID: fmt.Sprintf("%08x-0000-4000-8000-%012d", len(name), i), Owner: account, Protocol: "lambda", attrs: attrs,
				Endpoint: fmt.Sprintf("arn:aws:lambda:eu-west-1:111122223333:function:f%d", i), state: stateConfirmed}
			if err := f.insertSubscription(f.ctx, tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// BenchmarkPublish publishes to one queue from 16 callers, each message durable
// and on its way when the call returns.
func BenchmarkPublish(b *testing.B) {
	f := newFixture(b, storetest.SQLite(b))
	topic := f.topic("t", nil)
	f.subscribe(topic, "sqs", f.queue("q"), map[string]string{"RawMessageDelivery": "true"})
	b.SetParallelism(4)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.Publish(f.ctx, &sns.PublishInput{TopicArn: &topic, Message: new("message")}); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	f.quiet()
}

// BenchmarkFanOut publishes to 2,000 subscriptions and waits for the last delivery. wait-max is
// the longest that another writer waited meanwhile.
func BenchmarkFanOut(b *testing.B) {
	f := newFixture(b, storetest.SQLite(b), func(o *Options) { o.Functions = instant{} })
	topic := f.topic("t", nil)
	f.subscribeFunctions("t", 2000, nil)
	stop := make(chan struct{})
	var waits []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			start := time.Now()
			if err := f.db.Update(f.ctx, func(tx *store.Tx) error { return forgetMessage(f.ctx, tx, 0) }); err != nil {
				b.Error(err)
			}
			waits = append(waits, time.Since(start))
		}
	})
	for b.Loop() {
		f.publish(topic, "to all")
		f.quiet()
	}
	close(stop)
	wg.Wait()
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "wait-p99-ms")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "wait-max-ms")
}

// BenchmarkFilters matches a message against 200 filter policies.
func BenchmarkFilters(b *testing.B) {
	f := newFixture(b, storetest.SQLite(b))
	var to []recipient
	for i := range 200 {
		to = append(to, recipient{id: int64(i), protocol: protocolSQS, attrs: map[string]string{attrFilterPolicy: fmt.Sprintf(`{"city":["c%d",{"prefix":"x"}],"price":[{"numeric":[">",%d]}]}`, i, i)}})
	}
	m := &storedMessage{content: Message{Text: "m", Attributes: map[string]Value{"city": {Type: "String", Text: "c7"}, "price": {Type: "Number", Text: "100"}}}}
	b.ReportAllocs()
	for b.Loop() {
		if list, err := f.wantedBy([]*storedMessage{m}, to); err != nil || len(list) != 1 || len(list[0].by) != 1 {
			b.Fatalf("%+v, %v", list, err)
		}
	}
}
