package stack

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// export is what a stack gives to others.
type export struct {
	name, value string
	stack       Ref
	uuid        string
}

// selectExport returns the value of an export.
func selectExport(ctx context.Context, q store.Querier, account, region, name string) (value string, found bool, err error) {
	value, found, err = store.One(q.QueryRow(ctx, `SELECT value FROM stack_export WHERE account = $1 AND region = $2 AND name = $3`, account, region, storable(name)),
		func(row store.Row) (v string, err error) { return v, row.Scan(&v) })
	if err != nil {
		return "", false, fmt.Errorf("read export %s: %w", name, err)
	}
	return value, found, nil
}

// selectExports returns up to limit exports by name, after one.
func selectExports(ctx context.Context, q store.Querier, account, region, after string, limit int) ([]export, error) {
	rows, err := q.Query(ctx, `SELECT stack_export.name, value, stack.account, stack.region, stack.name, stack.uuid FROM stack_export JOIN stack ON stack.id = stack_id
WHERE stack_export.account = $1 AND stack_export.region = $2 AND stack_export.name > $3 ORDER BY stack_export.name LIMIT $4`, account, region, after, limit)
	list, err := store.All(rows, err, func(row store.Row) (e export, err error) {
		return e, row.Scan(&e.name, &e.value, &e.stack.Account, &e.stack.Region, &e.stack.Name, &e.uuid)
	})
	if err != nil {
		return nil, fmt.Errorf("list exports: %w", err)
	}
	return list, nil
}

// selectExportsOf returns the exports of a stack by name.
func selectExportsOf(ctx context.Context, q store.Querier, stackID int64) ([]export, error) {
	rows, err := q.Query(ctx, `SELECT name, value FROM stack_export WHERE stack_id = $1 ORDER BY name`, stackID)
	list, err := store.All(rows, err, func(row store.Row) (e export, err error) { return e, row.Scan(&e.name, &e.value) })
	if err != nil {
		return nil, fmt.Errorf("read exports: %w", err)
	}
	return list, nil
}

// insertExport adds an export; owner is the stack that has one of that name already, empty if none has.
func insertExport(ctx context.Context, tx *store.Tx, st *Stack, name, value string) (owner string, err error) {
	n, err := affected(tx.Exec(ctx, `INSERT INTO stack_export (account, region, name, value, stack_id) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		st.Account, st.Region, storable(name), storable(value), st.id))
	if err == nil && n == 0 {
		err = tx.QueryRow(ctx, `SELECT stack.name FROM stack_export JOIN stack ON stack.id = stack_id WHERE stack_export.account = $1 AND stack_export.region = $2 AND stack_export.name = $3`,
			st.Account, st.Region, storable(name)).Scan(&owner)
	}
	if err != nil {
		return "", fmt.Errorf("insert export %s: %w", name, err)
	}
	return owner, nil
}

func deleteExports(ctx context.Context, tx *store.Tx, stackID int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM stack_export WHERE stack_id = $1`, stackID); err != nil {
		return fmt.Errorf("delete exports: %w", err)
	}
	return nil
}

// selectImporters returns up to limit names of stacks that import an export, after one.
func selectImporters(ctx context.Context, q store.Querier, r Ref, name, after string, limit int) ([]string, error) {
	rows, err := q.Query(ctx, `SELECT stack.name FROM stack_import JOIN stack ON stack.id = stack_id
WHERE stack_import.account = $1 AND stack_import.region = $2 AND stack_import.name = $3 AND stack.name > $4 ORDER BY stack.name LIMIT $5`, r.Account, r.Region, storable(name), after, limit)
	list, err := store.All(rows, err, func(row store.Row) (n string, err error) { return n, row.Scan(&n) })
	if err != nil {
		return nil, fmt.Errorf("read importers of %s: %w", name, err)
	}
	return list, nil
}

func selectImportsOf(ctx context.Context, q store.Querier, stackID int64) ([]string, error) {
	rows, err := q.Query(ctx, `SELECT name FROM stack_import WHERE stack_id = $1 ORDER BY name`, stackID)
	list, err := store.All(rows, err, func(row store.Row) (n string, err error) { return n, row.Scan(&n) })
	if err != nil {
		return nil, fmt.Errorf("read imports: %w", err)
	}
	return list, nil
}

func insertImport(ctx context.Context, tx *store.Tx, st *Stack, name string) error {
	_, err := tx.Exec(ctx, `INSERT INTO stack_import (account, region, name, stack_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, st.Account, st.Region, storable(name), st.id)
	if err != nil {
		return fmt.Errorf("insert import %s: %w", name, err)
	}
	return nil
}

func deleteImport(ctx context.Context, tx *store.Tx, st *Stack, name string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM stack_import WHERE stack_id = $1 AND name = $2`, st.id, name); err != nil {
		return fmt.Errorf("delete import %s: %w", name, err)
	}
	return nil
}
