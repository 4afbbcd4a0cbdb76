package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/target"
)

// call answers one request of a caller with the role.
func (l *letters) call(role auth.Role, account, method, path, body string) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	l.Register(mux)
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r = r.WithContext(auth.WithPrincipal(context.Background(), auth.Principal{KeyID: "RLTOtest", Account: account, Role: role}))
	w := httptest.NewRecorder()
	httpapi.KnownRoutes(mux).ServeHTTP(w, r)
	return w
}

func (l *letters) answer(status int, role auth.Role, method, path, body string) map[string]any {
	l.t.Helper()
	w := l.call(role, letterAccount, method, path, body)
	if w.Code != status {
		l.t.Fatalf("%s %s: status %d, want %d: %s", method, path, w.Code, status, w.Body)
	}
	var out map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			l.t.Fatal(err)
		}
	}
	return out
}

func TestDeadLettersOverREST(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		id := l.give(1, "a", func(p *pair, r *target.DeadLetterReason) {
			p.attempted()
			p.attemptFailed(l.at, &target.Failure{Code: target.CodeTimeout, Message: "<too slow> & gone"})
			p.body = []byte(`{"v":`)
			r.Code, r.Exhausted = target.CodeTimeout, exhaustedAge
		})
		l.give(2, "b")
		got := l.answer(200, auth.Reader, "GET", fmt.Sprint("/v1/dead-letters/", id), "")
		want := map[string]any{
			"id": float64(id), "dead_at": "2026-03-01T12:00:00Z", "region": "us-east-1", "bus": "default", "rule": "rule-1",
			"rule_arn": "arn:aws:events:us-east-1:111122223333:rule/rule-1", "target_id": "queue", "target_arn": "arn:aws:sqs:us-east-1:111122223333:rule-1",
			"event_id": "a", "source": "shop", "detail_type": "订单", "code": "TIMEOUT", "message": "HTTP status 500",
			"exhausted_retry_condition": "MaximumEventAgeInSeconds", "attempts": 1.0, "first_attempt_at": "2026-03-01T12:00:00Z",
			"last_attempt_at": "2026-03-01T12:00:00Z", "redriven": 0.0, "dead_letter_queue": nil, "dead_letter_queue_error": nil, "bytes": got["bytes"],
			"history": []any{map[string]any{
				"code": "TIMEOUT", "message": "<too slow> & gone", "attempts": 1.0, "first_at": "2026-03-01T12:00:00Z", "last_at": "2026-03-01T12:00:00Z",
			}},
			"event": map[string]any{"id": "a", "source": "shop", "detail-type": "订单", "detail": map[string]any{}},
			"body":  `{"v":`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}

		page := l.call(auth.Reader, letterAccount, "GET", "/v1/dead-letters?count=1", "")
		link := page.Header().Get("Link")
		if !strings.Contains(page.Body.String(), `"event_id":"b"`) || !strings.Contains(link, `rel="next"`) {
			t.Errorf("the first page is %s, its links %q", page.Body, link)
		}
		next, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		page = l.call(auth.Reader, letterAccount, "GET", next, "")
		if !strings.Contains(page.Body.String(), `"event_id":"a"`) || page.Header().Get("Link") != "" {
			t.Errorf("the second page is %s, its links %q", page.Body, page.Header().Get("Link"))
		}
		if n := l.answer(200, auth.Reader, "GET", "/v1/dead-letters/count?rule=rule-1", "")["count"]; n != 1.0 {
			t.Errorf("%v are counted, want 1", n)
		}
		summary := l.answer(200, auth.Reader, "GET", "/v1/dead-letters/summary", "")
		if list := summary["list"].([]any); len(list) != 2 || summary["age"] != "336h0m0s" || summary["max_bytes"] != float64(1<<30) {
			t.Errorf("the summary is %v", summary)
		}
		if list := l.answer(200, auth.Reader, "GET", "/v1/dead-letters?since=2030-01-01T00:00:00Z", "")["list"].([]any); len(list) != 0 {
			t.Errorf("got %v", list)
		}

		run := l.answer(202, auth.Operator, "POST", "/v1/dead-letters/redrive", `{"filter":{"code":"TIMEOUT"},"rate":2.5}`)
		if run["action"] != "redrive" || run["total"] != 1.0 || run["status"] != "running" || run["rate"] != 2.5 || run["created_by"] != "RLTOtest" {
			t.Errorf("the run is %v", run)
		}
		cancelled := l.answer(200, auth.Operator, "POST", fmt.Sprint("/v1/dead-letters/runs/", run["id"], "/cancel"), "")
		if cancelled["status"] != "cancelled" || cancelled["finished_at"] == nil {
			t.Errorf("cancelled it is %v", cancelled)
		}
		if list := l.answer(200, auth.Reader, "GET", "/v1/dead-letters/runs", "")["list"].([]any); len(list) != 1 {
			t.Errorf("the runs are %v", list)
		}
		l.answer(200, auth.Reader, "GET", fmt.Sprint("/v1/dead-letters/runs/", run["id"]), "")
		l.answer(204, auth.Operator, "POST", fmt.Sprintf("/v1/dead-letters/%d/redrive", id), "")
		l.answer(404, auth.Operator, "POST", fmt.Sprintf("/v1/dead-letters/%d/redrive", id), "")
		run = l.answer(202, auth.Operator, "DELETE", "/v1/dead-letters?rule=rule-2&count=1", "")
		if run["action"] != "discard" || run["total"] != 1.0 {
			t.Errorf("the run is %v", run)
		}
		if jobs := jobs(t, l.Delivery); jobs != 1 {
			t.Errorf("%d deliveries are parked, want that which was redriven", jobs)
		}
	})
}

