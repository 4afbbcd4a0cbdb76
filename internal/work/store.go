package work

import (
	"context"
	"database/sql"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// insertRows is how many jobs one INSERT carries.
const insertRows = 50

// A failed job gives way to a new one of its key; a waiting or running one stays.
const onConflictKeep = ` ON CONFLICT (queue, key) DO UPDATE SET
	payload = excluded.payload, attempt = 0, created_at = excluded.created_at, run_at = excluded.run_at,
	holder = NULL, again_at = NULL, reason = '', failed_at = NULL
	WHERE job.failed_at IS NOT NULL`

const onConflictReplace = ` ON CONFLICT (queue, key) DO UPDATE SET
	payload = excluded.payload,
	attempt = CASE WHEN job.holder IS NULL THEN 0 ELSE job.attempt END,
	created_at = CASE WHEN job.holder IS NULL THEN excluded.created_at ELSE job.created_at END,
	run_at = CASE WHEN job.holder IS NULL THEN excluded.run_at ELSE job.run_at END,
	again_at = CASE WHEN job.holder IS NULL THEN NULL ELSE excluded.run_at END,
	reason = '', failed_at = NULL`

func insertJobs(ctx context.Context, tx *store.Tx, jobs []NewJob) error {
	for len(jobs) > 0 {
		n := sameStatement(jobs)
		if err := insertChunk(ctx, tx, jobs[:n]); err != nil {
			return err
		}
		jobs = jobs[n:]
	}
	return nil
}

// sameStatement returns how many of the first jobs fit one INSERT: it treats
// conflicts one way, and PostgreSQL refuses a key twice.
func sameStatement(jobs []NewJob) int {
	type id struct{ queue, key string }
	seen := make(map[id]bool, min(len(jobs), insertRows))
	for i, j := range jobs {
		k := id{j.Queue, j.Key}
		if i == insertRows || j.Replace != jobs[0].Replace || seen[k] {
			return i
		}
		seen[k] = true
	}
	return len(jobs)
}

func insertChunk(ctx context.Context, tx *store.Tx, jobs []NewJob) error {
	var q strings.Builder
	q.WriteString(`INSERT INTO job (queue, key, payload, created_at, run_at, attempt, reason) VALUES `)
	args := make([]any, 0, 5*len(jobs))
	for i, j := range jobs {
		if i > 0 {
			q.WriteString(", ")
		}
		n := len(args)
		fmt.Fprintf(&q, "($%d, $%d, $%d, $%d, $%d, 0, '')", n+1, n+2, n+3, n+4, n+5)
		payload := j.Payload
		if payload == nil {
			payload = []byte{}
		}
		args = append(args, j.Queue, j.Key, payload, j.CreatedAt.UnixMilli(), j.RunAt.UnixMilli())
	}
	if jobs[0].Replace {
		q.WriteString(onConflictReplace)
	} else {
		q.WriteString(onConflictKeep)
	}
	_, err := tx.Exec(ctx, q.String(), args...)
	return err
}

// queueState returns whether the queue is paused and when the next job is due,
// or the next lease ends.
func (r *Runner) queueState(ctx context.Context, queue string) (paused bool, dueAt time.Time, found bool, err error) {
	var p sql.NullBool
	var at sql.NullInt64
	err = r.db.QueryRow(ctx, `SELECT (SELECT paused FROM work_queue WHERE name = $1),
		(SELECT run_at FROM job WHERE queue = $1 AND failed_at IS NULL ORDER BY run_at, id LIMIT 1)`,
		queue).Scan(&p, &at)
	return p.Bool, time.UnixMilli(at.Int64), at.Valid, err
}

// attempts are none for a job that was replaced while it ran in a process
// that then died.
const attempts = `CASE WHEN again_at IS NULL THEN attempt ELSE 0 END`

// selectDue returns due jobs that no one holds, or whose holder let the lease end.
func selectDue(ctx context.Context, tx *store.Tx, queue string, now time.Time, n int) ([]Job, error) {
	rows, err := tx.Query(ctx, `SELECT id, key, payload, `+attempts+`, created_at, run_at, reason FROM job
		WHERE queue = $1 AND failed_at IS NULL AND run_at <= $2
		ORDER BY run_at, id LIMIT $3`+tx.Dialect().SkipLocked(), queue, now.UnixMilli(), n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []Job
	for rows.Next() {
		j := Job{Queue: queue}
		var created, runAt int64
		if err := rows.Scan(&j.ID, &j.Key, &j.Payload, &j.Attempt, &created, &runAt, &j.Reason); err != nil {
			return nil, err
		}
		j.CreatedAt, j.RunAt = time.UnixMilli(created), time.UnixMilli(runAt)
		j.fence = j.Attempt + 1
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

func leaseJobs(ctx context.Context, tx *store.Tx, jobs []Job, holder string, until time.Time) error {
	if len(jobs) == 0 {
		return nil
	}
	ids := make([]int64, len(jobs))
	for i, j := range jobs {
		ids[i] = j.ID
	}
	condition, arg := tx.Dialect().In("$3", ids)
	_, err := tx.Exec(ctx, `UPDATE job SET holder = $1, run_at = $2, attempt = `+attempts+` + 1, again_at = NULL WHERE id`+condition,
		holder, until.UnixMilli(), arg)
	return err
}

// held is true of a job that is still leased to us in the attempt we run.
const held = `id = $1 AND holder = $2 AND attempt = $3`

func (r *Runner) complete(ctx context.Context, tx *store.Tx, j Job) error {
	n, err := affected(tx.Exec(ctx, `DELETE FROM job WHERE `+held+` AND again_at IS NULL`, j.ID, r.holder, j.fence))
	if err != nil {
		return fmt.Errorf("complete job %s: %w", j.Key, err)
	}
	if n > 0 {
		return nil
	}
	again, err := r.runAgain(ctx, tx, j)
	if err != nil {
		return fmt.Errorf("complete job %s: %w", j.Key, err)
	}
	if !again {
		return ErrLost
	}
	return nil
}

// keepHeld sees to it that a job is not replaced until the transaction ends: on
// PostgreSQL it could be between two statements, and the second would undo that.
func (r *Runner) keepHeld(ctx context.Context, tx *store.Tx, j Job) error {
	return ifHeld(tx.Exec(ctx, `UPDATE job SET holder = holder WHERE `+held, j.ID, r.holder, j.fence))
}

// runAgain makes a running job new again if it was replaced meanwhile.
func (r *Runner) runAgain(ctx context.Context, tx *store.Tx, j Job) (bool, error) {
	var runAt int64
	err := tx.QueryRow(ctx, `UPDATE job SET holder = NULL, attempt = 0, created_at = $4, run_at = again_at, again_at = NULL
		WHERE `+held+` AND again_at IS NOT NULL RETURNING run_at`, j.ID, r.holder, j.fence, time.Now().UnixMilli()).Scan(&runAt)
	if err == sql.ErrNoRows {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.dueOnCommit(tx, j.Queue, time.UnixMilli(runAt))
	return true, nil
}

func (r *Runner) dueOnCommit(tx *store.Tx, queue string, at time.Time) {
	tx.OnCommit(func() {
		if l := r.lane(queue); l != nil {
			l.due(at)
		}
	})
}

// putBack ends the lease; the job is due at the time.
func (r *Runner) putBack(ctx context.Context, tx *store.Tx, j Job, at time.Time, attempt int, reason string) error {
	err := ifHeld(tx.Exec(ctx, `UPDATE job SET holder = NULL, run_at = $4, attempt = $5, reason = $6 WHERE `+held,
		j.ID, r.holder, j.fence, at.UnixMilli(), attempt, reason))
	if err != nil {
		return fmt.Errorf("put job %s back: %w", j.Key, err)
	}
	r.dueOnCommit(tx, j.Queue, at)
	return nil
}

func (r *Runner) deleteHeld(ctx context.Context, tx *store.Tx, j Job) error {
	return ifHeld(tx.Exec(ctx, `DELETE FROM job WHERE `+held, j.ID, r.holder, j.fence))
}

func (r *Runner) markFailed(ctx context.Context, tx *store.Tx, j Job, reason string) error {
	return ifHeld(tx.Exec(ctx, `UPDATE job SET holder = NULL, failed_at = $4, reason = $5 WHERE `+held,
		j.ID, r.holder, j.fence, time.Now().UnixMilli(), reason))
}

// ifHeld returns ErrLost when a statement on a held job changed nothing.
func ifHeld(res sql.Result, err error) error {
	n, err := affected(res, err)
	if err == nil && n == 0 {
		return ErrLost
	}
	return err
}

func reviveJob(ctx context.Context, tx *store.Tx, queue, key string, now time.Time) (bool, error) {
	n, err := affected(tx.Exec(ctx, `UPDATE job SET failed_at = NULL, reason = '', attempt = 0, run_at = $3, created_at = $3
		WHERE queue = $1 AND key = $2 AND failed_at IS NOT NULL`, queue, key, now.UnixMilli()))
	if err != nil {
		return false, fmt.Errorf("retry failed job %s: %w", key, err)
	}
	return n > 0, nil
}

// renew extends the leases and returns which of them we still have.
func (r *Runner) renew(ctx context.Context, ids []int64, until time.Time) (map[int64]bool, error) {
	var kept map[int64]bool
	err := r.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		kept = make(map[int64]bool, len(ids))
		condition, arg := tx.Dialect().In("$3", ids)
		rows, err := tx.Query(ctx, `UPDATE job SET run_at = $2 WHERE holder = $1 AND id`+condition+` RETURNING id`,
			r.holder, until.UnixMilli(), arg)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return err
			}
			kept[id] = true
		}
		return rows.Err()
	})
	return kept, err
}

func (r *Runner) releaseAll(ctx context.Context) error {
	return r.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE job SET holder = NULL, run_at = $1, attempt = `+attempts+`, again_at = NULL WHERE holder IS NOT NULL`, time.Now().UnixMilli())
		return err
	})
}

func (r *Runner) cancelKey(ctx context.Context, tx *store.Tx, queue, key string) (bool, error) {
	n, err := affected(tx.Exec(ctx, `DELETE FROM job WHERE queue = $1 AND key = $2`, queue, key))
	if err != nil {
		return false, fmt.Errorf("cancel job %s: %w", key, err)
	}
	tx.OnCommit(func() {
		if l := r.lane(queue); l != nil {
			l.cancelHeld(func(j Job) bool { return j.Key == key })
		}
	})
	return n > 0, nil
}

func (r *Runner) cancelPrefix(ctx context.Context, tx *store.Tx, queue, prefix string, limit int) (int, error) {
	rows, err := tx.Query(ctx, `DELETE FROM job WHERE id IN (SELECT id FROM job WHERE queue = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4)
		RETURNING id`, queue, prefix, store.PrefixEnd(prefix), limit)
	if err != nil {
		return 0, fmt.Errorf("cancel jobs %s*: %w", prefix, err)
	}
	defer rows.Close()
	gone := map[int64]bool{}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return 0, fmt.Errorf("cancel jobs %s*: %w", prefix, err)
		}
		gone[id] = true
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("cancel jobs %s*: %w", prefix, err)
	}
	tx.OnCommit(func() {
		if l := r.lane(queue); l != nil {
			l.cancelHeld(func(j Job) bool { return gone[j.ID] })
		}
	})
	return len(gone), nil
}

func storePaused(ctx context.Context, tx *store.Tx, queue string, paused bool) error {
	_, err := tx.Exec(ctx, `INSERT INTO work_queue (name, paused) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET paused = excluded.paused`, queue, paused)
	if err != nil {
		return fmt.Errorf("pause or resume queue %s: %w", queue, err)
	}
	return nil
}

func (r *Runner) prune(ctx context.Context, queue string, before time.Time) (int64, error) {
	var n int64
	// Most of the time there is nothing to do, which reading finds out for less.
	err := r.db.QueryRow(ctx, `SELECT count(*) FROM job WHERE queue = $1 AND failed_at IS NOT NULL AND failed_at < $2`, queue, before.UnixMilli()).Scan(&n)
	if err != nil || n == 0 {
		return 0, err
	}
	err = r.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
		n, err = affected(tx.Exec(ctx, `DELETE FROM job WHERE id IN (SELECT id FROM job
			WHERE queue = $1 AND failed_at IS NOT NULL AND failed_at < $2 ORDER BY failed_at LIMIT $3)`, queue, before.UnixMilli(), pruneChunk))
		return err
	})
	return n, err
}

// Count is how many jobs of a queue are in which state.
type Count struct {
	Queue  string
	Paused bool
	// Due are waiting and due, Later waiting and not yet due.
	Due, Later, Running, Failed int
	// OldestDue is when the job that waits longest came due; zero if none is.
	OldestDue time.Time
}

// Counts returns the counts of all queues that have jobs or are paused, ordered
// by name.
func (r *Runner) Counts(ctx context.Context) ([]Count, error) {
	rows, err := r.db.Query(ctx, `SELECT name, MAX(paused), SUM(due), SUM(later), SUM(running), SUM(failed), MIN(oldest) FROM (
		SELECT name, CASE WHEN paused THEN 1 ELSE 0 END AS paused, 0 AS due, 0 AS later, 0 AS running, 0 AS failed, CAST(NULL AS BIGINT) AS oldest FROM work_queue
		UNION ALL
		SELECT queue, 0,
			SUM(CASE WHEN failed_at IS NULL AND holder IS NULL AND run_at <= $1 THEN 1 ELSE 0 END),
			SUM(CASE WHEN failed_at IS NULL AND holder IS NULL AND run_at > $1 THEN 1 ELSE 0 END),
			SUM(CASE WHEN failed_at IS NULL AND holder IS NOT NULL THEN 1 ELSE 0 END),
			SUM(CASE WHEN failed_at IS NOT NULL THEN 1 ELSE 0 END),
			MIN(CASE WHEN failed_at IS NULL AND holder IS NULL AND run_at <= $1 THEN run_at END)
		FROM job GROUP BY queue) q GROUP BY name`, time.Now().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", err)
	}
	defer rows.Close()
	var out []Count
	for rows.Next() {
		var c Count
		var paused int
		var oldest sql.NullInt64
		if err := rows.Scan(&c.Queue, &paused, &c.Due, &c.Later, &c.Running, &c.Failed, &oldest); err != nil {
			return nil, fmt.Errorf("count jobs: %w", err)
		}
		c.Paused = paused == 1
		if oldest.Valid {
			c.OldestDue = time.UnixMilli(oldest.Int64)
		}
		if c.Paused || c.Due+c.Later+c.Running+c.Failed > 0 {
			out = append(out, c)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Queue < out[j].Queue })
	return out, rows.Err()
}

// FailedJob is one that was given up and kept.
type FailedJob struct {
	Job      Job
	FailedAt time.Time
	Reason   string
}

// Failed returns a queue's failed jobs, latest first, at most limit.
func (r *Runner) Failed(ctx context.Context, queue string, limit int) ([]FailedJob, error) {
	rows, err := r.db.Query(ctx, `SELECT id, key, payload, attempt, created_at, run_at, reason, failed_at FROM job
		WHERE queue = $1 AND failed_at IS NOT NULL ORDER BY failed_at DESC, id DESC LIMIT $2`, queue, limit)
	if err != nil {
		return nil, fmt.Errorf("list failed jobs of %s: %w", queue, err)
	}
	defer rows.Close()
	var out []FailedJob
	for rows.Next() {
		f := FailedJob{Job: Job{Queue: queue}}
		var created, runAt, failed int64
		if err := rows.Scan(&f.Job.ID, &f.Job.Key, &f.Job.Payload, &f.Job.Attempt, &created, &runAt, &f.Reason, &failed); err != nil {
			return nil, fmt.Errorf("list failed jobs of %s: %w", queue, err)
		}
		f.Job.CreatedAt, f.Job.RunAt, f.FailedAt = time.UnixMilli(created), time.UnixMilli(runAt), time.UnixMilli(failed)
		f.Job.Reason = f.Reason
		out = append(out, f)
	}
	return out, rows.Err()
}

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
