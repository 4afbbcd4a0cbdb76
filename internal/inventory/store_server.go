package inventory

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const serverColumns = `s.id, s.project_id, s.cloud_account_id, s.account_id, s.region, s.instance_id, s.hostname, s.canonical_name,
	s.access_address, s.bastion, s.managed, s.registered_at, s.deleted_at, s.last_seen_at, s.ec2_state, s.told_at, s.confirmed_at,
	s.absent_since_at, s.not_found, s.facts, s.api_labels`

const selectServer = `SELECT ` + serverColumns + `, p.name, COALESCE(a.deleted_at, 0) FROM inventory_servers s
	JOIN inventory_projects p ON p.id = s.project_id
	LEFT JOIN inventory_cloud_accounts a ON a.id = s.cloud_account_id`

func scanServer(row store.Row) (Server, error) {
	var s Server
	var registered, deleted, seen, told, confirmed, absent, disconnected int64
	var facts, labels string
	if err := row.Scan(&s.ID, &s.ProjectID, &s.CloudAccountID, &s.AccountID, &s.Region, &s.InstanceID, &s.Hostname, &s.CanonicalName,
		&s.AccessAddress, &s.Bastion, &s.Managed, &registered, &deleted, &seen, &s.EC2State, &told, &confirmed,
		&absent, &s.NotFound, &facts, &labels, &s.ProjectName, &disconnected); err != nil {
		return s, err
	}
	s.RegisteredAt, s.DeletedAt, s.LastSeen = fromMillis(registered), fromMillis(deleted), fromMillis(seen)
	s.ToldAt, s.ConfirmedAt, s.AbsentSince = fromMillis(told), fromMillis(confirmed), fromMillis(absent)
	s.Orphaned = disconnected != 0
	if err := json.Unmarshal([]byte(facts), &s.Facts); err != nil {
		return s, fmt.Errorf("facts of server %s: %w", s.ID, err)
	}
	if err := json.Unmarshal([]byte(labels), &s.APILabels); err != nil {
		return s, fmt.Errorf("labels of server %s: %w", s.ID, err)
	}
	return s, nil
}

// saveServer writes a server's row, new or not.
func saveServer(ctx context.Context, tx *store.Tx, s *Server) error {
	facts, err := toJSON(s.Facts)
	if err != nil {
		return err
	}
	labels := "{}"
	if len(s.APILabels) > 0 {
		if labels, err = toJSON(s.APILabels); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `INSERT INTO inventory_servers (id, project_id, cloud_account_id, account_id, region, instance_id, hostname,
			canonical_name, access_address, bastion, managed, registered_at, deleted_at, last_seen_at, ec2_state, told_at, confirmed_at,
			absent_since_at, not_found, facts, api_labels)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
		ON CONFLICT (id) DO UPDATE SET project_id = excluded.project_id, cloud_account_id = excluded.cloud_account_id,
			account_id = excluded.account_id, region = excluded.region, instance_id = excluded.instance_id, hostname = excluded.hostname,
			canonical_name = excluded.canonical_name, access_address = excluded.access_address, bastion = excluded.bastion,
			managed = excluded.managed, deleted_at = excluded.deleted_at, last_seen_at = excluded.last_seen_at, ec2_state = excluded.ec2_state,
			told_at = excluded.told_at, confirmed_at = excluded.confirmed_at, absent_since_at = excluded.absent_since_at,
			not_found = excluded.not_found, facts = excluded.facts, api_labels = excluded.api_labels`,
		s.ID, s.ProjectID, s.CloudAccountID, s.AccountID, s.Region, s.InstanceID, s.Hostname,
		s.CanonicalName, s.AccessAddress, s.Bastion, s.Managed, millis(s.RegisteredAt), millis(s.DeletedAt), millis(s.LastSeen), s.EC2State,
		millis(s.ToldAt), millis(s.ConfirmedAt), millis(s.AbsentSince), s.NotFound, facts, labels)
	return err
}

// loadServer finds a server, removed ones included.
func loadServer(ctx context.Context, q store.Querier, id string) (Server, bool, error) {
	return store.One(q.QueryRow(ctx, selectServer+` WHERE s.id = $1`, id), scanServer)
}

