package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

const letterAccount = "111122223333"

// someSubscription is the target "queue" of the rule "rule-ID".
func someSubscription(id int64) *bus.Subscription {
	ref := event.BusRef{Account: letterAccount, Region: "us-east-1", Name: event.DefaultBus}
	name := fmt.Sprintf("rule-%d", id)
	return &bus.Subscription{
		ID: id, Bus: ref, RuleName: name, RuleARN: "arn:aws:events:us-east-1:" + letterAccount + ":rule/" + name,
		Target: bus.Target{ID: "queue", ARN: "arn:aws:sqs:us-east-1:" + letterAccount + ":" + name, Kind: bus.KindQueue},
	}
}

// knownBuses are buses of which only the subscriptions are asked for.
type knownBuses struct {
	Buses
	mu    sync.Mutex
	known map[int64]*bus.Subscription
}

func (b *knownBuses) Subscription(_ context.Context, id int64) (*bus.Subscription, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if sub := b.known[id]; sub != nil {
		return sub, nil
	}
	return nil, bus.ErrNoSubscription
}

// letters is a Delivery that nothing runs, with a store of dead letters.
type letters struct {
	*Delivery
	t     *testing.T
	buses *knownBuses
	log   bytes.Buffer
	at    time.Time
	seq   uint64 // in the log, of the last event
}

func newLetters(t *testing.T, db *store.DB, limits DeadLetterLimits) *letters {
	l := &letters{t: t, buses: &knownBuses{known: map[int64]*bus.Subscription{}}, at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	l.Delivery = New(Options{
		DB: db, Work: work.New(db, "test", nil), Buses: l.buses, Logger: slog.New(slog.NewTextHandler(&l.log, nil)),
		Now: func() time.Time { return l.at }, DeadLetters: limits,
	})
	return l
}

var ample = DeadLetterLimits{Age: 14 * 24 * time.Hour, Bytes: 1 << 30}

// give gives up the delivery of an event to a subscription, which becomes known, and
// returns the id of the dead letter.
func (l *letters) give(subscription int64, eventID string, edits ...func(*pair, *target.DeadLetterReason)) int64 {
	l.t.Helper()
	l.buses.mu.Lock()
	l.buses.known[subscription] = someSubscription(subscription)
	l.buses.mu.Unlock()
	l.seq++
	p := &pair{seq: l.seq, sub: someSubscription(subscription), rec: event.Record{
		ID: eventID, Bus: event.BusRef{Account: letterAccount, Region: "us-east-1", Name: event.DefaultBus},
		JSON: fmt.Appendf(nil, `{"id":%q,"source":"shop","detail-type":"订单","detail":{}}`, eventID),
	}}
	reason := target.DeadLetterReason{Code: target.CodeErrorFromTarget, Message: "HTTP status 500"}
	for _, edit := range edits {
		edit(p, &reason)
	}
	id, err := l.letters.add(context.Background(), l.letter(p, reason, nil))
	if err != nil {
		l.t.Fatal(err)
	}
	l.at = l.at.Add(time.Second)
	return id
}

func code(code string) func(*pair, *target.DeadLetterReason) {
	return func(_ *pair, r *target.DeadLetterReason) { r.Code = code }
}

// ids lists the letters that a filter means.
func (l *letters) ids(f DeadLetterFilter) []int64 {
	l.t.Helper()
	list, err := l.letterStore.list(context.Background(), letterAccount, f, place{}, 1000)
	if err != nil {
		l.t.Fatal(err)
	}
	ids := []int64{}
	for _, x := range list {
		ids = append(ids, x.ID)
	}
	slices.Sort(ids)
	return ids
}

func (l *letters) totals() (letters, bytes int64) {
	l.t.Helper()
	letters, bytes, err := l.letterStore.bytes(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	return letters, bytes
}

func TestADeadLetterIsReadBackAsItWasWritten(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		first := l.at.Add(-time.Hour)
		l.buses.known[3] = someSubscription(3)
		p := &pair{
			seq: 7, index: 2, sub: someSubscription(3), rec: event.Record{ID: "e", Trace: "Root=1", JSON: []byte(`{"id":"e","source":"商店","detail-type":"order"}`)},
			redrive: &redrive{Count: 2},
		}
		p.sub.Target.DeadLetterARN = "arn:aws:sqs:us-east-1:111122223333:dead"
		p.attempted()
		p.attemptFailed(first, &target.Failure{Code: target.CodeTimeout, Message: "too slow"})
		p.attempted()
		p.attemptFailed(first.Add(time.Minute), &target.Failure{Code: target.CodeErrorFromTarget, Message: "b\x00d \xff 🛒", Status: 503})
		p.body = []byte("not JSON")
		reason := p.reason(exhaustedAttempts)
		id, err := l.letters.add(t.Context(), l.letter(p, reason, &target.Failure{Code: target.CodeNoPermissions, Message: "denied"}))
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.DeadLetter(t.Context(), letterAccount, id)
		if err != nil {
			t.Fatal(err)
		}
		want := &DeadLetter{
			ID: id, Subscription: 3, Bus: p.sub.Bus, RuleName: "rule-3", RuleARN: p.sub.RuleARN, TargetID: "queue", TargetARN: p.sub.Target.ARN,
			EventID: "e", Source: "商店", DetailType: "order", Code: target.CodeErrorFromTarget, Message: "b\ufffdd \ufffd 🛒", Exhausted: exhaustedAttempts,
			Attempts: 2, Redriven: 2, QueueARN: p.sub.Target.DeadLetterARN, QueueError: "NO_PERMISSIONS: denied", At: l.at, Size: got.Size,
			sequence: 7, index: 2, Record: got.Record, Body: []byte("not JSON"),
			spells: []spell{
				{Code: target.CodeTimeout, Message: "too slow", Attempts: 1, First: first, Last: first},
				{Code: target.CodeErrorFromTarget, Message: "b\ufffdd \ufffd 🛒", Status: 503, Attempts: 1, First: first.Add(time.Minute), Last: first.Add(time.Minute)},
			},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(DeadLetter{}, spell{})); diff != "" {
			t.Error(diff)
		}
		if string(got.Record.JSON) != string(p.rec.JSON) || got.Record.Trace != "Root=1" || got.Size < int64(len(p.rec.JSON)) {
			t.Errorf("the event came back as %+v", got.Record)
		}
		if !got.FirstAttempt().Equal(first) || !got.LastAttempt().Equal(first.Add(time.Minute)) {
			t.Errorf("attempts from %s to %s", got.FirstAttempt(), got.LastAttempt())
		}
		if _, err := l.DeadLetter(t.Context(), "444455556666", id); !errors.Is(err, ErrNoDeadLetter) {
			t.Errorf("another account reads it: %v", err)
		}
	})
}

