package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
)

const (
	// outboxChunk and outboxChunkBytes bound what is handed over at once; more bytes only where
	// one event alone has them. The event log takes little more than 2 MiB in one call when an
	// external NATS allows no larger messages, and a refused chunk would be refused forever.
	outboxChunk      = 256
	outboxChunkBytes = 1 << 20
	// outboxInsert is how many rows one INSERT carries.
	outboxInsert = 50
	// outboxSweep is how often the leased relay looks for rows of other nodes, and
	// outboxOrphan how old a row is when it counts as left behind by its own.
	outboxSweep  = 2 * time.Second
	outboxOrphan = 10 * time.Second
	// outboxSoon is how long events of bulk work wait for others.
	outboxSoon = 20 * time.Millisecond
	// After a failure the relay pauses, longer each time up to a bound.
	outboxPause    = 50 * time.Millisecond
	outboxPauseMax = 5 * time.Second
)

// Publish puts events into the outbox as part of the transaction: they reach
// the bus if and only if it commits, at least once, with the ids they have now.
func (tx *Tx) Publish(ctx context.Context, recs ...event.Record) error {
	if len(recs) == 0 {
		return nil
	}
	for chunk := range chunks(recs, outboxInsert) {
		if err := tx.insertOutbox(ctx, chunk); err != nil {
			return fmt.Errorf("publish event %s: %w", chunk[0].ID, err)
		}
	}
	if isBulk(ctx) {
		tx.OnCommit(tx.db.wakeOutboxSoon)
	} else {
		tx.OnCommit(tx.db.wakeOutbox)
	}
	return nil
}

func (tx *Tx) insertOutbox(ctx context.Context, recs []event.Record) error {
	var q strings.Builder
	q.WriteString(`INSERT INTO outbox (node, created_at, record) VALUES `)
	now, clock := tx.Dialect().clock("$2")
	args := []any{tx.db.node, clock}
	for i := range recs {
		if recs[i].ID == "" {
			return errors.New("the event has no id")
		}
		if i > 0 {
			q.WriteString(", ")
		}
		args = append(args, recs[i].Append(nil))
		q.WriteString("($1, " + now + ", $" + strconv.Itoa(len(args)) + ")")
	}
	_, err := tx.Exec(ctx, q.String(), args...)
	return err
}

func chunks[T any](s []T, n int) func(func([]T) bool) {
	return func(yield func([]T) bool) {
		for len(s) > 0 {
			k := min(n, len(s))
			if !yield(s[:k]) {
				return
			}
			s = s[k:]
		}
	}
}

func (db *DB) wakeOutbox() {
	select {
	case db.outbox <- struct{}{}:
	default:
	}
}

// wakeOutboxSoon wakes the relay for the events of what was committed in the meantime, too: each
// time costs syncs of the disk that others wait for.
func (db *DB) wakeOutboxSoon() {
	if db.outboxSoon.CompareAndSwap(false, true) {
		time.AfterFunc(outboxSoon, func() {
			db.outboxSoon.Store(false)
			db.wakeOutbox()
		})
	}
}

// OutboxLen returns how many events wait in the outbox, of all nodes.
func (db *DB) OutboxLen(ctx context.Context) (int, error) {
	var n int
	err := db.QueryRow(ctx, `SELECT count(*) FROM outbox`).Scan(&n)
	return n, err
}

// OutboxSize also returns how many bytes the events have that wait in the outbox.
func (db *DB) OutboxSize(ctx context.Context) (events int, bytes int64, err error) {
	err = db.QueryRow(ctx, `SELECT count(*), COALESCE(sum(length(record)), 0) FROM outbox`).Scan(&events, &bytes)
	return events, bytes, err
}

// RunOutbox relays the outbox to put until ctx ends, and then returns ctx's
// error. Rows are handed over in the order of their ids, some at a time, and deleted
// after put returned nil, so that put may see an event twice but never misses one;
// when put fails the same rows are tried again after a pause.
//
// Each node relays its own rows at once after their commit. Rows that a stopped node
// left behind are relayed by whichever node holds the outbox lease. Only one
// RunOutbox may run for a DB.
func (db *DB) RunOutbox(ctx context.Context, put func(ctx context.Context, recs []event.Record) error) error {
	if db.dialect == Postgres {
		sweepCtx, stop := context.WithCancel(ctx)
		swept := make(chan struct{})
		go func() {
			defer close(swept)
			_ = db.RunLeased(sweepCtx, "outbox", db.node, func(ctx context.Context) error {
				return db.sweepOutbox(ctx, put)
			})
		}()
		defer func() {
			stop()
			<-swept
		}()
	}
	pause := outboxPause
	for ctx.Err() == nil {
		more, err := db.relay(ctx, put, `node = $1`, db.node)
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err != nil {
			if ctx.Err() == nil {
				db.log.Warn("events wait in the outbox", "error", err, "retry_in", pause)
			}
			wait(ctx, pause)
			pause = min(2*pause, outboxPauseMax)
			continue
		}
		pause = outboxPause
		if more {
			continue
		}
		select {
		case <-db.outbox:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// sweepOutbox relays what other nodes have left behind.
func (db *DB) sweepOutbox(ctx context.Context, put func(context.Context, []event.Record) error) error {
	for ctx.Err() == nil {
		now, clock := db.dialect.clock("$3")
		more, err := db.relay(ctx, put, `node <> $1 AND created_at < `+now+` - $2`, db.node, outboxOrphan.Milliseconds(), clock)
		if err != nil {
			return err
		}
		if !more {
			wait(ctx, outboxSweep)
		}
	}
	return ctx.Err()
}

// relay hands one chunk over and deletes it. More says that rows may be left.
func (db *DB) relay(ctx context.Context, put func(context.Context, []event.Record) error, where string, args ...any) (more bool, err error) {
	ids, recs, more, err := db.readOutbox(ctx, where, args...)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	if len(recs) > 0 {
		if err := put(ctx, recs); err != nil {
			return false, fmt.Errorf("hand over %d events: %w", len(recs), err)
		}
	}
	// The events are in the log: forgetting the rows should not fail because we
	// are being stopped, or they would be sent again at the next start.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = db.UpdateReadCommitted(ctx, func(tx *Tx) error {
		condition, arg := db.dialect.In("$1", ids)
		_, err := tx.Exec(ctx, `DELETE FROM outbox WHERE id`+condition, arg)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("delete relayed events from the outbox: %w", err)
	}
	return more, nil
}

func (db *DB) readOutbox(ctx context.Context, where string, args ...any) (ids []int64, recs []event.Record, more bool, err error) {
	rows, err := db.Query(ctx, `SELECT id, record FROM outbox WHERE `+where+` ORDER BY id LIMIT `+strconv.Itoa(outboxChunk), args...)
	if err != nil {
		return nil, nil, false, fmt.Errorf("read the outbox: %w", err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var id int64
		var b []byte
		if err := rows.Scan(&id, &b); err != nil {
			return nil, nil, false, fmt.Errorf("read the outbox: %w", err)
		}
		rec, err := event.DecodeRecord(b)
		if err != nil {
			return nil, nil, false, fmt.Errorf("read event %d of the outbox: %w", id, err)
		}
		if size += len(b); size > outboxChunkBytes && len(ids) > 0 {
			return ids, recs, true, nil
		}
		ids, recs = append(ids, id), append(recs, rec)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, false, fmt.Errorf("read the outbox: %w", err)
	}
	return ids, recs, len(ids) == outboxChunk, nil
}
