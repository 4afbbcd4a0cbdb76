package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if runCrashChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

func testOptions(t testing.TB) Options {
	return Options{Dir: t.TempDir(), Name: "test", MaxBytes: 64 << 20, ReserveBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func mustAppend(t testing.TB, l *Log, entries ...string) {
	t.Helper()
	if err := l.Append(t.Context(), toEntries(entries...)); err != nil {
		t.Fatal(err)
	}
}

func toEntries(entries ...string) [][]byte {
	var out [][]byte
	for _, e := range entries {
		out = append(out, []byte(e))
	}
	return out
}

func toStrings(entries [][]byte) []string {
	var out []string
	for _, e := range entries {
		out = append(out, string(e))
	}
	return out
}

// readAll returns every entry in the log.
func readAll(t testing.TB, l *Log) []string {
	t.Helper()
	var got []string
	err := l.ReadRange(t.Context(), 0, 0, func(b *Batch) error {
		got = append(got, toStrings(b.Entries)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// background runs f until the test's end or stop is called, which waits for it.
func background(t testing.TB, f func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came within 30 seconds")
		panic("unreachable")
	}
}

// waitFloor returns when the engine has processed the acks up to seq, which it does on its own time.
func waitFloor(t testing.TB, l *Log, seq uint64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		floor, err := l.AckFloor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if floor == seq {
			return
		}
		if floor > seq || time.Now().After(deadline) {
			t.Fatalf("ack floor %d, want %d", floor, seq)
		}
	}
}

func noHold(context.Context) (uint64, bool, error) { return 0, false, nil }

func TestAppendedEntriesAreReadBackInOrder(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	mustAppend(t, l, "first", "", "第三 🎉")
	mustAppend(t, l, "fourth")
	want := []string{"first", "", "第三 🎉", "fourth"}
	if got := readAll(t, l); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestAcknowledgedEntriesAreThereAfterReopening(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint("entry ", i))
		mustAppend(t, l, want[i])
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), toEntries("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v, want ErrClosed", err)
	}
	if got := readAll(t, mustOpen(t, o)); !slices.Equal(got, want) {
		t.Errorf("after reopening: %q, want %q", got, want)
	}
}

func TestConcurrentCallersShareBatches(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	const callers, calls = 32, 20
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				entries := toEntries(fmt.Sprintf("%d/%d/a", c, i), fmt.Sprintf("%d/%d/b", c, i))
				if err := l.Append(t.Context(), entries); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last, err := l.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if last >= callers*calls {
		t.Errorf("%d calls took %d batches, want fewer", callers*calls, last)
	}
	got := readAll(t, l)
	if len(got) != 2*callers*calls {
		t.Fatalf("%d entries, want %d", len(got), 2*callers*calls)
	}
	next := make(map[string]int)
	for i := 0; i < len(got); i += 2 {
		var c, n int
		if _, err := fmt.Sscanf(got[i], "%d/%d/a", &c, &n); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d/%d/b", c, n); got[i+1] != want {
			t.Errorf("after %s comes %s: the entries of one call are not together", got[i], got[i+1])
		}
		if key := fmt.Sprint(c); next[key] != n {
			t.Errorf("caller %d: call %d came when %d was next", c, n, next[key])
		} else {
			next[key]++
		}
	}
}

func TestConsumeHandsOutEveryBatchAndAcksMoveTheFloor(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	batches := make(chan *Batch, 10)
	stop := background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { batches <- b })
	})
	before := time.Now().Add(-time.Second)
	for i := range 5 {
		mustAppend(t, l, fmt.Sprint(i))
		b := receive(t, batches)
		if got := toStrings(b.Entries); b.Seq != uint64(i+1) || !slices.Equal(got, []string{fmt.Sprint(i)}) {
			t.Errorf("batch %d with %q came after append %d", b.Seq, got, i)
		}
		if b.Time.Before(before) || b.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("batch %d was stored at %s", b.Seq, b.Time)
		}
		b.Ack()
		b.Ack()
	}
	stop()
	waitFloor(t, l, 5)
	b, err := l.Backlog(t.Context())
	if want := (Backlog{AckFloor: 5}); err != nil || b != want {
		t.Errorf("backlog %+v, %v; want %+v", b, err, want)
	}
}

