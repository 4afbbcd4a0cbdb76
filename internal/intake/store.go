package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// In this package's tables a time of 0 means "never".

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

const selectSource = `SELECT id, name, kind, enabled, client_id, settings, created_at, updated_at FROM intake_sources`

func scanSource(row store.Row) (Source, error) {
	var s Source
	var settings string
	var created, updated int64
	if err := row.Scan(&s.ID, &s.Name, &s.Kind, &s.Enabled, &s.ClientID, &settings, &created, &updated); err != nil {
		return Source{}, err
	}
	s.CreatedAt, s.UpdatedAt = fromMillis(created), fromMillis(updated)
	if err := json.Unmarshal([]byte(settings), &s.Settings); err != nil {
		return Source{}, fmt.Errorf("settings of source %s: %w", s.Name, err)
	}
	return s, nil
}

func loadSource(ctx context.Context, q store.Querier, id string) (Source, bool, error) {
	return store.One(q.QueryRow(ctx, selectSource+` WHERE id = $1`, id), scanSource)
}

func loadSourceNamed(ctx context.Context, q store.Querier, name string) (Source, bool, error) {
	return store.One(q.QueryRow(ctx, selectSource+` WHERE name = $1`, name), scanSource)
}

func listSources(ctx context.Context, q store.Querier) ([]Source, error) {
	rows, err := q.Query(ctx, selectSource+` ORDER BY name`)
	return store.All(rows, err, scanSource)
}

func countSources(ctx context.Context, q store.Querier) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT count(*) FROM intake_sources`).Scan(&n)
	return n, err
}

// insertSource returns false where there is a source of the name.
func insertSource(ctx context.Context, tx *store.Tx, s Source) (bool, error) {
	settings, err := s.Settings.encode()
	if err != nil {
		return false, err
	}
	res, err := tx.Exec(ctx, `INSERT INTO intake_sources (id, name, kind, enabled, client_id, settings, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		s.ID, s.Name, string(s.Kind), s.Enabled, s.ClientID, settings, millis(s.CreatedAt), millis(s.UpdatedAt))
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, `INSERT INTO intake_activity (source_id, accepted, duplicates, refused, accepted_at, lag,
			refused_at, refused_why, failed_at, failed_why, waiting, polled_at)
		VALUES ($1, 0, 0, 0, 0, 0, 0, '', 0, '', 0, 0)`, s.ID)
	return true, err
}

func saveSource(ctx context.Context, tx *store.Tx, s Source) error {
	settings, err := s.Settings.encode()
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE intake_sources SET enabled = $2, settings = $3, updated_at = $4 WHERE id = $1`,
		s.ID, s.Enabled, settings, millis(s.UpdatedAt))
	return err
}

func deleteSource(ctx context.Context, tx *store.Tx, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM intake_sources WHERE id = $1`, id)
	return err
}

func loadActivity(ctx context.Context, q store.Querier, id string) (Activity, error) {
	var a Activity
	var accepted, lag, refused, failed, polled int64
	err := q.QueryRow(ctx, `SELECT accepted, duplicates, refused, accepted_at, lag, refused_at, refused_why,
			failed_at, failed_why, waiting, polled_at FROM intake_activity WHERE source_id = $1`, id).
		Scan(&a.Accepted, &a.Duplicates, &a.Refused, &accepted, &lag, &refused, &a.RefusedWhy, &failed, &a.FailedWhy, &a.Waiting, &polled)
	a.AcceptedAt, a.RefusedAt, a.FailedAt, a.PolledAt = fromMillis(accepted), fromMillis(refused), fromMillis(failed), fromMillis(polled)
	a.Lag = time.Duration(lag) * time.Millisecond
	return a, err
}

// addActivity adds what came of a source since the last time. A source that was
// removed meanwhile is passed over.
func addActivity(ctx context.Context, tx *store.Tx, id string, t *tally) error {
	_, err := tx.Exec(ctx, `UPDATE intake_activity SET accepted = accepted + $2, duplicates = duplicates + $3, refused = refused + $4,
			lag = CASE WHEN $5 > accepted_at THEN $6 ELSE lag END,
			accepted_at = CASE WHEN $5 > accepted_at THEN $5 ELSE accepted_at END,
			refused_why = CASE WHEN $7 > refused_at THEN $8 ELSE refused_why END,
			refused_at = CASE WHEN $7 > refused_at THEN $7 ELSE refused_at END
		WHERE source_id = $1`,
		id, t.accepted, t.duplicates, t.refused, millis(t.acceptedAt), t.lag.Milliseconds(), millis(t.refusedAt), t.refusedWhy)
	if err != nil {
		return err
	}
	if t.judged {
		if _, err := tx.Exec(ctx, `UPDATE intake_activity SET failed_why = $3,
				failed_at = CASE WHEN failed_at > 0 AND $2 > failed_at THEN failed_at ELSE $2 END WHERE source_id = $1`,
			id, millis(t.failedAt), t.failedWhy); err != nil {
			return err
		}
	}
	if !t.polledAt.IsZero() {
		_, err = tx.Exec(ctx, `UPDATE intake_activity SET waiting = $2, polled_at = $3 WHERE source_id = $1`, id, t.waiting, millis(t.polledAt))
	}
	return err
}
