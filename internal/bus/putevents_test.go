package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

var testCaller = Caller{Account: testAccount, Region: testRegion, AccessKeyID: "AKIAEXAMPLE"}

func TestPutEventsWritesTheEnvelope(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("t"))
	at := time.Date(2022, 1, 1, 8, 0, 0, 999e6, time.FixedZone("", 8*3600))
	results, err := x.PutEvents(t.Context(), testCaller, []Entry{
		{Source: "my.app", DetailType: "订单 🚚", Detail: " {\"b\": 1, \"a\" : [ \"x y\" ] }\n", Resources: []string{"arn:1", "arn:2"}, Time: &at,
			TraceHeader: "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"},
		{Source: "my.app", DetailType: "t", Detail: "{}", TraceHeader: "Root=nonsense"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"version":"0","id":"` + results[0].EventID + `","detail-type":"订单 🚚","source":"my.app","account":"111122223333","time":"2022-01-01T00:00:00Z","region":"eu-west-1","resources":["arn:1","arn:2"],"detail":{"b":1,"a":["x y"]}}`,
		`{"version":"0","id":"` + results[1].EventID + `","detail-type":"t","source":"my.app","account":"111122223333","time":"2026-03-04T05:06:07Z","region":"eu-west-1","resources":[],"detail":{}}`,
	}
	records := x.log.take()
	if x.log.calls != 1 || len(records) != 2 {
		t.Fatalf("%d records in %d writes, want 2 in 1", len(records), x.log.calls)
	}
	for i, rec := range records {
		if diff := cmp.Diff(want[i], string(rec.JSON)); diff != "" {
			t.Error(diff)
		}
		rec.JSON = nil
		expected := event.Record{Bus: defaultRef, ID: results[i].EventID, Accepted: testNow, RuleVersion: x.RuleVersion(defaultRef), Origin: "PutEvents AKIAEXAMPLE"}
		if i == 0 {
			expected.Trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
		}
		if diff := cmp.Diff(expected, rec, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnEntrysTraceHeaderCountsBeforeTheRequests(t *testing.T) {
	t.Parallel()
	const own, request = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", "Root=1-67890abc-def0123456789abcdef01234"
	x := open(t, storetest.SQLite(t))
	putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("t"))
	tests := map[string]struct {
		entry   *string
		request string
		want    string
	}{
		"none":                      {},
		"the request's":             {request: request, want: request},
		"the entry's":               {entry: new(own), request: request, want: own},
		"the entry's, malformed":    {entry: new("Root=nonsense"), request: request},
		"the request's, malformed":  {request: "Self=1"},
		"the request's, much of it": {request: request + ";Data=" + strings.Repeat("x", 500)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx := awsapi.WithCaller(t.Context(), awsapi.Caller{Account: testAccount, Region: testRegion, TraceHeader: tt.request})
			in := &events.PutEventsInput{Entries: []events.PutEventsRequestEntry{
				{Source: new("my.app"), DetailType: new("t"), Detail: new("{}"), TraceHeader: tt.entry},
			}}
			if _, err := x.AWS().PutEvents(ctx, in); err != nil {
				t.Fatal(err)
			}
			if got := x.log.take()[0].Trace; got != tt.want {
				t.Errorf("trace %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPutEventsWritesOnlyWhatItAccepts(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	results, err := x.PutEvents(t.Context(), testCaller, []Entry{
		{Source: "a", DetailType: "t", Detail: "{}"},
		{Source: "b", DetailType: "t", Detail: "["},
		{Source: "c", DetailType: "t", Detail: "{}", Bus: "missing"},
		{Source: "d", DetailType: "t", Detail: "{}"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, rec := range x.log.take() {
		ids = append(ids, rec.ID)
	}
	if diff := cmp.Diff([]string{results[0].EventID, results[3].EventID}, ids); diff != "" {
		t.Error(diff)
	}
	if results[2].EventID == "" {
		t.Error("an entry for a bus that does not exist got no id")
	}
}

func TestPutEventsLimits(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t), func(o *Options) { o.Limits.PutEventsBytes = 1000 })
	at := testNow
	text := func(n int) string { return strings.Repeat("x", n) }
	detail := func(n int) string { return `{"a":"` + text(n-8) + `"}` } // of n bytes
	entry := func(e Entry) Entry {
		e.Source, e.DetailType = orElse(e.Source, "s"), orElse(e.DetailType, "t")
		e.Detail = orElse(e.Detail, "{}")
		return e
	}
	const over = "Total size of the entries in the request is over the limit."
	for _, c := range []struct {
		name    string
		entries []Entry
		code    string // of the first entry
		message string // of the whole call
	}{
		{"a call of exactly the size", []Entry{entry(Entry{Detail: detail(998)})}, "", ""},
		{"a byte more", []Entry{entry(Entry{Detail: detail(999)})}, "", over},
		{"the entries are added up", []Entry{entry(Entry{Detail: detail(500)}), entry(Entry{Detail: detail(500)})}, "", over},
		{"a time counts 14", []Entry{entry(Entry{Detail: detail(985), Time: &at})}, "", over},
		{"resources count", []Entry{entry(Entry{Detail: detail(990), Resources: []string{text(9)}})}, "", over},
		{"bus name and trace do not count", []Entry{entry(Entry{Detail: detail(998), Bus: "default", TraceHeader: text(300)})}, "", ""},
		{"a detail type of 128 characters", []Entry{entry(Entry{DetailType: strings.Repeat("订", 128)})}, "", ""},
		{"one of 129", []Entry{entry(Entry{DetailType: text(129)})}, "InvalidArgument", ""},
		{"a source of 257", []Entry{entry(Entry{Source: text(257)})}, "InvalidArgument", ""},
		{"a time after the year 9999", []Entry{entry(Entry{Time: new(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))})}, "InvalidArgument", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			results, err := x.PutEvents(t.Context(), testCaller, c.entries)
			if refused, ok := errors.AsType[*awsapi.Error](err); ok {
				if refused.Message != c.message || refused.Code != "ValidationException" {
					t.Error(refused)
				}
				return
			}
			if err != nil || c.message != "" || results[0].ErrorCode != c.code || (results[0].EventID == "") != (c.code != "") {
				t.Errorf("%+v, %v", results, err)
			}
		})
	}
}

// AWS counts neither the quotes of texts nor their escapes.
func TestPutEventsTakesNoEventThatCouldNotBeReadAgain(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	for _, c := range []struct {
		name      string
		resources []string
		taken     bool
	}{
		{"resources of all the size there is", slices.Repeat([]string{strings.Repeat("x", 100)}, 10_000), true},
		{"resources that are empty", make([]string, 400_000), false},
		{"characters that are escaped", []string{strings.Repeat("\x01", 200_000)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := x.PutEvents(t.Context(), testCaller, []Entry{{Source: "s", DetailType: "t", Detail: "{}", Resources: c.resources}})
			if c.taken != (err == nil) || err != nil && err.Error() != requestTooLarge().Error() {
				t.Fatal(err)
			}
			recs := x.log.take()
			if len(recs) == 1 != c.taken {
				t.Fatalf("%d events were put", len(recs))
			}
			for _, rec := range recs {
				if _, err := event.Parse(rec.JSON); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func TestPutEventsAcknowledgesNothingThatTheLogRefused(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	call := func(err error) (string, error) {
		x.log.err = err
		results, err := x.PutEvents(t.Context(), testCaller, []Entry{{Source: "a", DetailType: "t", Detail: "{}"}})
		if results != nil {
			t.Errorf("results with %v: %v", err, results)
		}
		if refused, ok := errors.AsType[*awsapi.Error](err); ok {
			return refused.Code, err
		}
		return "", err
	}
	for _, c := range []struct {
		err  error
		code string
	}{
		{fmt.Errorf("append: %w", eventlog.ErrFull), events.CodeThrottlingException},
		{eventlog.ErrUnavailable, events.CodeThrottlingException},
		{eventlog.ErrClosed, events.CodeThrottlingException},
		{eventlog.ErrTooLarge, "ValidationException"},
		{context.Canceled, ""},
	} {
		if code, err := call(c.err); code != c.code || err == nil {
			t.Errorf("log says %v: code %q, error %v", c.err, code, err)
		}
	}
	// Nothing to write, nothing refused.
	if _, err := x.PutEvents(t.Context(), testCaller, []Entry{{}}); err != nil {
		t.Error(err)
	}
}

func TestPutStampsRecords(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`)
	fresh, old := *record(defaultRef, "my.app"), *record(defaultRef, "my.app")
	old.Accepted = testNow.Add(-time.Hour)
	old.ReplayRules = []string{"arn"}
	if err := x.Put(t.Context(), []event.Record{fresh, old}); err != nil {
		t.Fatal(err)
	}
	got := x.log.take()
	fresh.Accepted, fresh.RuleVersion, old.RuleVersion = testNow, 1, 1
	if diff := cmp.Diff([]event.Record{fresh, old}, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	x.log.err = eventlog.ErrFull
	if err := x.Put(t.Context(), []event.Record{fresh}); !errors.Is(err, ErrThrottled) {
		t.Error(err)
	}
	x.log.err = eventlog.ErrTooLarge
	if err := x.Put(t.Context(), []event.Record{fresh}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if err := x.Put(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// discard is a log that takes everything at once.
type discard struct{}

func (discard) Append(context.Context, [][]byte) error { return nil }

func BenchmarkPutEvents(b *testing.B) {
	x := open(b, storetest.SQLite(b), func(o *Options) { o.Log = discard{} })
	putRule(b, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("t"))
	service := x.AWS()
	ctx := awsapi.WithCaller(b.Context(), awsapi.Caller{Account: testAccount, Region: testRegion, Role: "publisher"})
	detail := `{"order":{"id":"o-1234567","items":[{"sku":"a-1","count":2},{"sku":"b-2","count":1}],"total":12.5},"note":"` + strings.Repeat("x", 300) + `"}`
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprint(n, " entries"), func(b *testing.B) {
			in := &events.PutEventsInput{}
			for range n {
				in.Entries = append(in.Entries, events.PutEventsRequestEntry{Source: new("my.app"), DetailType: new("order.placed"), Detail: &detail})
			}
			b.ReportAllocs()
			for b.Loop() {
				out, err := service.PutEvents(ctx, in)
				if err != nil || *out.FailedEntryCount != 0 {
					b.Fatal(out, err)
				}
			}
		})
	}
}