func TestDeadLettersRefuseBadInput(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		id := l.give(1, "a")
		l.give(2, "b")
		delete(l.buses.known, 2)
		gone := id + 1
		long := strings.Repeat("x", maxFilterText+1)
		for name, test := range map[string]struct {
			method, path, body string
			status             int
			says               string
		}{
			"list: unknown parameter":     {"GET", "/v1/dead-letters?rul=x", "", 400, `\"rul\" is not known here; there are bus, code, count,`},
			"list: parameter twice":       {"GET", "/v1/dead-letters?rule=x&rule=y", "", 400, "more than once"},
			"list: long parameter":        {"GET", "/v1/dead-letters?rule=" + long, "", 400, "longer than 1600 bytes"},
			"list: no text":               {"GET", "/v1/dead-letters?rule=%00", "", 400, "no text"},
			"list: no UTF-8":              {"GET", "/v1/dead-letters?event_id=%ff", "", 400, "no text"},
			"list: time":                  {"GET", "/v1/dead-letters?since=yesterday", "", 400, "such as 2026-01-15T21:29:54Z"},
			"list: times the wrong way":   {"GET", "/v1/dead-letters?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "", 400, "since is not before until"},
			"list: count":                 {"GET", "/v1/dead-letters?count=0", "", 400, "count"},
			"list: offset":                {"GET", "/v1/dead-letters?offset=5", "", 400, "not from a Link header"},
			"list: offset with a sign":    {"GET", "/v1/dead-letters?offset=-5.-5", "", 400, "not from a Link header"},
			"count: unknown parameter":    {"GET", "/v1/dead-letters/count?count=5", "", 400, "not known"},
			"one: no number":              {"GET", "/v1/dead-letters/x", "", 404, "their ids are numbers"},
			"one: too large a number":     {"GET", "/v1/dead-letters/99999999999999999999", "", 404, "their ids are numbers"},
			"one: none":                   {"GET", "/v1/dead-letters/4711", "", 404, "no such dead letter"},
			"redrive one: none":           {"POST", "/v1/dead-letters/4711/redrive", "", 404, "no such dead letter"},
			"redrive one: no number":      {"POST", "/v1/dead-letters/-1/redrive", "", 404, "numbers"},
			"redrive one: target deleted": {"POST", fmt.Sprintf("/v1/dead-letters/%d/redrive", gone), "", 404, "rule/rule-2 does not exist any more, or has no target queue any more"},
			"redrive: no body":            {"POST", "/v1/dead-letters/redrive", "", 415, "Content-Type"},
			"redrive: no JSON":            {"POST", "/v1/dead-letters/redrive", "{", 400, "not valid JSON"},
			"redrive: neither":            {"POST", "/v1/dead-letters/redrive", `{}`, 400, "Give either"},
			"redrive: both":               {"POST", "/v1/dead-letters/redrive", `{"ids":[1],"filter":{}}`, 400, "Give either"},
			"redrive: no ids":             {"POST", "/v1/dead-letters/redrive", `{"ids":[]}`, 400, "1 to 1000"},
			"redrive: an id that is none": {"POST", "/v1/dead-letters/redrive", `{"ids":[0]}`, 400, "no dead letter's id"},
			"redrive: ids as text":        {"POST", "/v1/dead-letters/redrive", `{"ids":["1"]}`, 400, "ids"},
			"redrive: too many ids":       {"POST", "/v1/dead-letters/redrive", `{"ids":[1` + strings.Repeat(",1", MaxRunIDs) + `]}`, 400, "1 to 1000"},
			"redrive: rate of nothing":    {"POST", "/v1/dead-letters/redrive", `{"filter":{},"rate":0}`, 400, "rate"},
			"redrive: rate too low":       {"POST", "/v1/dead-letters/redrive", `{"filter":{},"rate":1e-300}`, 400, "at least 0.001"},
			"redrive: time that is none":  {"POST", "/v1/dead-letters/redrive", `{"filter":{"until":"0001-01-01T00:00:00Z"}}`, 400, "until must be a time"},
			"redrive: empty time":         {"POST", "/v1/dead-letters/redrive", `{"filter":{"until":""}}`, 400, "until must be a time"},
			"redrive: rate too high":      {"POST", "/v1/dead-letters/redrive", `{"filter":{},"rate":1e9}`, 400, "at most 10000"},
			"redrive: unknown filter":     {"POST", "/v1/dead-letters/redrive", `{"filter":{"rul":"x"}}`, 400, "rul"},
			"redrive: unknown field":      {"POST", "/v1/dead-letters/redrive", `{"filter":{},"target":"x"}`, 400, "target"},
			"redrive: time":               {"POST", "/v1/dead-letters/redrive", `{"filter":{"since":"now"}}`, 400, "now"},
			"redrive: no text":            {"POST", "/v1/dead-letters/redrive", `{"filter":{"rule":"\u0000"}}`, 400, "no text"},
			"redrive: long filter":        {"POST", "/v1/dead-letters/redrive", `{"filter":{"rule":"` + long + `"}}`, 400, "longer than"},
			"redrive: other count":        {"POST", "/v1/dead-letters/redrive", `{"filter":{},"count":7}`, 400, "2 dead letters are meant, not 7"},
			"redrive: negative count":     {"POST", "/v1/dead-letters/redrive", `{"filter":{},"count":-1}`, 400, "negative"},
			"discard one: none":           {"DELETE", "/v1/dead-letters/4711", "", 404, "no such dead letter"},
			"discard: no count":           {"DELETE", "/v1/dead-letters", "", 400, "GET /v1/dead-letters/count tells"},
			"discard: count that is none": {"DELETE", "/v1/dead-letters?count=all", "", 400, "count"},
			"discard: other count":        {"DELETE", "/v1/dead-letters?count=3", "", 400, "2 dead letters are meant, not 3"},
			"discard: unknown parameter":  {"DELETE", "/v1/dead-letters?count=2&offset=1", "", 400, "not known"},
			"run: none":                   {"GET", "/v1/dead-letters/runs/00000000-0000-0000-0000-000000000000", "", 404, "no such run"},
			"run: no id":                  {"GET", "/v1/dead-letters/runs/x", "", 404, "no such run"},
			"cancel: none":                {"POST", "/v1/dead-letters/runs/00000000-0000-0000-0000-000000000000/cancel", "", 404, "no such run"},
			"cancel: no id":               {"POST", "/v1/dead-letters/runs/%00/cancel", "", 404, "no such run"},
			"put":                         {"PUT", "/v1/dead-letters", "", 405, "PUT is not known"},
		} {
			t.Run(name, func(t *testing.T) {
				w := l.call(auth.Operator, letterAccount, test.method, test.path, test.body)
				if w.Code != test.status || !strings.Contains(w.Body.String(), test.says) {
					t.Errorf("status %d, want %d with %q: %s", w.Code, test.status, test.says, w.Body)
				}
			})
		}
		if n, _ := l.totals(); n != 2 {
			t.Errorf("%d letters are left, want 2", n)
		}
		if runs, err := l.LetterRuns(t.Context(), letterAccount); err != nil || len(runs) != 0 {
			t.Errorf("%d runs were begun, want none: %v", len(runs), err)
		}
	})
}

