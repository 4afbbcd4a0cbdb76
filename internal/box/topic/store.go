package topic

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

const topicColumns = `topic.id, topic.account, topic.region, topic.name, topic.attributes, topic.tags, topic.created_at`

// findTopic returns nil when there is no such topic.
func findTopic(ctx context.Context, db store.Querier, r Ref) (*Topic, error) {
	have, err := scanTopic(db.QueryRow(ctx, `SELECT `+topicColumns+` FROM topic WHERE account = $1 AND region = $2 AND name = $3`,
		r.Account, r.Region, r.Name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", r.ARN(), err)
	}
	return have, nil
}

func scanTopic(row store.Row) (*Topic, error) {
	var have Topic
	var attrs, tags string
	if err := row.Scan(&have.id, &have.Account, &have.Region, &have.Name, &attrs, &tags, &have.Created); err != nil {
		return nil, err
	}
	return &have, have.decode(attrs, tags)
}

func (have *Topic) decode(attrs, tags string) (err error) {
	if err := json.Unmarshal([]byte(attrs), &have.attrs); err != nil {
		return fmt.Errorf("attributes of topic %s: %w", have.ARN(), err)
	}
	if err := json.Unmarshal([]byte(tags), &have.Tags); err != nil {
		return fmt.Errorf("tags of topic %s: %w", have.ARN(), err)
	}
	if p := have.attrs[attrPolicy]; p != "" {
		if have.policy, err = auth.ParsePolicy(p); err != nil {
			return fmt.Errorf("policy of topic %s: %w", have.ARN(), err)
		}
	}
	return nil
}

func insertTopic(ctx context.Context, tx *store.Tx, r Ref, attrs, tags map[string]string, now int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO topic (account, region, name, attributes, tags, subscriptions, created_at) VALUES ($1, $2, $3, $4, $5, 0, $6)`,
		r.Account, r.Region, r.Name, encodeMap(attrs), encodeMap(tags), now)
	if err != nil {
		return fmt.Errorf("insert topic %s: %w", r.ARN(), err)
	}
	return nil
}

// deleteTopic says whether the topic was still there.
func deleteTopic(ctx context.Context, tx *store.Tx, id int64) (bool, error) {
	n, err := affected(tx.Exec(ctx, `DELETE FROM topic WHERE id = $1`, id))
	if err != nil {
		return false, fmt.Errorf("delete topic: %w", err)
	}
	return n > 0, nil
}

func updateTopicAttributes(ctx context.Context, tx *store.Tx, id int64, attrs map[string]string) error {
	if _, err := tx.Exec(ctx, `UPDATE topic SET attributes = $2 WHERE id = $1`, id, encodeMap(attrs)); err != nil {
		return fmt.Errorf("update attributes of topic: %w", err)
	}
	return nil
}

func updateTopicTags(ctx context.Context, tx *store.Tx, id int64, tags map[string]string) error {
	if _, err := tx.Exec(ctx, `UPDATE topic SET tags = $2 WHERE id = $1`, id, encodeMap(tags)); err != nil {
		return fmt.Errorf("update tags of topic: %w", err)
	}
	return nil
}

// listTopics returns up to limit names after the one given.
func listTopics(ctx context.Context, db store.Querier, account, region, after string, limit int) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT name FROM topic WHERE account = $1 AND region = $2 AND name > $3 ORDER BY name LIMIT $4`,
		account, region, after, limit)
	list, err := store.All(rows, err, func(row store.Row) (name string, err error) { return name, row.Scan(&name) })
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	return list, nil
}

func countTopics(ctx context.Context, db store.Querier, account, region string) (n int, err error) {
	err = db.QueryRow(ctx, `SELECT COUNT(*) FROM topic WHERE account = $1 AND region = $2`, account, region).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count topics: %w", err)
	}
	return n, nil
}

// signingKey returns the installation's certificate and sealed key, empty while there are none.
func signingKey(ctx context.Context, db store.Querier) (certificate string, sealed []byte, err error) {
	err = db.QueryRow(ctx, `SELECT certificate, private_key FROM topic_signing_key WHERE id = 1`).Scan(&certificate, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, fmt.Errorf("read the signing key of topics: %w", err)
	}
	return certificate, sealed, nil
}

// insertSigningKey keeps the key unless there is one.
func insertSigningKey(ctx context.Context, tx *store.Tx, certificate string, sealed []byte, now int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO topic_signing_key (id, certificate, private_key, created_at) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO NOTHING`,
		certificate, sealed, now)
	if err != nil {
		return fmt.Errorf("insert the signing key of topics: %w", err)
	}
	return nil
}

// encodeMap writes a map as the tables hold it; nil becomes {}.
func encodeMap(m map[string]string) string {
	if m == nil {
		m = map[string]string{}
	}
	text, _ := json.Marshal(m) // a map of strings always encodes
	return string(text)
}

func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// tuples writes rows of placeholders for an INSERT: ($1, $2), ($3, $4).
func tuples(rows, columns int) string {
	var b strings.Builder
	for r := range rows {
		if r > 0 {
			b.WriteString(", ")
		}
		b.WriteString(in(1+r*columns, columns))
	}
	return b.String()
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
