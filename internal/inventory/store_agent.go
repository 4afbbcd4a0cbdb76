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

func scanAgent(row scanner) (enrolledAgent, error) {
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
	return one(q.QueryRow(ctx, selectAgent+` WHERE id = $1`, id), scanAgent)
}

// agentOf is the agent that a server is bound to.
func agentOf(ctx context.Context, q store.Querier, serverID string) (enrolledAgent, bool, error) {
	return one(q.QueryRow(ctx, selectAgent+` WHERE server_id = $1 AND revoked_at = 0 ORDER BY created_at DESC LIMIT 1`, serverID), scanAgent)
}

func revokeAgents(ctx context.Context, tx *store.Tx, serverID string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE inventory_agents SET revoked_at = $2 WHERE server_id = $1 AND revoked_at = 0`, serverID, millis(at))
	return err
}

// markSigned accepts a signed time if it is later than the last one accepted.
func markSigned(ctx context.Context, tx *store.Tx, id string, at time.Time) (bool, error) {
	return changedRow(tx.Exec(ctx, `UPDATE inventory_agents SET signed_at = $2 WHERE id = $1 AND signed_at < $2`, id, millis(at)))
}