func TestADeliveryThatIsRepeatedMakesNoSecondDeadLetter(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		at := func(seq uint64, index int) func(*pair, *target.DeadLetterReason) {
			return func(p *pair, _ *target.DeadLetterReason) { p.seq, p.index = seq, index }
		}
		want := []int64{
			l.give(1, "e", at(5, 0)),
			l.give(2, "e", at(5, 0)), // of another target
			l.give(1, "e", at(5, 1)), // put twice
			l.give(1, "e", at(6, 0)),
			l.give(1, "other", at(5, 0)), // the log began anew
		}
		for _, repeated := range []int64{l.give(1, "e", at(5, 0)), l.give(1, "e", at(5, 0))} {
			if repeated != want[0] {
				t.Errorf("given up again it is letter %d, want %d", repeated, want[0])
			}
		}
		if diff := cmp.Diff(want, l.ids(DeadLetterFilter{})); diff != "" {
			t.Error(diff)
		}
		if n, _ := l.totals(); n != int64(len(want)) {
			t.Errorf("%d letters are counted, want %d", n, len(want))
		}
	})
}

func TestFiltersOfDeadLetters(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		start := l.at
		a := l.give(1, "a")
		b := l.give(1, "b", code(target.CodeTimeout))
		c := l.give(2, "c", func(p *pair, _ *target.DeadLetterReason) { p.sub.Target.ID, p.sub.Bus.Region = "other", "eu-west-1" })
		d := l.give(3, "a", code(target.CodeTimeout))
		for name, test := range map[string]struct {
			f    DeadLetterFilter
			want []int64
		}{
			"none":                      {DeadLetterFilter{}, []int64{a, b, c, d}},
			"a rule's name":             {DeadLetterFilter{Rule: "rule-1"}, []int64{a, b}},
			"a rule's ARN":              {DeadLetterFilter{Rule: someSubscription(1).RuleARN}, []int64{a, b}},
			"no such rule":              {DeadLetterFilter{Rule: "rule"}, []int64{}},
			"a target's id":             {DeadLetterFilter{Target: "other"}, []int64{c}},
			"a target's ARN":            {DeadLetterFilter{Target: someSubscription(3).Target.ARN}, []int64{d}},
			"a code":                    {DeadLetterFilter{Code: target.CodeTimeout}, []int64{b, d}},
			"an event":                  {DeadLetterFilter{EventID: "a"}, []int64{a, d}},
			"a region":                  {DeadLetterFilter{Region: "eu-west-1"}, []int64{c}},
			"a bus":                     {DeadLetterFilter{Bus: "default"}, []int64{a, b, c, d}},
			"another bus":               {DeadLetterFilter{Bus: "orders"}, []int64{}},
			"since":                     {DeadLetterFilter{Since: start.Add(time.Second)}, []int64{b, c, d}},
			"until":                     {DeadLetterFilter{Until: start.Add(time.Second)}, []int64{a}},
			"rule and code":             {DeadLetterFilter{Rule: "rule-1", Code: target.CodeTimeout}, []int64{b}},
			"ids":                       {DeadLetterFilter{IDs: []int64{a, d, 4711}}, []int64{a, d}},
			"a name with a quote in it": {DeadLetterFilter{Rule: `'; DROP TABLE dead_letter; --`}, []int64{}},
		} {
			t.Run(name, func(t *testing.T) {
				if diff := cmp.Diff(test.want, l.ids(test.f)); diff != "" {
					t.Error(diff)
				}
				n, err := l.CountDeadLetters(t.Context(), letterAccount, test.f)
				if err != nil || n != int64(len(test.want)) {
					t.Errorf("%d are counted, want %d: %v", n, len(test.want), err)
				}
			})
		}
	})
}

