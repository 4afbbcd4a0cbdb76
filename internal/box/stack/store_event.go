package stack

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

func (s *Stacks) insertEvent(ctx context.Context, tx *store.Tx, stackID int64, e *Event) error {
	properties, err := s.seal(e.Properties)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO stack_event (stack_id, event_id, logical_id, physical_id, type, status, reason, properties, token, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		stackID, e.ID, e.LogicalID, storable(e.PhysicalID), e.Type, e.Status, storable(e.Reason), properties, e.Token, e.At)
	if err != nil {
		return fmt.Errorf("insert stack event: %w", err)
	}
	return nil
}

// selectEvents returns up to limit events of a stack, newest first, from before the one with that number; 0 for the first page.
func (s *Stacks) selectEvents(ctx context.Context, q store.Querier, stackID, before int64, limit int) ([]Event, error) {
	rows, err := q.Query(ctx, `SELECT id, event_id, logical_id, physical_id, type, status, reason, properties, token, at FROM stack_event
WHERE stack_id = $1 AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`, stackID, before, limit)
	list, err := store.All(rows, err, func(row store.Row) (e Event, err error) {
		var properties []byte
		if err := row.Scan(&e.id, &e.ID, &e.LogicalID, &e.PhysicalID, &e.Type, &e.Status, &e.Reason, &properties, &e.Token, &e.At); err != nil {
			return e, err
		}
		return e, s.unseal(properties, &e.Properties)
	})
	if err != nil {
		return nil, fmt.Errorf("read stack events: %w", err)
	}
	return list, nil
}

// deleteOldEvents deletes up to limit events from before a time.
func deleteOldEvents(ctx context.Context, tx *store.Tx, before int64, limit int) (int64, error) {
	return affected(tx.Exec(ctx, `DELETE FROM stack_event WHERE id IN (SELECT id FROM stack_event WHERE at < $1 ORDER BY at LIMIT $2)`, before, limit))
}

// deleteMoreEvents deletes up to limit of the events that a stack has beyond so many newer ones.
func deleteMoreEvents(ctx context.Context, tx *store.Tx, stackID int64, keep, limit int) (int64, error) {
	return affected(tx.Exec(ctx, `DELETE FROM stack_event WHERE id IN (
SELECT id FROM stack_event WHERE stack_id = $1 ORDER BY id DESC LIMIT $3 OFFSET $2)`, stackID, keep, limit))
}

// stacksWithManyEvents returns the numbers of stacks that have more events than are kept.
func stacksWithManyEvents(ctx context.Context, q store.Querier, keep, limit int) ([]int64, error) {
	rows, err := q.Query(ctx, `SELECT stack_id FROM stack_event GROUP BY stack_id HAVING count(*) > $1 LIMIT $2`, keep, limit)
	return store.All(rows, err, func(row store.Row) (id int64, err error) { return id, row.Scan(&id) })
}
