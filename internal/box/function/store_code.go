package function

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// announceCode notes that a package is being stored, or used, and says whether it is there
// already.
func announceCode(ctx context.Context, tx *store.Tx, sha256 string, size, now int64) (complete bool, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO function_code (sha256, size, complete, used_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (sha256) DO UPDATE SET used_at = excluded.used_at RETURNING complete`, sha256, size, false, now).Scan(&complete)
	if err != nil {
		return false, fmt.Errorf("announce code %s: %w", sha256, err)
	}
	return complete, nil
}

// insertChunk stores a part of a package, unless it is there.
func insertChunk(ctx context.Context, tx *store.Tx, sha256 string, number int, bytes []byte) error {
	_, err := tx.Exec(ctx, `INSERT INTO function_code_chunk (sha256, number, bytes) VALUES ($1, $2, $3) ON CONFLICT (sha256, number) DO NOTHING`,
		sha256, number, bytes)
	if err != nil {
		return fmt.Errorf("store code %s: %w", sha256, err)
	}
	return nil
}

// completeCode ends the storing of a package that has so many chunks. ok is false if some are missing.
func completeCode(ctx context.Context, tx *store.Tx, sha256 string, chunks int, now int64) (ok bool, err error) {
	var have int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM function_code_chunk WHERE sha256 = $1`, sha256).Scan(&have); err != nil {
		return false, fmt.Errorf("count chunks of code %s: %w", sha256, err)
	}
	if have != chunks {
		return false, nil
	}
	n, err := affected(tx.Exec(ctx, `UPDATE function_code SET complete = $2, used_at = $3 WHERE sha256 = $1`, sha256, true, now))
	if err != nil {
		return false, fmt.Errorf("complete code %s: %w", sha256, err)
	}
	return n == 1, nil
}

// useCode keeps a package for a function that gets it in the same transaction. ok is false if it
// is gone.
func useCode(ctx context.Context, tx *store.Tx, sha256 string, now int64) (ok bool, err error) {
	n, err := affected(tx.Exec(ctx, `UPDATE function_code SET used_at = $3 WHERE sha256 = $1 AND complete = $2`, sha256, true, now))
	if err != nil {
		return false, fmt.Errorf("use code %s: %w", sha256, err)
	}
	return n == 1, nil
}

// readCode returns a package; found is false if it is not there, or not as a whole.
func readCode(ctx context.Context, db store.Querier, sha256 string) (packed []byte, found bool, err error) {
	var size int64
	err = db.QueryRow(ctx, `SELECT size FROM function_code WHERE sha256 = $1 AND complete = $2`, sha256, true).Scan(&size)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read code %s: %w", sha256, err)
	}
	rows, err := db.Query(ctx, `SELECT bytes FROM function_code_chunk WHERE sha256 = $1 ORDER BY number`, sha256)
	if err != nil {
		return nil, false, fmt.Errorf("read code %s: %w", sha256, err)
	}
	defer rows.Close()
	packed = make([]byte, 0, size)
	for rows.Next() {
		var chunk sql.RawBytes
		if err := rows.Scan(&chunk); err != nil {
			return nil, false, fmt.Errorf("read code %s: %w", sha256, err)
		}
		packed = append(packed, chunk...)
	}
	if err := rows.Err(); err != nil {
		return nil, false, fmt.Errorf("read code %s: %w", sha256, err)
	}
	return packed, true, nil
}

// unusedCode is the condition of a package that no function has and nobody has used since $2.
const unusedCode = `sha256 = $1 AND used_at < $2 AND NOT EXISTS (SELECT 1 FROM function WHERE function.code_sha256 = function_code.sha256)`

// staleCode returns up to limit packages that no function has and nobody has used since.
func staleCode(ctx context.Context, db store.Querier, since int64, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT sha256 FROM function_code
		WHERE used_at < $1 AND NOT EXISTS (SELECT 1 FROM function WHERE function.code_sha256 = function_code.sha256) ORDER BY sha256 LIMIT $2`, since, limit)
	list, err := store.All(rows, err, func(row store.Row) (sha256 string, err error) { return sha256, row.Scan(&sha256) })
	if err != nil {
		return nil, fmt.Errorf("look for unused code: %w", err)
	}
	return list, nil
}

// dropChunks deletes up to limit chunks of an unused package, and in the end the package. more says
// whether there is something left to delete.
func dropChunks(ctx context.Context, tx *store.Tx, sha256 string, since int64, limit int) (more bool, err error) {
	n, err := affected(tx.Exec(ctx, `UPDATE function_code SET complete = $3 WHERE `+unusedCode, sha256, since, false))
	if err != nil {
		return false, fmt.Errorf("delete code %s: %w", sha256, err)
	}
	if n == 0 {
		return false, nil // somebody uses it again
	}
	n, err = affected(tx.Exec(ctx, `DELETE FROM function_code_chunk WHERE sha256 = $1 AND number IN
		(SELECT number FROM function_code_chunk WHERE sha256 = $1 ORDER BY number LIMIT $2)`, sha256, limit))
	if err != nil {
		return false, fmt.Errorf("delete code %s: %w", sha256, err)
	}
	if n == int64(limit) {
		return true, nil
	}
	if _, err := tx.Exec(ctx, `DELETE FROM function_code WHERE sha256 = $1`, sha256); err != nil {
		return false, fmt.Errorf("delete code %s: %w", sha256, err)
	}
	return false, nil
}

// referenced says whether a function has the package.
func referenced(ctx context.Context, db store.Querier, sha256 string) (yes bool, err error) {
	if err := db.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM function WHERE code_sha256 = $1)`, sha256).Scan(&yes); err != nil {
		return false, fmt.Errorf("look for functions of code %s: %w", sha256, err)
	}
	return yes, nil
}
