package work

import (
	"context"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Pending is a job that has not ended.
type Pending struct {
	Key string
	// RunAt is when it is due; of a running one when its lease ends.
	RunAt   time.Time
	Running bool
	// Attempt counts the times that it was run and put back.
	Attempt int
}

// Pending returns the jobs of a queue whose key is the one given or continues it
// after a slash, at most limit, in the order of their keys.
func (r *Runner) Pending(ctx context.Context, queue, key string, limit int) ([]Pending, error) {
	rows, err := r.db.Query(ctx, `SELECT key, run_at, holder IS NOT NULL, attempt FROM job
		WHERE queue = $1 AND failed_at IS NULL AND (key = $2 OR key >= $3 AND key < $4) ORDER BY key LIMIT $5`,
		queue, key, key+"/", store.PrefixEnd(key+"/"), limit)
	if err != nil {
		return nil, fmt.Errorf("look for job %s of %s: %w", key, queue, err)
	}
	defer rows.Close()
	var out []Pending
	for rows.Next() {
		var p Pending
		var runAt int64
		if err := rows.Scan(&p.Key, &runAt, &p.Running, &p.Attempt); err != nil {
			return nil, fmt.Errorf("look for job %s of %s: %w", key, queue, err)
		}
		p.RunAt = time.UnixMilli(runAt).UTC()
		out = append(out, p)
	}
	return out, rows.Err()
}
