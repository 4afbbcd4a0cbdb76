package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWriteErrorTellsOnlyWhatTheCallerMayKnow(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		status int
		code   string
		logged bool
	}{
		{"an Error", NotFound("Project %q does not exist.", "海"), 404, CodeNotFound, false},
		{"a wrapped Error", fmt.Errorf("get project: %w", Invalid("no")), 400, CodeInvalidRequest, false},
		{"a body too large", fmt.Errorf("read: %w", &http.MaxBytesError{Limit: 10}), 413, CodeInvalidRequest, false},
		{"anything else", errors.New("secret path /var/lib"), 500, CodeUnknown, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			h := Requests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				WriteError(w, r, tt.err)
			}), slog.New(slog.NewTextHandler(&log, nil)))
			r := httptest.NewRequest("GET", "/v1/x", nil)
			r.Header.Set(RequestIDHeader, "abc-1")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var body errorBody
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if w.Code != tt.status || body.Error.Code != tt.code || body.RequestID != "abc-1" {
				t.Errorf("got %d %+v, want %d %s", w.Code, body, tt.status, tt.code)
			}
			if strings.Contains(w.Body.String(), "secret path") {
				t.Error("an internal error was told to the caller")
			}
			if logged := strings.Contains(log.String(), "abc-1"); logged != tt.logged {
				t.Errorf("logged = %v, want %v: %s", logged, tt.logged, log.String())
			}
		})
	}
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	w := httptest.NewRecorder()
	WriteError(w, httptest.NewRequest("GET", "/", nil), Unavailable(1500*time.Millisecond, "busy"))
	if got := w.Header().Get("Retry-After"); got != "2" {
		t.Errorf("Retry-After = %q, want 2", got)
	}
}

func TestRequestIDs(t *testing.T) {
	for sent, kept := range map[string]bool{
		"": false, "a.b-C_1": true, "a b": false, "ä": false, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
	} {
		var inside string
		h := Requests(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inside = RequestIDFrom(r.Context()) }), slog.Default())
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[RequestIDHeader] = []string{sent}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if inside == "" || inside != w.Header().Get(RequestIDHeader) {
			t.Errorf("%q: inside %q, answered %q", sent, inside, w.Header().Get(RequestIDHeader))
		}
		if (inside == sent) != kept {
			t.Errorf("id %q kept = %v, want %v", sent, inside == sent, kept)
		}
	}
}

func TestDecode(t *testing.T) {
	type body struct {
		Name  string   `json:"name"`
		Count int      `json:"count"`
		Tags  []string `json:"tags"`
		On    *bool    `json:"on"`
	}
	tests := []struct {
		name, contentType, body string
		status                  int // 0: decodes
		message                 string
	}{
		{"plain", "application/json", `{"name":"事件 🎉","count":2}`, 0, ""},
		{"charset", "application/json; charset=utf-8", `{}`, 0, ""},
		{"no type", "", `{}`, 415, "Content-Type"},
		{"form", "application/x-www-form-urlencoded", `a=b`, 415, "x-www-form"},
		{"empty", "application/json", " ", 400, "empty"},
		{"unknown field", "application/json", `{"nam":1}`, 400, `"nam"`},
		{"repeated field", "application/json", `{"name":"a","name":"b"}`, 400, "twice"},
		{"repeated by escape", "application/json", `{"name":"a","n\u0061me":"b"}`, 400, "twice"},
		{"wrong type", "application/json", `{"count":"2"}`, 400, `"count" must be a whole number, not a string`},
		{"wrong list", "application/json", `{"tags":{}}`, 400, `"tags" must be a list`},
		{"wrong boolean", "application/json", `{"on":1}`, 400, `"on" must be a boolean`},
		{"not an object", "application/json", `[1]`, 400, "must be a JSON object"},
		{"cut off", "application/json", `{"name":`, 400, "ends too early"},
		{"two values", "application/json", `{} {}`, 400, "follows"},
		{"not UTF-8", "application/json", "{\"name\":\"\xff\"}", 400, "UTF-8"},
		{"deep", "application/json", strings.Repeat("[", 100) + strings.Repeat("]", 100), 400, "deeper"},
		{"large", "application/json", `{"name":"` + strings.Repeat("x", 300) + `"}`, 413, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader(tt.body))
			if tt.contentType != "" {
				r.Header.Set("Content-Type", tt.contentType)
			}
			w := httptest.NewRecorder()
			var v body
			err := Decode(w, r, &v, 256)
			if (err == nil) != (tt.status == 0) {
				t.Fatalf("err = %v", err)
			}
			if err == nil {
				return
			}
			WriteError(w, r, err)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), strings.Trim(fmt.Sprintf("%q", tt.message), `"`)) {
				t.Errorf("got %d %s, want %d with %q", w.Code, w.Body, tt.status, tt.message)
			}
		})
	}
}

