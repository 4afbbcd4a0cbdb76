package catalog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// integrationColumn is what an integration is looked up by.
type integrationColumn string

const (
	byID           integrationColumn = "id"
	byInstallation integrationColumn = "installation_id"
	byLogIngestID  integrationColumn = "log_ingest_id"
)

const selectIntegration = `SELECT id, installation_id, log_ingest_id, body, resync_state, created_by, created_at, updated_by, updated_at, heartbeat_at
	FROM catalog_integrations`

func scanIntegration(row store.Row) (Integration, error) {
	var in Integration
	var body, state string
	var created, updated, heartbeat int64
	if err := row.Scan(&in.ID, &in.InstallationID, &in.LogIngestID, &body, &state, &in.CreatedBy, &created, &in.UpdatedBy, &updated, &heartbeat); err != nil {
		return in, err
	}
	in.CreatedAt, in.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	if heartbeat != 0 {
		in.HeartbeatAt = time.UnixMilli(heartbeat).UTC()
	}
	if err := json.Unmarshal([]byte(body), &in.Body); err != nil {
		return in, err
	}
	return in, json.Unmarshal([]byte(state), &in.ResyncState)
}

// loadIntegration finds an integration by a column. Lock ends the SELECT.
func loadIntegration(ctx context.Context, q store.Querier, by integrationColumn, value, lock string) (Integration, bool, error) {
	return store.One(q.QueryRow(ctx, selectIntegration+` WHERE `+string(by)+` = $1`+lock, value), scanIntegration)
}

func listIntegrations(ctx context.Context, q store.Querier, after string, limit int) ([]Integration, error) {
	rows, err := q.Query(ctx, selectIntegration+` WHERE installation_id > $1 ORDER BY installation_id LIMIT $2`, after, limit)
	return store.All(rows, err, scanIntegration)
}

func countIntegrations(ctx context.Context, q store.Querier) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT count(*) FROM catalog_integrations`).Scan(&n)
	return n, err
}

func insertIntegration(ctx context.Context, tx *store.Tx, in Integration) error {
	body, err := json.Marshal(in.Body)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO catalog_integrations (id, installation_id, log_ingest_id, body, resync_state, created_by, created_at,
			updated_by, updated_at, heartbeat_at)
		VALUES ($1, $2, $3, $4, '{}', $5, $6, $7, $8, 0)`,
		in.ID, in.InstallationID, in.LogIngestID, string(body), in.CreatedBy, in.CreatedAt.UnixMilli(), in.UpdatedBy, in.UpdatedAt.UnixMilli())
	return err
}

func updateIntegration(ctx context.Context, tx *store.Tx, in Integration) error {
	body, err := json.Marshal(in.Body)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE catalog_integrations SET body = $2, updated_by = $3, updated_at = $4 WHERE id = $1`,
		in.ID, string(body), in.UpdatedBy, in.UpdatedAt.UnixMilli())
	return err
}

func updateResyncState(ctx context.Context, tx *store.Tx, in Integration) error {
	state, err := json.Marshal(in.ResyncState)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE catalog_integrations SET resync_state = $2 WHERE id = $1`, in.ID, string(state))
	return err
}

func updateHeartbeat(ctx context.Context, tx *store.Tx, in Integration) error {
	_, err := tx.Exec(ctx, `UPDATE catalog_integrations SET heartbeat_at = $2 WHERE id = $1`, in.ID, in.HeartbeatAt.UnixMilli())
	return err
}

func deleteIntegration(ctx context.Context, tx *store.Tx, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM catalog_integrations WHERE id = $1`, id)
	return err
}

func upsertExamples(ctx context.Context, tx *store.Tx, integration, kind, examples string, at time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalog_integration_kinds (integration_id, kind, examples, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (integration_id, kind) DO UPDATE SET examples = excluded.examples, updated_at = excluded.updated_at`,
		integration, kind, examples, at.UnixMilli())
	return err
}

// countOtherKinds counts the kinds that have examples, without the one named, and
// the characters of these.
func countOtherKinds(ctx context.Context, tx *store.Tx, integration, kind string) (n, size int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*), coalesce(sum(length(examples)), 0) FROM catalog_integration_kinds WHERE integration_id = $1 AND kind <> $2`,
		integration, kind).Scan(&n, &size)
	return n, size, err
}

func listKinds(ctx context.Context, q store.Querier, integration string) ([]KindExamples, error) {
	rows, err := q.Query(ctx, `SELECT kind, examples, updated_at FROM catalog_integration_kinds WHERE integration_id = $1 ORDER BY kind`, integration)
	return store.All(rows, err, func(row store.Row) (KindExamples, error) {
		var k KindExamples
		var examples string
		var at int64
		err := row.Scan(&k.Kind, &examples, &at)
		k.Examples, k.UpdatedAt = json.RawMessage(examples), time.UnixMilli(at).UTC()
		return k, err
	})
}

func upsertCursor(ctx context.Context, tx *store.Tx, integration, kind, index, cursor string, at time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO catalog_integration_cursors (integration_id, kind, idx, cursor_json, updated_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (integration_id, kind, idx) DO UPDATE SET cursor_json = excluded.cursor_json, updated_at = excluded.updated_at`,
		integration, kind, index, cursor, at.UnixMilli())
	return err
}

// countOtherCursors counts an integration's cursors, without the one named.
func countOtherCursors(ctx context.Context, tx *store.Tx, integration, kind, index string) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT count(*) FROM catalog_integration_cursors WHERE integration_id = $1 AND NOT (kind = $2 AND idx = $3)`,
		integration, kind, index).Scan(&n)
	return n, err
}

func loadCursor(ctx context.Context, q store.Querier, integration, kind, index string) (json.RawMessage, bool, error) {
	row := q.QueryRow(ctx, `SELECT cursor_json FROM catalog_integration_cursors WHERE integration_id = $1 AND kind = $2 AND idx = $3`, integration, kind, index)
	return store.One(row, func(row store.Row) (json.RawMessage, error) {
		var text string
		err := row.Scan(&text)
		return json.RawMessage(text), err
	})
}
