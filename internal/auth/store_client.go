package auth

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

func insertClient(ctx context.Context, tx *store.Tx, id, audience string, at time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO service_client (id, audience, created_at) VALUES ($1, $2, $3)`,
		id, audience, at.UnixMilli())
	return err
}

// selectAudience returns ErrNoClient where there is no such client.
func selectAudience(ctx context.Context, q store.Querier, clientID string) (audience string, err error) {
	if !storable(clientID) {
		return "", ErrNoClient
	}
	err = q.QueryRow(ctx, `SELECT audience FROM service_client WHERE id = $1`, clientID).Scan(&audience)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrNoClient
	}
	return audience, err
}

func deleteClient(ctx context.Context, tx *store.Tx, clientID string) (found bool, err error) {
	if !storable(clientID) {
		return false, nil
	}
	if _, err := tx.Exec(ctx, `DELETE FROM client_secret WHERE client_id = $1`, clientID); err != nil {
		return false, err
	}
	return affected(tx.Exec(ctx, `DELETE FROM service_client WHERE id = $1`, clientID))
}

func affected(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func insertSecret(ctx context.Context, tx *store.Tx, s *storedSecret) error {
	_, err := tx.Exec(ctx, `INSERT INTO client_secret (id, client_id, salt, hash, last_four, created_at)
		VALUES ($1, $2, $3, $4, $5, $6)`, s.ID, s.clientID, s.salt, s.hash, s.LastFour, s.CreatedAt.UnixMilli())
	return err
}

func selectSecrets(ctx context.Context, q store.Querier, clientID string) ([]storedSecret, error) {
	rows, err := q.Query(ctx, `SELECT id, client_id, salt, hash, last_four, created_at, expires_at, revoked_at, last_used_at
		FROM client_secret WHERE client_id = $1 ORDER BY created_at, id`, clientID)
	return store.All(rows, err, func(row store.Row) (s storedSecret, err error) {
		var created int64
		var expires, revoked, used sql.Null[int64]
		err = row.Scan(&s.ID, &s.clientID, &s.salt, &s.hash, &s.LastFour, &created, &expires, &revoked, &used)
		s.CreatedAt = time.UnixMilli(created).UTC()
		s.ExpiresAt, s.RevokedAt, s.LastUsedAt = timeOrZero(expires), timeOrZero(revoked), timeOrZero(used)
		return s, err
	})
}

func countSecrets(ctx context.Context, q store.Querier, clientID string, at time.Time) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT count(*) FROM client_secret
		WHERE client_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)`,
		clientID, at.UnixMilli()).Scan(&n)
	return n, err
}

// expireSecrets lets a client's secrets end then, but none later than it would.
func expireSecrets(ctx context.Context, tx *store.Tx, clientID string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE client_secret SET expires_at = $2
		WHERE client_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)`,
		clientID, at.UnixMilli())
	return err
}

func deleteEndedSecrets(ctx context.Context, tx *store.Tx, clientID string, before time.Time) error {
	_, err := tx.Exec(ctx, `DELETE FROM client_secret
		WHERE client_id = $1 AND (revoked_at < $2 OR expires_at < $2)`, clientID, before.UnixMilli())
	return err
}

func revokeSecret(ctx context.Context, tx *store.Tx, clientID, secretID string, at time.Time) (found bool, err error) {
	if !storable(clientID) || !storable(secretID) {
		return false, nil
	}
	return affected(tx.Exec(ctx, `UPDATE client_secret SET revoked_at = COALESCE(revoked_at, $3)
		WHERE client_id = $1 AND id = $2`, clientID, secretID, at.UnixMilli()))
}

func markSecretUsed(ctx context.Context, db *store.DB, secretID string, at time.Time) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE client_secret SET last_used_at = $2 WHERE id = $1`, secretID, at.UnixMilli())
		return err
	})
}

// selectSecretState returns ErrNoSecret where the secret or its client is gone.
func selectSecretState(ctx context.Context, q store.Querier, secretID string) (secretState, error) {
	var s secretState
	var expires, revoked sql.Null[int64]
	err := q.QueryRow(ctx, `SELECT s.client_id, c.audience, s.expires_at, s.revoked_at
		FROM client_secret s JOIN service_client c ON c.id = s.client_id WHERE s.id = $1`, secretID).
		Scan(&s.clientID, &s.audience, &expires, &revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return s, ErrNoSecret
	}
	s.expires, s.revoked = timeOrZero(expires), timeOrZero(revoked)
	return s, err
}
