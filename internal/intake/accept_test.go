package intake

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestAnEventKeepsWhatItIs(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s, token := w.endpoint("from-aws", Settings{})
		detail := `{"b":[1,2.50,1e3,{"x":null}],"a":"订单 🛒","n":9007199254740993,"empty":{}}`
		body := eventBody("7bf73129-1428-4cd3-a780-95db273d1602", testAccount, "us-east-1", detail)
		if a := w.post(s, token, body); a.status != 202 || a.body != `{"accepted":1,"duplicates":0}`+"\n" {
			t.Fatalf("answered %+v", a)
		}
		recs := w.records()
		if len(recs) != 1 {
			t.Fatalf("the outbox holds %d events, want 1", len(recs))
		}
		want := event.Record{
			Bus: event.BusRef{Account: testAccount, Region: "us-east-1", Name: "default"}, ID: "7bf73129-1428-4cd3-a780-95db273d1602",
			Accepted: recs[0].Accepted, Origin: "source from-aws", JSON: []byte(body),
		}
		if d := cmp.Diff(want, recs[0]); d != "" {
			t.Errorf("record (-want +got):\n%s", d)
		}
		if age := time.Since(recs[0].Accepted); age < 0 || age > time.Minute {
			t.Errorf("accepted %s ago", age)
		}
	})
}

func TestWhereAnEventGoes(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.buses["arn:aws:events:us-east-1:000000000000:event-bus/aws"] = true
	w.buses["arn:aws:events:eu-west-1:111122223333:event-bus/ops"] = true
	for name, tt := range map[string]struct {
		bus  string
		want event.BusRef
	}{
		"nothing said: the default bus of the event's account and region": {"", event.BusRef{Account: testAccount, Region: testRegion, Name: "default"}},
		"a name: that bus of the event's account and region":              {"ops", event.BusRef{Account: testAccount, Region: testRegion, Name: "ops"}},
		"an ARN: that bus": {"arn:aws:events:us-east-1:000000000000:event-bus/aws", event.BusRef{Account: "000000000000", Region: "us-east-1", Name: "aws"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := Settings{Bus: tt.bus}
			if got := s.busOf(&event.Event{Account: testAccount, Region: testRegion}); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	s, token := w.endpoint("ops", Settings{Bus: "ops"})
	if a := w.post(s, token, eventBody("a", testAccount, testRegion, "{}")); a.status != 202 {
		t.Errorf("a bus that is there: %+v", a)
	}
	a := w.post(s, token, eventBody("b", testAccount, "us-east-2", "{}"))
	if a.status != 503 || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "us-east-2:111122223333:event-bus/ops, which does not exist") {
		t.Errorf("a bus that is not there: %+v", a)
	}
}

func TestAnEventComesOnceThroughASource(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s, token := w.endpoint("a", Settings{})
		other, otherToken := w.endpoint("b", Settings{})
		body := eventBody("e-1", testAccount, testRegion, `{"n":1}`)
		replayed := strings.Replace(body, `"resources"`, `"replay-name":"again","resources"`, 1)
		for _, tt := range []struct {
			name, body string
			status     int
			answer     string
			source     Source
			token      string
		}{
			{"the first", body, 202, `{"accepted":1,"duplicates":0}`, s, token},
			{"the same again", body, 200, `{"accepted":0,"duplicates":1}`, s, token},
			{"the same by another source", body, 202, `{"accepted":1,"duplicates":0}`, other, otherToken},
			{"the same in another region", eventBody("e-1", testAccount, "us-east-1", `{}`), 202, `{"accepted":1,"duplicates":0}`, s, token},
			{"the same sent by a replay", replayed, 202, `{"accepted":1,"duplicates":0}`, s, token},
			{"the same sent by the replay again", replayed, 200, `{"accepted":0,"duplicates":1}`, s, token},
			{"twice in one call, and a new one", "[" + eventBody("e-2", testAccount, testRegion, "{}") + "," + eventBody("e-2", testAccount, testRegion, "{}") + "," + body + "]", 202, `{"accepted":1,"duplicates":2}`, s, token},
		} {
			if a := w.post(tt.source, tt.token, tt.body); a.status != tt.status || strings.TrimSpace(a.body) != tt.answer {
				t.Errorf("%s: %+v, want %d %s", tt.name, a, tt.status, tt.answer)
			}
		}
		if got := w.activity(s); got.Accepted != 4 || got.Duplicates != 4 || got.Refused != 0 || got.Lag <= 0 {
			t.Errorf("activity is %+v", got)
		}
	})
}

