package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	testBus = event.BusRef{Account: "111122223333", Region: "eu-west-1", Name: "orders"}
	start   = time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
)

func subscription(id int64, rule string) *bus.Subscription {
	return &bus.Subscription{
		ID: id, Revision: 3, Bus: testBus, RuleName: rule, RuleARN: "arn:aws:events:eu-west-1:111122223333:rule/orders/" + rule,
		Target: bus.Target{ID: "t", ARN: "arn:aws:sqs:eu-west-1:111122223333:" + rule, Kind: bus.KindQueue},
	}
}

func record(id string) *event.Record {
	return &event.Record{Bus: testBus, ID: id, Accepted: start.Truncate(time.Millisecond), RuleVersion: 7, Origin: "PutEvents AKIA1", JSON: []byte("{}")}
}

// clock is a time that each reading moves on.
type clock struct{ us atomic.Int64 }

func (c *clock) now() time.Time { return start.Add(time.Duration(c.us.Add(1)) * time.Microsecond) }

// open starts a recorder on a directory; stop ends it.
func open(t testing.TB, dir string, bytes int64) (r *Recorder, stop func()) {
	t.Helper()
	r, err := OpenRecorder(RecorderOptions{Dir: dir, Bytes: bytes, Node: "node-1", Logger: slog.New(slog.DiscardHandler), Now: new(clock).now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return r, stop
}

func find(t testing.TB, r *Recorder, id string) Found {
	t.Helper()
	f, err := r.find(context.Background(), id, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func attempt(seq uint64, id string, sub *bus.Subscription, n int, failure *target.Failure) delivery.Step {
	return delivery.Step{Kind: delivery.StepAttempt, Sequence: seq, Index: 4, Record: record(id), Subscription: sub, Attempt: n, Took: 1500 * time.Microsecond, Failure: failure}
}

func TestWhatIsRecordedIsFoundAsItWas(t *testing.T) {
	r, stop := open(t, t.TempDir(), MinBytes)
	a, b := subscription(1, "a"), subscription(2, "规则-🛒")
	const id = "0d0a608b-b6bd-e22d-739b-365f723ccf4b"
	r.Routed(10, 4, record(id), []*bus.Subscription{a, b})
	r.Routed(11, 0, record("another"), nil)
	ok := attempt(10, id, a, 1, nil)
	ok.Status = 202
	r.Step(ok)
	r.Step(attempt(10, id, b, 1, &target.Failure{Code: "TIMEOUT", Message: "没有回答 🕰️", Status: 504}))
	until := start.Add(time.Minute).Truncate(time.Millisecond)
	r.Step(delivery.Step{Kind: delivery.StepParked, Sequence: 10, Index: 4, Record: record(id), Subscription: b, Attempt: 1, Until: until})
	r.Step(delivery.Step{
		Kind: delivery.StepDeadLettered, Sequence: 10, Index: 4, Record: record(id), Subscription: b, Attempt: 2,
		Failure: &target.Failure{Code: "TIMEOUT"}, Exhausted: "MaximumRetryAttempts", To: "arn:aws:sqs:eu-west-1:111122223333:dead",
	})
	r.Step(delivery.Step{Kind: delivery.StepKept, Sequence: 10, Index: 4, Record: record(id), Subscription: b, Attempt: 2, To: "dl-1"})

	subA := Subscription{ID: 1, RuleName: "a", RuleARN: a.RuleARN, TargetID: "t", TargetARN: a.Target.ARN, Kind: bus.KindQueue}
	subB := Subscription{ID: 2, RuleName: "规则-🛒", RuleARN: b.RuleARN, TargetID: "t", TargetARN: b.Target.ARN, Kind: bus.KindQueue}
	step := func(kind delivery.StepKind, e Entry) Entry {
		e.Step, e.Node, e.Sequence, e.Index, e.ID, e.Bus = kind, "node-1", 10, 4, id, testBus
		return e
	}
	// entries are those found, without their times, which grow.
	entries := func(r *Recorder) []Entry {
		t.Helper()
		found, last := find(t, r, id).Entries, start
		for i := range found {
			if !found[i].At.After(last) || found[i].At.After(start.Add(time.Second)) {
				t.Errorf("entry %d is of %s, the one before of %s", i, found[i].At, last)
			}
			last, found[i].At = found[i].At, time.Time{}
		}
		return found
	}
	want := []Entry{
		step(0, Entry{Accepted: start.Truncate(time.Millisecond), Origin: "PutEvents AKIA1", RuleVersion: 7, Matched: []Subscription{subA, subB}}),
		step(delivery.StepAttempt, Entry{Subscription: subA, Attempt: 1, Took: 1500 * time.Microsecond, Status: 202}),
		step(delivery.StepAttempt, Entry{Subscription: subB, Attempt: 1, Took: 1500 * time.Microsecond, Failed: true, Code: "TIMEOUT", Message: "没有回答 🕰️", Status: 504}),
		step(delivery.StepParked, Entry{Subscription: subB, Attempt: 1, Until: until}),
		step(delivery.StepDeadLettered, Entry{Subscription: subB, Attempt: 2, Failed: true, Code: "TIMEOUT", Exhausted: "MaximumRetryAttempts", To: "arn:aws:sqs:eu-west-1:111122223333:dead"}),
		step(delivery.StepKept, Entry{Subscription: subB, Attempt: 2, To: "dl-1"}),
	}
	if diff := cmp.Diff(want, entries(r)); diff != "" {
		t.Error(diff)
	}
	stop()
	r, _ = open(t, r.Dir, MinBytes)
	if diff := cmp.Diff(want, entries(r)); diff != "" {
		t.Error("after a restart:", diff)
	}
	if got := find(t, r, "missing"); len(got.Entries) != 0 || len(got.Gaps) != 0 {
		t.Errorf("an id that was never recorded: %+v", got)
	}
}

func TestAnEventIsFoundByTheIDThatItHadBefore(t *testing.T) {
	r, _ := open(t, t.TempDir(), MinBytes)
	for i, origin := range []string{
		"rule arn:aws:events:eu-west-1:111122223333:rule/far 7bf73129-1428-4cd3-a780-95db273d1602",
		"replay arn:aws:events:eu-west-1:111122223333:replay/again an id with spaces 一",
		"rule arn:aws:events:eu-west-1:111122223333:rule/near",
		"injected some key", // no third word: the key is called so
	} {
		rec := record(fmt.Sprintf("new-%d", i))
		rec.Origin = origin
		r.Routed(uint64(i+1), 0, rec, nil)
	}
	for id, want := range map[string]string{"7bf73129-1428-4cd3-a780-95db273d1602": "new-0", "an id with spaces 一": "new-1", "key": ""} {
		got := find(t, r, id).Entries
		switch {
		case want == "" && len(got) != 0, want != "" && (len(got) != 1 || got[0].ID != want):
			t.Errorf("%q: found %+v, want %s", id, got, want)
		case want != "" && !strings.HasSuffix(got[0].Origin, " "+id):
			t.Errorf("%q: the origin is %q", id, got[0].Origin)
		}
	}
}

func TestSegmentsStayWithinTheirBytesAndTheOldestGoFirst(t *testing.T) {
	r, stop := open(t, t.TempDir(), MinBytes)
	sub := subscription(1, "a")
	const events = 60_000
	for i := range events {
		id := fmt.Sprintf("event-%d", i)
		r.Routed(uint64(i+1), 0, record(id), []*bus.Subscription{sub})
		r.Step(attempt(uint64(i+1), id, sub, 1, nil))
		if i%1000 == 0 {
			if err := r.flush(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	found := find(t, r, "event-59999")
	if len(found.Entries) != 2 || found.Since.IsZero() {
		t.Errorf("the newest: %d entries, since %s", len(found.Entries), found.Since)
	}
	if n := len(find(t, r, "event-0").Entries); n != 0 {
		t.Errorf("the oldest has %d entries", n)
	}
	check := func(when string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(r.Dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if total > MinBytes || total < MinBytes/2 || total != r.Stats().Bytes {
			t.Errorf("%s: %d bytes in %d files, counted %d, limit %d", when, total, len(files), r.Stats().Bytes, MinBytes)
		}
	}
	check("at the end")
	if s := r.Stats(); s.Dropped != 0 || s.Entries != 2*events {
		t.Errorf("stats %+v", s)
	}
	stop()
	r, _ = open(t, r.Dir, MinBytes)
	if found = find(t, r, "event-59999"); len(found.Entries) != 2 {
		t.Errorf("after a restart the newest has %d entries", len(found.Entries))
	}
	check("after a restart")
}

func TestManyRestartsDoNotFillTheDirectory(t *testing.T) {
	const most = 50
	dir := t.TempDir()
	for i := range most + 10 {
		s, err := openSegments(dir, MinBytes, most, newHasher())
		if err != nil {
			t.Fatal(err)
		}
		e := newEncoder(s.hasher)
		e.routed(start, uint64(i+1), 0, record("x"), nil)
		c := e.take(buffers{})
		c.last = true
		if err := s.write(c, start); err != nil {
			t.Fatal(err)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != most {
		t.Errorf("%d files, error %v", len(files), err)
	}
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// lastSegment returns the newest file of a directory.
func lastSegment(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.trace"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return files[len(files)-1]
}

func TestATornTailCostsWhatWasTornAndIsSaid(t *testing.T) {
	dir := t.TempDir()
	r, stop := open(t, dir, MinBytes)
	for i := range 10 {
		r.Routed(uint64(i+1), 0, record(fmt.Sprint("e", i)), nil)
		if err := r.flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	path := lastSegment(t, dir)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for size := len(whole) - 1; size > 0; size -= 7 {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		r, stop := open(t, dir, MinBytes)
		gone := 0
		for i := range 10 {
			if n := len(find(t, r, fmt.Sprint("e", i)).Entries); n == 0 {
				gone++
			} else if gone > 0 {
				t.Fatalf("cut at %d of %d: e%d is there, one before is not", size, len(whole), i)
			}
		}
		eventually(t, fmt.Sprintf("what is missing with %d of %d bytes", size, len(whole)), func() bool { return len(find(t, r, "e0").Gaps) > 0 })
		stop()
		if size < segmentHeader+blockHeader && gone != 10 {
			t.Fatalf("cut at %d: %d are gone", size, gone)
		}
		if own := lastSegment(t, dir); own != path {
			_ = os.Remove(own)
		}
	}
}

func TestAFullDiskLosesEntriesAndSaysSo(t *testing.T) {
	r, _ := open(t, t.TempDir(), MinBytes)
	r.Routed(1, 0, record("before"), nil)
	if err := r.flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	// The file that is written is one that takes nothing.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this system has no /dev/full")
	}
	if err != nil {
		t.Fatal(err)
	}
	r.store.file.Close()
	r.store.file = full
	r.Routed(2, 0, record("lost"), nil)
	if n := len(find(t, r, "lost").Entries); n != 0 {
		t.Fatalf("found %d entries on a full disk", n)
	}
	found := find(t, r, "before")
	if len(found.Entries) != 1 || len(found.Gaps) != 1 || found.Gaps[0].Entries != 1 || r.Stats().Dropped != 1 {
		t.Errorf("found %+v, dropped %d", found, r.Stats().Dropped)
	}
	r.store.retryAt = time.Time{} // the writer waits for flushes only
	for i := range 3 {
		r.Routed(uint64(3+i), 0, record(fmt.Sprint("after", i)), nil)
		find(t, r, "x")
	}
	if n := len(find(t, r, "after2").Entries); n != 1 {
		t.Errorf("after the disk took files again: %d entries", n)
	}
}

func TestLanesDoNotWaitForAWriterThatIsBehind(t *testing.T) {
	o := RecorderOptions{Dir: t.TempDir(), Bytes: 64 << 20, Node: "node-1", Logger: slog.New(slog.DiscardHandler), Now: new(clock).now}
	r, err := OpenRecorder(o)
	if err != nil {
		t.Fatal(err)
	}
	rec := record(event.NewID())
	for i := range 600_000 { // nobody writes
		r.Routed(uint64(i+1), 0, rec, nil)
	}
	s := r.Stats()
	if s.Dropped == 0 || s.Entries+s.Dropped != 600_000 {
		t.Fatalf("stats %+v", s)
	}
	if r.pending+len(r.enc.buf) > maxPending+1024 {
		t.Errorf("%d bytes are pending", r.pending+len(r.enc.buf))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	defer func() { cancel(); wg.Wait() }()
	if err := r.flush(ctx); err != nil {
		t.Fatal(err)
	}
	r.Routed(1, 0, record("next"), nil)
	found := find(t, r, "next")
	if len(found.Entries) != 1 || len(found.Gaps) != 1 || found.Gaps[0].Entries != s.Dropped {
		t.Errorf("found %+v", found)
	}
}

func TestManyRecordAndLookUpAtOnce(t *testing.T) {
	r, _ := open(t, t.TempDir(), 2*MinBytes)
	const lanes, each = 8, 2000
	var wg sync.WaitGroup
	for lane := range lanes {
		sub := subscription(int64(lane+1), fmt.Sprint("rule", lane))
		wg.Go(func() {
			for i := range each {
				id := event.NewID()
				seq := uint64(lane*each + i)
				r.Routed(seq, 0, record(id), []*bus.Subscription{sub})
				r.Step(attempt(seq, id, sub, 1, &target.Failure{Code: "X", Message: strings.Repeat("m", rand.N(50))}))
				if i%200 == 0 {
					if n := len(find(t, r, id).Entries); n != 2 {
						t.Errorf("%d entries", n)
					}
				}
			}
		})
	}
	wg.Wait()
	if s := r.Stats(); s.Entries != 2*lanes*each || s.Dropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestIDsAreWrittenAndReadBack(t *testing.T) {
	for _, id := range []string{
		"", "a", "0d0a608b-b6bd-e22d-739b-365f723ccf4b", "0D0A608B-b6bd-e22d-739b-365f723ccf4b", "0d0a608b-b6bd-e22d-739b-365f723ccf4g",
		"0d0a608bxb6bd-e22d-739b-365f723ccf4b", strings.Repeat("一", 64), strings.Repeat("\x00", 16),
	} {
		written := appendID(nil, id)
		if got := idText(written); got != id {
			t.Errorf("%q came back as %q", id, got)
		}
	}
	if n := len(appendID(nil, "0d0a608b-b6bd-e22d-739b-365f723ccf4b")); n != 17 {
		t.Errorf("a UUID takes %d bytes", n)
	}
}

func TestFilterHoldsItsOwnAndFewOthers(t *testing.T) {
	h := newHasher()
	var own []uint64
	for i := range 20_000 {
		own = append(own, h.hash(appendID(nil, fmt.Sprint("own", i))))
	}
	f := newFilter(own)
	for i, x := range own {
		if !f.mayHold(x) {
			t.Fatalf("%d is not held", i)
		}
	}
	wrong := 0
	for i := range 20_000 {
		if f.mayHold(h.hash(appendID(nil, fmt.Sprint("other", i)))) {
			wrong++
		}
	}
	if wrong > 600 {
		t.Errorf("%d of 20000 others are held", wrong)
	}
	if newFilter(nil).mayHold(1) {
		t.Error("an empty filter holds something")
	}
}

func FuzzScan(f *testing.F) {
	e := newEncoder(newHasher())
	sub := subscription(1, "a")
	rec := record("0d0a608b-b6bd-e22d-739b-365f723ccf4b")
	rec.Origin = "replay arn:x y"
	e.routed(start, 5, 2, rec, []*bus.Subscription{sub, subscription(2, "二")})
	s := attempt(5, "i", sub, 2, &target.Failure{Code: "C", Message: "m 🛒", Status: 500})
	e.step(start, &s)
	s.Kind, s.Until, s.To = delivery.StepKept, start, "dl"
	e.step(start, &s)
	e.gap(Gap{From: start, To: start, Entries: 3})
	e.buf = append(e.buf, kindEnd)
	f.Add(bytes.Clone(e.buf))
	f.Add([]byte{kindText, 1, 'a', kindBus, 1, 1, 1})
	f.Fuzz(func(t *testing.T, entries []byte) {
		file := appendBlock(appendSegmentHeader(nil), entries)
		n := 0
		_, _ = scan(file, func(d *decoder) {
			n++
			if d.raw.kind == kindGap {
				_ = d.gap("n")
				return
			}
			_ = d.holds([]byte{2, 'i'})
			e := d.full("n")
			if len(e.Matched) > len(entries) {
				t.Fatalf("%d subscriptions of %d bytes", len(e.Matched), len(entries))
			}
		})
		if n > len(entries) {
			t.Fatalf("%d entries of %d bytes", n, len(entries))
		}
		_, _ = scan(entries, func(*decoder) {})
	})
}

func BenchmarkRecord(b *testing.B) {
	r, _ := open(b, b.TempDir(), 256<<20)
	sub := []*bus.Subscription{subscription(1, "a")}
	rec := record(event.NewID())
	step := attempt(1, rec.ID, sub[0], 1, nil)
	b.Run("routed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Routed(1, 4, rec, sub)
		}
	})
	b.Run("attempt", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Step(step)
		}
	})
	b.ReportMetric(float64(r.Stats().Dropped), "dropped")
}
