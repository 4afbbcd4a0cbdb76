package loggroup

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/store"
)

// insertRows is how many events go into one statement.
const insertRows = 250

func insertEvents(ctx context.Context, tx *store.Tx, group, stream int64, events []logEvent, now int64) error {
	for len(events) > 0 {
		n := min(len(events), insertRows)
		var query strings.Builder
		query.WriteString(`INSERT INTO log_event (group_id, stream_id, ingested_at, event_at, message) VALUES `)
		args := []any{group, stream, now}
		for i := range n {
			if i > 0 {
				query.WriteString(", ")
			}
			fmt.Fprintf(&query, "($1, $2, $3, $%d, $%d)", len(args)+1, len(args)+2)
			args = append(args, events[i].at, []byte(events[i].message))
		}
		if _, err := tx.Exec(ctx, query.String(), args...); err != nil {
			return fmt.Errorf("insert log events: %w", err)
		}
		events = events[n:]
	}
	return nil
}

// storedEvent is a log event as it was read.
type storedEvent struct {
	position
	stream     int64
	ingestedAt int64
	message    string
}

func scanEvent(row store.Row) (e storedEvent, err error) {
	var message []byte
	err = row.Scan(&e.id, &e.at, &e.stream, &e.ingestedAt, &message)
	e.message = string(message)
	return e, err
}

// eventRange is which of a group's events are read, in which order: those beyond
// a position, with times from start to end, both included.
type eventRange struct {
	group      int64
	start, end int64
	beyond     position
	backward   bool

	streams []int64 // only of these; nil: of all
	prefix  string  // only of streams with this prefix
}

func readEvents(ctx context.Context, q store.Querier, r eventRange, limit int) ([]storedEvent, error) {
	order, compare := "ASC", ">"
	if r.backward {
		order, compare = "DESC", "<"
	}
	args := []any{r.start, r.end, r.beyond.at, r.beyond.id, limit}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	var where string
	if len(r.streams) == 1 {
		where = `stream_id = ` + arg(r.streams[0])
	} else {
		group := arg(r.group)
		where = `group_id = ` + group + ` AND stream_id NOT IN (SELECT id FROM log_stream WHERE group_id = ` + group + ` AND dropped_at IS NOT NULL)`
		if len(r.streams) > 0 {
			ids := make([]string, len(r.streams))
			for i, id := range r.streams {
				ids[i] = arg(id)
			}
			where += ` AND stream_id IN (` + strings.Join(ids, ", ") + `)`
		}
		if r.prefix != "" {
			where += ` AND stream_id IN (SELECT id FROM log_stream WHERE group_id = ` + group + ` AND name >= ` + arg(r.prefix) + ` AND name < ` + arg(store.PrefixEnd(r.prefix)) + `)`
		}
	}
	rows, err := q.Query(ctx, `SELECT id, event_at, stream_id, ingested_at, message FROM log_event WHERE `+where+
		` AND event_at >= $1 AND event_at <= $2 AND (event_at, id) `+compare+` ($3, $4) ORDER BY event_at `+order+`, id `+order+` LIMIT $5`, args...)
	list, err := store.All(rows, err, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("read log events: %w", err)
	}
	return list, nil
}

// streamNames adds the names of the events' streams that are not in names yet.
func streamNames(ctx context.Context, q store.Querier, events []storedEvent, names map[int64]string) error {
	for i := range events {
		id := events[i].stream
		if _, has := names[id]; has {
			continue
		}
		var name string
		if err := q.QueryRow(ctx, `SELECT name FROM log_stream WHERE id = $1`, id).Scan(&name); err != nil {
			return fmt.Errorf("read log stream: %w", err)
		}
		names[id] = name
	}
	return nil
}