// serverIDOf finds the server of an instance, in one project or in all for an
// empty name: one that is there before one that was removed, the newest of each.
func serverIDOf(ctx context.Context, q store.Querier, project, instanceID string) (id string, found bool, err error) {
	err = q.QueryRow(ctx, `SELECT s.id FROM inventory_servers s JOIN inventory_projects p ON p.id = s.project_id
		WHERE s.instance_id = $1 AND ($2 = '' OR p.name = $2)
		ORDER BY CASE WHEN s.deleted_at = 0 THEN 0 ELSE 1 END, s.registered_at DESC LIMIT 1`, instanceID, project).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return id, err == nil, err
}

func serverOf(ctx context.Context, q store.Querier, k InstanceKey) (Server, bool, error) {
	return store.One(q.QueryRow(ctx, selectServer+` WHERE s.project_id = $1 AND s.account_id = $2 AND s.region = $3 AND s.instance_id = $4
		AND s.deleted_at = 0 AND s.instance_id <> ''`, k.ProjectID, k.AccountID, k.Region, k.InstanceID), scanServer)
}

// serversAt lists the other servers of a project that hold an address.
func serversAt(ctx context.Context, q store.Querier, projectID, address, except string) ([]Server, error) {
	rows, err := q.Query(ctx, selectServer+` WHERE s.project_id = $1 AND s.access_address = $2 AND s.access_address <> ''
		AND s.deleted_at = 0 AND s.id <> $3`, projectID, address, except)
	return store.All(rows, err, scanServer)
}

// serversInRegion lists a cloud account's servers in a region whose instance id
// comes after the one given, by instance id.
func serversInRegion(ctx context.Context, q store.Querier, a CloudAccount, region, after string, limit int) ([]Server, error) {
	rows, err := q.Query(ctx, selectServer+` WHERE s.project_id = $1 AND s.account_id = $2 AND s.region = $3 AND s.instance_id > $4
		AND s.instance_id <> '' AND s.deleted_at = 0 ORDER BY s.instance_id LIMIT $5`, a.ProjectID, a.AccountID, region, after, limit)
	return store.All(rows, err, scanServer)
}