func TestBatchesNotAckedComeAgainAfterReopening(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	batches := make(chan *Batch, 10)
	stop := background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { batches <- b })
	})
	for i := range 3 {
		mustAppend(t, l, fmt.Sprint(i))
		if b := receive(t, batches); i == 1 {
			b.Ack()
		}
	}
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := make(chan uint64, 10)
	l = mustOpen(t, o)
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { again <- b.Seq; b.Ack() })
	})
	seen := map[uint64]bool{}
	for !seen[1] || !seen[3] {
		seen[receive(t, again)] = true
	}
}

func TestBatchStillHeldIsNotHandedOutAgain(t *testing.T) {
	o := testOptions(t)
	o.ackWait = 100 * time.Millisecond
	l := mustOpen(t, o)
	batches := make(chan *Batch, 10)
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { batches <- b })
	})
	mustAppend(t, l, "slow")
	slow := receive(t, batches)
	for range 10 {
		// Makes the engine do what it does when an ack deadline passes, without the wait.
		if err := l.nc.Publish(slow.msg.Reply(), []byte("-NAK")); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "marker")
		b := receive(t, batches)
		if b.Seq == slow.Seq {
			t.Fatal("a batch in flight was handed out again")
		}
		b.Ack()
	}
	slow.Ack()
}

func TestConsumeBoundsTheBytesInFlight(t *testing.T) {
	o := testOptions(t)
	o.InFlightBytes = 100_000
	l := mustOpen(t, o)
	for range 10 {
		mustAppend(t, l, string(bytes.Repeat([]byte("x"), 40_000)))
	}
	mustAppend(t, l, string(bytes.Repeat([]byte("x"), 300_000))) // more than the bound: goes alone
	batches := make(chan *Batch, 20)
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { batches <- b })
	})
	held := []*Batch{receive(t, batches), receive(t, batches)}
	for n := 2; n < 11; n++ {
		if len(batches) > 0 {
			t.Fatalf("%d batches in flight do not fit the bound", len(held)+len(batches))
		}
		if n == 10 {
			held[1].Ack()
		}
		held[0].Ack()
		held = append(held[1:], receive(t, batches))
	}
}

func TestReadFollowsTheLogFromASequence(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	for i := range 4 {
		mustAppend(t, l, fmt.Sprint(i+1))
	}
	got := make(chan uint64, 10)
	stop := background(t, func(ctx context.Context) error {
		return l.Read(ctx, 3, func(b *Batch) error { got <- b.Seq; return nil })
	})
	for want := uint64(3); want <= 8; want++ {
		if want > 4 {
			mustAppend(t, l, fmt.Sprint(want))
		}
		if seq := receive(t, got); seq != want {
			t.Fatalf("read %d, want %d", seq, want)
		}
	}
	stop()
	boom := errors.New("enough")
	var n atomic.Int64
	err := l.Read(t.Context(), 0, func(*Batch) error { n.Add(1); return boom })
	if !errors.Is(err, boom) || n.Load() != 1 {
		t.Errorf("a reader whose handler failed once: %v after %d batches", err, n.Load())
	}
}

