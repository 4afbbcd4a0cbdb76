package port

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

// unsteady is a way to Port on which one call in some fails, before or after Port has
// acted on it.
type unsteady struct {
	*api
	random *rand.Rand
}

func (u *unsteady) RoundTrip(r *http.Request) (*http.Response, error) {
	switch u.random.IntN(20) {
	case 0:
		return nil, errors.New("connection refused")
	case 1:
		u.api.RoundTrip(r)
		return nil, errors.New("connection reset by peer")
	case 2:
		return unsteadyAnswer(http.StatusBadGateway, "<html>"), nil
	case 3:
		u.api.RoundTrip(r)
		return unsteadyAnswer(http.StatusGatewayTimeout, ""), nil
	case 4:
		return unsteadyAnswer(http.StatusTooManyRequests, `{"ok":false,"error":"too_many_requests"}`), nil
	case 5:
		clear(u.tokens) // all are revoked
	}
	return u.api.RoundTrip(r)
}

func unsteadyAnswer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Status: body}
}

// Whatever fails on the way, a write that is repeated until it succeeds leaves Port as
// its changes say, one after the other.
func TestPortEndsAsTheChangesSay(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			a := newAPI(t)
			a.noBulk = seed%5 == 0
			s := newSink(t, a, func(o *Options) { o.HTTP = &http.Client{Transport: &unsteady{a, random}} })
			want := map[string]string{}
			for range 5 {
				changes := someChanges(random, want)
				writeUntilDone(t, s, changes)
			}
			got := map[string]string{}
			for ref, e := range a.entities {
				got[ref.Blueprint+" "+ref.Identifier] = e["title"].(string)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d: %s", seed, diff)
			}
		})
	}
}

// someChanges makes changes of few entities, so that many are of the same, and tells
// want what comes of them.
func someChanges(random *rand.Rand, want map[string]string) []catalog.EntityChange {
	var changes []catalog.EntityChange
	for range 1 + random.IntN(60) {
		blueprint, id := fmt.Sprint("b", random.IntN(2)), fmt.Sprint("e/", random.IntN(40))
		if random.IntN(3) == 0 {
			changes = append(changes, gone(blueprint, id))
			delete(want, blueprint+" "+id)
			continue
		}
		c := upsert(blueprint, id)
		title := fmt.Sprint("题 ", random.IntN(1000))
		c.Entity.Title = catalog.Given(title)
		changes = append(changes, c)
		want[blueprint+" "+id] = title
	}
	return changes
}

// writeUntilDone repeats a write as the exporter does: as long as Port cannot be asked,
// and as long as a change fails otherwise than for good.
func writeUntilDone(t *testing.T, s *Sink, changes []catalog.EntityChange) {
	t.Helper()
	for range 50 {
		again := false
		err := s.Write(t.Context(), catalog.Writer{}, changes, func(_ context.Context, _ *store.Tx, rs []catalog.ChangeResult) error {
			for i, r := range rs {
				switch {
				case r.Err == nil:
				case passing[status(r.Err)]:
					again = true
				case !changes[i].Delete || status(r.Err) != http.StatusNotFound:
					t.Errorf("change %d: %v", i, r.Err)
				}
			}
			return nil
		})
		if err == nil && !again {
			return
		}
	}
	t.Error("the changes are never made")
}

func FuzzSearchAnswer(f *testing.F) {
	for _, text := range []string{
		`{"ok":true,"matchingBlueprints":["b"],"entities":[{"blueprint":"b","identifier":"队列 🛒"}]}`, `{"entities":[]}`, `{"entities":[{}]}`, `{"entities":[`, `[]`, `{"entities":[{"blueprint":1}]}`,
		`{"entities":[{"blueprint":"b","identifier":"x"}],"entities":[{"blueprint":"b","identifier":"y"}]}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		err := eachEntity(strings.NewReader(text), func(e catalog.EntityRef) {
			if n++; e.Blueprint == "" || e.Identifier == "" {
				t.Errorf("an entity without a name: %+v", e)
			}
		})
		if err == nil && !strings.Contains(text, "entities") && !strings.Contains(text, `\u`) {
			t.Errorf("%q has %d entities", text, n)
		}
	})
}
