package kind

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// changed says whether an update changes the property.
func changed(r resource.Request, property string) bool {
	return !same(r.Desired[property], r.Previous[property])
}

// anyChanged says whether an update changes one of the properties.
func anyChanged(r resource.Request, properties ...string) bool {
	for _, p := range properties {
		if changed(r, p) {
			return true
		}
	}
	return false
}

// removed says whether an update takes the property away.
func removed(r resource.Request, property string) bool {
	return r.Desired[property] == nil && r.Previous[property] != nil
}

// back is the update that takes the request's back.
func back(r resource.Request) resource.Request {
	r.Desired, r.Previous = r.Previous, r.Desired
	return r
}

// ours says whether have, found where a create that was cut off would have left it, is what that create
// made: it has the properties asked for, or their defaults, and no others. later are properties that
// are set afterwards, and so may still be missing.
func ours(desired, have, defaults resource.Model, properties, later []string) bool {
	with := func(m resource.Model, p string) any {
		if v, ok := m[p]; ok {
			return v
		}
		return defaults[p]
	}
	for _, p := range properties {
		if !same(with(desired, p), with(have, p)) {
			return false
		}
	}
	for _, p := range later {
		if have[p] != nil && !same(with(desired, p), have[p]) {
			return false
		}
	}
	return true
}

// undo is what takes back the parts of an operation that was refused half way.
type undo []func(context.Context) error

func (u *undo) add(step func(context.Context) error) { *u = append(*u, step) }

// undoTime bounds taking back what a refused operation did.
const undoTime = 30 * time.Second

// after takes back what was done before err, the last first, and returns err. An operation that was
// cut off is left as it is: it is tried again. So is one of which something could not be taken back, for which
// the error is ServiceInternalError: what is left is found by its repeat.
func (u undo) after(ctx context.Context, err error) error {
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	for _, step := range slices.Backward(u) {
		failed := step(ctx)
		if failed == nil {
			continue
		}
		if e, ok := errors.AsType[*resource.Error](err); ok {
			return resource.Errorf(resource.ServiceInternalError, "%s. What was done before could not be taken back: %v", e.Message, failed)
		}
		return errors.Join(err, fmt.Errorf("take back: %w", failed))
	}
	return err
}

const (
	firstWait = 10 * time.Millisecond
	longWait  = time.Second
)

// until asks done, at growing intervals, until it says so or fails. When the time of the operation is
// up it returns NotStabilized with what done said last.
func until(ctx context.Context, done func() (ok bool, state string, err error)) error {
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		ok, state, err := done()
		if ok || err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return resource.Errorf(resource.NotStabilized, "The resource did not become ready in time. %s", state)
			}
			return ctx.Err()
		}
	}
}