func TestPagesOfDeadLettersMissNoneAndRepeatNone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		var want []int64
		at := l.at
		for i := range 25 {
			l.at = at.Add(time.Duration(i/4) * time.Second) // some at the same time
			want = append(want, l.give(int64(1+i%3), fmt.Sprint("e", i)))
		}
		for _, f := range []DeadLetterFilter{{}, {Bus: "default"}} {
			var got []int64
			for after := (place{}); ; {
				page, err := l.letterStore.list(t.Context(), letterAccount, f, after, 4)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				for _, x := range page {
					got = append(got, x.ID)
				}
				after = place{page[len(page)-1].At.UnixMilli(), page[len(page)-1].ID}
			}
			slices.Reverse(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func TestDeadLettersThatAreTooOldAreDroppedAndItIsSaid(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, DeadLetterLimits{Age: time.Hour, Bytes: 1 << 30})
		oldest := l.at
		for i := range 450 { // more than one transaction drops
			l.give(1, fmt.Sprint("old", i))
		}
		newest := l.at.Add(-time.Second)
		l.at = newest.Add(time.Hour - time.Minute)
		kept := l.give(1, "new")
		l.at = newest.Add(time.Hour + time.Millisecond)
		if err := l.dropBeyond(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{kept}, l.ids(DeadLetterFilter{})); diff != "" {
			t.Error(diff)
		}
		dropped, err := l.letterStore.dropped(t.Context(), letterAccount, 10)
		if err != nil {
			t.Fatal(err)
		}
		want := []DroppedLetters{{
			RuleARN: someSubscription(1).RuleARN, TargetID: "queue", Reason: DroppedForAge, Letters: 450, Bytes: dropped[0].Bytes,
			Oldest: oldest, Newest: newest, LastAt: l.at,
		}}
		if diff := cmp.Diff(want, dropped); diff != "" {
			t.Error(diff)
		}
		if n, _ := l.totals(); n != 1 || l.Stats().LettersDropped != 450 {
			t.Errorf("%d are counted and %d as dropped, want 1 and 450", n, l.Stats().LettersDropped)
		}
		if text := l.log.String(); strings.Count(text, "dead letters were dropped") != 1 || !strings.Contains(text, "letters=450") || !strings.Contains(text, "reason=age") {
			t.Errorf("the log says %s", text)
		}
		l.at = l.at.Add(keepRecords + time.Hour)
		if err := l.dropBeyond(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.dropBeyond(t.Context()); err != nil {
			t.Fatal(err)
		}
		if dropped, err = l.letterStore.dropped(t.Context(), letterAccount, 10); err != nil || len(dropped) != 1 || dropped[0].Letters != 451 {
			t.Errorf("a record that was added to is %+v, %v", dropped, err)
		}
		l.at = l.at.Add(keepRecords + time.Hour)
		if err := l.dropBeyond(t.Context()); err != nil {
			t.Fatal(err)
		}
		if dropped, err = l.letterStore.dropped(t.Context(), letterAccount, 10); err != nil || len(dropped) != 0 {
			t.Errorf("a record outlived its time: %+v, %v", dropped, err)
		}
	})
}

