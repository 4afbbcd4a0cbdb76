package exporter

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const selectFreshness = `SELECT account, region, kind, events, last_event_at, last_received_at, last_stored_at, last_failure_at, last_failure,
	last_attempt_at, last_sync_at, last_sync_run, sync_revision, last_sync_error, drift, last_drift_at, drift_since_at, ignored FROM exporter_freshness`

func scanFreshness(row store.Row) (Freshness, error) {
	var f Freshness
	var event, received, stored, failed, attempt, synced, drifted, since int64
	err := row.Scan(&f.Account, &f.Region, &f.Kind, &f.Events, &event, &received, &stored, &failed, &f.LastFailure,
		&attempt, &synced, &f.LastSyncRun, &f.revision, &f.LastSyncError, &f.Drift, &drifted, &since, &f.Ignored)
	f.LastEventAt, f.LastReceivedAt, f.LastStoredAt = fromMillis(event), fromMillis(received), fromMillis(stored)
	f.LastFailureAt, f.lastAttemptAt, f.LastSyncAt = fromMillis(failed), fromMillis(attempt), fromMillis(synced)
	f.LastDriftAt, f.DriftSince = fromMillis(drifted), fromMillis(since)
	return f, err
}

func listFreshness(ctx context.Context, q store.Querier) ([]Freshness, error) {
	rows, err := q.Query(ctx, selectFreshness)
	return store.All(rows, err, scanFreshness)
}

func loadFreshness(ctx context.Context, q store.Querier, k ScopeKey) (Freshness, bool, error) {
	return store.One(q.QueryRow(ctx, selectFreshness+` WHERE account = $1 AND region = $2 AND kind = $3`, k.Account, k.Region, k.Kind), scanFreshness)
}

// touchFreshness makes a scope's row, if it has none.
func touchFreshness(ctx context.Context, tx *store.Tx, k ScopeKey) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_freshness (account, region, kind, events, last_event_at, last_received_at, last_stored_at,
			last_failure_at, last_failure, last_attempt_at, last_sync_at, last_sync_run, sync_revision, last_sync_error, drift, last_drift_at, drift_since_at)
		VALUES ($1, $2, $3, 0, 0, 0, 0, 0, '', 0, 0, '', 0, '', 0, 0, 0) ON CONFLICT DO NOTHING`, k.Account, k.Region, k.Kind)
	return err
}

// addFreshness adds what was noted of a scope's events.
func addFreshness(ctx context.Context, tx *store.Tx, k ScopeKey, n *eventNotes) error {
	if err := touchFreshness(ctx, tx, k); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE exporter_freshness SET events = events + $4, ignored = ignored + $10,
			last_event_at = CASE WHEN $5 > last_event_at THEN $5 ELSE last_event_at END,
			last_received_at = CASE WHEN $6 > last_received_at THEN $6 ELSE last_received_at END,
			last_stored_at = CASE WHEN $7 > last_stored_at THEN $7 ELSE last_stored_at END,
			last_failure_at = CASE WHEN CAST($8 AS BIGINT) > 0 THEN $8 ELSE last_failure_at END,
			last_failure = CASE WHEN CAST($8 AS BIGINT) > 0 THEN $9 ELSE last_failure END
		WHERE account = $1 AND region = $2 AND kind = $3`,
		k.Account, k.Region, k.Kind, n.events, millis(n.eventAt), millis(n.receivedAt), millis(n.storedAt), millis(n.failedAt), n.failure, n.ignored)
	return err
}

// noteSync notes in a scope's freshness how a sync fared that is over. One that went through counts
// anew what events miss, and which of their records are ignored.
func noteSync(ctx context.Context, tx *store.Tx, s *SyncScope, revision int64) error {
	if err := touchFreshness(ctx, tx, s.ScopeKey); err != nil {
		return err
	}
	var err error
	switch s.Status {
	case scopeComplete, scopeHeld:
		trouble := s.Error
		if s.Status == scopeHeld {
			trouble = ""
		}
		_, err = tx.Exec(ctx, `UPDATE exporter_freshness SET last_attempt_at = $4, last_sync_at = $5, last_sync_run = $6, sync_revision = $7,
			last_sync_error = $8, ignored = 0, drift = CASE WHEN last_drift_at < $5 THEN 0 ELSE drift END,
			drift_since_at = CASE WHEN last_drift_at < $5 THEN 0 ELSE drift_since_at END WHERE account = $1 AND region = $2 AND kind = $3`,
			s.Account, s.Region, s.Kind, millis(s.FinishedAt), millis(s.StartedAt), s.RunID, revision, trouble)
	case scopeFailed:
		_, err = tx.Exec(ctx, `UPDATE exporter_freshness SET last_attempt_at = $4, last_sync_error = $5 WHERE account = $1 AND region = $2 AND kind = $3`,
			s.Account, s.Region, s.Kind, millis(s.FinishedAt), s.Error)
	}
	return err
}