func TestParsePage(t *testing.T) {
	tests := []struct {
		query string
		want  Page
		fails bool
	}{
		{"", Page{Count: 100}, false},
		{"count=10&offset=abc&prev=true&descending=1", Page{Count: 10, Offset: "abc", Prev: true, Descending: true}, false},
		{"count=0", Page{}, true},
		{"count=101", Page{}, true},
		{"count=-1", Page{}, true},
		{"count=x", Page{}, true},
		{"prev=maybe", Page{}, true},
		{"descending=yes", Page{}, true},
		{"offset=" + strings.Repeat("a", 1025), Page{}, true},
	}
	for _, tt := range tests {
		got, err := ParsePage(httptest.NewRequest("GET", "/?"+tt.query, nil))
		if (err != nil) != tt.fails || got != tt.want {
			t.Errorf("ParsePage(%q) = %+v, %v", tt.query, got, err)
		}
	}
}

func TestLinksKeepTheOtherParameters(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/v1/servers?count=5&state=ACTIVE&offset=b&prev=true", nil)
	SetLinks(w, r, "c&d", "a")
	want := `</v1/servers?count=5&offset=c%26d&state=ACTIVE>; rel="next", </v1/servers?count=5&offset=a&prev=true&state=ACTIVE>; rel="prev"`
	if got := w.Header().Get("Link"); got != want {
		t.Errorf("Link = %s\nwant   %s", got, want)
	}
	w = httptest.NewRecorder()
	SetLinks(w, r, "", "")
	if _, ok := w.Header()["Link"]; ok {
		t.Error("a Link header on the only page")
	}
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		messages := make(chan Message)
		w := httptest.NewRecorder()
		done := make(chan error)
		go func() { done <- stream(w, httptest.NewRequest("GET", "/", nil), messages, time.Second) }()
		messages <- Message{ID: "1", Event: "event", Data: []byte("一\r\n二")}
		time.Sleep(2500 * time.Millisecond) // the bubble's clock
		messages <- Message{Event: "a\nb", Data: []byte("x")}
		close(messages)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want := ": open\n\nid: 1\nevent: event\ndata: 一\ndata: 二\n\n: heartbeat\n\n: heartbeat\n\nevent: a b\ndata: x\n\n"
		if diff := cmp.Diff(want, w.Body.String()); diff != "" {
			t.Error(diff)
		}
		if got := w.Header().Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("Content-Type = %q", got)
		}
	})
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"a":2}`, `[1,[2,{"a":null}]]`, `"é"`, `1e9`, `{`, `{} {}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if CheckJSON(data) == nil && !json.Valid(data) {
			t.Errorf("CheckJSON took %q, which is no JSON", data)
		}
	})
}

func TestAPanicIsLoggedUnderItsRequest(t *testing.T) {
	var log strings.Builder
	h := Requests(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("out of luck") }), slog.New(slog.NewTextHandler(&log, nil)))
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("the server gets %v", p)
		}
		if !strings.Contains(log.String(), "out of luck") || !strings.Contains(log.String(), "request_id=abc") {
			t.Errorf("logged %q", &log)
		}
	}()
	r := httptest.NewRequest("GET", "/v1/x", nil)
	r.Header.Set(RequestIDHeader, "abc")
	h.ServeHTTP(httptest.NewRecorder(), r)
}

func TestUnknownRoutesAreAnsweredInTheAPIsShape(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/things/{id}", func(w http.ResponseWriter, r *http.Request) { JSON(w, http.StatusOK, r.PathValue("id")) })
	h := KnownRoutes(mux)
	for call, want := range map[string]struct {
		status      int
		body, allow string
	}{
		"GET /v1/things/7":    {200, `"7"`, ""},
		"GET /v1/nothing":     {404, `{"error":{"code":"resource_does_not_exist","message":"There is nothing at /v1/nothing."}}`, ""},
		"DELETE /v1/things/7": {405, `{"error":{"code":"invalid_request","message":"DELETE is not known at /v1/things/7; use GET, HEAD."}}`, "GET, HEAD"},
	} {
		method, path, _ := strings.Cut(call, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		if w.Code != want.status || strings.TrimSpace(w.Body.String()) != want.body || w.Header().Get("Allow") != want.allow {
			t.Errorf("%s: %d %s, Allow %q", call, w.Code, w.Body, w.Header().Get("Allow"))
		}
	}
}
