package eventlog_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/eventlog"
)

func TestAllWhoAnswerAreHeardAndNobodyIsWaitedForLongerThanAsked(t *testing.T) {
	l, err := eventlog.Open(context.Background(), eventlog.Options{Dir: t.TempDir(), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ask := func(ctx context.Context, enough int) []string {
		t.Helper()
		var got []string
		err := l.Ask(ctx, "trace", []byte("你好"), func(answer []byte) bool {
			got = append(got, string(answer))
			return len(got) == enough
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		return got
	}
	long, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if got := ask(long, 1); len(got) != 0 {
		t.Errorf("nobody is there, and %q answered", got)
	}
	for i := range 3 {
		stop, err := l.Answer("trace", func(q []byte) []byte {
			if i == 2 {
				return nil
			}
			return fmt.Appendf(nil, "%d %s", i, q)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	if got := ask(long, 2); !slices.Equal(got, []string{"0 你好", "1 你好"}) {
		t.Errorf("got %q", got)
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if got := ask(short, 3); len(got) != 2 || short.Err() == nil {
		t.Errorf("got %q, the time was up: %v", got, short.Err() != nil)
	}
}
