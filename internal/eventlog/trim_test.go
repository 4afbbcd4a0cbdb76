package eventlog

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func mustStats(t testing.TB, l *Log) Stats {
	t.Helper()
	st, err := l.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// ackUpTo consumes and acks batches up to seq.
func ackUpTo(t testing.TB, l *Log, seq uint64) {
	t.Helper()
	stop := background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) {
			if b.Seq <= seq {
				b.Ack()
			}
		})
	})
	waitFloor(t, l, seq)
	stop()
}

func TestTrimNeverPassesTheAckFloor(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	for range 10 {
		mustAppend(t, l, "x")
	}
	tests := []struct {
		name                 string
		ack, keepFrom, first uint64
	}{
		{"nothing acked, nothing goes", 0, 9, 1},
		{"below what is acked", 6, 4, 4},
		{"beyond what is acked", 6, 100, 7},
		{"backwards does nothing", 6, 2, 7},
		{"the newest batch stays", 10, 100, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ack > 0 {
				ackPending(t, l, tt.ack)
			}
			if err := l.Trim(t.Context(), tt.keepFrom); err != nil {
				t.Fatal(err)
			}
			if st := mustStats(t, l); st.First != tt.first || st.Last != 10 {
				t.Errorf("log holds %d to %d, want %d to 10", st.First, st.Last, tt.first)
			}
		})
	}
}

// ackPending acks what is not acked yet up to seq.
func ackPending(t testing.TB, l *Log, seq uint64) {
	t.Helper()
	floor, err := l.AckFloor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if floor < seq {
		l.inFlight.giveBack()
		ackUpTo(t, l, seq)
	}
}

func TestTrimmedBatchIsReportedAsTrimmed(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	for range 5 {
		mustAppend(t, l, "x")
	}
	ackUpTo(t, l, 5)
	if err := l.Trim(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Get(t.Context(), 3); !errors.Is(err, ErrTrimmed) {
		t.Errorf("get 3: %v, want ErrTrimmed", err)
	}
	if _, err := l.Get(t.Context(), 6); !errors.Is(err, ErrNotStored) {
		t.Errorf("get 6: %v, want ErrNotStored", err)
	}
	if b, err := l.Get(t.Context(), 4); err != nil || b.Seq != 4 {
		t.Errorf("get 4: %v", err)
	}
	var got []uint64
	err := l.ReadRange(t.Context(), 1, 3, func(b *Batch) error { got = append(got, b.Seq); return nil })
	if err != nil || len(got) != 0 {
		t.Errorf("reading a trimmed range: %v, %v", got, err)
	}
}

func TestReaderPassesOverWhatIsTrimmedUnderIt(t *testing.T) {
	l := mustOpen(t, testOptions(t))
	payload := string(bytes.Repeat([]byte("x"), 1<<20))
	for range 40 {
		mustAppend(t, l, payload)
	}
	ackUpTo(t, l, 40)
	var got []uint64
	err := l.ReadRange(t.Context(), 1, 40, func(b *Batch) error {
		if b.Seq == 2 {
			if err := l.Trim(t.Context(), 38); err != nil {
				return err
			}
		}
		if len(got) > 0 && b.Seq <= got[len(got)-1] {
			t.Errorf("read %d after %d", b.Seq, got[len(got)-1])
		}
		got = append(got, b.Seq)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got); n > 35 || got[n-1] != 40 || got[n-2] != 39 || got[n-3] != 38 {
		t.Errorf("read %v", got)
	}
}

func TestTrimPassKeepsWhatItMust(t *testing.T) {
	const mib = 1 << 20
	payload := string(bytes.Repeat([]byte("x"), mib))
	hold := func(seq uint64) Hold {
		return func(context.Context) (uint64, bool, error) { return seq, true, nil }
	}
	boom := errors.New("store is down")
	tests := []struct {
		name      string
		keep      time.Duration
		keepBytes int64
		ack       uint64
		hold      Hold
		urgent    bool
		first     uint64 // of 20 batches of 1 MiB
		err       error
	}{
		{name: "young and small enough", keep: time.Hour, keepBytes: 30 * mib, ack: 20, hold: noHold, first: 1},
		{name: "too large", keep: time.Hour, keepBytes: 10*mib + mib/2, ack: 20, hold: noHold, first: 11},
		{name: "too large, but not acked", keep: time.Hour, keepBytes: 10 * mib, ack: 4, hold: noHold, first: 5},
		{name: "too large, but held", keep: time.Hour, keepBytes: 10 * mib, ack: 20, hold: hold(3), first: 3},
		{name: "too old", keep: time.Nanosecond, keepBytes: 30 * mib, ack: 20, hold: noHold, first: 20},
		{name: "too old, but not acked", keep: time.Nanosecond, keepBytes: 30 * mib, ack: 7, hold: noHold, first: 8},
		{name: "too old, but held", keep: time.Nanosecond, keepBytes: 30 * mib, ack: 20, hold: hold(6), first: 6},
		{name: "urgent takes half of what is kept", keep: time.Hour, keepBytes: 30 * mib, ack: 20, hold: noHold, urgent: true, first: 11},
		{name: "urgent spares what is not acked", keep: time.Hour, keepBytes: 30 * mib, ack: 2, hold: noHold, urgent: true, first: 3},
		{name: "nothing goes while the holds are unknown", keep: time.Nanosecond, keepBytes: mib, ack: 20, first: 1, err: boom,
			hold: func(context.Context) (uint64, bool, error) { return 0, false, boom }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(t)
			o.Keep, o.KeepBytes, o.UnsafeNoSync = tt.keep, tt.keepBytes, true
			l := mustOpen(t, o)
			for range 20 {
				mustAppend(t, l, payload)
			}
			ackUpTo(t, l, tt.ack)
			p := trimPass{log: l, hold: tt.hold, urgent: tt.urgent, byAge: true}
			freed, err := p.run(t.Context())
			if !errors.Is(err, tt.err) || freed != (tt.first > 1) {
				t.Errorf("freed=%t, %v; want freed=%t, %v", freed, err, tt.first > 1, tt.err)
			}
			if st := mustStats(t, l); st.First != tt.first || st.Last != 20 {
				t.Errorf("log holds %d to %d, want %d to 20", st.First, st.Last, tt.first)
			}
		})
	}
}

func TestHealthyConsumerIsNeverThrottledByWhatItHasDelivered(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.MaxBytes = 8 << 20
	l := mustOpen(t, o)
	background(t, func(ctx context.Context) error { return l.RunTrimmer(ctx, noHold) })
	var consumed atomic.Int64
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { consumed.Add(int64(len(b.Entries))); b.Ack() })
	})
	const callers, size = 8, 10 << 10
	calls := int(5*o.MaxBytes) / callers / size
	payload := bytes.Repeat([]byte("x"), size)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				if err := l.Append(t.Context(), [][]byte{payload}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if st := mustStats(t, l); st.Bytes > st.Limit || st.First == 1 {
		t.Errorf("after five times the limit: %+v", st)
	}
}

