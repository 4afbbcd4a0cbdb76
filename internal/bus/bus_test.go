package bus

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

// testNow is the time on the clock of the buses under test.
var testNow = time.Date(2026, 3, 4, 5, 6, 7, 891e6, time.UTC)

const (
	testAccount = "111122223333"
	testRegion  = "eu-west-1"
)

var defaultRef = event.BusRef{Account: testAccount, Region: testRegion, Name: "default"}

// memoryLog is an event log that keeps what is appended, or fails.
type memoryLog struct {
	mu      sync.Mutex
	calls   int
	records []event.Record
	err     error
}

func (l *memoryLog) Append(_ context.Context, entries [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.calls++
	for _, e := range entries {
		rec, err := event.DecodeRecord(slices.Clone(e))
		if err != nil {
			return err
		}
		l.records = append(l.records, rec)
	}
	return nil
}

// take returns what was appended since the last take.
func (l *memoryLog) take() []event.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.records
	l.records = nil
	return taken
}

// fixture is a node's buses over a database.
type fixture struct {
	*Buses
	db   *store.DB
	log  *memoryLog
	auth *auth.Auth
	jobs *work.Runner
	aws  *awsapi.Handler
}

func open(t testing.TB, db *store.DB, change ...func(*Options)) *fixture {
	t.Helper()
	key := make([]byte, auth.MasterKeySize)
	rand.Read(key)
	a, err := auth.Open(t.Context(), db, auth.Options{MasterKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return openNode(t, db, a, change...)
}

// openNode opens the buses of another node over the same database.
func openNode(t testing.TB, db *store.DB, a *auth.Auth, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{db: db, log: &memoryLog{}, auth: a, jobs: work.New(db, "test", nil)}
	o := Options{DB: db, Log: f.log, Secrets: a.Sealer(), Jobs: f.jobs, Now: func() time.Time { return testNow }}
	for _, c := range change {
		c(&o)
	}
	var err error
	if f.Buses, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f.aws = awsapi.New(awsapi.Config{Keys: a})
	f.aws.Register(events.Bind(f.Buses.AWS()))
	return f
}

func onBoth(t *testing.T, f func(t *testing.T, x *fixture)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, open(t, db)) })
}

func putRule(t testing.TB, x *fixture, ref event.BusRef, name, pattern string, targets ...RuleTarget) {
	t.Helper()
	if _, err := x.PutRule(t.Context(), Rule{Bus: ref, Name: name, Pattern: pattern, CreatedBy: ref.Account}, nil); err != nil {
		t.Fatal(err)
	}
	if len(targets) == 0 {
		return
	}
	if err := x.PutTargets(t.Context(), ref, name, targets); err != nil {
		t.Fatal(err)
	}
}

func queueARN(name string) string {
	return "arn:aws:sqs:" + testRegion + ":" + testAccount + ":" + name
}

func toQueue(id string) RuleTarget { return RuleTarget{ID: id, ARN: queueARN("queue")} }

// record is an event on a bus.
func record(ref event.BusRef, source string) *event.Record {
	e := event.Event{ID: "id-1", Source: source, DetailType: "t", Account: ref.Account, Region: ref.Region, Time: testNow, Detail: []byte(`{}`)}
	return &event.Record{Bus: ref, ID: e.ID, JSON: e.AppendJSON(nil)}
}

// matched returns "rule/target" for each subscription of the record.
func matched(t testing.TB, x *fixture, rec *event.Record) []string {
	t.Helper()
	subs, err := x.Match(rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, s := range subs {
		names = append(names, s.RuleName+"/"+s.Target.ID)
	}
	slices.Sort(names)
	return names
}