func countServers(ctx context.Context, q store.Querier, a CloudAccount) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM inventory_servers WHERE project_id = $1 AND account_id = $2 AND deleted_at = 0 AND instance_id <> ''`,
		a.ProjectID, a.AccountID).Scan(&n)
	return n, err
}

// confirmServers notes that a listing found servers as they are known.
func confirmServers(ctx context.Context, tx *store.Tx, ids []string, started time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	args := []any{millis(started)}
	var in strings.Builder
	for i, id := range ids {
		if i > 0 {
			in.WriteString(", ")
		}
		args = append(args, id)
		fmt.Fprintf(&in, "$%d", len(args))
	}
	_, err := tx.Exec(ctx, `UPDATE inventory_servers SET confirmed_at = $1, absent_since_at = 0, not_found = 0
		WHERE confirmed_at < $1 AND deleted_at = 0 AND id IN (`+in.String()+`)`, args...)
	return err
}

// ServerFilter picks servers of a list. Empty fields pick all.
type ServerFilter struct {
	ProjectID     string
	Hostname      string
	CanonicalName string
	Bastion       string
	// CloudProvider is aws or gcp; no server has the latter yet.
	CloudProvider   string
	AltNameContains string
	InstanceID      string
	AccountID       string
	Region          string
	// State is ACTIVE or INACTIVE.
	State string
	// Unprotected picks running instances that no agent has enrolled for a day.
	Unprotected bool
	Selector    Selector
}

// serverCursor is a place in the list of servers.
type serverCursor struct {
	registered int64
	id         string
}

// listServers lists servers by registration. What SQL cannot tell is left to
// the caller, who reads on from the last row.
func listServers(ctx context.Context, q store.Querier, f ServerFilter, from serverCursor, descending bool, limit int) ([]Server, error) {
	var where strings.Builder
	var args []any
	arg := func(v any) string { args = append(args, v); return fmt.Sprintf("$%d", len(args)) }
	where.WriteString(` WHERE s.deleted_at = 0`)
	for column, v := range map[string]string{
		"s.project_id": f.ProjectID, "s.hostname": f.Hostname, "s.canonical_name": f.CanonicalName, "s.bastion": f.Bastion,
		"s.instance_id": f.InstanceID, "s.account_id": f.AccountID, "s.region": f.Region,
	} {
		if v != "" {
			where.WriteString(" AND " + column + " = " + arg(v))
		}
	}
	switch f.CloudProvider {
	case "":
	case "aws":
		where.WriteString(" AND s.instance_id <> ''")
	default:
		where.WriteString(" AND 1 = 0")
	}
	cmp, order := ">", "ASC"
	if descending {
		cmp, order = "<", "DESC"
	}
	if from.id != "" {
		at, id := arg(from.registered), arg(from.id)
		where.WriteString(fmt.Sprintf(" AND (s.registered_at, s.id) %s (%s, %s)", cmp, at, id))
	}
	rows, err := q.Query(ctx, selectServer+where.String()+
		fmt.Sprintf(" ORDER BY s.registered_at %s, s.id %s LIMIT %d", order, order, limit), args...)
	return store.All(rows, err, scanServer)
}

func loadTombstone(ctx context.Context, q store.Querier, k InstanceKey) (*tombstone, error) {
	t, found, err := store.One(q.QueryRow(ctx, `SELECT removed_at, reason, final, ignored FROM inventory_instances
		WHERE project_id = $1 AND account_id = $2 AND region = $3 AND instance_id = $4`,
		k.ProjectID, k.AccountID, k.Region, k.InstanceID), func(row store.Row) (*tombstone, error) {
		var t tombstone
		var at int64
		err := row.Scan(&at, &t.reason, &t.final, &t.ignored)
		t.at = fromMillis(at)
		return &t, err
	})
	if !found {
		return nil, err
	}
	return t, err
}

func saveTombstone(ctx context.Context, tx *store.Tx, k InstanceKey, serverID string, t tombstone) error {
	_, err := tx.Exec(ctx, `INSERT INTO inventory_instances (project_id, account_id, region, instance_id, server_id, removed_at, reason, final, ignored)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (project_id, account_id, region, instance_id) DO UPDATE SET server_id = excluded.server_id,
			removed_at = excluded.removed_at, reason = excluded.reason, final = excluded.final, ignored = excluded.ignored`,
		k.ProjectID, k.AccountID, k.Region, k.InstanceID, serverID, millis(t.at), t.reason, t.final, t.ignored)
	return err
}

func deleteTombstone(ctx context.Context, tx *store.Tx, k InstanceKey) error {
	_, err := tx.Exec(ctx, `DELETE FROM inventory_instances WHERE project_id = $1 AND account_id = $2 AND region = $3 AND instance_id = $4`,
		k.ProjectID, k.AccountID, k.Region, k.InstanceID)
	return err
}

func insertChange(ctx context.Context, tx *store.Tx, c Change) error {
	cause, err := toJSON(c.Cause)
	if err != nil {
		return err
	}
	fields, err := toJSON(c.Fields)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO inventory_history (server_id, at, change, cause, fields) VALUES ($1, $2, $3, $4, $5)`,
		c.ServerID, millis(c.At), c.Kind, cause, fields)
	return err
}

func listChanges(ctx context.Context, q store.Querier, serverID string, before int64, limit int) ([]Change, error) {
	rows, err := q.Query(ctx, `SELECT id, server_id, at, change, cause, fields FROM inventory_history
		WHERE server_id = $1 AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`, serverID, before, limit)
	return store.All(rows, err, func(row store.Row) (Change, error) {
		var c Change
		var at int64
		var cause, fields string
		if err := row.Scan(&c.ID, &c.ServerID, &at, &c.Kind, &cause, &fields); err != nil {
			return c, err
		}
		c.At = fromMillis(at)
		if err := json.Unmarshal([]byte(cause), &c.Cause); err != nil {
			return c, err
		}
		return c, json.Unmarshal([]byte(fields), &c.Fields)
	})
}
