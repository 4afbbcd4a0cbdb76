package delivery

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// runRequest is what was asked of a run, as its row keeps it.
type runRequest struct {
	Filter DeadLetterFilter `json:"filter"`
	Rate   float64          `json:"rate"`
	UpTo   int64            `json:"up_to"`
}

const selectRun = `SELECT id, account, action, request, status, total, done, refused, refusals, after_at, after_id, created_by, created_at, finished_at
	FROM dead_letter_run `

func scanRun(row store.Row) (*LetterRun, error) {
	var r LetterRun
	var request, refusals string
	var created int64
	var finished sql.NullInt64
	err := row.Scan(&r.ID, &r.Account, &r.Action, &request, &r.Status, &r.Total, &r.Done, &r.Refused, &refusals,
		&r.after.at, &r.after.id, &r.CreatedBy, &created, &finished)
	if err != nil {
		return nil, err
	}
	var q runRequest
	if err := json.Unmarshal([]byte(request), &q); err != nil {
		return nil, fmt.Errorf("read what was asked of run %s: %w", r.ID, err)
	}
	if err := json.Unmarshal([]byte(refusals), &r.Refusals); err != nil {
		return nil, fmt.Errorf("read what run %s refused: %w", r.ID, err)
	}
	r.Filter, r.Rate, r.upTo = q.Filter, q.Rate, q.UpTo
	r.CreatedAt = time.UnixMilli(created).UTC()
	if finished.Valid {
		r.FinishedAt = time.UnixMilli(finished.Int64).UTC()
	}
	return &r, nil
}

// run returns ErrNoRun if there is none with the id.
func (s letterStore) run(ctx context.Context, id string) (*LetterRun, error) {
	r, found, err := store.One(s.db.QueryRow(ctx, selectRun+`WHERE id = $1`, id), scanRun)
	if err == nil && !found {
		err = ErrNoRun
	}
	return r, err
}

// lockRun returns a run that is under way, which nobody else changes before the
// transaction ends; or errNotRunning.
func (s letterStore) lockRun(ctx context.Context, tx *store.Tx, id string) (*LetterRun, error) {
	r, found, err := store.One(tx.QueryRow(ctx, selectRun+`WHERE id = $1 AND status = $2`+tx.Dialect().ForUpdate(), id, string(RunRunning)), scanRun)
	if err == nil && !found {
		err = errNotRunning
	}
	return r, err
}

// runs returns the latest runs of an account, the last first.
func (s letterStore) runs(ctx context.Context, account string, limit int) ([]*LetterRun, error) {
	rows, err := s.db.Query(ctx, selectRun+`WHERE account = $1 ORDER BY created_at DESC, id DESC LIMIT $2`, account, limit)
	return store.All(rows, err, scanRun)
}

func (s letterStore) openRuns(ctx context.Context, q store.Querier, account string) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM dead_letter_run WHERE account = $1 AND finished_at IS NULL`, account).Scan(&n)
	return n, err
}

func (s letterStore) insertRun(ctx context.Context, tx *store.Tx, r *LetterRun) error {
	request, err := json.Marshal(runRequest{Filter: r.Filter, Rate: r.Rate, UpTo: r.upTo})
	if err != nil {
		return fmt.Errorf("encode run %s: %w", r.ID, err)
	}
	var finished any
	if !r.FinishedAt.IsZero() {
		finished = r.FinishedAt.UnixMilli()
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO dead_letter_run (id, account, action, request, status, total, done, refused, refusals, after_at, after_id, created_by, created_at, finished_at)
		VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 'null', 0, 0, $7, $8, $9)`,
		r.ID, r.Account, string(r.Action), string(request), string(r.Status), r.Total, r.CreatedBy, r.CreatedAt.UnixMilli(), finished)
	return err
}

// updateRun stores how far a run is.
func (s letterStore) updateRun(ctx context.Context, tx *store.Tx, r *LetterRun) error {
	refusals, err := json.Marshal(r.Refusals)
	if err != nil {
		return fmt.Errorf("encode run %s: %w", r.ID, err)
	}
	_, err = tx.Exec(ctx, `UPDATE dead_letter_run SET done = $2, refused = $3, refusals = $4, after_at = $5, after_id = $6 WHERE id = $1`,
		r.ID, r.Done, r.Refused, string(refusals), r.after.at, r.after.id)
	return err
}

// endRun ends a run that is under way; false if there is none.
func (s letterStore) endRun(ctx context.Context, tx *store.Tx, account, id string, status RunStatus, now time.Time) (bool, error) {
	res, err := tx.Exec(ctx, `UPDATE dead_letter_run SET status = $3, finished_at = $4 WHERE account = $1 AND id = $2 AND finished_at IS NULL`,
		account, id, string(status), now.UnixMilli())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
