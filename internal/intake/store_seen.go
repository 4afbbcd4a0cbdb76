package intake

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// seenInsert is how many keys one INSERT carries.
const seenInsert = 100

// insertSeen notes keys, each of which is there once and which are sorted, so that
// two transactions never wait for each other. It returns those that were not there.
func insertSeen(ctx context.Context, tx *store.Tx, keys [][]byte, at time.Time) (map[string]bool, error) {
	fresh := make(map[string]bool, len(keys))
	for len(keys) > 0 {
		n := min(seenInsert, len(keys))
		if err := insertSeenChunk(ctx, tx, keys[:n], at, fresh); err != nil {
			return nil, err
		}
		keys = keys[n:]
	}
	return fresh, nil
}

func insertSeenChunk(ctx context.Context, tx *store.Tx, keys [][]byte, at time.Time, fresh map[string]bool) error {
	var q strings.Builder
	q.WriteString(`INSERT INTO intake_seen (key, seen_at) VALUES `)
	args := make([]any, 1, len(keys)+1)
	args[0] = millis(at)
	for i, k := range keys {
		if i > 0 {
			q.WriteString(", ")
		}
		args = append(args, k)
		q.WriteString("($" + strconv.Itoa(len(args)) + ", $1)")
	}
	q.WriteString(` ON CONFLICT DO NOTHING RETURNING key`)
	rows, err := tx.Query(ctx, q.String(), args...)
	inserted, err := store.All(rows, err, func(row store.Row) (key []byte, err error) { return key, row.Scan(&key) })
	for _, k := range inserted {
		fresh[string(k)] = true
	}
	return err
}

// deleteSeen forgets at most limit of the keys from before the time given, the
// oldest first, and returns how many.
func deleteSeen(ctx context.Context, tx *store.Tx, before time.Time, limit int) (int64, error) {
	res, err := tx.Exec(ctx, `DELETE FROM intake_seen WHERE key IN
		(SELECT key FROM intake_seen WHERE seen_at < $1 ORDER BY seen_at LIMIT $2)`, millis(before), limit)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