func TestDeadLettersThatTakeTooMuchRoomAreDroppedOldestFirst(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		const limit = 200 << 10
		l := newLetters(t, db, DeadLetterLimits{Age: time.Hour, Bytes: limit})
		large := func(p *pair, _ *target.DeadLetterReason) { p.body = bytes.Repeat([]byte("x"), 8<<10) }
		var ids []int64
		for i := range 40 {
			ids = append(ids, l.give(int64(1+i%2), fmt.Sprint("e", i), large))
		}
		select {
		case <-l.letters.grown:
		default:
			t.Error("nobody is told that the store has grown")
		}
		if err := l.dropBeyond(t.Context()); err != nil {
			t.Fatal(err)
		}
		kept := l.ids(DeadLetterFilter{})
		_, size := l.totals()
		if size > limit || size < limit*9/10 {
			t.Errorf("%d bytes are left of %d", size, limit)
		}
		if diff := cmp.Diff(ids[len(ids)-len(kept):], kept); diff != "" {
			t.Errorf("what is left are not the latest: %s", diff)
		}
		dropped, err := l.letterStore.dropped(t.Context(), letterAccount, 10)
		if err != nil || len(dropped) != 2 || dropped[0].Reason != DroppedForSize || dropped[0].Letters+dropped[1].Letters != int64(40-len(kept)) {
			t.Errorf("the records say %+v, %v", dropped, err)
		}
		if err := l.dropBeyond(t.Context()); err != nil || !slices.Equal(kept, l.ids(DeadLetterFilter{})) {
			t.Errorf("more was dropped than had to be: %v", err)
		}
	})
}

func TestNodesThatDropAtOnceDropNoMoreThanOne(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		const limit = 100 << 10
		l := newLetters(t, db, DeadLetterLimits{Age: time.Hour, Bytes: limit})
		for i := range 20 {
			l.give(1, fmt.Sprint("e", i), func(p *pair, _ *target.DeadLetterReason) { p.body = bytes.Repeat([]byte("x"), 16<<10) })
		}
		// Both see the same excess before either drops anything.
		_, size := l.totals()
		passes := []*dropping{{limit: limit, records: dropRecords{}}, {limit: limit, records: dropRecords{}}}
		for _, p := range passes {
			p.excess(size)
		}
		for _, p := range passes {
			for more := true; more; {
				var err error
				if more, err = l.dropSome(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, size := l.totals(); size > limit || size < limit*3/4 {
			t.Errorf("%d bytes are left of %d", size, limit)
		}
	})
}

func TestALetterCountsAboutWhatItsRowTakes(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		long := strings.Repeat("x", 4*maxSpellMessage)
		id := l.give(1, "a", func(p *pair, _ *target.DeadLetterReason) {
			p.rec.ReplayRules = []string{long, long}
			for i := range maxSpells {
				p.spells = withAttempt(p.spells, l.at, &target.Failure{Code: target.CodeErrorFromTarget, Message: long, Status: 500 + i})
			}
		})
		var took int64
		err := db.QueryRow(t.Context(), `SELECT length(event_id) + length(message) + length(spells) + length(target_arn) + length(source)
			+ length(detail_type) + length(record) FROM dead_letter WHERE id = $1`, id).Scan(&took)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.DeadLetter(t.Context(), letterAccount, id); err != nil || took < maxSpells*maxSpellMessage || got.Size < took || got.Size > 2*took {
			t.Errorf("a row of %d bytes counts %d, %v", took, got.Size, err)
		}
	})
}

func TestASummarySaysThatItIsCut(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		var letters []*DeadLetter
		for id := range int64(maxSummary + 1) {
			letters = append(letters, l.letter(&pair{seq: uint64(id), sub: someSubscription(id), rec: event.Record{ID: "e", JSON: []byte(`{}`)}}, target.DeadLetterReason{}, nil))
		}
		for _, n := range []int{maxSummary, 1} {
			if _, _, err := l.letterStore.insert(t.Context(), letters[:n]); err != nil {
				t.Fatal(err)
			}
			letters = letters[n:]
			s, err := l.DeadLetterSummary(t.Context(), letterAccount)
			if err != nil || len(s.Totals) != maxSummary || s.MoreTotals != (n == 1) || s.MoreDropped {
				t.Errorf("it has %d totals, more of them: %t, and more that were dropped: %t, %v", len(s.Totals), s.MoreTotals, s.MoreDropped, err)
			}
		}
	})
}

