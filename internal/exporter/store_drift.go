package exporter

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const selectDrift = `SELECT run_id, account, region, kind, identifier, missed, since_at, found_at, due_at, confirmed FROM exporter_drift`

func scanDrift(row store.Row) (Drift, error) {
	var d Drift
	var since, found, due int64
	var confirmed bool
	err := row.Scan(&d.RunID, &d.Account, &d.Region, &d.Kind, &d.Identifier, &d.Missed, &since, &found, &due, &confirmed)
	d.Since, d.FoundAt, d.due, d.Pending = fromMillis(since), fromMillis(found), fromMillis(due), !confirmed
	return d, err
}

// insertDrift notes what a run found. What the run finds of the same resource later is
// the same change.
func insertDrift(ctx context.Context, tx *store.Tx, d Drift) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_drift (run_id, account, region, kind, identifier, missed, since_at, found_at, due_at, confirmed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
		d.RunID, d.Account, d.Region, d.Kind, d.Identifier, string(d.Missed), millis(d.Since), millis(d.FoundAt), millis(d.due), false)
	return err
}

// dueDrift is what is to be settled by now, the longest due first.
func dueDrift(ctx context.Context, q store.Querier, now time.Time, limit int) ([]Drift, error) {
	rows, err := q.Query(ctx, selectDrift+` WHERE NOT confirmed AND due_at <= $1 ORDER BY due_at LIMIT $2`, millis(now), limit)
	return store.All(rows, err, scanDrift)
}

const ofDrift = ` WHERE run_id = $1 AND account = $2 AND region = $3 AND kind = $4 AND identifier = $5 AND NOT confirmed`

func (d *Drift) key() []any { return []any{d.RunID, d.Account, d.Region, d.Kind, d.Identifier} }

func deleteDrift(ctx context.Context, tx *store.Tx, d *Drift) error {
	_, err := tx.Exec(ctx, `DELETE FROM exporter_drift`+ofDrift, d.key()...)
	return err
}

func postponeDrift(ctx context.Context, tx *store.Tx, d *Drift, due time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE exporter_drift SET due_at = $6`+ofDrift, append(d.key(), millis(due))...)
	return err
}

func confirmDrift(ctx context.Context, tx *store.Tx, d *Drift) error {
	_, err := tx.Exec(ctx, `UPDATE exporter_drift SET confirmed = $6`+ofDrift, append(d.key(), true)...)
	return err
}

// lastTold is the time of the latest event about a resource; zero without one.
func lastTold(ctx context.Context, q store.Querier, k Key) (time.Time, error) {
	at, _, err := store.One(q.QueryRow(ctx, `SELECT CASE WHEN upsert_at > delete_at THEN upsert_at ELSE delete_at END FROM exporter_resources
		WHERE account = $1 AND region = $2 AND kind = $3 AND identifier = $4`, k.Account, k.Region, k.Kind, k.Identifier),
		func(row store.Row) (at int64, err error) { return at, row.Scan(&at) })
	return fromMillis(at), err
}

func listDrift(ctx context.Context, q store.Querier, f DriftFilter, after DriftAfter, limit int) ([]Drift, error) {
	at := millis(after.FoundAt)
	if after.FoundAt.IsZero() {
		at = 1 << 62
	}
	rows, err := q.Query(ctx, selectDrift+` WHERE confirmed = $1
			AND (found_at < $2 OR found_at = $2 AND (run_id, account, region, kind, identifier) > ($3, $4, $5, $6, $7))
			AND ($8 = '' OR run_id = $8) AND ($9 = '' OR account = $9) AND ($10 = '' OR region = $10) AND ($11 = '' OR kind = $11)
			AND ($12 = '' OR missed = $12)
		ORDER BY found_at DESC, run_id, account, region, kind, identifier LIMIT $13`,
		!f.Pending, at, after.RunID, after.Account, after.Region, after.Kind, after.Identifier,
		f.RunID, f.Account, f.Region, f.Kind, string(f.Missed), limit)
	return store.All(rows, err, scanDrift)
}

type driftCount struct{ confirmed, pending int64 }

func driftByKind(ctx context.Context, q store.Querier, runID string) (map[string]driftCount, error) {
	rows, err := q.Query(ctx, `SELECT kind, SUM(CASE WHEN confirmed THEN 1 ELSE 0 END), SUM(CASE WHEN confirmed THEN 0 ELSE 1 END)
		FROM exporter_drift WHERE run_id = $1 GROUP BY kind`, runID)
	counts := map[string]driftCount{}
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var kind string
		var n driftCount
		err := row.Scan(&kind, &n.confirmed, &n.pending)
		counts[kind] = n
		return struct{}{}, err
	})
	return counts, err
}

// deleteOldDrift deletes a little of what was found before a time, and reports
// whether there may be more.
func deleteOldDrift(ctx context.Context, tx *store.Tx, before time.Time, limit int) (more bool, err error) {
	rows, err := tx.Query(ctx, selectDrift+` WHERE found_at < $1 ORDER BY found_at LIMIT $2`, millis(before), limit)
	old, err := store.All(rows, err, scanDrift)
	if err != nil {
		return false, err
	}
	for i := range old {
		if _, err := tx.Exec(ctx, `DELETE FROM exporter_drift WHERE run_id = $1 AND account = $2 AND region = $3 AND kind = $4 AND identifier = $5`,
			old[i].key()...); err != nil {
			return false, err
		}
	}
	return len(old) == limit, nil
}
