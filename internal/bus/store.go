package bus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// installedAt returns when this installation was first started.
func installedAt(ctx context.Context, tx *store.Tx, now time.Time) (time.Time, error) {
	_, err := tx.Exec(ctx, `INSERT INTO bus_installation (id, created_at) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`, now.UnixMilli())
	if err != nil {
		return time.Time{}, err
	}
	var ms int64
	err = tx.QueryRow(ctx, `SELECT created_at FROM bus_installation WHERE id = 1`).Scan(&ms)
	return time.UnixMilli(ms).UTC(), err
}

// bumpVersion raises the bus's rule version and returns it. On PostgreSQL it
// also makes other changes of the bus wait until this one is committed.
func bumpVersion(ctx context.Context, tx *store.Tx, ref event.BusRef) (int64, error) {
	var version int64
	err := tx.QueryRow(ctx, `
		INSERT INTO bus_versions (account, region, bus, version) VALUES ($1, $2, $3, 1)
		ON CONFLICT (account, region, bus) DO UPDATE SET version = bus_versions.version + 1
		RETURNING version`, ref.Account, ref.Region, ref.Name).Scan(&version)
	return version, err
}

func selectVersion(ctx context.Context, q store.Querier, ref event.BusRef) (int64, error) {
	var version int64
	err := q.QueryRow(ctx, `SELECT version FROM bus_versions WHERE account = $1 AND region = $2 AND bus = $3`,
		ref.Account, ref.Region, ref.Name).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return version, err
}

// selectVersions returns the versions of all buses that were ever changed.
func selectVersions(ctx context.Context, q store.Querier) (map[event.BusRef]int64, error) {
	rows, err := q.Query(ctx, `SELECT account, region, bus, version FROM bus_versions`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	versions := map[event.BusRef]int64{}
	for rows.Next() {
		var ref event.BusRef
		var version int64
		if err := rows.Scan(&ref.Account, &ref.Region, &ref.Name, &version); err != nil {
			return nil, err
		}
		versions[ref] = version
	}
	return versions, rows.Err()
}

// columns are the values of a bus's row.
func (e EventBus) columns() []any {
	return []any{
		e.Ref.Account, e.Ref.Region, e.Ref.Name, e.Description, e.Policy, e.DeadLetterARN, e.Log.Level, e.Log.IncludeDetail,
		e.CreatedAt.UnixMilli(), e.ModifiedAt.UnixMilli(),
	}
}

// insertBus says false when the bus exists.
func insertBus(ctx context.Context, tx *store.Tx, e EventBus) (created bool, err error) {
	res, err := tx.Exec(ctx, `
		INSERT INTO buses (account, region, name, description, policy, dead_letter_arn, log_level, log_detail, created_at, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (account, region, name) DO NOTHING`, e.columns()...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// saveBus writes the bus's row, new or not.
func saveBus(ctx context.Context, tx *store.Tx, e EventBus) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO buses (account, region, name, description, policy, dead_letter_arn, log_level, log_detail, created_at, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (account, region, name) DO UPDATE
		SET description = excluded.description, policy = excluded.policy, dead_letter_arn = excluded.dead_letter_arn,
			log_level = excluded.log_level, log_detail = excluded.log_detail, modified_at = excluded.modified_at`, e.columns()...)
	return err
}

func deleteBus(ctx context.Context, tx *store.Tx, ref event.BusRef) error {
	_, err := tx.Exec(ctx, `DELETE FROM buses WHERE account = $1 AND region = $2 AND name = $3`, ref.Account, ref.Region, ref.Name)
	return err
}

// countBuses leaves the default bus out.
func countBuses(ctx context.Context, q store.Querier, account, region string) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM buses WHERE account = $1 AND region = $2 AND name <> $3`,
		account, region, event.DefaultBus).Scan(&n)
	return n, err
}

const busColumns = `SELECT account, region, name, description, policy, dead_letter_arn, log_level, log_detail, created_at, modified_at FROM buses`

func scanBus(row store.Row) (EventBus, error) {
	var e EventBus
	var created, modified int64
	err := row.Scan(&e.Ref.Account, &e.Ref.Region, &e.Ref.Name, &e.Description, &e.Policy,
		&e.DeadLetterARN, &e.Log.Level, &e.Log.IncludeDetail, &created, &modified)
	e.CreatedAt, e.ModifiedAt = time.UnixMilli(created).UTC(), time.UnixMilli(modified).UTC()
	return e, err
}

func selectBus(ctx context.Context, q store.Querier, ref event.BusRef) (EventBus, bool, error) {
	e, err := scanBus(q.QueryRow(ctx, busColumns+` WHERE account = $1 AND region = $2 AND name = $3`, ref.Account, ref.Region, ref.Name))
	if errors.Is(err, sql.ErrNoRows) {
		return EventBus{}, false, nil
	}
	if err != nil {
		return EventBus{}, false, fmt.Errorf("read event bus %s: %w", ref.Name, err)
	}
	return e, true, nil
}

func selectBuses(ctx context.Context, q store.Querier, account, region string) ([]EventBus, error) {
	return readBuses(ctx, q, ` WHERE account = $1 AND region = $2`, account, region)
}

func selectAllBuses(ctx context.Context, q store.Querier) ([]EventBus, error) {
	return readBuses(ctx, q, ``)
}

func readBuses(ctx context.Context, q store.Querier, where string, args ...any) ([]EventBus, error) {
	rows, err := q.Query(ctx, busColumns+where, args...)
	return store.All(rows, err, scanBus)
}

func selectTags(ctx context.Context, q store.Querier, arn string) ([]Tag, error) {
	rows, err := q.Query(ctx, `SELECT tag_key, tag_value FROM bus_tags WHERE resource_arn = $1 ORDER BY id`, arn)
	return store.All(rows, err, func(row store.Row) (t Tag, err error) { return t, row.Scan(&t.Key, &t.Value) })
}

func putTags(ctx context.Context, tx *store.Tx, arn string, tags []Tag) error {
	for _, t := range tags {
		_, err := tx.Exec(ctx, `
			INSERT INTO bus_tags (resource_arn, tag_key, tag_value) VALUES ($1, $2, $3)
			ON CONFLICT (resource_arn, tag_key) DO UPDATE SET tag_value = excluded.tag_value`, arn, t.Key, t.Value)
		if err != nil {
			return err
		}
	}
	return nil
}

func countTags(ctx context.Context, q store.Querier, arn string) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM bus_tags WHERE resource_arn = $1`, arn).Scan(&n)
	return n, err
}

func deleteTag(ctx context.Context, tx *store.Tx, arn, key string) error {
	_, err := tx.Exec(ctx, `DELETE FROM bus_tags WHERE resource_arn = $1 AND tag_key = $2`, arn, key)
	return err
}

func deleteTags(ctx context.Context, tx *store.Tx, arn string) error {
	_, err := tx.Exec(ctx, `DELETE FROM bus_tags WHERE resource_arn = $1`, arn)
	return err
}
