package awsapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// putEventsBody is a call with ten entries of about a kibibyte each.
func putEventsBody(tb testing.TB) []byte {
	tb.Helper()
	detail := `{"orderId":"o-1","customer":{"name":"王 小明","tier":"gold"},"lines":[` + strings.Repeat(`{"sku":"A-100","quantity":2,"price":19.99},`, 20) + `{}]}`
	type entry struct{ Source, DetailType, Detail, EventBusName string }
	var in struct{ Entries []entry }
	for range 10 {
		in.Entries = append(in.Entries, entry{"my.shop", "Order Placed", detail, "default"})
	}
	body, err := json.Marshal(in)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

// The general decoder against encoding/json on the same body and struct.
func BenchmarkDecodePutEvents(b *testing.B) {
	body := putEventsBody(b)
	shape := operation(events.API, "PutEvents").Input
	b.Run("awsapi", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if err := awsapi.DecodeJSON(shape, body, new(events.PutEventsInput)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(body, new(events.PutEventsInput)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A whole PutEvents call of ten entries, with and without a verified signature.
func BenchmarkServePutEvents(b *testing.B) {
	body := string(putEventsBody(b))
	for name, cfg := range map[string]awsapi.Config{"dev": {DevMode: dev}, "verified": verifying(awsapi.RoleAdmin)} {
		b.Run(name, func(b *testing.B) {
			h, _ := newHandler(cfg)
			q := putRule()
			q.header["X-Amz-Target"], q.body = "AWSEvents.PutEvents", body
			signed := q.sign(&testing.T{})
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "http://rialto.test:7425/", strings.NewReader(body))
				r.Header = signed.Header
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// A call that changes one row, with and without a trail: what its event costs.
func BenchmarkRecordedCall(b *testing.B) {
	for _, recorded := range []bool{false, true} {
		b.Run(map[bool]string{false: "unrecorded", true: "recorded"}[recorded], func(b *testing.B) {
			db := storetest.SQLite(b)
			createChanges(b, db)
			cfg := awsapi.Config{Keys: keyring{}, DevMode: dev, Logger: quiet()}
			if recorded {
				cfg.Trail = awsapi.NewTrail(awsapi.TrailOptions{DB: db})
			}
			h := awsapi.New(cfg)
			api := *sqs.API
			api.Operations = []awsapi.Operation{*operation(sqs.API, "CreateQueue")}
			api.Operations[0].Invoke = func(ctx context.Context, _, _ any) (any, error) {
				out := &sqs.CreateQueueOutput{QueueUrl: new("http://127.0.0.1:7425/123456789012/orders")}
				awsapi.Answers(ctx, out)
				return out, db.Update(ctx, func(tx *store.Tx) error {
					_, err := tx.Exec(ctx, `INSERT INTO changes (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = changes.note + 1`)
					return err
				})
			}
			h.Register(awsapi.NewBinding(&api, nil))
			in := &sqs.CreateQueueInput{QueueName: new("orders"), Attributes: map[string]string{"VisibilityTimeout": "30"}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := h.Invoke(b.Context(), trailCaller, "sqs", "CreateQueue", in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