// deleteFreshness deletes a scope's row, unless a resource of it is known or a record of it
// came since a time.
func deleteFreshness(ctx context.Context, tx *store.Tx, k ScopeKey, since time.Time) error {
	_, err := tx.Exec(ctx, `DELETE FROM exporter_freshness WHERE account = $1 AND region = $2 AND kind = $3
			AND last_received_at < $4 AND last_failure_at < $4
			AND NOT EXISTS (SELECT 1 FROM exporter_resources WHERE account = $1 AND region = $2 AND kind = $3 AND present)`,
		k.Account, k.Region, k.Kind, millis(since))
	return err
}

// countDrift counts drift in its scope's freshness, unless a full sync has gone through since it was
// found: that counts its own.
func countDrift(ctx context.Context, tx *store.Tx, d *Drift) error {
	k := ScopeKey{d.Account, d.Region, d.Kind}
	if err := touchFreshness(ctx, tx, k); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE exporter_freshness SET drift = drift + 1,
			last_drift_at = CASE WHEN $4 > last_drift_at THEN $4 ELSE last_drift_at END,
			drift_since_at = CASE WHEN drift_since_at = 0 OR $5 < drift_since_at THEN $5 ELSE drift_since_at END
		WHERE account = $1 AND region = $2 AND kind = $3 AND last_sync_at <= $4`,
		k.Account, k.Region, k.Kind, millis(d.FoundAt), millis(d.Since))
	return err
}

// addLags adds lags to those of an hour.
func addLags(ctx context.Context, tx *store.Tx, k ScopeKey, hour time.Time, lags map[int]int64) error {
	if len(lags) == 0 {
		return nil
	}
	sum, err := lagCounts(ctx, tx, k, hour)
	if err != nil {
		return err
	}
	for b, n := range lags {
		sum[b] += n
	}
	text, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO exporter_lag (account, region, kind, hour_at, counts) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account, region, kind, hour_at) DO UPDATE SET counts = excluded.counts`, k.Account, k.Region, k.Kind, millis(hour), string(text))
	return err
}

// lagCounts sums a scope's lags up since an hour, that one included, by bucket.
func lagCounts(ctx context.Context, q store.Querier, k ScopeKey, since time.Time) (map[int]int64, error) {
	rows, err := q.Query(ctx, `SELECT counts FROM exporter_lag WHERE account = $1 AND region = $2 AND kind = $3 AND hour_at >= $4`,
		k.Account, k.Region, k.Kind, millis(since))
	sum := map[int]int64{}
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var text string
		if err := row.Scan(&text); err != nil {
			return struct{}{}, err
		}
		var counts map[int]int64
		err := json.Unmarshal([]byte(text), &counts)
		for b, n := range counts {
			sum[b] += n
		}
		return struct{}{}, err
	})
	return sum, err
}

func lagOf(ctx context.Context, q store.Querier, k ScopeKey, since time.Time) (LagSummary, error) {
	counts, err := lagCounts(ctx, q, k, since)
	return summarize(counts), err
}

// deleteOldLags deletes a little of what is older than a time, and reports whether
// there may be more.
func deleteOldLags(ctx context.Context, tx *store.Tx, before time.Time, limit int) (more bool, err error) {
	res, err := tx.Exec(ctx, `DELETE FROM exporter_lag WHERE (account, region, kind, hour_at) IN
		(SELECT account, region, kind, hour_at FROM exporter_lag WHERE hour_at < $1 LIMIT $2)`, millis(before), limit)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == int64(limit), err
}