func TestOfConcurrentDuplicatesOneIsAccepted(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s, _ := w.endpoint("a", Settings{})
		nodes := []*Intake{w.i, w.node("b")}
		const events, tries = 40, 4
		var wg sync.WaitGroup
		for try := range tries {
			for _, node := range nodes {
				wg.Go(func() {
					// The same events in other batches and another order.
					var list []string
					for n := range events {
						list = append(list, eventBody(fmt.Sprint("e-", (n*(2*try+1))%events), testAccount, testRegion, "{}"))
					}
					for len(list) > 0 {
						n := min(len(list), 5+try)
						if _, err := node.receive(context.Background(), s, []byte("["+strings.Join(list[:n], ",")+"]"), ""); err != nil {
							t.Error(err)
						}
						list = list[n:]
					}
				})
			}
		}
		wg.Wait()
		count := map[string]int{}
		for _, rec := range w.records() {
			count[rec.ID]++
		}
		if len(count) != events {
			t.Errorf("%d events were accepted, want %d", len(count), events)
		}
		for id, n := range count {
			if n != 1 {
				t.Errorf("event %s was accepted %d times", id, n)
			}
		}
	})
}

func TestAnEventIsKnownForADay(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ahead := time.Duration(0)
		w.i.o.Now = func() time.Time { return time.Now().Add(ahead) }
		s, token := w.endpoint("a", Settings{})
		var many []string
		for n := range maxEvents {
			many = append(many, eventBody(fmt.Sprint("old-", n), testAccount, testRegion, "{}"))
		}
		if a := w.post(s, token, "["+strings.Join(many, ",")+"]"); a.status != 202 {
			t.Fatal(a)
		}
		ahead = 2 * time.Hour
		if _, err := w.i.receive(t.Context(), s, []byte(eventBody("young", testAccount, testRegion, "{}")), ""); err != nil {
			t.Fatal(err)
		}
		ahead = 25 * time.Hour
		if err := w.i.forgetSeen(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id, accepted := range map[string]int{"old-0": 1, "old-499": 1, "young": 0} {
			taken, err := w.i.receive(t.Context(), s, []byte(eventBody(id, testAccount, testRegion, "{}")), "")
			if err != nil || taken.Accepted != accepted {
				t.Errorf("%s after a day: %+v, %v, want %d accepted", id, taken, err, accepted)
			}
		}
	})
}

func TestTheRateOfASourceIsKept(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	s, token := w.endpoint("slow", Settings{MaxPerSecond: 1})
	var many []string
	for n := range maxEvents {
		many = append(many, eventBody(fmt.Sprint("e-", n), testAccount, testRegion, "{}"))
	}
	if a := w.post(s, token, "["+strings.Join(many, ",")+"]"); a.status != 202 {
		t.Fatalf("a full call: %d %s", a.status, a.body)
	}
	a := w.post(s, token, "["+strings.Join(many[:10], ",")+"]")
	if a.status != 429 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "1 events a second") {
		t.Errorf("more than the rate: %+v", a)
	}
	if got := w.activity(s); got.Accepted != maxEvents || got.Refused != 0 {
		t.Errorf("activity is %+v", got)
	}
}

func TestSourcesAreHeldBackWhileTheOutboxIsFull(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	s, token := w.endpoint("a", Settings{})
	fill := func(sql string, args ...any) {
		t.Helper()
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), sql, args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		w.i.pressure.at = time.Time{}
	}
	fill(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
		INSERT INTO outbox (node, created_at, record) SELECT 'x', 0, x'00' FROM n`, maxOutbox)
	if a := w.post(s, token, eventBody("e", testAccount, testRegion, "{}")); a.status != 429 || !strings.Contains(a.body, "takes no events now") {
		t.Errorf("answered %+v", a)
	}
	fill(`DELETE FROM outbox`)
	if a := w.post(s, token, eventBody("e", testAccount, testRegion, "{}")); a.status != 202 {
		t.Errorf("once there is room: %+v", a)
	}
}
