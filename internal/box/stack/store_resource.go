package stack

import (
	"context"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

const resourceColumns = `id, stack_id, logical_id, type, physical_id, status, reason, action, token, details, prior, made_by, changed_by, dropped_by, gone, updated_at`

// keptDetails is what the column details holds.
type keptDetails struct {
	Identifier string
	*details
}

func (s *Stacks) scanResource(row store.Row) (*Resource, error) {
	var r Resource
	var now, before []byte
	err := row.Scan(&r.id, &r.stackID, &r.LogicalID, &r.Type, &r.PhysicalID, &r.Status, &r.Reason, &r.action, &r.token, &now, &before,
		&r.madeBy, &r.changedBy, &r.droppedBy, &r.gone, &r.Updated)
	if err != nil {
		return nil, err
	}
	kept := keptDetails{details: &r.details}
	err = s.unseal(now, &kept)
	r.identifier = kept.Identifier
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
WHERE physical_id = $3 AND account = $1 AND region = $2 ORDER BY deleted_at, stack.id DESC LIMIT 1`, account, region, storable(physicalID)),
		func(row store.Row) (id int64, err error) { return id, row.Scan(&id) })
	if err != nil {
		return 0, fmt.Errorf("look for resource %s: %w", physicalID, err)
	}
	return id, nil
}

// selectTaken says whether another resource of a stack of the account and region is what the resource says that it is.
func selectTaken(ctx context.Context, q store.Querier, r Ref, res *Resource) (bool, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM stack_resource JOIN stack ON stack.id = stack_resource.stack_id
WHERE physical_id = $3 AND account = $1 AND region = $2 AND type = $4 AND NOT gone AND stack_resource.id <> $5`,
		r.Account, r.Region, storable(res.PhysicalID), res.Type, res.id).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for resource %s: %w", res.PhysicalID, err)
	}
	return n > 0, nil
}

// putResource writes a resource: a new one gets its number, one that is not to be kept is deleted.
func (s *Stacks) putResource(ctx context.Context, tx *store.Tx, r *Resource) error {
	if r.forgotten() {
		_, err := tx.Exec(ctx, `DELETE FROM stack_resource WHERE id = $1`, r.id)
		return err
	}
	now, err := s.seal(keptDetails{r.identifier, &r.details})
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
		r.stackID, r.LogicalID, r.Type, storable(r.PhysicalID), r.Status, storable(cut(r.Reason, maxReason)), r.action, r.token, now, before,
		r.madeBy, r.changedBy, r.droppedBy, r.gone, r.Updated,
	}
	if r.id == 0 {
		err = tx.QueryRow(ctx, `INSERT INTO stack_resource (stack_id, logical_id, type, physical_id, status, reason, action, token, details, prior, made_by, changed_by, dropped_by, gone, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id`, args...).Scan(&r.id)
	} else {
		_, err = tx.Exec(ctx, `UPDATE stack_resource SET stack_id = $1, logical_id = $2, type = $3, physical_id = $4, status = $5, reason = $6, action = $7, token = $8,
details = $9, prior = $10, made_by = $11, changed_by = $12, dropped_by = $13, gone = $14, updated_at = $15 WHERE id = $16`, append(args, r.id)...)
	}
	if err != nil {
		return fmt.Errorf("write resource %s: %w", r.LogicalID, err)
	}
	return nil
}

// dropResources notes that an operation no longer wants resources.
func dropResources(ctx context.Context, tx *store.Tx, ids []int64, operation int64) error {
	if len(ids) == 0 {
		return nil
	}
	args := []any{operation}
	for _, id := range ids {
		args = append(args, id)
	}
	if _, err := tx.Exec(ctx, `UPDATE stack_resource SET dropped_by = $1 WHERE id IN `+in(2, len(ids)), args...); err != nil {
		return fmt.Errorf("drop resources: %w", err)
	}
	return nil
}
