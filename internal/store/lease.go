package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Acquire takes the lease called name for holder, or renews it if holder has
// it already, until ttl from now by the database's clock. It returns false
// while another holder has it.
func (db *DB) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	var got bool
	err := db.UpdateReadCommitted(ctx, func(tx *Tx) error {
		now, clock := db.dialect.clock("$4")
		res, err := tx.Exec(ctx, `INSERT INTO lease (name, holder, expires_at) VALUES ($1, $2, `+now+` + $3)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
			WHERE lease.holder = excluded.holder OR lease.expires_at <= `+now, name, holder, ttl.Milliseconds(), clock)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		got = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("acquire lease %s: %w", name, err)
	}
	return got, nil
}

// Release gives the lease up if holder has it.
func (db *DB) Release(ctx context.Context, name, holder string) error {
	err := db.UpdateReadCommitted(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM lease WHERE name = $1 AND holder = $2`, name, holder)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %s: %w", name, err)
	}
	return nil
}

const (
	leaseTTL   = 10 * time.Second
	leaseRenew = leaseTTL / 4
	// leaseLost is how long after the last renewal the work is stopped: before
	// the lease expires and another holder begins.
	leaseLost = leaseTTL * 3 / 4
	// leaseRetry is the pause before asking again for a lease that another has.
	leaseRetry = time.Second
)

// RunLeased runs fn whenever holder has the lease called name, until ctx ends,
// and then returns ctx's error. One holder's fn runs at a time: fn's context ends
// when the lease is lost, and fn must return then. When fn returns nil, the lease is
// released and RunLeased returns nil; after an error fn is run again.
func (db *DB) RunLeased(ctx context.Context, name, holder string, fn func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		got, err := db.Acquire(ctx, name, holder, leaseTTL)
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			db.log.Warn("could not ask for a lease", "lease", name, "error", err)
		}
		if got {
			err := db.holdLease(ctx, name, holder, fn)
			if err == nil {
				return nil
			}
			if ctx.Err() == nil {
				db.log.Warn("leased work stopped", "lease", name, "error", err)
			}
		}
		wait(ctx, leaseRetry)
	}
	return ctx.Err()
}

// holdLease runs fn and renews the lease meanwhile.
func (db *DB) holdLease(ctx context.Context, name, holder string, fn func(ctx context.Context) error) error {
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		if err := db.renewLease(work, name, holder); err != nil {
			cancel(err)
		}
	}()
	err := fn(work)
	lost := context.Cause(work)
	cancel(nil)
	<-renewed
	// Others should not have to wait for the lease to expire, even when we stop
	// because ctx ended.
	release, stop := context.WithTimeout(context.WithoutCancel(ctx), leaseRenew)
	defer stop()
	if relErr := db.Release(release, name, holder); relErr != nil && !errors.Is(relErr, ErrClosed) {
		db.log.Warn("could not release a lease", "lease", name, "error", relErr)
	}
	if err == nil && lost != nil {
		return lost
	}
	return err
}

// renewLease returns an error when the lease is lost, nil when ctx ends.
func (db *DB) renewLease(ctx context.Context, name, holder string) error {
	last := time.Now()
	for {
		wait(ctx, leaseRenew)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the caller ends it
		}
		asked := time.Now()
		try, cancel := context.WithDeadline(ctx, last.Add(leaseLost))
		got, err := db.Acquire(try, name, holder, leaseTTL)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the caller ends it
		case got:
			last = asked
		case err == nil:
			return fmt.Errorf("lease %s was taken by another", name)
		case time.Since(last) >= leaseLost:
			return fmt.Errorf("lease %s could not be renewed: %w", name, err)
		}
	}
}

// wait returns after d or when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
