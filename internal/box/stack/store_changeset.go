package stack

import (
	"context"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

const changeSetColumns = `id, stack_id, name, uuid, kind, status, reason, execution, description, on_failure, token, digest, config, changes, created_at`

func (s *Stacks) scanChangeSet(row store.Row) (*ChangeSet, error) {
	var cs ChangeSet
	var config, changes []byte
	err := row.Scan(&cs.id, &cs.stackID, &cs.Name, &cs.UUID, &cs.Kind, &cs.Status, &cs.Reason, &cs.Execution, &cs.Description, &cs.OnFailure, &cs.token, &cs.digest,
		&config, &changes, &cs.Created)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.unseal(config, &cs.Config), s.unseal(changes, &cs.Changes)); err != nil {
		return nil, fmt.Errorf("read change set %s: %w", cs.Name, err)
	}
	return &cs, nil
}

func (s *Stacks) selectChangeSet(ctx context.Context, q store.Querier, stackID int64, name string) (*ChangeSet, bool, error) {
	cs, found, err := store.One(q.QueryRow(ctx, `SELECT `+changeSetColumns+` FROM stack_change_set WHERE stack_id = $1 AND name = $2`, stackID, name), s.scanChangeSet)
	if err != nil {
		return nil, false, fmt.Errorf("read change set %s: %w", name, err)
	}
	return cs, found, nil
}

func (s *Stacks) selectChangeSetByUUID(ctx context.Context, q store.Querier, name, uuid string) (*ChangeSet, bool, error) {
	cs, found, err := store.One(q.QueryRow(ctx, `SELECT `+changeSetColumns+` FROM stack_change_set WHERE uuid = $1 AND name = $2`, uuid, name), s.scanChangeSet)
	if err != nil {
		return nil, false, fmt.Errorf("read change set %s: %w", name, err)
	}
	return cs, found, nil
}

// selectChangeSets returns up to limit change sets of a stack, newest first, from before the one with that number; 0 for the first page.
func (s *Stacks) selectChangeSets(ctx context.Context, q store.Querier, stackID, before int64, limit int) ([]*ChangeSet, error) {
	rows, err := q.Query(ctx, `SELECT `+changeSetColumns+` FROM stack_change_set WHERE stack_id = $1 AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`, stackID, before, limit)
	list, err := store.All(rows, err, s.scanChangeSet)
	if err != nil {
		return nil, fmt.Errorf("list change sets: %w", err)
	}
	return list, nil
}

func countChangeSets(ctx context.Context, q store.Querier, stackID int64) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT count(*) FROM stack_change_set WHERE stack_id = $1`, stackID).Scan(&n)
	return n, err
}

// insertChangeSet adds a change set and gives it its number.
func (s *Stacks) insertChangeSet(ctx context.Context, tx *store.Tx, cs *ChangeSet) error {
	config, err := s.seal(cs.Config)
	if err != nil {
		return err
	}
	changes, err := s.seal(cs.Changes)
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `INSERT INTO stack_change_set (stack_id, name, uuid, kind, status, reason, execution, description, on_failure, token, digest, config, changes, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id`,
		cs.stackID, cs.Name, cs.UUID, cs.Kind, cs.Status, storable(cs.Reason), cs.Execution, storable(cs.Description), cs.OnFailure, cs.token, cs.digest, config, changes, cs.Created).Scan(&cs.id)
	if err != nil {
		return fmt.Errorf("insert change set %s: %w", cs.Name, err)
	}
	return nil
}

// updateExecution sets how far the execution of a change set is.
func updateExecution(ctx context.Context, tx *store.Tx, id int64, execution string) error {
	if _, err := tx.Exec(ctx, `UPDATE stack_change_set SET execution = $2 WHERE id = $1`, id, execution); err != nil {
		return fmt.Errorf("update change set: %w", err)
	}
	return nil
}

// deleteChangeSets deletes the change sets of a stack but one; 0 for all.
func deleteChangeSets(ctx context.Context, tx *store.Tx, stackID, except int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM stack_change_set WHERE stack_id = $1 AND id <> $2`, stackID, except); err != nil {
		return fmt.Errorf("delete change sets: %w", err)
	}
	return nil
}

func deleteChangeSet(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM stack_change_set WHERE id = $1`, id); err != nil {
		return fmt.Errorf("delete change set: %w", err)
	}
	return nil
}
