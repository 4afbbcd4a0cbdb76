package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const moveColumns = `id, handle, account, region, source, destination_arn, rate, status, failure, to_move, moved, started_at`

func scanMove(row store.Row) (m Move, err error) {
	return m, row.Scan(&m.id, &m.Handle, &m.Source.Account, &m.Source.Region, &m.Source.Name, &m.Destination, &m.Rate,
		&m.Status, &m.Failure, &m.ToMove, &m.Moved, &m.Started)
}

// oneMove returns nil when there is none.
func oneMove(row *sql.Row) (*Move, error) {
	m, err := scanMove(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read message move task: %w", err)
	}
	return &m, nil
}

func insertMove(ctx context.Context, tx *store.Tx, m *Move) error {
	_, err := tx.Exec(ctx, `INSERT INTO queue_move
			(handle, account, region, source, destination_arn, rate, status, failure, to_move, moved, started_at, resume_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, 0, $9, $9)`,
		m.Handle, m.Source.Account, m.Source.Region, m.Source.Name, m.Destination, m.Rate, m.Status, m.ToMove, m.Started)
	if err != nil {
		return fmt.Errorf("insert message move task: %w", err)
	}
	_, err = tx.Exec(ctx, `DELETE FROM queue_move WHERE account = $1 AND region = $2 AND source = $3 AND status <> 'RUNNING' AND id NOT IN (
		SELECT id FROM queue_move WHERE account = $1 AND region = $2 AND source = $3 ORDER BY started_at DESC, id DESC LIMIT $4)`,
		m.Source.Account, m.Source.Region, m.Source.Name, keepMoves)
	if err != nil {
		return fmt.Errorf("forget old message move tasks: %w", err)
	}
	return nil
}

func findMove(ctx context.Context, tx *store.Tx, handle string) (*Move, error) {
	return oneMove(tx.QueryRow(ctx, `SELECT `+moveColumns+` FROM queue_move WHERE handle = $1`+tx.Dialect().ForUpdate(), handle))
}

func movesOf(ctx context.Context, db store.Querier, source Ref, limit int) ([]Move, error) {
	return selectAll(ctx, db, scanMove, `SELECT `+moveColumns+` FROM queue_move
		WHERE account = $1 AND region = $2 AND source = $3 ORDER BY started_at DESC, id DESC LIMIT $4`,
		source.Account, source.Region, source.Name, limit)
}

// dueMove takes the running task that is longest due; nil without one.
func dueMove(ctx context.Context, tx *store.Tx, now int64) (*Move, error) {
	return oneMove(tx.QueryRow(ctx, `SELECT `+moveColumns+` FROM queue_move
		WHERE status = 'RUNNING' AND resume_at <= $1 ORDER BY resume_at LIMIT 1`+tx.Dialect().SkipLocked(), now))
}

// nextMove returns when the next running task is due; zero without one.
func nextMove(ctx context.Context, db store.Querier) (time.Time, error) {
	var at sql.NullInt64
	if err := db.QueryRow(ctx, `SELECT MIN(resume_at) FROM queue_move WHERE status = 'RUNNING'`).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("read message move tasks: %w", err)
	}
	if !at.Valid {
		return time.Time{}, nil
	}
	return time.UnixMilli(at.Int64), nil
}

func saveMove(ctx context.Context, tx *store.Tx, m *Move, resumeAt int64) error {
	_, err := tx.Exec(ctx, `UPDATE queue_move SET status = $2, failure = $3, moved = $4, resume_at = $5 WHERE id = $1`,
		m.id, m.Status, m.Failure, m.Moved, resumeAt)
	if err != nil {
		return fmt.Errorf("save message move task: %w", err)
	}
	return nil
}

// movable takes up to limit messages that can be moved. Of a FIFO queue they
// are those of groups that have none in flight.
func movable(ctx context.Context, tx *store.Tx, from *Queue, now int64, limit int) ([]message, error) {
	if !from.FIFO {
		return selectAll(ctx, tx, scanMessage, `SELECT `+messageColumns+` FROM queue_message
			WHERE contents_id = $1 AND visible_at <= $2 ORDER BY visible_at, id LIMIT $3`+tx.Dialect().SkipLocked(), from.contents, now, limit)
	}
	groups, err := readyGroups(ctx, tx, from.contents, now, limit)
	if err != nil {
		return nil, err
	}
	var all []message
	for _, g := range groups {
		if len(all) == limit {
			break
		}
		some, err := groupHead(ctx, tx, from.contents, g, limit-len(all))
		if err != nil {
			return nil, err
		}
		for _, m := range some {
			if m.visibleAt > now {
				break
			}
			all = append(all, m)
		}
	}
	return all, nil
}