func TestReadRangeEndsAtItsLastSequence(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	for i := range 6 {
		mustAppend(t, l, fmt.Sprint(i+1))
	}
	tests := []struct {
		name     string
		from, to uint64
		want     []uint64
	}{
		{"a part", 2, 4, []uint64{2, 3, 4}},
		{"one batch", 6, 6, []uint64{6}},
		{"all there is", 0, 0, []uint64{1, 2, 3, 4, 5, 6}},
		{"from the middle to the end", 5, 0, []uint64{5, 6}},
		{"nothing", 5, 4, nil},
		{"beyond the end", 7, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []uint64
			err := l.ReadRange(t.Context(), tt.from, tt.to, func(b *Batch) error { got = append(got, b.Seq); return nil })
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("read %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestAppendRefusesWhatNoBatchCanCarry(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	limit := l.MaxCallBytes()
	if err := l.Append(t.Context(), [][]byte{make([]byte, limit+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte too many: %v, want ErrTooLarge", err)
	}
	if err := l.Append(t.Context(), [][]byte{make([]byte, limit-5)}); err != nil {
		t.Errorf("the largest call: %v", err)
	}
	if err := l.Append(t.Context(), nil); err != nil {
		t.Errorf("no entries: %v", err)
	}
	b, err := l.Get(t.Context(), 1)
	if err != nil || len(b.Entries[0]) != limit-5 {
		t.Errorf("get the largest call back: %v", err)
	}
}

func TestAppendOfACancelledCallerReturnsItsContextError(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := l.Append(ctx, toEntries("x"))
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled or nil", err)
	}
}

func TestDirectoryBelongsToOneProcess(t *testing.T) {
	o := testOptions(t)
	mustOpen(t, o)
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrInUse) {
		t.Errorf("second open: %v, want ErrInUse", err)
	}
}

func TestSyncSettingIsReadBackFromTheEngine(t *testing.T) {
	o := testOptions(t)
	if always, known := mustOpen(t, o).SyncAlways(); !always || !known {
		t.Errorf("default: always=%t known=%t", always, known)
	}
	o = testOptions(t)
	o.UnsafeNoSync = true
	if always, known := mustOpen(t, o).SyncAlways(); always || !known {
		t.Errorf("syncing off: always=%t known=%t", always, known)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	tests := []struct {
		name string
		o    Options
	}{
		{"neither directory nor URL", Options{}},
		{"size limit too small", Options{Dir: "x", MaxBytes: 1 << 20}},
		{"replicas without a cluster", Options{Dir: "x", Replicas: 3}},
		{"syncing of an external engine", Options{URL: "nats://127.0.0.1:4222", UnsafeNoSync: true}},
		{"negative time", Options{Dir: "x", Keep: -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(t.Context(), tt.o); err == nil {
				t.Error("opened")
			}
		})
	}
}

func TestCloseStoresWhatItHasAcknowledged(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	var acked sync.Map
	var wg sync.WaitGroup
	started := make(chan struct{}, 100_000)
	for c := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprint(c, "/", i)
				err := l.Append(context.Background(), toEntries(id))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("append while closing: %v", err)
					return
				}
				acked.Store(id, true)
				started <- struct{}{}
			}
		})
	}
	for range 100 {
		receive(t, started)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for _, id := range readAll(t, mustOpen(t, o)) {
		acked.Delete(id)
	}
	acked.Range(func(id, _ any) bool { t.Errorf("%s was acknowledged and is gone", id); return true })
}

func TestForeignMessageIsPassedOver(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	if _, err := l.js.Publish(t.Context(), subject, []byte(`{"not":"ours"}`)); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, "ours")
	batches := make(chan *Batch, 10)
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { batches <- b; b.Ack() })
	})
	if b := receive(t, batches); b.Seq != 2 {
		t.Errorf("consumed batch %d, want 2", b.Seq)
	}
	waitFloor(t, l, 2)
	if got := readAll(t, l); !slices.Equal(got, []string{"ours"}) {
		t.Errorf("read %q", got)
	}
	if _, err := l.Get(t.Context(), 1); err == nil {
		t.Error("got a foreign message as a batch")
	}
}

func TestBatchOfANewerVersionStaysForIt(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	record := encode(toEntries("from the future"))
	record[1]++
	if _, err := l.js.Publish(t.Context(), subject, record); err != nil {
		t.Fatal(err)
	}
	if err := l.Consume(t.Context(), func(*Batch) { t.Error("handed out") }); !errors.Is(err, errNewerVersion) {
		t.Errorf("consume: %v, want %v", err, errNewerVersion)
	}
	if err := l.Read(t.Context(), 0, func(*Batch) error { return errors.New("handed out") }); !errors.Is(err, errNewerVersion) {
		t.Errorf("read: %v, want %v", err, errNewerVersion)
	}
	if floor, err := l.AckFloor(t.Context()); err != nil || floor != 0 {
		t.Errorf("ack floor %d, %v", floor, err)
	}
}

func TestLoweringTheLimitRemovesNothing(t *testing.T) {
	o := testOptions(t)
	l := mustOpen(t, o)
	payload := string(bytes.Repeat([]byte("x"), 1<<20))
	for range 12 {
		mustAppend(t, l, payload)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.MaxBytes = 8 << 20
	l = mustOpen(t, o)
	if err := l.Append(t.Context(), toEntries("x")); !errors.Is(err, ErrFull) {
		t.Errorf("append beyond the new limit: %v, want ErrFull", err)
	}
	if st := mustStats(t, l); st.Batches != 12 || st.Limit != o.MaxBytes {
		t.Errorf("after lowering the limit: %+v", st)
	}
}
