package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// insertOperation adds an operation and gives it its number.
func (s *Stacks) insertOperation(ctx context.Context, tx *store.Tx, op *operation) error {
	caller, err := json.Marshal(op.caller)
	if err != nil {
		return err
	}
	options, err := json.Marshal(op.options)
	if err != nil {
		return err
	}
	var previous []byte
	if op.previous != nil {
		if previous, err = s.seal(op.previous); err != nil {
			return err
		}
	}
	err = tx.QueryRow(ctx, `INSERT INTO stack_operation (stack_id, kind, phase, token, digest, caller, options, previous, run, started_at, ended_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id`,
		op.stackID, op.kind, op.phase, op.token, op.digest, string(caller), string(options), previous, op.run, op.started, op.done).Scan(&op.id)
	if err != nil {
		return fmt.Errorf("insert operation: %w", err)
	}
	return nil
}

func (s *Stacks) selectOperation(ctx context.Context, q store.Querier, id int64) (*operation, error) {
	op := operation{id: id}
	var caller, options string
	var previous []byte
	err := q.QueryRow(ctx, `SELECT stack_id, kind, phase, token, digest, caller, options, previous, run, started_at, ended_at FROM stack_operation WHERE id = $1`, id).Scan(
		&op.stackID, &op.kind, &op.phase, &op.token, &op.digest, &caller, &options, &previous, &op.run, &op.started, &op.done)
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(caller), &op.caller), json.Unmarshal([]byte(options), &op.options))
	}
	if err == nil && previous != nil {
		op.previous = &Config{}
		err = s.unseal(previous, op.previous)
	}
	if err != nil {
		return nil, fmt.Errorf("read operation %d: %w", id, err)
	}
	return &op, nil
}

// selectToken finds the newest operation of a stack that was asked for with a token.
func selectToken(ctx context.Context, q store.Querier, stackID int64, token string) (digest string, k kind, found bool, err error) {
	type row struct {
		digest string
		kind   kind
	}
	r, found, err := store.One(q.QueryRow(ctx, `SELECT digest, kind FROM stack_operation WHERE stack_id = $1 AND token = $2 ORDER BY id DESC LIMIT 1`, stackID, token),
		func(sc store.Row) (r row, err error) { return r, sc.Scan(&r.digest, &r.kind) })
	if err != nil {
		return "", "", false, fmt.Errorf("look for a request token: %w", err)
	}
	return r.digest, r.kind, found, nil
}

// updateRun has an operation carried out by another run.
func updateRun(ctx context.Context, tx *store.Tx, op *operation) error {
	if _, err := tx.Exec(ctx, `UPDATE stack_operation SET run = $2 WHERE id = $1`, op.id, op.run); err != nil {
		return fmt.Errorf("take up operation %d: %w", op.id, err)
	}
	return nil
}

// updatePhase notes how far an operation is. What was before it is not kept once it has ended.
func updatePhase(ctx context.Context, tx *store.Tx, op *operation) error {
	_, err := tx.Exec(ctx, `UPDATE stack_operation SET phase = $2, ended_at = $3, previous = CASE WHEN $4 THEN NULL ELSE previous END WHERE id = $1`,
		op.id, op.phase, op.done, op.phase == ended)
	if err != nil {
		return fmt.Errorf("update operation %d: %w", op.id, err)
	}
	return nil
}

// deleteOldOperations deletes the operations that a stack had before its last ones, as many as are kept.
func deleteOldOperations(ctx context.Context, tx *store.Tx, stackID int64, keep int) error {
	_, err := tx.Exec(ctx, `DELETE FROM stack_operation WHERE stack_id = $1 AND id <= (
SELECT id FROM stack_operation WHERE stack_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)`, stackID, keep)
	if err != nil {
		return fmt.Errorf("delete old operations: %w", err)
	}
	return nil
}

// holdsRun says whether an operation is its stack's last, and still carried out by this run.
func holdsRun(ctx context.Context, tx *store.Tx, op *operation) (bool, error) {
	var n int
	err := tx.QueryRow(ctx, `SELECT count(*) FROM stack_operation JOIN stack ON stack.operation = stack_operation.id WHERE stack_operation.id = $1 AND stack_operation.run = $2`,
		op.id, op.run).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("read operation %d: %w", op.id, err)
	}
	return n == 1, nil
}
