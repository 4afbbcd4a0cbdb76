package stack

import (
	"context"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

const resourceColumns = `id, stack_id, logical_id, type, physical_id, identifier, status, reason, action, token, details, prior, made_by, changed_by, dropped_by, gone, updated_at`

func (s *Stacks) scanResource(row store.Row) (*Resource, error) {
	var r Resource
	var now, before []byte
	err := row.Scan(&r.id, &r.stackID, &r.LogicalID, &r.Type, &r.PhysicalID, &r.identifier, &r.Status, &r.Reason, &r.action, &r.token, &now, &before,
		&r.madeBy, &r.changedBy, &r.droppedBy, &r.gone, &r.Updated)
	if err != nil {
		return nil, err
	}
	err = s.unseal(now, &r.details)
	if before != nil {
		r.prior = &details{}
		err = errors.Join(err, s.unseal(before, r.prior))
	}
	if err != nil {
		return nil, fmt.Errorf("read resource %s: %w", r.LogicalID, err)
	}
	return &r, nil
}

// selectResources returns all of a stack's resources in the order in which they were made.
func (s *Stacks) selectResources(ctx context.Context, q store.Querier, stackID int64) ([]*Resource, error) {
	rows, err := q.Query(ctx, `SELECT `+resourceColumns+` FROM stack_resource WHERE stack_id = $1 ORDER BY id`, stackID)
	list, err := store.All(rows, err, s.scanResource)
	if err != nil {
		return nil, fmt.Errorf("read resources: %w", err)
	}
	return list, nil
}

// selectOwner returns the number of the stack that has a resource with the physical id, 0 if none has.
func selectOwner(ctx context.Context, q store.Querier, account, region, physicalID string) (int64, error) {
	id, _, err := store.One(q.QueryRow(ctx, `SELECT stack.id FROM stack_resource JOIN stack ON stack.id = stack_resource.stack_id
WHERE physical_id = $3 AND account = $1 AND region = $2 ORDER BY deleted_at, stack.id DESC LIMIT 1`, account, region, physicalID),
		func(row store.Row) (id int64, err error) { return id, row.Scan(&id) })
	if err != nil {
		return 0, fmt.Errorf("look for resource %s: %w", physicalID, err)
	}
	return id, nil
}

// putResource writes a resource: a new one gets its number, one that is not to be kept is deleted.
func (s *Stacks) putResource(ctx context.Context, tx *store.Tx, r *Resource) error {
	if r.forgotten() {
		_, err := tx.Exec(ctx, `DELETE FROM stack_resource WHERE id = $1`, r.id)
		return err
	}
	now, err := s.seal(r.details)
	if err != nil {
		return err
	}
	var before []byte
	if r.prior != nil {
		if before, err = s.seal(r.prior); err != nil {
			return err
		}
	}
	args := []any{
		r.stackID, r.LogicalID, r.Type, r.PhysicalID, r.identifier, r.Status, cut(r.Reason, maxReason), r.action, r.token, now, before,
		r.madeBy, r.changedBy, r.droppedBy, r.gone, r.Updated,
	}
	if r.id == 0 {
		err = tx.QueryRow(ctx, `INSERT INTO stack_resource (stack_id, logical_id, type, physical_id, identifier, status, reason, action, token, details, prior, made_by, changed_by, dropped_by, gone, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) RETURNING id`, args...).Scan(&r.id)
	} else {
		_, err = tx.Exec(ctx, `UPDATE stack_resource SET stack_id = $1, logical_id = $2, type = $3, physical_id = $4, identifier = $5, status = $6, reason = $7, action = $8, token = $9,
details = $10, prior = $11, made_by = $12, changed_by = $13, dropped_by = $14, gone = $15, updated_at = $16 WHERE id = $17`, append(args, r.id)...)
	}
	if err != nil {
		return fmt.Errorf("write resource %s: %w", r.LogicalID, err)
	}
	return nil
}