func TestStuckConsumerFillsTheLogUntilItGoesOn(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.MaxBytes = 8 << 20
	l := mustOpen(t, o)
	background(t, func(ctx context.Context) error { return l.RunTrimmer(ctx, noHold) })
	held := make(chan *Batch, 100)
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { held <- b })
	})
	payload := bytes.Repeat([]byte("x"), 1<<20)
	stored := 0
	var err error
	for err == nil {
		if err = l.Append(t.Context(), [][]byte{payload}); err == nil {
			stored++
		}
	}
	if !errors.Is(err, ErrFull) || stored == 0 || stored > 8 {
		t.Fatalf("after %d MiB of 8: %v, want ErrFull", stored, err)
	}
	if err := l.Append(t.Context(), [][]byte{payload}); !errors.Is(err, ErrFull) {
		t.Errorf("the next call: %v, want ErrFull", err)
	}
	for range stored {
		receive(t, held).Ack()
	}
	for range 2 * 8 {
		if err := l.Append(t.Context(), [][]byte{payload}); err != nil {
			t.Fatalf("after the consumer went on: %v", err)
		}
		receive(t, held).Ack()
	}
}

func TestFullLogWithoutTrimmerRefusesAtOnce(t *testing.T) {
	o := testOptions(t)
	o.MaxBytes = 8 << 20
	l := mustOpen(t, o)
	payload := bytes.Repeat([]byte("x"), 3<<20)
	mustAppend(t, l, string(payload))
	mustAppend(t, l, string(payload))
	if err := l.Append(t.Context(), [][]byte{payload}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	mustAppend(t, l, "a small one still fits")
}

func TestOnlyOneTrimmerRuns(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, testOptions(t))
	asked := make(chan struct{}, 10)
	background(t, func(ctx context.Context) error {
		return l.RunTrimmer(ctx, func(context.Context) (uint64, bool, error) { asked <- struct{}{}; return 0, false, nil })
	})
	l.opts.KeepBytes = 1
	mustAppend(t, l, "x")
	receive(t, asked) // it runs
	if err := l.RunTrimmer(t.Context(), noHold); err == nil {
		t.Error("a second trimmer ran")
	}
}
