package inventory

import (
	"context"
	"database/sql"
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

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// changedRow reports whether a statement changed a row.
func changedRow(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

const selectProject = `SELECT id, name, description, created_at, updated_at, deleted_at FROM inventory_projects`

func scanProject(row store.Row) (Project, error) {
	var p Project
	var created, updated, deleted int64
	err := row.Scan(&p.ID, &p.Name, &p.Description, &created, &updated, &deleted)
	p.CreatedAt, p.UpdatedAt, p.DeletedAt = fromMillis(created), fromMillis(updated), fromMillis(deleted)
	return p, err
}

func insertProject(ctx context.Context, tx *store.Tx, p Project) (made bool, err error) {
	return changedRow(tx.Exec(ctx, `INSERT INTO inventory_projects (id, name, description, created_at, updated_at, deleted_at)
		VALUES ($1, $2, $3, $4, $5, 0) ON CONFLICT DO NOTHING`,
		p.ID, p.Name, p.Description, millis(p.CreatedAt), millis(p.UpdatedAt)))
}

func saveProject(ctx context.Context, tx *store.Tx, p Project) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_projects SET description = $2, updated_at = $3, deleted_at = $4 WHERE id = $1`,
		p.ID, p.Description, millis(p.UpdatedAt), millis(p.DeletedAt))
	return err
}

func loadProject(ctx context.Context, q store.Querier, name string) (Project, bool, error) {
	return store.One(q.QueryRow(ctx, selectProject+` WHERE name = $1 AND deleted_at = 0`, name), scanProject)
}

func listProjects(ctx context.Context, q store.Querier, after string, limit int, descending bool) ([]Project, error) {
	order, cmp := "ASC", ">"
	if descending {
		order, cmp = "DESC", "<"
	}
	rows, err := q.Query(ctx, selectProject+` WHERE deleted_at = 0 AND ($1 = '' OR name `+cmp+` $1) ORDER BY name `+order+` LIMIT $2`, after, limit)
	return store.All(rows, err, scanProject)
}

func countInProject(ctx context.Context, q store.Querier, id string) (accounts, servers int, err error) {
	err = q.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM inventory_cloud_accounts WHERE project_id = $1 AND deleted_at = 0),
		(SELECT COUNT(*) FROM inventory_servers WHERE project_id = $1 AND deleted_at = 0)`, id).Scan(&accounts, &servers)
	return accounts, servers, err
}

const selectAccount = `SELECT id, project_id, account_id, description, regions, options, connected_at, deleted_at,
	webhook_id, client_id, monitored_at, unread_at, unread_why FROM inventory_cloud_accounts`

func scanAccount(row store.Row) (CloudAccount, error) {
	var a CloudAccount
	var regions, options string
	var connected, deleted, monitored, unread int64
	if err := row.Scan(&a.ID, &a.ProjectID, &a.AccountID, &a.Description, &regions, &options, &connected, &deleted,
		&a.WebhookID, &a.ClientID, &monitored, &unread, &a.UnreadWhy); err != nil {
		return a, err
	}
	a.ConnectedAt, a.DeletedAt = fromMillis(connected), fromMillis(deleted)
	a.MonitoredAt, a.UnreadAt = fromMillis(monitored), fromMillis(unread)
	if err := json.Unmarshal([]byte(regions), &a.Regions); err != nil {
		return a, fmt.Errorf("regions of cloud account %s: %w", a.ID, err)
	}
	if err := json.Unmarshal([]byte(options), &a.Options); err != nil {
		return a, fmt.Errorf("options of cloud account %s: %w", a.ID, err)
	}
	return a, nil
}

func insertAccount(ctx context.Context, tx *store.Tx, a CloudAccount) (made bool, err error) {
	regions, options, err := accountTexts(a)
	if err != nil {
		return false, err
	}
	return changedRow(tx.Exec(ctx, `INSERT INTO inventory_cloud_accounts (id, project_id, account_id, description, regions, options,
			connected_at, deleted_at, webhook_id, client_id, monitored_at, unread_at, unread_why)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', '', 0, 0, '') ON CONFLICT DO NOTHING`,
		a.ID, a.ProjectID, a.AccountID, a.Description, regions, options, millis(a.ConnectedAt)))
}

func accountTexts(a CloudAccount) (regions, options string, err error) {
	if regions, err = toJSON(a.Regions); err != nil {
		return "", "", err
	}
	options, err = toJSON(a.Options)
	return regions, options, err
}

func saveAccount(ctx context.Context, tx *store.Tx, a CloudAccount) error {
	regions, options, err := accountTexts(a)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE inventory_cloud_accounts SET description = $2, regions = $3, options = $4, deleted_at = $5,
		webhook_id = $6, client_id = $7, monitored_at = $8 WHERE id = $1`,
		a.ID, a.Description, regions, options, millis(a.DeletedAt), a.WebhookID, a.ClientID, millis(a.MonitoredAt))
	return err
}

// saveUnread notes that events were taken at their word.
func saveUnread(ctx context.Context, tx *store.Tx, accountID string, at time.Time, why string) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_cloud_accounts SET unread_at = $2, unread_why = $3 WHERE id = $1`, accountID, millis(at), why)
	return err
}

// loadAccount finds a cloud account, disconnected ones included.
func loadAccount(ctx context.Context, q store.Querier, id string) (CloudAccount, bool, error) {
	return store.One(q.QueryRow(ctx, selectAccount+` WHERE id = $1`, id), scanAccount)
}

func accountByWebhook(ctx context.Context, q store.Querier, webhookID string) (CloudAccount, bool, error) {
	return store.One(q.QueryRow(ctx, selectAccount+` WHERE webhook_id = $1 AND webhook_id <> '' AND deleted_at = 0`, webhookID), scanAccount)
}

func listAccounts(ctx context.Context, q store.Querier, projectID string) ([]CloudAccount, error) {
	rows, err := q.Query(ctx, selectAccount+` WHERE project_id = $1 AND deleted_at = 0 ORDER BY connected_at, id`, projectID)
	return store.All(rows, err, scanAccount)
}

// adoptServers hands the servers that an earlier connection of the same account
// left behind to a new one.
func adoptServers(ctx context.Context, tx *store.Tx, a CloudAccount) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_servers SET cloud_account_id = $1 WHERE project_id = $2 AND account_id = $3 AND deleted_at = 0 AND instance_id <> ''`,
		a.ID, a.ProjectID, a.AccountID)
	return err
}

// projectName returns the name of a project by its id.
func projectName(ctx context.Context, q store.Querier, id string) (string, error) {
	name, found, err := store.One(q.QueryRow(ctx, `SELECT name FROM inventory_projects WHERE id = $1`, id), func(row store.Row) (string, error) {
		var s string
		return s, row.Scan(&s)
	})
	if err == nil && !found {
		err = fmt.Errorf("project %s does not exist", id)
	}
	return name, err
}
