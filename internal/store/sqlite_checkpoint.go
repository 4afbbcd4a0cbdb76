package store

import (
	"context"
	"database/sql"
	"time"
)

// The least time between two checkpoints, and after one that failed: the disk is full then, as a rule.
const (
	checkpointPause  = 250 * time.Millisecond
	checkpointFailed = 10 * time.Second
)

// checkpointer copies what was committed from SQLite's log into the database file, by a connection
// of its own. Left to the writer, that is part of a commit once in a while, and keeps all
// others waiting; the writer does it still where this one cannot keep up.
type checkpointer struct {
	db     *DB
	pool   *sql.DB
	due    chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

func startCheckpointer(db *DB, dsn string) (*checkpointer, error) {
	pool, err := openSQLitePool(dsn)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(1)
	ctx, cancel := context.WithCancel(context.Background())
	c := &checkpointer{db: db, pool: pool, due: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	go c.run(ctx)
	return c, nil
}

// committed tells that there is something to copy.
func (c *checkpointer) committed() {
	select {
	case c.due <- struct{}{}:
	default:
	}
}

func (c *checkpointer) run(ctx context.Context) {
	defer close(c.done)
	for {
		select {
		case <-c.due:
		case <-ctx.Done():
			return
		}
		// It waits for nobody: what a reader still needs in the log stays there until the next time.
		pause := checkpointPause
		_, err := c.pool.ExecContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
		if err != nil && ctx.Err() == nil {
			pause = checkpointFailed
			c.db.log.Warn("the database's log was not copied into its file, and grows", "error", err, "retry_in", pause)
		}
		wait(ctx, pause)
	}
}

// close ends the copying, and returns once it has.
func (c *checkpointer) close() error {
	c.cancel()
	<-c.done
	return c.pool.Close()
}
