package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// fakeProgress is how far a router is that the test moves.
type fakeProgress struct {
	floor, last, waiting atomic.Uint64
	bytes                atomic.Int64 // of 100
	err                  error
}

func (p *fakeProgress) Backlog(context.Context) (eventlog.Backlog, error) {
	return eventlog.Backlog{AckFloor: p.floor.Load(), Waiting: p.waiting.Load()}, p.err
}

func (p *fakeProgress) Stats(context.Context) (eventlog.Stats, error) {
	return eventlog.Stats{Last: p.last.Load(), Bytes: p.bytes.Load(), Limit: 100}, p.err
}

// put does as a slice that is put: the log grows by a batch.
func (p *fakeProgress) put(t *testing.T, pace *replayPace) {
	t.Helper()
	p.last.Add(1)
	if err := pace.sent(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// admitted says whether a slice may be put, and after how long.
func admitted(t *testing.T, pace *replayPace) (bool, time.Duration) {
	t.Helper()
	began := time.Now()
	ok, err := pace.admit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ok, time.Since(began)
}

func TestASliceWaitsUntilTheRouterIsDoneWithTheOneBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProgress{}
		pace := newReplayPace(&Options{Progress: p})
		if ok, after := admitted(t, pace); !ok || after != 0 {
			t.Errorf("the first slice waited %s", after)
		}
		p.put(t, pace)
		p.waiting.Store(1)
		time.AfterFunc(30*time.Millisecond, func() { p.floor.Store(1) })
		if ok, after := admitted(t, pace); !ok || after < 30*time.Millisecond || after > 30*time.Millisecond+replayPoll {
			t.Errorf("the second went %s after the first, which was done after 30 ms", after)
		}
	})
}

func TestASlowTargetElsewhereDoesNotStopAReplay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProgress{}
		pace := newReplayPace(&Options{Progress: p})
		admitted(t, pace)
		p.put(t, pace)
		for i := 1; i < replayOpen; i++ { // nothing is done, and nothing waits for the router
			if ok, after := admitted(t, pace); !ok || after != replayPatience {
				t.Fatalf("slice %d went after %s, %t", i, after, ok)
			}
			p.put(t, pace)
		}
		if ok, after := admitted(t, pace); ok || after != replayWait {
			t.Errorf("more than %d slices are ahead of the router", replayOpen)
		}
		p.floor.Store(1)
		p.waiting.Store(1)
		if ok, _ := admitted(t, pace); ok {
			t.Error("a slice went while events wait for the router")
		}
		p.waiting.Store(0)
		if ok, after := admitted(t, pace); !ok || after != replayPatience {
			t.Errorf("with one slice done the next went after %s, %t", after, ok)
		}
	})
}

func TestAReplayLeavesTheLastQuarterOfTheLogToLiveEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProgress{}
		pace := newReplayPace(&Options{Progress: p})
		admitted(t, pace)
		p.bytes.Store(76)
		p.put(t, pace)
		p.floor.Store(1)
		if ok, _ := admitted(t, pace); ok {
			t.Error("a slice went into a log of which three quarters wait")
		}
		time.AfterFunc(100*time.Millisecond, func() { p.bytes.Store(75) })
		if ok, after := admitted(t, pace); !ok || after < 100*time.Millisecond || after > 100*time.Millisecond+replayPoll {
			t.Errorf("with room again a slice went after %s, %t", after, ok)
		}
	})
}

func TestAPaceEndsWithItsContextAndTellsFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProgress{}
		pace := newReplayPace(&Options{Progress: p})
		p.put(t, pace)
		ctx, cancel := context.WithTimeout(t.Context(), replayPatience/2)
		defer cancel()
		if ok, err := pace.admit(ctx); ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(ok, err)
		}
		p.err = errors.New("no answer")
		if ok, err := pace.admit(t.Context()); ok || !errors.Is(err, p.err) {
			t.Error(ok, err)
		}
	})
}

func TestAReplayWaitsForItsTargetsThatLagButNotForEver(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		var asked atomic.Int64
		var lags atomic.Bool
		x := open(t, db, func(o *Options) {
			o.Progress = &fakeProgress{}
			o.Lagging = func(_ context.Context, ids []int64) (bool, error) {
				if asked.Add(1); len(ids) != 1 {
					t.Errorf("asked about %v", ids)
				}
				if asked.Load() == 3 {
					lags.Store(false)
				}
				return lags.Load(), nil
			}
		})
		putRule(t, x, defaultRef, "r", `{"source":["shop"]}`, toQueue("q"))
		recs := []event.Record{*happened("1", testNow, `{}`), *happened("2", testNow, `{}`)}
		lags.Store(true)
		if put, err := x.putReplayed(t.Context(), recs); !put || err != nil || asked.Load() != 3 {
			t.Errorf("put %t, %v after asking %d times; the target caught up at the third", put, err, asked.Load())
		}
		lags.Store(true)
		began := time.Now()
		if put, err := x.putReplayed(t.Context(), recs); !put || err != nil || time.Since(began) < replayWait {
			t.Errorf("put %t, %v after %s for a target that stays behind", put, err, time.Since(began))
		}
		if n := len(x.log.take()); n != 4 {
			t.Errorf("%d events were put", n)
		}
	})
}
