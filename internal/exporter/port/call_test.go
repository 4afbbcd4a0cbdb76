package port

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// first has the first n calls to paths that end so answered by serve.
func first(n int, suffix string, serve func(w http.ResponseWriter)) func(http.ResponseWriter, *http.Request, map[string]any) bool {
	return func(w http.ResponseWriter, r *http.Request, _ map[string]any) bool {
		if n == 0 || !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		n--
		serve(w)
		return true
	}
}

func TestCallsWaitAsPortSays(t *testing.T) {
	tests := []struct {
		name        string
		serve       func(w http.ResponseWriter)
		least, most time.Duration
	}{
		{"retry after seconds", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "20")
			refuse(w, 429, "too_many_requests", "slow")
		}, 20 * time.Second, 21 * time.Second},
		{"retry after a date", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", time.Now().Add(40*time.Second).UTC().Format(http.TimeFormat))
			refuse(w, 503, "unavailable", "down")
		}, 39 * time.Second, 41 * time.Second},
		{"reset in seconds", func(w http.ResponseWriter) {
			w.Header().Set("X-Ratelimit-Remaining", "0")
			w.Header().Set("X-Ratelimit-Reset", "30")
			refuse(w, 429, "too_many_requests", "slow")
		}, 30 * time.Second, 31 * time.Second},
		{"reset at a time", func(w http.ResponseWriter) {
			w.Header().Set("X-Ratelimit-Remaining", "0")
			w.Header().Set("X-Ratelimit-Reset", fmt.Sprint(time.Now().Add(50*time.Second).Unix()))
			refuse(w, 429, "too_many_requests", "slow")
		}, 49 * time.Second, 51 * time.Second},
		{"too long a wait is cut", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "1e300")
			refuse(w, 429, "too_many_requests", "slow")
		}, maxPause, maxPause + time.Second},
		{"nothing said", func(w http.ResponseWriter) { refuse(w, 502, "bad_gateway", "<html>") }, 100 * time.Millisecond, time.Second},
		{"nonsense said", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "soon")
			w.Header().Set("X-Ratelimit-Reset", "NaN")
			w.Header().Set("X-Ratelimit-Remaining", "-1")
			refuse(w, 429, "too_many_requests", "slow")
		}, 100 * time.Millisecond, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				a.before = first(1, "/entities", tt.serve)
				s := newSink(t, a, nil)
				began := time.Now()
				if r := write(t, s, upsert("b", "x"))[0]; r.Err != nil {
					t.Error(r.Err)
				}
				if took := time.Since(began); took < tt.least || took > tt.most {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// An answer that says nothing is left holds back the next call, before Port would have
// to refuse it.
func TestAnEmptyRateLimitHoldsTheNextCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.before = func(w http.ResponseWriter, r *http.Request, _ map[string]any) bool {
			if strings.HasSuffix(r.URL.Path, "/entities") {
				w.Header().Set("X-Ratelimit-Remaining", "0")
				w.Header().Set("X-Ratelimit-Reset", "10")
			}
			return false
		}
		s := newSink(t, a, nil)
		write(t, s, upsert("b", "x"))
		began := time.Now()
		write(t, s, upsert("b", "y"))
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("the next call took %s", took)
		}
		if a.count("POST /v1/blueprints/b/entities") != 2 {
			t.Error("calls were made again")
		}
	})
}

func TestTokensAreRenewedBeforeTheyEndAndWhenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		s := newSink(t, a, nil)
		write(t, s, upsert("b", "x"))
		time.Sleep(2 * time.Hour)
		write(t, s, upsert("b", "x"))
		if a.logins != 1 {
			t.Errorf("%d logins within a token's life", a.logins)
		}
		time.Sleep(56 * time.Minute)
		write(t, s, upsert("b", "x"))
		if a.logins != 2 {
			t.Errorf("%d logins before a token's end", a.logins)
		}
		clear(a.tokens)
		if r := write(t, s, upsert("b", "x"))[0]; r.Err != nil || a.logins != 3 {
			t.Errorf("a token that is revoked: %v, %d logins", r.Err, a.logins)
		}
	})
}

func TestManyCallersShareOneLogin(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, nil)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := s.Write(t.Context(), catalog.Writer{}, []catalog.EntityChange{upsert("b", fmt.Sprint("e", i))}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a.logins != 1 || a.count("/integration") != 1 || len(a.entities) != 20 {
		t.Errorf("%d logins, %d integrations, %d entities", a.logins, a.count("/integration"), len(a.entities))
	}
}

