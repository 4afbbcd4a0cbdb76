package target

import (
	"context"
	"errors"
	"fmt"
)

// archive puts the event into an archive. That fails only for reasons of our own,
// so it is always worth another attempt.
func (t *Targets) archive(ctx context.Context, a Attempt) error {
	err := t.archives.Archive(ctx, a.Record, a.Subscription)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return AsFailure(fmt.Errorf("the archive of rule %s did not take the event: %w", a.Subscription.RuleARN, err))
}
