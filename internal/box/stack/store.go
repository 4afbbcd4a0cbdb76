package stack

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/store"
)

// sealPurpose is what the sealed columns of stacks are sealed for.
const sealPurpose = "stack"

// seal writes v as the tables hold what may have secrets.
func (s *Stacks) seal(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode what is to be sealed: %w", err)
	}
	return s.opt.Sealer.Seal(sealPurpose, text), nil
}

// unseal reads what seal wrote, numbers as json.Number.
func (s *Stacks) unseal(sealed []byte, v any) error {
	text, err := s.opt.Sealer.Open(sealPurpose, sealed)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	return d.Decode(v)
}

const stackColumns = `id, account, region, name, uuid, status, reason, description, config, outputs, change_set, operation, created_at, updated_at, deleted_at`

func (s *Stacks) scanStack(row store.Row) (*Stack, error) {
	var st Stack
	var config, outputs []byte
	err := row.Scan(&st.id, &st.Account, &st.Region, &st.Name, &st.UUID, &st.Status, &st.Reason, &st.Description, &config, &outputs,
		&st.ChangeSet, &st.operation, &st.Created, &st.Updated, &st.Deleted)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.unseal(config, &st.Config), s.unseal(outputs, &st.Outputs)); err != nil {
		return nil, fmt.Errorf("read stack %s: %w", st.ARN(), err)
	}
	return &st, nil
}

// selectStack finds a stack by name, or by uuid, deleted ones too.
func (s *Stacks) selectStack(ctx context.Context, q store.Querier, r Ref, uuid string) (*Stack, bool, error) {
	where, args := `deleted_at = 0`, []any{r.Account, r.Region, r.Name}
	if uuid != "" {
		where, args = `uuid = $4`, append(args, uuid)
	}
	st, found, err := store.One(q.QueryRow(ctx, `SELECT `+stackColumns+` FROM stack WHERE account = $1 AND region = $2 AND name = $3 AND `+where, args...), s.scanStack)
	if err != nil {
		return nil, false, fmt.Errorf("read stack %s: %w", r.Name, err)
	}
	return st, found, nil
}

func (s *Stacks) selectStackByNumber(ctx context.Context, q store.Querier, id int64) (*Stack, bool, error) {
	st, found, err := store.One(q.QueryRow(ctx, `SELECT `+stackColumns+` FROM stack WHERE id = $1`, id), s.scanStack)
	if err != nil {
		return nil, false, fmt.Errorf("read stack %d: %w", id, err)
	}
	return st, found, nil
}

// selectStacks returns up to limit stacks of an account and region, newest first, after the number before, 0 for the first page:
// those with one of the statuses, or all but the deleted ones if there is none.
func (s *Stacks) selectStacks(ctx context.Context, q store.Querier, account, region string, statuses []string, before int64, limit int) ([]*Stack, error) {
	where, args := `deleted_at = 0`, []any{account, region, before, limit}
	if len(statuses) > 0 {
		where = `status IN ` + in(5, len(statuses))
		for _, status := range statuses {
			args = append(args, status)
		}
	}
	rows, err := q.Query(ctx, `SELECT `+stackColumns+` FROM stack WHERE account = $1 AND region = $2 AND ($3 = 0 OR id < $3) AND `+where+` ORDER BY id DESC LIMIT $4`, args...)
	list, err := store.All(rows, err, s.scanStack)
	if err != nil {
		return nil, fmt.Errorf("list stacks: %w", err)
	}
	return list, nil
}

func countStacks(ctx context.Context, q store.Querier, account, region string) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT count(*) FROM stack WHERE account = $1 AND region = $2 AND deleted_at = 0`, account, region).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count stacks: %w", err)
	}
	return n, nil
}

// insertStack adds a stack and gives it its number.
func (s *Stacks) insertStack(ctx context.Context, tx *store.Tx, st *Stack) error {
	config, outputs, err := s.sealStack(st)
	if err != nil {
		return err
	}
	err = tx.QueryRow(ctx, `INSERT INTO stack (account, region, name, uuid, status, reason, description, config, outputs, change_set, operation, created_at, updated_at, deleted_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id`,
		st.Account, st.Region, st.Name, st.UUID, st.Status, storable(st.Reason), storable(st.Description), config, outputs, st.ChangeSet, st.operation,
		st.Created, st.Updated, st.Deleted).Scan(&st.id)
	if err != nil {
		return fmt.Errorf("insert stack %s: %w", st.Name, err)
	}
	return nil
}

func (s *Stacks) sealStack(st *Stack) (config, outputs []byte, err error) {
	if config, err = s.seal(st.Config); err != nil {
		return nil, nil, err
	}
	outputs, err = s.seal(st.Outputs)
	return config, outputs, err
}

func (s *Stacks) updateStack(ctx context.Context, tx *store.Tx, st *Stack) error {
	config, outputs, err := s.sealStack(st)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE stack SET status = $2, reason = $3, description = $4, config = $5, outputs = $6, change_set = $7, operation = $8, updated_at = $9, deleted_at = $10 WHERE id = $1`,
		st.id, st.Status, storable(cut(st.Reason, maxReason)), storable(st.Description), config, outputs, st.ChangeSet, st.operation, st.Updated, st.Deleted)
	if err != nil {
		return fmt.Errorf("update stack %s: %w", st.Name, err)
	}
	return nil
}

// selectDeleted returns the numbers of stacks that were deleted before a time.
func selectDeleted(ctx context.Context, q store.Querier, before int64, limit int) ([]int64, error) {
	rows, err := q.Query(ctx, `SELECT id FROM stack WHERE deleted_at > 0 AND deleted_at < $1 LIMIT $2`, before, limit)
	list, err := store.All(rows, err, func(row store.Row) (id int64, err error) { return id, row.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("look for deleted stacks: %w", err)
	}
	return list, nil
}

// deleteStackRows deletes up to limit rows of a deleted stack, the stack itself last, and returns how many.
func deleteStackRows(ctx context.Context, tx *store.Tx, id int64, limit int) (n int64, err error) {
	for _, table := range []string{"stack_event", "stack_resource", "stack_operation"} {
		n, err = affected(tx.Exec(ctx, `DELETE FROM `+table+` WHERE id IN (SELECT id FROM `+table+` WHERE stack_id = $1 ORDER BY id LIMIT $2)`, id, limit))
		if err != nil || n > 0 {
			return n, err
		}
	}
	return affected(tx.Exec(ctx, `DELETE FROM stack WHERE id = $1`, id))
}

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// storable is a text as both databases hold it: PostgreSQL has no NUL.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// in returns "($from, $from+1, …)" for n parameters.
func in(from, n int) string {
	var b strings.Builder
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
	}
	b.WriteByte(')')
	return b.String()
}
