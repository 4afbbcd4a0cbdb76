package bus

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const replayColumns = `SELECT id, account, region, name, archive_id, archive, bus, rules, description, from_at, until_at,
	state, state_reason, started_at, ended_at, cursor_at, cursor_id, total, replayed FROM replays`

func scanReplay(row store.Row) (Replay, error) {
	var r Replay
	var rules string
	var from, until, started, ended int64
	err := row.Scan(&r.id, &r.Bus.Account, &r.Bus.Region, &r.Name, &r.archiveID, &r.Archive, &r.Bus.Name, &rules, &r.Description,
		&from, &until, &r.State, &r.StateReason, &started, &ended, &r.cursor.at, &r.cursor.id, &r.Total, &r.Replayed)
	if err != nil {
		return Replay{}, err
	}
	r.From, r.Until, r.StartedAt = time.UnixMilli(from).UTC(), time.UnixMilli(until).UTC(), time.UnixMilli(started).UTC()
	if ended != 0 {
		r.EndedAt = time.UnixMilli(ended).UTC()
	}
	if r.Replayed > 0 {
		r.LastEventAt = time.UnixMilli(r.cursor.at).UTC()
	}
	if err := json.Unmarshal([]byte(rules), &r.Rules); err != nil {
		return Replay{}, fmt.Errorf("read the rules of replay %s: %w", r.Name, err)
	}
	return r, nil
}

func selectReplay(ctx context.Context, q store.Querier, account, region, name string) (Replay, bool, error) {
	r, found, err := store.One(q.QueryRow(ctx, replayColumns+` WHERE account = $1 AND region = $2 AND name = $3`,
		account, region, name), scanReplay)
	if err != nil {
		return r, false, fmt.Errorf("read replay %s: %w", name, err)
	}
	return r, found, nil
}

func selectReplayByID(ctx context.Context, q store.Querier, id int64) (Replay, bool, error) {
	return store.One(q.QueryRow(ctx, replayColumns+` WHERE id = $1`, id), scanReplay)
}

// selectReplays returns up to limit replays of an account and region by name, those
// after the given one.
func selectReplays(ctx context.Context, q store.Querier, account, region string, f ReplayFilter, after string, limit int) ([]Replay, error) {
	rows, err := q.Query(ctx, replayColumns+` WHERE account = $1 AND region = $2 AND (archive = $3 OR $3 = '') AND (state = $4 OR $4 = '')
		AND name >= $5 AND name < $6 AND name > $7 ORDER BY name LIMIT $8`,
		account, region, f.Archive, string(f.State), f.NamePrefix, store.PrefixEnd(f.NamePrefix), after, limit)
	return store.All(rows, err, scanReplay)
}

// replayPlace is a replay's place in the list of all of an account.
type replayPlace struct{ region, name string }

// accountReplays selects replays of one account, by region and name. Region and
// name are empty for all.
type accountReplays struct {
	account, region, name string
	state                 ReplayState
	// from is the place behind which the list begins, or before which when backwards;
	// nil for its beginning, or its end.
	from      *replayPlace
	backwards bool
	limit     int
}

func selectReplaysOfAccount(ctx context.Context, q store.Querier, f accountReplays) ([]Replay, error) {
	args := []any{f.account, f.region, f.name, string(f.state), f.limit}
	where := ` WHERE account = $1 AND (region = $2 OR $2 = '') AND (name = $3 OR $3 = '') AND (state = $4 OR $4 = '')`
	order := ` ORDER BY region, name LIMIT $5`
	compare := ">"
	if f.backwards {
		order, compare = ` ORDER BY region DESC, name DESC LIMIT $5`, "<"
	}
	if f.from != nil {
		where += ` AND (region, name) ` + compare + ` ($6, $7)`
		args = append(args, f.from.region, f.from.name)
	}
	rows, err := q.Query(ctx, replayColumns+where+order, args...)
	return store.All(rows, err, scanReplay)
}

// insertReplay gives the replay its number; it says false when the name is taken.
func insertReplay(ctx context.Context, tx *store.Tx, r *Replay) (created bool, err error) {
	rules, err := json.Marshal(r.Rules)
	if err != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO replays (account, region, name, archive_id, archive, bus, rules, description, from_at, until_at,
			state, state_reason, started_at, ended_at, cursor_at, cursor_id, total, replayed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', $12, 0, $13, $14, 0, 0)
		ON CONFLICT (account, region, name) DO NOTHING RETURNING id`,
		r.Bus.Account, r.Bus.Region, r.Name, r.archiveID, r.Archive, r.Bus.Name, string(rules), r.Description,
		r.From.UnixMilli(), r.Until.UnixMilli(), string(r.State), r.StartedAt.UnixMilli(), r.cursor.at, r.cursor.id).Scan(&r.id)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func countActiveReplays(ctx context.Context, q store.Querier, account, region string) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM replays WHERE account = $1 AND region = $2 AND ended_at = 0`, account, region).Scan(&n)
	return n, err
}

