package awsapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
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
