package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/store"
)

const queueColumns = `id, contents_id, account, region, name, attributes, tags, created_at, modified_at, purged_at`

// findQueue returns nil when there is no such queue. PostgreSQL cannot even be
// asked for some names that no queue has.
func findQueue(ctx context.Context, db store.Querier, r Ref) (*Queue, error) {
	if !validAccount.MatchString(r.Account) || !validName.MatchString(r.Name) {
		return nil, nil
	}
	row := db.QueryRow(ctx, `SELECT `+queueColumns+` FROM queue WHERE account = $1 AND region = $2 AND name = $3`,
		r.Account, r.Region, r.Name)
	have, err := scanQueue(row)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read queue %s: %w", r.ARN(), err)
	}
	return have, nil
}

func scanQueue(row store.Row) (*Queue, error) {
	var have Queue
	var attrs, tags string
	err := row.Scan(&have.id, &have.contents, &have.Account, &have.Region, &have.Name, &attrs, &tags,
		&have.Created, &have.Modified, &have.purged)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(attrs), &have.attrs); err != nil {
		return nil, fmt.Errorf("attributes of queue %s: %w", have.ARN(), err)
	}
	if err := json.Unmarshal([]byte(tags), &have.Tags); err != nil {
		return nil, fmt.Errorf("tags of queue %s: %w", have.ARN(), err)
	}
	have.Settings = parseSettings(have.attrs)
	if have.Policy != "" {
		if have.policy, err = auth.ParsePolicy(have.Policy); err != nil {
			return nil, fmt.Errorf("policy of queue %s: %w", have.ARN(), err)
		}
	}
	return &have, nil
}

func insertQueue(ctx context.Context, tx *store.Tx, r Ref, set Settings, attrs, tags map[string]string, now int64) error {
	contents, err := newContents(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO queue (account, region, name, contents_id, attributes, tags, dead_letter_arn, created_at, modified_at, purged_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 0)`,
		r.Account, r.Region, r.Name, contents, encodeMap(attrs), encodeMap(tags), set.deadLetterARN(), now)
	if err != nil {
		return fmt.Errorf("insert queue %s: %w", r.ARN(), err)
	}
	return nil
}

func (s *Settings) deadLetterARN() string {
	if s.Redrive == nil {
		return ""
	}
	return s.Redrive.DeadLetter.ARN()
}

func newContents(ctx context.Context, tx *store.Tx) (id int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO queue_contents (dropped_at) VALUES (NULL) RETURNING id`).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("insert queue contents: %w", err)
	}
	return id, nil
}

// dropContents leaves the messages to the sweeper.
func dropContents(ctx context.Context, tx *store.Tx, contents, now int64) error {
	if _, err := tx.Exec(ctx, `UPDATE queue_contents SET dropped_at = $2 WHERE id = $1`, contents, now); err != nil {
		return fmt.Errorf("drop queue contents: %w", err)
	}
	return nil
}

func renewContents(ctx context.Context, tx *store.Tx, queue, now int64) error {
	contents, err := newContents(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE queue SET contents_id = $2, purged_at = $3 WHERE id = $1`, queue, contents, now); err != nil {
		return fmt.Errorf("renew queue contents: %w", err)
	}
	return nil
}

func deleteQueue(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM queue WHERE id = $1`, id); err != nil {
		return fmt.Errorf("delete queue: %w", err)
	}
	return nil
}

func updateAttributes(ctx context.Context, tx *store.Tx, id int64, set Settings, attrs map[string]string, now int64) error {
	_, err := tx.Exec(ctx, `UPDATE queue SET attributes = $2, dead_letter_arn = $3, modified_at = $4 WHERE id = $1`,
		id, encodeMap(attrs), set.deadLetterARN(), now)
	if err != nil {
		return fmt.Errorf("update queue attributes: %w", err)
	}
	return nil
}

func updateTags(ctx context.Context, tx *store.Tx, id int64, tags map[string]string) error {
	if _, err := tx.Exec(ctx, `UPDATE queue SET tags = $2 WHERE id = $1`, id, encodeMap(tags)); err != nil {
		return fmt.Errorf("update queue tags: %w", err)
	}
	return nil
}

func listQueues(ctx context.Context, db store.Querier, account, region, prefix, after string, limit int) ([]Ref, error) {
	return selectRefs(ctx, db, `SELECT account, region, name FROM queue
		WHERE account = $1 AND region = $2 AND name >= $3 AND name < $4 AND name > $5 ORDER BY name LIMIT $6`,
		account, region, prefix, store.PrefixEnd(prefix), after, limit)
}

func listSources(ctx context.Context, db store.Querier, dead Ref, after string, limit int) ([]Ref, error) {
	return selectRefs(ctx, db, `SELECT account, region, name FROM queue
		WHERE dead_letter_arn = $1 AND dead_letter_arn <> '' AND name > $2 ORDER BY name LIMIT $3`, dead.ARN(), after, limit)
}

func selectRefs(ctx context.Context, db store.Querier, query string, args ...any) ([]Ref, error) {
	return selectAll(ctx, db, func(row store.Row) (r Ref, err error) {
		return r, row.Scan(&r.Account, &r.Region, &r.Name)
	}, query, args...)
}

// selectAll reads all rows of a query.
func selectAll[T any](ctx context.Context, db store.Querier, scan func(store.Row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.Query(ctx, query, args...)
	all, err := store.All(rows, err, scan)
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	return all, nil
}

// counts are a queue's messages by what keeps them back.
type counts struct{ visible, inFlight, delayed int64 }

func countMessages(ctx context.Context, db store.Querier, have *Queue, now int64) (c counts, err error) {
	err = db.QueryRow(ctx, `SELECT COUNT(*) FROM queue_message WHERE contents_id = $1 AND visible_at <= $2 AND visible_at > $3`,
		have.contents, now, now-have.Retention.Milliseconds()).Scan(&c.visible)
	if err != nil {
		return c, fmt.Errorf("count messages: %w", err)
	}
	err = db.QueryRow(ctx, `SELECT COALESCE(SUM(CASE WHEN receive_count > 0 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN receive_count > 0 THEN 0 ELSE 1 END), 0)
		FROM queue_message WHERE contents_id = $1 AND visible_at > $2`, have.contents, now).Scan(&c.inFlight, &c.delayed)
	if err != nil {
		return c, fmt.Errorf("count messages: %w", err)
	}
	return c, nil
}

// in returns "($from, $from+1, …)" for n parameters.
func in(from, n int) string {
	var b strings.Builder
	b.WriteByte('(')
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + i))
	}
	b.WriteByte(')')
	return b.String()
}

// withIDs appends the messages' ids to the parameters of a statement.
func withIDs(args []any, list []message) []any {
	for i := range list {
		args = append(args, list[i].id)
	}
	return args
}
