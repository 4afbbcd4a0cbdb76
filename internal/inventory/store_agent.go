package inventory

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// enrolledAgent is an agent's key, bound to a server.
type enrolledAgent struct {
	ID       string
	ServerID string
	// PublicKey is the ed25519 key in base64.
	PublicKey string
	CreatedAt time.Time
	RevokedAt time.Time
	// SignedAt is the last signed time that was accepted.
	SignedAt time.Time
}

const selectAgent = `SELECT id, server_id, public_key, created_at, revoked_at, signed_at FROM inventory_agents`

func scanAgent(row store.Row) (enrolledAgent, error) {
	var a enrolledAgent
	var created, revoked, signed int64
	err := row.Scan(&a.ID, &a.ServerID, &a.PublicKey, &created, &revoked, &signed)
	a.CreatedAt, a.RevokedAt, a.SignedAt = fromMillis(created), fromMillis(revoked), fromMillis(signed)
	return a, err
}

func insertAgent(ctx context.Context, tx *store.Tx, a enrolledAgent) error {
	_, err := tx.Exec(ctx, `INSERT INTO inventory_agents (id, server_id, public_key, created_at, revoked_at, signed_at)
		VALUES ($1, $2, $3, $4, 0, 0)`, a.ID, a.ServerID, a.PublicKey, millis(a.CreatedAt))
	return err
}

func loadAgent(ctx context.Context, q store.Querier, id string) (enrolledAgent, bool, error) {
	return store.One(q.QueryRow(ctx, selectAgent+` WHERE id = $1`, id), scanAgent)
}

// agentOf is the agent that a server is bound to.
func agentOf(ctx context.Context, q store.Querier, serverID string) (enrolledAgent, bool, error) {
	return store.One(q.QueryRow(ctx, selectAgent+` WHERE server_id = $1 AND revoked_at = 0 ORDER BY created_at DESC LIMIT 1`, serverID), scanAgent)
}

func revokeAgents(ctx context.Context, tx *store.Tx, serverID string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_agents SET revoked_at = $2 WHERE server_id = $1 AND revoked_at = 0`, serverID, millis(at))
	return err
}

// markSigned accepts a signed time if it is later than the last one accepted.
func markSigned(ctx context.Context, tx *store.Tx, id string, at time.Time) (bool, error) {
	return changedRow(tx.Exec(ctx, `UPDATE inventory_agents SET signed_at = $2 WHERE id = $1 AND signed_at < $2`, id, millis(at)))
}

const selectToken = `SELECT id, project_id, description, created_by, issued_at, deleted_at, last_used_at, uses, salt, hash
	FROM inventory_enrollment_tokens`

func scanToken(row store.Row) (EnrollmentToken, error) {
	var t EnrollmentToken
	var issued, deleted, used int64
	err := row.Scan(&t.ID, &t.ProjectID, &t.Description, &t.CreatedBy, &issued, &deleted, &used, &t.Uses, &t.salt, &t.hash)
	t.IssuedAt, t.DeletedAt, t.LastUsedAt = fromMillis(issued), fromMillis(deleted), fromMillis(used)
	return t, err
}

func insertToken(ctx context.Context, tx *store.Tx, t EnrollmentToken) error {
	_, err := tx.Exec(ctx, `INSERT INTO inventory_enrollment_tokens (id, project_id, description, created_by, issued_at, deleted_at,
			last_used_at, uses, salt, hash) VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6, $7)`,
		t.ID, t.ProjectID, t.Description, t.CreatedBy, millis(t.IssuedAt), t.salt, t.hash)
	return err
}

func loadToken(ctx context.Context, q store.Querier, id string) (EnrollmentToken, bool, error) {
	return store.One(q.QueryRow(ctx, selectToken+` WHERE id = $1`, id), scanToken)
}

func listTokens(ctx context.Context, q store.Querier, projectID string) ([]EnrollmentToken, error) {
	rows, err := q.Query(ctx, selectToken+` WHERE project_id = $1 AND deleted_at = 0 ORDER BY issued_at, id`, projectID)
	return store.All(rows, err, scanToken)
}

func deleteToken(ctx context.Context, tx *store.Tx, projectID, id string, at time.Time) (bool, error) {
	return changedRow(tx.Exec(ctx, `UPDATE inventory_enrollment_tokens SET deleted_at = $3 WHERE project_id = $1 AND id = $2 AND deleted_at = 0`,
		projectID, id, millis(at)))
}

func deleteTokens(ctx context.Context, tx *store.Tx, projectID string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_enrollment_tokens SET deleted_at = $2 WHERE project_id = $1 AND deleted_at = 0`, projectID, millis(at))
	return err
}

func countTokenUse(ctx context.Context, tx *store.Tx, id string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_enrollment_tokens SET last_used_at = $2, uses = uses + 1 WHERE id = $1`, id, millis(at))
	return err
}

// enrolledWith finds the agent of a project's server without an instance that
// has this key.
func enrolledWith(ctx context.Context, q store.Querier, projectID, publicKey string) (enrolledAgent, bool, error) {
	return store.One(q.QueryRow(ctx, `SELECT g.id, g.server_id, g.public_key, g.created_at, g.revoked_at, g.signed_at FROM inventory_agents g
		JOIN inventory_servers s ON s.id = g.server_id
		WHERE g.public_key = $1 AND g.revoked_at = 0 AND s.project_id = $2 AND s.instance_id = '' AND s.deleted_at = 0
		ORDER BY g.created_at DESC LIMIT 1`, publicKey, projectID), scanAgent)
}

// elsewhere lists the servers of an instance in other projects that no agent has
// enrolled.
func elsewhere(ctx context.Context, q store.Querier, k InstanceKey) ([]Server, error) {
	rows, err := q.Query(ctx, selectServer+` WHERE s.project_id <> $1 AND s.account_id = $2 AND s.region = $3 AND s.instance_id = $4
		AND s.deleted_at = 0 AND NOT s.managed ORDER BY s.registered_at, s.id`, k.ProjectID, k.AccountID, k.Region, k.InstanceID)
	return store.All(rows, err, scanServer)
}

// markSeen notes an agent's sign of life.
func markSeen(ctx context.Context, tx *store.Tx, serverID string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_servers SET last_seen_at = $2 WHERE id = $1 AND deleted_at = 0`, serverID, millis(at))
	return err
}