func TestDeadLettersAreTheirAccountsAlone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		id := l.give(1, "a")
		run := l.answer(202, auth.Operator, "POST", "/v1/dead-letters/redrive", `{"filter":{},"rate":0.1}`)
		for method, paths := range map[string][]string{
			"GET":    {fmt.Sprint("/v1/dead-letters/", id), fmt.Sprint("/v1/dead-letters/runs/", run["id"])},
			"POST":   {fmt.Sprintf("/v1/dead-letters/%d/redrive", id), fmt.Sprintf("/v1/dead-letters/runs/%s/cancel", run["id"])},
			"DELETE": {fmt.Sprint("/v1/dead-letters/", id)},
		} {
			for _, path := range paths {
				if w := l.call(auth.Admin, "444455556666", method, path, ""); w.Code != http.StatusNotFound {
					t.Errorf("%s %s by another account: status %d: %s", method, path, w.Code, w.Body)
				}
			}
		}
		for _, path := range []string{"/v1/dead-letters", "/v1/dead-letters/runs", "/v1/dead-letters/summary"} {
			if w := l.call(auth.Admin, "444455556666", "GET", path, ""); !strings.Contains(w.Body.String(), `"list":[]`) {
				t.Errorf("%s by another account: %s", path, w.Body)
			}
		}
		for _, test := range []struct {
			role         auth.Role
			method, path string
		}{
			{auth.Publisher, "GET", "/v1/dead-letters"},
			{auth.Reader, "POST", fmt.Sprintf("/v1/dead-letters/%d/redrive", id)},
			{auth.Reader, "POST", "/v1/dead-letters/redrive"},
			{auth.Reader, "DELETE", fmt.Sprint("/v1/dead-letters/", id)},
			{auth.Reader, "DELETE", "/v1/dead-letters?count=1"},
			{auth.Reader, "POST", fmt.Sprintf("/v1/dead-letters/runs/%s/cancel", run["id"])},
		} {
			if w := l.call(test.role, letterAccount, test.method, test.path, ""); w.Code != http.StatusForbidden {
				t.Errorf("%s %s as %s: status %d", test.method, test.path, test.role, w.Code)
			}
		}
		if n, _ := l.totals(); n != 1 {
			t.Errorf("%d letters are left, want 1", n)
		}
	})
}