func updateReplayState(ctx context.Context, tx *store.Tx, r Replay) error {
	_, err := tx.Exec(ctx, `UPDATE replays SET state = $1 WHERE id = $2`, string(r.State), r.id)
	return err
}

// letReplayRun lets a replay run that is starting, and notes how much it has to do.
func letReplayRun(ctx context.Context, tx *store.Tx, id, total int64) error {
	_, err := tx.Exec(ctx, `UPDATE replays SET state = $1, total = $2 WHERE id = $3 AND state = $4`,
		string(ReplayRunning), total, id, string(ReplayStarting))
	return err
}

// advanceReplay notes that a replay has put n more events on its bus, unless it is not
// where it was read: another node, to which the lease went meanwhile, has noted its own.
func advanceReplay(ctx context.Context, tx *store.Tx, id int64, from, to archiveCursor, n int) error {
	_, err := tx.Exec(ctx, `UPDATE replays SET cursor_at = $1, cursor_id = $2, replayed = replayed + $3,
		total = CASE WHEN total < replayed + $3 THEN replayed + $3 ELSE total END
		WHERE id = $4 AND cursor_at = $5 AND cursor_id = $6`, to.at, to.id, n, id, from.at, from.id)
	return err
}

// endReplay ends a replay that is in the state from, and leaves one that is not. A
// replay does not end before it started, whatever becomes of the clock.
func endReplay(ctx context.Context, tx *store.Tx, id int64, from, to ReplayState, reason string, at time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE replays SET state = $1, state_reason = $2,
		ended_at = CASE WHEN started_at > $3 THEN started_at ELSE $3 END WHERE id = $4 AND state = $5`,
		string(to), reason, at.UnixMilli(), id, string(from))
	return err
}

func selectReplayState(ctx context.Context, q store.Querier, id int64) (ReplayState, error) {
	state, _, err := store.One(q.QueryRow(ctx, `SELECT state FROM replays WHERE id = $1`, id),
		func(row store.Row) (s ReplayState, err error) { return s, row.Scan(&s) })
	return state, err
}

// countArchived counts the events of an archive behind the cursor and before the
// time.
func countArchived(ctx context.Context, q store.Querier, archive int64, behind archiveCursor, until time.Time) (int64, error) {
	var n int64
	err := q.QueryRow(ctx, `SELECT count(*) FROM archived_events
		WHERE archive_id = $1 AND (event_at, event_id) > ($2, $3) AND event_at < $4`, archive, behind.at, behind.id, until.UnixMilli()).Scan(&n)
	return n, err
}

// selectArchived returns the first events of an archive behind the cursor and
// before the time, older ones first: up to limit, and fewer when they come to more
// than maxBytes, but one at least.
func selectArchived(ctx context.Context, q store.Querier, archive int64, behind archiveCursor, until time.Time, limit, maxBytes int) ([]archivedEvent, error) {
	rows, err := q.Query(ctx, `SELECT event_at, event_id, size, body FROM archived_events
		WHERE archive_id = $1 AND (event_at, event_id) > ($2, $3) AND event_at < $4
		ORDER BY event_at, event_id LIMIT $5`, archive, behind.at, behind.id, until.UnixMilli(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []archivedEvent
	size := 0
	for rows.Next() {
		e := archivedEvent{archive: archive}
		if err := rows.Scan(&e.at, &e.id, &e.size, &e.body); err != nil {
			return nil, err
		}
		if size += e.size; size > maxBytes && len(found) > 0 {
			return found, nil
		}
		found = append(found, e)
	}
	return found, rows.Err()
}

func anyReplayEndedBefore(ctx context.Context, q store.Querier, before time.Time) (bool, error) {
	_, found, err := store.One(q.QueryRow(ctx, `SELECT ended_at FROM replays WHERE ended_at > 0 AND ended_at < $1 LIMIT 1`, before.UnixMilli()),
		func(row store.Row) (at int64, err error) { return at, row.Scan(&at) })
	return found, err
}

// deleteReplays deletes up to limit replays that ended before the time.
func deleteReplays(ctx context.Context, tx *store.Tx, before time.Time, limit int) error {
	_, err := tx.Exec(ctx, `DELETE FROM replays WHERE id IN (
		SELECT id FROM replays WHERE ended_at > 0 AND ended_at < $1 ORDER BY ended_at LIMIT $2)`, before.UnixMilli(), limit)
	return err
}