func TestRefusedCredentialsAreNotTriedAgain(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, func(o *Options) { o.ClientSecret = "wrong" })
	err := s.Write(t.Context(), catalog.Writer{}, []catalog.EntityChange{upsert("b", "x")}, nil)
	if _, ok := errors.AsType[*LoginError](err); !ok {
		t.Errorf("got %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "wrong\"") {
		t.Errorf("the secret is told: %v", err)
	}
	if n := a.count("access_token"); n > 2 { // of the integration and of the entity
		t.Errorf("%d logins", n)
	}
}

func TestAPortThatIsDownEndsTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.before = func(w http.ResponseWriter, r *http.Request, _ map[string]any) bool {
			if strings.HasSuffix(r.URL.Path, "access_token") {
				return false
			}
			refuse(w, 503, "unavailable", "down")
			return true
		}
		s := newSink(t, a, nil)
		var changes []catalog.EntityChange
		for i := range 100 {
			changes = append(changes, upsert("b", fmt.Sprint("e", i)))
		}
		began := time.Now()
		if err := s.Write(t.Context(), catalog.Writer{}, changes, nil); status(err) != 503 {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("it took %s", took)
		}
	})
}

func TestOneEntityThatPortFailsOnSpoilsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.before = func(w http.ResponseWriter, _ *http.Request, body map[string]any) bool {
			if strings.Contains(fmt.Sprint(body), "poison") {
				refuse(w, 500, "internal_error", "oops")
				return true
			}
			return false
		}
		rs := write(t, newSink(t, a, nil), upsert("b", "x"), upsert("b", "poison"), upsert("b", "y"))
		if rs[0].Err != nil || rs[2].Err != nil || status(rs[1].Err) != 500 {
			t.Errorf("the results are %+v", rs)
		}
	})
}

// lost is a transport whose answers are lost.
type lost struct {
	inner http.RoundTripper
	n     int
}

func (l *lost) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.inner.RoundTrip(r)
	if l.n > 0 && strings.HasSuffix(r.URL.Path, "/entities") {
		l.n--
		return nil, errors.New("connection reset by peer")
	}
	return resp, err
}

func TestACallWhoseAnswerIsLostIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		s := newSink(t, a, func(o *Options) { o.HTTP = &http.Client{Transport: &lost{a, 2}} })
		if r := write(t, s, upsert("b", "x"))[0]; r.Err != nil {
			t.Error(r.Err)
		}
		s = newSink(t, a, func(o *Options) { o.HTTP = &http.Client{Transport: &lost{a, 100}} })
		err := s.Write(t.Context(), catalog.Writer{}, []catalog.EntityChange{upsert("b", "x")}, nil)
		if err == nil || status(err) != 0 {
			t.Errorf("no answer at all: %v", err)
		}
	})
}

func TestTheCallersTimeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.before = first(1, "/entities", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "60")
			refuse(w, 429, "too_many_requests", "slow")
		})
		s := newSink(t, a, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Write(ctx, catalog.Writer{}, []catalog.EntityChange{upsert("b", "x")}, nil); status(err) != 429 {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestAnIntegrationThatPortDoesNotTakeHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		a.before = first(1, "/integration", func(w http.ResponseWriter) { refuse(w, 422, "invalid_request", "no") })
		s := newSink(t, a, nil)
		for range 3 {
			if r := write(t, s, upsert("b", "x"))[0]; r.Err != nil {
				t.Error(r.Err)
			}
		}
		if n := a.count("/integration"); n != 2 {
			t.Errorf("%d tries", n)
		}
	})
}

func TestAnswersThatAreNotPortsAreErrors(t *testing.T) {
	for _, text := range []string{"<html>hello</html>", "", strings.Repeat(" ", maxAnswer+1)} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t)
			a.before = first(100, "/entities", func(w http.ResponseWriter) { w.Write([]byte(text)) })
			err := newSink(t, a, nil).Write(t.Context(), catalog.Writer{}, []catalog.EntityChange{upsert("b", "x")}, nil)
			if err == nil || status(err) != 0 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhatIsKeptOfARefusalIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	e := refusal(http.StatusUnprocessableEntity, []byte(`{"error":"`+long+`","message":"a\u0000`+long+`","details":{"x":"`+long+`"}}`))
	if len(e.Code) > 3000 || len(e.Message) > 3000 || strings.Contains(e.Message, "\x00") || e.Details != nil {
		t.Errorf("a code of %d bytes, a message of %d, details %v", len(e.Code), len(e.Message), e.Details != nil)
	}
	e = refusal(http.StatusUnprocessableEntity, []byte(`{"error":"validation_error","message":"生产","details":{"x":1}}`))
	if details, _ := e.Details.(json.RawMessage); e.Code != "validation_error" || e.Message != "生产" || string(details) != `{"x":1}` {
		t.Errorf("%+v", e)
	}
}
