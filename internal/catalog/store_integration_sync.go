package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// insertLogs adds lines in statements of a hundred.
func insertLogs(ctx context.Context, tx *store.Tx, integration string, lines []LogLine) error {
	const perStatement = 100
	for len(lines) > 0 {
		n := min(len(lines), perStatement)
		var b strings.Builder
		b.WriteString(`INSERT INTO catalog_integration_logs (integration_id, logged_at, level, event_id, line, received_at) VALUES `)
		args := make([]any, 0, 6*n)
		for i, l := range lines[:n] {
			if i > 0 {
				b.WriteString(", ")
			}
			k := len(args)
			fmt.Fprintf(&b, "($%d, $%d, $%d, $%d, $%d, $%d)", k+1, k+2, k+3, k+4, k+5, k+6)
			args = append(args, integration, l.At.UnixMilli(), l.Level, l.EventID, string(l.Line), l.ReceivedAt.UnixMilli())
		}
		if _, err := tx.Exec(ctx, b.String(), args...); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}

func listLogs(ctx context.Context, q store.Querier, integration string, f LogFilter) ([]LogLine, error) {
	where, order := `WHERE integration_id = $1`, ` ORDER BY logged_at DESC, id DESC`
	args := []any{integration}
	arg := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	compare := "<"
	if f.After {
		compare, order = ">", ` ORDER BY logged_at, id`
	}
	if !f.At.IsZero() {
		at, id := arg(f.At.UnixMilli()), arg(f.ID)
		where += ` AND (logged_at ` + compare + ` ` + at + ` OR logged_at = ` + at + ` AND id ` + compare + ` ` + id + `)`
	}
	if f.EventID != "" {
		where += ` AND event_id = ` + arg(f.EventID)
	}
	if f.Level != "" {
		where += ` AND level = ` + arg(f.Level)
	}
	rows, err := q.Query(ctx, `SELECT id, logged_at, level, event_id, line, received_at FROM catalog_integration_logs `+
		where+order+` LIMIT `+arg(f.Limit), args...)
	return store.All(rows, err, func(row store.Row) (LogLine, error) {
		var l LogLine
		var at, received int64
		var line string
		err := row.Scan(&l.ID, &at, &l.Level, &l.EventID, &line, &received)
		l.At, l.ReceivedAt, l.Line = time.UnixMilli(at).UTC(), time.UnixMilli(received).UTC(), json.RawMessage(line)
		return l, err
	})
}

// deleteLogsBeyond deletes lines of an integration that are not among the last so
// many, sweepRows at most.
func deleteLogsBeyond(ctx context.Context, tx *store.Tx, integration string, keep int) (int64, error) {
	res, err := tx.Exec(ctx, `DELETE FROM catalog_integration_logs WHERE id IN
		(SELECT id FROM catalog_integration_logs WHERE integration_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3)`, integration, sweepRows, keep)
	return changed(res, err)
}

func deleteLogsChunk(ctx context.Context, tx *store.Tx, integration string) (int64, error) {
	return deleteLogsBeyond(ctx, tx, integration, 0)
}

func deleteLogsBefore(ctx context.Context, tx *store.Tx, before time.Time) (int64, error) {
	res, err := tx.Exec(ctx, `DELETE FROM catalog_integration_logs WHERE id IN
		(SELECT id FROM catalog_integration_logs WHERE received_at < $1 ORDER BY received_at LIMIT $2)`, before.UnixMilli(), sweepRows)
	return changed(res, err)
}

func changed(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func upsertMetrics(ctx context.Context, tx *store.Tx, integration string, m SyncMetrics, at time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalog_sync_metrics (integration_id, event_id, kind, metrics, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $5)
		ON CONFLICT (integration_id, event_id, kind) DO UPDATE SET metrics = excluded.metrics, updated_at = excluded.updated_at`,
		integration, m.EventID, m.Kind, string(m.Metrics), at.UnixMilli())
	return err
}

func listMetrics(ctx context.Context, q store.Querier, integration, eventID string, limit int) ([]SyncMetrics, error) {
	rows, err := q.Query(ctx, `SELECT event_id, kind, metrics, created_at, updated_at FROM catalog_sync_metrics
		WHERE integration_id = $1 AND (event_id = $2 OR $2 = '') ORDER BY updated_at DESC, event_id, kind LIMIT $3`, integration, eventID, limit)
	return store.All(rows, err, func(row store.Row) (SyncMetrics, error) {
		var m SyncMetrics
		var metrics string
		var created, updated int64
		err := row.Scan(&m.EventID, &m.Kind, &metrics, &created, &updated)
		m.Metrics, m.CreatedAt, m.UpdatedAt = json.RawMessage(metrics), time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
		return m, err
	})
}

func listSyncs(ctx context.Context, q store.Querier, integration string, limit int) ([]Sync, error) {
	rows, err := q.Query(ctx, `SELECT event_id, count(*), min(created_at), max(updated_at) FROM catalog_sync_metrics
		WHERE integration_id = $1 GROUP BY event_id ORDER BY max(updated_at) DESC, event_id LIMIT $2`, integration, limit)
	return store.All(rows, err, func(row store.Row) (Sync, error) {
		var s Sync
		var created, updated int64
		err := row.Scan(&s.EventID, &s.Kinds, &created, &updated)
		s.CreatedAt, s.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
		return s, err
	})
}

// deleteMetricsBeyond deletes metrics of an integration that are not among the last
// so many, sweepRows at most.
func deleteMetricsBeyond(ctx context.Context, tx *store.Tx, integration string, keep int) (int64, error) {
	res, err := tx.Exec(ctx, `DELETE FROM catalog_sync_metrics WHERE integration_id = $1 AND (event_id, kind) IN
		(SELECT event_id, kind FROM catalog_sync_metrics WHERE integration_id = $1 ORDER BY updated_at DESC, event_id, kind LIMIT $2 OFFSET $3)`,
		integration, sweepRows, keep)
	return changed(res, err)
}

func deleteMetricsChunk(ctx context.Context, tx *store.Tx, integration string) (int64, error) {
	return deleteMetricsBeyond(ctx, tx, integration, 0)
}

func deleteMetricsBefore(ctx context.Context, tx *store.Tx, before time.Time) (int64, error) {
	res, err := tx.Exec(ctx, `DELETE FROM catalog_sync_metrics WHERE (integration_id, event_id, kind) IN
		(SELECT integration_id, event_id, kind FROM catalog_sync_metrics WHERE updated_at < $1 ORDER BY updated_at LIMIT $2)`, before.UnixMilli(), sweepRows)
	return changed(res, err)
}
