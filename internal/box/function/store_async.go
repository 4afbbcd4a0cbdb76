package function

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// waitingInvocation is an asynchronous invocation that was accepted, as the table holds it.
type waitingInvocation struct {
	id, function int64
	requestID    string
	qualifier    string // as invoked
	payload      []byte
	size         int // of the payload, in bytes
	trace        string
	// errors counts runs that the function failed, tries the attempts since that did not reach it.
	errors, tries int
	failure       *invocationFailure // why it goes to the dead-letter queue; nil while it does not
	// acceptedAt and dueAt are unix milliseconds.
	acceptedAt, dueAt int64
}

// invocationFailure is why an invocation was given up.
type invocationFailure struct {
	// Code is an HTTP status: 200 where the function failed. AWS: ErrorCode.
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func insertInvocation(ctx context.Context, tx *store.Tx, w *waitingInvocation) error {
	_, err := tx.Exec(ctx, `INSERT INTO function_invocation
		(function_id, request_id, qualifier, payload, size, trace, errors, tries, failure, accepted_at, due_at)
		VALUES ($1, $2, $3, $4, $5, $6, 0, 0, '', $7, $7)`,
		w.function, w.requestID, w.qualifier, w.payload, len(w.payload), w.trace, w.acceptedAt)
	if err != nil {
		return fmt.Errorf("insert invocation: %w", err)
	}
	return nil
}

// dueInvocations returns those of a function that are due, without payload, but for those that
// run already.
func dueInvocations(ctx context.Context, db store.Querier, function, now int64, running []int64, limit int) ([]*waitingInvocation, error) {
	not := ""
	if len(running) > 0 {
		not = ` AND id NOT IN (` + store.IDList(running) + `)`
	}
	rows, err := db.Query(ctx, `SELECT id, function_id, request_id, qualifier, size, trace, errors, tries, failure, accepted_at, due_at
		FROM function_invocation WHERE function_id = $1 AND due_at <= $2`+not+` ORDER BY due_at, id LIMIT $3`, function, now, limit)
	list, err := store.All(rows, err, scanInvocation)
	if err != nil {
		return nil, fmt.Errorf("look for invocations: %w", err)
	}
	return list, nil
}

func scanInvocation(row store.Row) (*waitingInvocation, error) {
	var w waitingInvocation
	var failure string
	err := row.Scan(&w.id, &w.function, &w.requestID, &w.qualifier, &w.size, &w.trace, &w.errors, &w.tries, &failure, &w.acceptedAt, &w.dueAt)
	if err != nil || failure == "" {
		return &w, err
	}
	return &w, json.Unmarshal([]byte(failure), &w.failure)
}

// invocationPayload returns false once the invocation is gone.
func invocationPayload(ctx context.Context, db store.Querier, id int64) (payload []byte, found bool, err error) {
	err = db.QueryRow(ctx, `SELECT payload FROM function_invocation WHERE id = $1`, id).Scan(&payload)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read invocation: %w", err)
	}
	return payload, true, nil
}

// nextInvocation returns when the function's next invocation is due, in unix milliseconds.
func nextInvocation(ctx context.Context, db store.Querier, function int64) (at int64, some bool, err error) {
	err = db.QueryRow(ctx, `SELECT due_at FROM function_invocation WHERE function_id = $1 ORDER BY due_at, id LIMIT 1`, function).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look for invocations: %w", err)
	}
	return at, true, nil
}

// countInvocations counts those that wait for a function, up to limit.
func countInvocations(ctx context.Context, db store.Querier, function int64, limit int) (n int, err error) {
	err = db.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM function_invocation WHERE function_id = $1 LIMIT $2) w`, function, limit).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count invocations: %w", err)
	}
	return n, nil
}

// postponeInvocation writes counts, failure and the time of the next attempt.
func postponeInvocation(ctx context.Context, tx *store.Tx, w *waitingInvocation) error {
	failure := ""
	if w.failure != nil {
		b, err := json.Marshal(w.failure)
		if err != nil {
			return fmt.Errorf("encode failure: %w", err)
		}
		failure = string(b)
	}
	_, err := tx.Exec(ctx, `UPDATE function_invocation SET errors = $2, tries = $3, failure = $4, due_at = $5 WHERE id = $1`,
		w.id, w.errors, w.tries, failure, w.dueAt)
	if err != nil {
		return fmt.Errorf("put off invocation: %w", err)
	}
	return nil
}

func deleteInvocation(ctx context.Context, tx *store.Tx, w *waitingInvocation) error {
	if _, err := tx.Exec(ctx, `DELETE FROM function_invocation WHERE id = $1`, w.id); err != nil {
		return fmt.Errorf("delete invocation: %w", err)
	}
	return nil
}

// dropInvocations deletes up to limit of those that wait for a function and returns how many it were.
func dropInvocations(ctx context.Context, tx *store.Tx, function int64, limit int) (int, error) {
	res, err := tx.Exec(ctx, `DELETE FROM function_invocation WHERE id IN
		(SELECT id FROM function_invocation WHERE function_id = $1 ORDER BY due_at, id LIMIT $2)`, function, limit)
	if err != nil {
		return 0, fmt.Errorf("drop invocations: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
