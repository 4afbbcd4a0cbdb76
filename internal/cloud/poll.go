package cloud

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// pollers is how many calls fetch messages at once while a queue has more than one can
// fetch.
const pollers = 8

// Poll fetches a queue's messages until fetch fails or ctx ends, and returns why. fetch makes one
// call, which waits for so long where there are none, deals with what it brings, and calls more
// first if the queue may have more at once; others fetch beside it then. The first call does not
// wait: it shows whether the queue may be read.
func Poll(ctx context.Context, wait time.Duration, fetch func(ctx context.Context, wait time.Duration, more func()) error) error {
	g, ctx := errgroup.WithContext(ctx)
	calls := make(chan struct{}, pollers-1) // has an element for each further call that is to be made
	once := func(wait time.Duration) (again bool, err error) {
		err = fetch(ctx, wait, func() {
			again = true
			select {
			case calls <- struct{}{}:
			default:
			}
		})
		return again, err
	}
	g.Go(func() error {
		for now := time.Duration(0); ; now = wait {
			if _, err := once(now); err != nil {
				return err
			}
		}
	})
	for range pollers - 1 {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-calls:
				}
				for again := true; again; {
					var err error
					if again, err = once(0); err != nil {
						return err
					}
				}
			}
		})
	}
	return g.Wait()
}
