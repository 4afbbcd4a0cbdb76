package target

import (
	"context"
	"errors"
	"testing"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// archivesFunc is an archive service of one function.
type archivesFunc func(ctx context.Context, rec *event.Record, sub *bus.Subscription) error

func (f archivesFunc) Archive(ctx context.Context, rec *event.Record, sub *bus.Subscription) error {
	return f(ctx, rec, sub)
}

func TestAnArchiveGetsTheRecordAndItsFailuresAreTriedAgain(t *testing.T) {
	sub := &bus.Subscription{RuleARN: "arn:aws:events:us-east-1:111122223333:rule/Events-Archive-a", Target: bus.Target{Kind: bus.KindArchive}}
	rec := &event.Record{ID: "1", JSON: []byte(`{"订单":"🚚"}`)}
	invoke := func(ctx context.Context, answer error) error {
		targets := New(Options{Archives: archivesFunc(func(_ context.Context, r *event.Record, s *bus.Subscription) error {
			if r != rec || s != sub {
				t.Errorf("the archive gets %v of %v", r, s)
			}
			return answer
		})})
		return targets.Invoke(ctx, Attempt{Subscription: sub, Record: rec, Body: []byte("not what is kept")})
	}
	if err := invoke(t.Context(), nil); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		answer error
		code   string
	}{{errors.New("the database is locked"), CodeInternalError}, {context.DeadlineExceeded, CodeTimeout}} {
		f, ok := errors.AsType[*Failure](invoke(t.Context(), c.answer))
		if !ok || f.Code != c.code || !f.Retryable {
			t.Errorf("%v becomes %+v", c.answer, f)
		}
	}
	if err := invoke(t.Context(), context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("a stop becomes %v", err)
	}
	f, ok := errors.AsType[*Failure](New(Options{}).Invoke(t.Context(), Attempt{Subscription: sub, Record: rec}))
	if !ok || f.Retryable {
		t.Errorf("a server without archives answers %+v", f)
	}
}