func TestAnEmptyBodyIsReadBackAsSuch(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		empty := l.give(1, "a", func(p *pair, _ *target.DeadLetterReason) { p.body = []byte{} })
		none := l.give(1, "b")
		for id, want := range map[int64]bool{empty: true, none: false} {
			got, err := l.DeadLetter(t.Context(), letterAccount, id)
			if err != nil || got.Body != nil != want || len(got.Body) != 0 {
				t.Errorf("letter %d has the body %#v, %v; want one: %t", id, got.Body, err, want)
			}
		}
	})
}

func TestTotalsAreThoseOfTheLetters(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		start := l.at
		l.give(1, "a")
		gone := l.give(2, "b")
		l.give(1, "c")
		if err := l.Discard(t.Context(), letterAccount, gone); err != nil {
			t.Fatal(err)
		}
		if err := l.Discard(t.Context(), letterAccount, gone); !errors.Is(err, ErrNoDeadLetter) {
			t.Errorf("discarded twice: %v", err)
		}
		if err := l.Discard(t.Context(), "444455556666", gone-1); !errors.Is(err, ErrNoDeadLetter) {
			t.Errorf("another account discards: %v", err)
		}
		got, err := l.letterStore.totals(t.Context(), letterAccount, 10)
		if err != nil {
			t.Fatal(err)
		}
		want := []DeadLetterTotal{{
			Region: "us-east-1", BusName: "default", RuleName: "rule-1", RuleARN: someSubscription(1).RuleARN, TargetID: "queue",
			Letters: 2, Bytes: got[0].Bytes, Oldest: start, Newest: start.Add(2 * time.Second),
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if _, size := l.totals(); size != got[0].Bytes || size == 0 {
			t.Errorf("%d bytes are counted, want %d", size, got[0].Bytes)
		}
	})
}

func TestDeadLettersOfManyDeliveriesShareTransactions(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		const each, workers = 20, 32
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					p := &pair{seq: uint64(i), index: w, sub: someSubscription(int64(w % 3)), rec: event.Record{ID: fmt.Sprint(w, "/", i), JSON: []byte(`{}`)}}
					if _, err := l.letters.add(context.Background(), l.letter(p, target.DeadLetterReason{Code: "X"}, nil)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n, _ := l.totals(); n != each*workers {
			t.Errorf("%d letters, want %d", n, each*workers)
		}
	})
}

