package bus

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const instanceEvent = `{"version":"0","id":"7bf73129-1428-4cd3-a780-95db273d1602","detail-type":"EC2 Instance State-change Notification","source":"aws.ec2",
	"account":"123456789012","time":"2026-01-15T21:29:54Z","region":"us-west-2","resources":["arn:aws:ec2:us-west-2:123456789012:instance/i-abcd1111"],
	"detail":{"instance-id":"i-abcd1111","state":"pending"}}`

type injection struct {
	role        auth.Role // none: nobody
	query       string
	contentType string
	body        string
}

func inject(t *testing.T, x *fixture, c injection) (int, string) {
	t.Helper()
	mux := http.NewServeMux()
	x.Register(mux)
	r := httptest.NewRequest("POST", "/v1/events"+c.query, strings.NewReader(c.body))
	r.Header.Set("Content-Type", orElse(c.contentType, "application/json"))
	if c.role != "" {
		r = r.WithContext(auth.WithPrincipal(r.Context(), auth.Principal{KeyID: "k", Account: testAccount, Role: c.role}))
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestInjectTakesServiceEventsAsTheyAre(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	code, body := inject(t, x, injection{role: auth.Admin, body: instanceEvent})
	want := `{"events":[{"id":"7bf73129-1428-4cd3-a780-95db273d1602","bus":"arn:aws:events:us-west-2:111122223333:event-bus/default"}]}`
	if code != 200 || body != want {
		t.Fatal(code, body)
	}
	rec := x.log.take()[0]
	var compact map[string]any
	if err := json.Unmarshal([]byte(instanceEvent), &compact); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(rec.JSON, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(compact, got); diff != "" {
		t.Error(diff)
	}
}

func TestInjectFillsInAndSaysSo(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	bare := `{"source":"aws.ec2","detail-type":["🚚"],"detail":{"a":"订单"}}`
	_, body := inject(t, x, injection{role: auth.Admin, body: bare, query: "?region=eu-west-1"})
	rec := x.log.take()[0]
	want := `{"version":"0","id":"` + rec.ID + `","detail-type":"🚚","source":"aws.ec2","account":"111122223333","time":"2026-03-04T05:06:07Z","region":"eu-west-1","resources":[],"detail":{"a":"订单"}}`
	if diff := cmp.Diff(want, string(rec.JSON)); diff != "" {
		t.Error(diff)
	}
	if rec.Bus != defaultRef || !strings.Contains(body, "filled in id") || !strings.Contains(body, "array of one string") {
		t.Error(rec.Bus, body)
	}
}

func TestInjectTakesOneManyAndLines(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	one := strings.Join(strings.Fields(instanceEvent), " ")
	for name, c := range map[string]struct {
		body, contentType string
		events            int
	}{
		"an object":        {one, "", 1},
		"an array":         {"[" + one + ",\n" + one + "]", "", 2},
		"lines":            {one + "\n" + one + "\n\n" + one, "application/x-ndjson", 3},
		"pretty and lines": {instanceEvent + "\n" + one, "application/jsonl; charset=utf-8", 2},
	} {
		if code, body := inject(t, x, injection{role: auth.Admin, body: c.body, contentType: c.contentType}); code != 200 {
			t.Error(name, code, body)
		}
		if got := len(x.log.take()); got != c.events {
			t.Errorf("%s: %d events, want %d", name, got, c.events)
		}
	}
}

func TestInjectRefusesAndPutsNothing(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	one := strings.Join(strings.Fields(instanceEvent), " ")
	for _, c := range []struct {
		name string
		injection
		code    int
		message string
	}{
		{"nobody", injection{body: one}, 401, "access key"},
		{"a publisher", injection{role: auth.Publisher, body: one}, 403, "role admin"},
		{"an operator", injection{role: auth.Operator, body: one}, 403, "role admin"},
		{"another content type", injection{role: auth.Admin, body: one, contentType: "text/plain"}, 415, "application/json"},
		{"nothing", injection{role: auth.Admin}, 400, "no event"},
		{"an empty array", injection{role: auth.Admin, body: "[]"}, 400, "no event"},
		{"no JSON", injection{role: auth.Admin, body: one + "{"}, 400, "after event 1"},
		{"no object", injection{role: auth.Admin, body: `[` + one + `,1]`}, 400, "Event 2: "},
		{"a second event without a source", injection{role: auth.Admin, body: one + `{"detail-type":"t","detail":{}}`}, 400, "Event 2: The event has no source"},
		{"an unknown member", injection{role: auth.Admin, body: `{"source":"a","detail-type":"t","detail":{},"extra":1}`}, 400, "extra"},
		{"a detail with a huge integer", injection{role: auth.Admin, body: `{"source":"a","detail-type":"t","detail":{"n":99999999999999999999}}`}, 400, "detail is malformed"},
		{"invalid UTF-8", injection{role: auth.Admin, body: "{\"source\":\"a\xff\",\"detail-type\":\"t\",\"detail\":{}}"}, 400, "UTF-8"},
		{"a bus that does not exist", injection{role: auth.Admin, body: one, query: "?bus=missing"}, 404, "event-bus/missing does not exist"},
		{"another account's bus", injection{role: auth.Admin, body: one, query: "?bus=arn:aws:events:us-west-2:123456789012:event-bus/default"}, 403, "another account"},
		{"no bus at all", injection{role: auth.Admin, body: one, query: "?bus=arn:aws:sqs:us-west-2:123456789012:q"}, 400, "neither the name nor the ARN"},
		{"a bus whose name no bus has", injection{role: auth.Admin, body: one, query: "?bus=a%00b"}, 400, "neither the name nor the ARN"},
		{"a region that is none", injection{role: auth.Admin, body: one, query: "?bus=b&region=eu%00"}, 400, "does not look like us-east-1"},
		{"an event of a region that is none", injection{role: auth.Admin, body: `{"source":"a","detail-type":"t","region":"\u0000","detail":{}}`}, 400, "does not look like us-east-1"},
		{"an id with the character U+0000", injection{role: auth.Admin, body: `{"source":"a","detail-type":"t","id":"\u0000","detail":{}}`}, 400, "U+0000"},
		{"too deep", injection{role: auth.Admin, body: `{"source":"a","detail-type":"t","detail":` + strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1001)}, 400, "nests deeper than 999"},
		{"too large", injection{role: auth.Admin, body: `{"source":"a","detail-type":"t","detail":{"a":"` + strings.Repeat("x", 2<<20) + `"}}`}, 413, "larger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, body := inject(t, x, c.injection)
			if code != c.code || !strings.Contains(body, c.message) {
				t.Error(code, body)
			}
			if n := len(x.log.take()); n != 0 {
				t.Errorf("%d events were put", n)
			}
		})
	}
	x.log.err = eventlog.ErrFull
	if code, body := inject(t, x, injection{role: auth.Admin, body: one}); code != 503 || !strings.Contains(body, "Nothing was put") {
		t.Error(code, body)
	}
	x.log.err = eventlog.ErrTooLarge
	if code, body := inject(t, x, injection{role: auth.Admin, body: one}); code != 413 {
		t.Error(code, body)
	}
}
