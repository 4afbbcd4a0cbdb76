package auth

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/store"
)

// maxID is longer than any id that is made here.
const maxID = 128

// masterCheck returns the stored check value of the master key; empty if none is.
func masterCheck(ctx context.Context, q store.Querier) (string, error) {
	var check string
	err := q.QueryRow(ctx, `SELECT check_value FROM auth_master_key WHERE one = 1`).Scan(&check)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return check, err
}

// insertMasterCheck stores the check value unless another node was faster, and
// returns the one that is stored.
func insertMasterCheck(ctx context.Context, db *store.DB, check string, at time.Time) (stored string, err error) {
	err = db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO auth_master_key (one, check_value, created_at) VALUES (1, $1, $2)
			ON CONFLICT (one) DO NOTHING`, check, at.UnixMilli())
		if err != nil {
			return err
		}
		stored, err = masterCheck(ctx, tx)
		return err
	})
	return stored, err
}

const keyColumns = `id, account, role, description, created_by, created_at, expires_at, revoked_at, replaced_by, secret`

func insertKey(ctx context.Context, tx *store.Tx, k *storedKey) error {
	_, err := tx.Exec(ctx, `INSERT INTO access_key (id, account, role, description, secret, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		k.ID, k.Account, string(k.Role), k.Description, k.sealed, k.CreatedBy, k.CreatedAt.UnixMilli())
	return err
}

// storable reports whether a text that callers send can be an id: PostgreSQL
// fails on others.
func storable(id string) bool {
	return len(id) <= maxID && utf8.ValidString(id) && !strings.ContainsRune(id, 0)
}

// selectKey returns ErrNoKey where there is none.
func selectKey(ctx context.Context, q store.Querier, id string) (storedKey, error) {
	if !storable(id) {
		return storedKey{}, ErrNoKey
	}
	k, err := scanKey(q.QueryRow(ctx, `SELECT `+keyColumns+` FROM access_key WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return k, ErrNoKey
	}
	return k, err
}

func selectKeys(ctx context.Context, q store.Querier, account string) ([]Key, error) {
	query, args := `SELECT `+keyColumns+` FROM access_key ORDER BY account, created_at, id`, []any(nil)
	if account != "" {
		query, args = `SELECT `+keyColumns+` FROM access_key WHERE account = $1 ORDER BY created_at, id`, []any{account}
	}
	rows, err := q.Query(ctx, query, args...)
	return store.All(rows, err, func(row store.Row) (Key, error) {
		k, err := scanKey(row)
		return k.Key, err
	})
}

func scanKey(row store.Row) (storedKey, error) {
	var k storedKey
	var created int64
	var expires, revoked sql.Null[int64]
	var replaced sql.Null[string]
	err := row.Scan(&k.ID, &k.Account, &k.Role, &k.Description, &k.CreatedBy, &created, &expires, &revoked, &replaced, &k.sealed)
	k.CreatedAt = time.UnixMilli(created).UTC()
	k.ExpiresAt, k.RevokedAt, k.ReplacedBy = timeOrZero(expires), timeOrZero(revoked), replaced.V
	return k, err
}

func timeOrZero(ms sql.Null[int64]) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.V).UTC()
}

// countKeys counts the keys of an account that are valid.
func countKeys(ctx context.Context, q store.Querier, account string, at time.Time) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT count(*) FROM access_key
		WHERE account = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)`,
		account, at.UnixMilli()).Scan(&n)
	return n, err
}

func replaceKey(ctx context.Context, tx *store.Tx, id, by string, expires time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE access_key SET expires_at = $2, replaced_by = $3 WHERE id = $1`,
		id, expires.UnixMilli(), by)
	return err
}

func revokeKey(ctx context.Context, tx *store.Tx, id string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE access_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL`, id, at.UnixMilli())
	return err
}

// anyAdminKey reports whether an admin key was ever made.
func anyAdminKey(ctx context.Context, q store.Querier) (found bool, err error) {
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM access_key WHERE role = 'admin')`).Scan(&found)
	return found, err
}

// validAdminKey reports whether there is an admin key that may be used.
func validAdminKey(ctx context.Context, q store.Querier, at time.Time) (found bool, err error) {
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM access_key
		WHERE role = 'admin' AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1))`,
		at.UnixMilli()).Scan(&found)
	return found, err
}
