package delivery

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// deliveryStore keeps where the subscriptions off the shared path read.
type deliveryStore struct{ db *store.DB }

// catchUpRow is a row of the table catch_up.
type catchUpRow struct {
	subscription int64
	from         cursor
	revision     int64
	snapshot     []byte // the forms of the subscription, a JSON array
}

// errNotRouter says that another node routes now: what this one knows of the rows
// is out of date.
var errNotRouter = errors.New("another node routes now")

// holdLease fails with errNotRouter unless holder has the lease, and keeps it
// from being taken before the transaction ends.
func (s deliveryStore) holdLease(ctx context.Context, tx *store.Tx, lease, holder string) error {
	res, err := tx.Exec(ctx, `UPDATE lease SET holder = holder WHERE name = $1 AND holder = $2`, lease, holder)
	if err != nil {
		return fmt.Errorf("check the lease %s: %w", lease, err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return errNotRouter
	}
	return err
}

func (s deliveryStore) putCatchUp(ctx context.Context, tx *store.Tx, r catchUpRow, now time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO catch_up (subscription_id, first_sequence, first_index, revision, snapshot, created_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (subscription_id) DO UPDATE SET
			first_sequence = excluded.first_sequence, first_index = excluded.first_index,
			revision = excluded.revision, snapshot = excluded.snapshot`,
		r.subscription, int64(r.from.Sequence), r.from.Index, r.revision, string(r.snapshot), now.UnixMilli())
	if err != nil {
		return fmt.Errorf("store where subscription %d reads: %w", r.subscription, err)
	}
	return nil
}

func (s deliveryStore) deleteCatchUp(ctx context.Context, tx *store.Tx, subscription int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM catch_up WHERE subscription_id = $1`, subscription); err != nil {
		return fmt.Errorf("delete where subscription %d reads: %w", subscription, err)
	}
	return nil
}

func (s deliveryStore) catchUps(ctx context.Context) ([]catchUpRow, error) {
	rows, err := s.db.Query(ctx, `
		SELECT subscription_id, first_sequence, first_index, revision, snapshot
		FROM catch_up ORDER BY subscription_id`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []catchUpRow
	for rows.Next() {
		var r catchUpRow
		var sequence int64
		var snapshot string
		if err := rows.Scan(&r.subscription, &sequence, &r.from.Index, &r.revision, &snapshot); err != nil {
			return nil, err
		}
		r.from.Sequence, r.snapshot = uint64(sequence), []byte(snapshot)
		all = append(all, r)
	}
	return all, rows.Err()
}

// firstNeeded returns the lowest sequence that any row names.
func (s deliveryStore) firstNeeded(ctx context.Context) (uint64, bool, error) {
	var first sql.NullInt64
	if err := s.db.QueryRow(ctx, `SELECT MIN(first_sequence) FROM catch_up`).Scan(&first); err != nil {
		return 0, false, err
	}
	return uint64(first.Int64), first.Valid, nil
}

// readsFrom returns where a subscription's catch-up reader is; false if it has none.
func (s deliveryStore) readsFrom(ctx context.Context, subscription int64) (at cursor, ok bool, err error) {
	var seq int64
	err = s.db.QueryRow(ctx, `SELECT first_sequence, first_index FROM catch_up WHERE subscription_id = $1`, subscription).Scan(&seq, &at.Index)
	if errors.Is(err, sql.ErrNoRows) {
		return cursor{}, false, nil
	}
	if err != nil {
		return cursor{}, false, fmt.Errorf("find where subscription %d reads: %w", subscription, err)
	}
	at.Sequence = uint64(seq)
	return at, true, nil
}

// anyReads says whether any of the subscriptions has a row.
func (s deliveryStore) anyReads(ctx context.Context, subscriptions []int64) (bool, error) {
	if len(subscriptions) == 0 {
		return false, nil
	}
	var n int
	err := s.db.QueryRow(ctx, `SELECT count(*) FROM catch_up WHERE subscription_id IN (`+store.IDList(subscriptions)+`)`).Scan(&n)
	return n > 0, err
}
