package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const selectRun = `SELECT id, cloud_account_id, trigger_kind, dry_run, confirmed, status, created_at, started_at, finished_at,
	added, updated, removed, held, drift, error, regions FROM inventory_sync_runs`

func scanRun(row store.Row) (SyncRun, error) {
	var r SyncRun
	var created, started, finished int64
	var regions string
	if err := row.Scan(&r.ID, &r.CloudAccountID, &r.Trigger, &r.DryRun, &r.Confirmed, &r.Status, &created, &started, &finished,
		&r.Added, &r.Updated, &r.Removed, &r.Held, &r.Drift, &r.Error, &regions); err != nil {
		return r, err
	}
	r.CreatedAt, r.StartedAt, r.FinishedAt = fromMillis(created), fromMillis(started), fromMillis(finished)
	return r, json.Unmarshal([]byte(regions), &r.Regions)
}

func saveRun(ctx context.Context, tx *store.Tx, r SyncRun) error {
	regions, err := toJSON(r.Regions)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO inventory_sync_runs (id, cloud_account_id, trigger_kind, dry_run, confirmed, status, created_at,
			started_at, finished_at, added, updated, removed, held, drift, error, regions)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, started_at = excluded.started_at, finished_at = excluded.finished_at,
			added = excluded.added, updated = excluded.updated, removed = excluded.removed, held = excluded.held,
			drift = excluded.drift, error = excluded.error, regions = excluded.regions`,
		r.ID, r.CloudAccountID, r.Trigger, r.DryRun, r.Confirmed, string(r.Status), millis(r.CreatedAt),
		millis(r.StartedAt), millis(r.FinishedAt), r.Added, r.Updated, r.Removed, r.Held, r.Drift, r.Error, regions)
	return err
}

func loadRun(ctx context.Context, q store.Querier, id string) (SyncRun, bool, error) {
	return store.One(q.QueryRow(ctx, selectRun+` WHERE id = $1`, id), scanRun)
}

func listRuns(ctx context.Context, q store.Querier, accountID string, limit int) ([]SyncRun, error) {
	rows, err := q.Query(ctx, selectRun+` WHERE cloud_account_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`, accountID, limit)
	return store.All(rows, err, scanRun)
}

// openRun is the oldest run that has not finished.
func openRun(ctx context.Context, q store.Querier, accountID string) (SyncRun, bool, error) {
	return store.One(q.QueryRow(ctx, selectRun+` WHERE cloud_account_id = $1 AND finished_at = 0 ORDER BY created_at, id LIMIT 1`, accountID), scanRun)
}

func countOpenRuns(ctx context.Context, q store.Querier, accountID string) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM inventory_sync_runs WHERE cloud_account_id = $1 AND finished_at = 0`, accountID).Scan(&n)
	return n, err
}

func lastScheduledRun(ctx context.Context, q store.Querier, accountID string) (time.Time, error) {
	var at int64
	err := q.QueryRow(ctx, `SELECT COALESCE(MAX(created_at), 0) FROM inventory_sync_runs WHERE cloud_account_id = $1 AND trigger_kind = 'schedule'`, accountID).Scan(&at)
	return fromMillis(at), err
}

func deleteOldRuns(ctx context.Context, tx *store.Tx, accountID string, keep int) error {
	_, err := tx.Exec(ctx, `DELETE FROM inventory_sync_runs WHERE cloud_account_id = $1 AND finished_at > 0 AND id NOT IN
		(SELECT id FROM inventory_sync_runs WHERE cloud_account_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)`, accountID, keep)
	return err
}

// markAbsent notes since when listings lack servers.
func markAbsent(ctx context.Context, tx *store.Tx, ids []string, since time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	args := []any{millis(since)}
	var in strings.Builder
	for i, id := range ids {
		if i > 0 {
			in.WriteString(", ")
		}
		args = append(args, id)
		fmt.Fprintf(&in, "$%d", len(args))
	}
	_, err := tx.Exec(ctx, `UPDATE inventory_servers SET absent_since_at = $1
		WHERE deleted_at = 0 AND absent_since_at = 0 AND confirmed_at < $1 AND id IN (`+in.String()+`)`, args...)
	return err
}

// countSync notes a run's result in a region's health, and returns how many
// events the region has ever sent.
func countSync(ctx context.Context, tx *store.Tx, accountID string, r RegionResult, at time.Time) (events int64, err error) {
	driftAt := int64(0)
	if r.Drift > 0 {
		driftAt = millis(at)
	}
	err = tx.QueryRow(ctx, `INSERT INTO inventory_regions (cloud_account_id, region, events, last_event_at, last_received_at,
			last_sync_at, last_sync_error, drift, last_drift_at)
		VALUES ($1, $2, 0, 0, 0, $3, $4, $5, $6)
		ON CONFLICT (cloud_account_id, region) DO UPDATE SET last_sync_at = excluded.last_sync_at,
			last_sync_error = excluded.last_sync_error, drift = inventory_regions.drift + excluded.drift,
			last_drift_at = CASE WHEN excluded.last_drift_at > 0 THEN excluded.last_drift_at ELSE inventory_regions.last_drift_at END
		RETURNING events`, accountID, r.Region, millis(at), r.Error, r.Drift, driftAt).Scan(&events)
	return events, err
}

func listRegions(ctx context.Context, q store.Querier, accountID string) ([]RegionHealth, error) {
	rows, err := q.Query(ctx, `SELECT region, events, last_event_at, last_received_at, last_sync_at, last_sync_error, drift, last_drift_at
		FROM inventory_regions WHERE cloud_account_id = $1 ORDER BY region`, accountID)
	return store.All(rows, err, func(row store.Row) (RegionHealth, error) {
		var h RegionHealth
		var event, received, synced, drifted int64
		err := row.Scan(&h.Region, &h.Events, &event, &received, &synced, &h.LastSyncError, &h.Drift, &drifted)
		h.LastEventAt, h.LastReceivedAt = fromMillis(event), fromMillis(received)
		h.LastSyncAt, h.LastDriftAt = fromMillis(synced), fromMillis(drifted)
		return h, err
	})
}