func TestALetterWhoseCallerHasGoneIsNotStored(t *testing.T) {
	l := newLetters(t, storetest.SQLite(t), ample)
	l.letters.turn <- struct{}{} // somebody stores
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &pair{sub: someSubscription(1), rec: event.Record{ID: "e", JSON: []byte(`{}`)}}
	if _, err := l.letters.add(ctx, l.letter(p, target.DeadLetterReason{}, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-l.letters.turn
	l.letters.storeNext(t.Context())
	if n, _ := l.totals(); n != 0 {
		t.Errorf("%d letters, want none", n)
	}
}

func TestALetterThatTheDatabaseRefusesDoesNotKeepBackOthers(t *testing.T) {
	l := newLetters(t, storetest.SQLite(t), ample)
	err := l.DB.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `CREATE TRIGGER refuse BEFORE INSERT ON dead_letter WHEN NEW.event_id = 'poison' BEGIN SELECT RAISE(ABORT, 'refused'); END`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.letters.turn <- struct{}{}
	errs := map[string]error{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, id := range []string{"a", "poison", "b"} {
		wg.Go(func() {
			p := &pair{sub: someSubscription(1), rec: event.Record{ID: id, JSON: []byte(`{}`)}}
			_, err := l.letters.add(context.Background(), l.letter(p, target.DeadLetterReason{}, nil))
			mu.Lock()
			defer mu.Unlock()
			errs[id] = err
		})
	}
	for waiting := 0; waiting < 3; {
		l.letters.mu.Lock()
		waiting = len(l.letters.waiting)
		l.letters.mu.Unlock()
	}
	<-l.letters.turn
	wg.Wait()
	if errs["a"] != nil || errs["b"] != nil || errs["poison"] == nil {
		t.Errorf("got %v", errs)
	}
	if n, _ := l.totals(); n != 2 {
		t.Errorf("%d letters, want 2", n)
	}
}

func TestSpellsJoinAttemptsThatFailAlike(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var spells []spell
	fail := func(code string, status int) {
		spells = withAttempt(spells, at, &target.Failure{Code: code, Message: "at " + at.Format(time.TimeOnly), Status: status})
		at = at.Add(time.Second)
	}
	fail("TIMEOUT", 0)
	fail("ERROR_FROM_TARGET", 500)
	before := spells
	fail("ERROR_FROM_TARGET", 500)
	fail("ERROR_FROM_TARGET", 503)
	if before[1].Attempts != 1 {
		t.Error("a stored slice of spells was changed")
	}
	if len(spells) != 3 || spells[1].Attempts != 2 || spells[1].Message != "at 00:00:02" || spells[1].Last.Sub(spells[1].First) != time.Second {
		t.Errorf("got %+v", spells)
	}
	for i := range 100 {
		fail("ERROR_FROM_TARGET", 400+i%2)
	}
	if len(spells) != maxSpells || spells[0].Code != "TIMEOUT" || !spells[maxSpells-1].Last.Equal(at.Add(-time.Second)) {
		t.Errorf("got %+v", spells)
	}
}

func TestARunStepsThroughWhatItMeantOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		for i := range 150 { // three steps
			l.give(int64(1+i%3), fmt.Sprint("e", i))
		}
		delete(l.buses.known, 2)
		r, err := l.StartRun(t.Context(), NewRun{Account: letterAccount, Action: ActionRedrive, Rate: MaxRunRate, Count: 150})
		if err != nil {
			t.Fatal(err)
		}
		later := l.give(1, "later")
		// Two nodes believe that the run is theirs: each letter goes once all the same.
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				mine, err := l.LetterRun(context.Background(), letterAccount, r.ID)
				for err == nil {
					_, err = l.step(context.Background(), mine)
				}
				if !errors.Is(err, errNotRunning) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if r, err = l.LetterRun(t.Context(), letterAccount, r.ID); err != nil || r.Status != RunDone || r.Done != 100 || r.FinishedAt.IsZero() {
			t.Errorf("the run is %+v, %v", r, err)
		}
		if len(r.Refusals) != 1 || r.Refusals[0].RuleARN != someSubscription(2).RuleARN || r.Refused < 50 {
			t.Errorf("it refused %d: %+v", r.Refused, r.Refusals)
		}
		if n := jobs(t, l.Delivery); n != 100 {
			t.Errorf("%d deliveries are parked, want 100", n)
		}
		if left := l.ids(DeadLetterFilter{}); len(left) != 51 || left[50] != later {
			t.Errorf("%d letters are left, want the 50 that were refused and the later one", len(left))
		}
		if err := l.DB.Update(t.Context(), func(tx *store.Tx) error {
			_, err := l.Work.Cancel(t.Context(), tx, runQueue, r.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}

		r, err = l.StartRun(t.Context(), NewRun{Account: letterAccount, Action: ActionDiscard, Count: 51})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = l.step(t.Context(), r)
		}
		if n, bytes := l.totals(); !errors.Is(err, errNotRunning) || n != 0 || bytes != 0 {
			t.Errorf("%d letters with %d bytes are left: %v", n, bytes, err)
		}
	})
}

func TestARunOverIDsTakesThoseThatAreThere(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		l := newLetters(t, db, ample)
		a, b := l.give(1, "a"), l.give(1, "b")
		c := l.give(1, "c")
		r, err := l.StartRun(t.Context(), NewRun{Account: letterAccount, Action: ActionRedrive, Filter: DeadLetterFilter{IDs: []int64{c, a, 4711}}, Count: -1})
		if err != nil || r.Total != 2 || r.Rate != DefaultRunRate {
			t.Fatalf("got %+v, %v", r, err)
		}
		for err == nil {
			_, err = l.step(t.Context(), r)
		}
		if diff := cmp.Diff([]int64{b}, l.ids(DeadLetterFilter{})); diff != "" {
			t.Error(diff)
		}
		stored, err := l.LetterRun(t.Context(), letterAccount, r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(DeadLetterFilter{IDs: []int64{c, a, 4711}}, stored.Filter, cmp.AllowUnexported(DeadLetterFilter{})); diff != "" {
			t.Error(diff)
		}
	})
}
