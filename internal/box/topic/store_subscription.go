package topic

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

const subscriptionSelect = `SELECT ` + topicColumns + `, s.id, s.uuid, s.owner, s.protocol, s.endpoint, s.attributes, s.state, s.authenticated, s.guarded
	FROM topic_subscription s JOIN topic ON topic.id = s.topic_id `

func scanSubscription(row store.Row) (*Subscription, error) {
	s := Subscription{Topic: &Topic{}}
	have := s.Topic
	var topicAttrs, tags, attrs string
	err := row.Scan(&have.id, &have.Account, &have.Region, &have.Name, &topicAttrs, &tags, &have.Created,
		&s.id, &s.UUID, &s.Owner, &s.Protocol, &s.Endpoint, &attrs, &s.state, &s.authenticated, &s.guarded)
	if err != nil {
		return nil, err
	}
	if err := have.decode(topicAttrs, tags); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(attrs), &s.attrs); err != nil {
		return nil, fmt.Errorf("attributes of subscription %s: %w", s.ARN(), err)
	}
	return &s, nil
}

// oneSubscription returns nil when there is none.
func oneSubscription(ctx context.Context, db store.Querier, where string, args ...any) (*Subscription, error) {
	s, err := scanSubscription(db.QueryRow(ctx, subscriptionSelect+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read subscription: %w", err)
	}
	return s, nil
}

func findSubscription(ctx context.Context, db store.Querier, topic Ref, uuid string) (*Subscription, error) {
	return oneSubscription(ctx, db, `WHERE s.uuid = $1 AND topic.account = $2 AND topic.region = $3 AND topic.name = $4`,
		uuid, topic.Account, topic.Region, topic.Name)
}

func subscriptionByID(ctx context.Context, db store.Querier, id int64) (*Subscription, error) {
	return oneSubscription(ctx, db, `WHERE s.id = $1`, id)
}

func findEndpoint(ctx context.Context, db store.Querier, topic int64, protocol, endpoint string) (*Subscription, error) {
	return oneSubscription(ctx, db, `WHERE s.topic_id = $1 AND s.protocol = $2 AND s.endpoint = $3`, topic, protocol, endpoint)
}

// findToken returns the subscription whose token it is while the token is good.
func findToken(ctx context.Context, db store.Querier, topic Ref, hash string, now int64) (*Subscription, error) {
	return oneSubscription(ctx, db, `WHERE s.token = $1 AND s.token <> '' AND s.token_expires_at > $2
		AND topic.account = $3 AND topic.region = $4 AND topic.name = $5`, hash, now, topic.Account, topic.Region, topic.Name)
}

func selectSubscriptions(ctx context.Context, db store.Querier, where string, args ...any) ([]*Subscription, error) {
	rows, err := db.Query(ctx, subscriptionSelect+where, args...)
	list, err := store.All(rows, err, scanSubscription)
	if err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", err)
	}
	return list, nil
}

// listByOwner returns up to limit subscriptions after an id.
func listByOwner(ctx context.Context, db store.Querier, account, region string, after int64, limit int) ([]*Subscription, error) {
	return selectSubscriptions(ctx, db, `WHERE s.owner = $1 AND s.region = $2 AND s.id > $3 AND s.state <> 'removed' ORDER BY s.id LIMIT $4`,
		account, region, after, limit)
}

// listByTopic returns up to limit subscriptions after an id.
func listByTopic(ctx context.Context, db store.Querier, topic, after int64, limit int) ([]*Subscription, error) {
	return selectSubscriptions(ctx, db, `WHERE s.topic_id = $1 AND s.id > $2 AND s.state <> 'removed' ORDER BY s.id LIMIT $3`,
		topic, after, limit)
}

// recipient is what publishing needs of a confirmed subscription.
type recipient struct {
	id       int64
	protocol string
	attrs    map[string]string
}

// recipients returns up to limit confirmed subscriptions after an id.
func recipients(ctx context.Context, db store.Querier, topic, after int64, limit int) ([]recipient, error) {
	rows, err := db.Query(ctx, `SELECT id, protocol, attributes FROM topic_subscription
		WHERE topic_id = $1 AND state = 'confirmed' AND id > $2 ORDER BY id LIMIT $3`, topic, after, limit)
	list, err := store.All(rows, err, func(row store.Row) (r recipient, err error) {
		var attrs string
		if err := row.Scan(&r.id, &r.protocol, &attrs); err != nil {
			return r, err
		}
		return r, json.Unmarshal([]byte(attrs), &r.attrs)
	})
	if err != nil {
		return nil, fmt.Errorf("read the subscriptions of a topic: %w", err)
	}
	return list, nil
}

func countByState(ctx context.Context, db store.Querier, topic int64) (n states, err error) {
	rows, err := db.Query(ctx, `SELECT state, COUNT(*) FROM topic_subscription WHERE topic_id = $1 GROUP BY state`, topic)
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var state string
		var count int64
		if err := row.Scan(&state, &count); err != nil {
			return struct{}{}, err
		}
		switch state {
		case stateConfirmed:
			n.confirmed = count
		case statePending:
			n.pending = count
		case stateRemoved:
			n.removed = count
		}
		return struct{}{}, nil
	})
	if err != nil {
		return n, fmt.Errorf("count subscriptions: %w", err)
	}
	return n, nil
}

func countFilters(ctx context.Context, db store.Querier, topic int64, owner string) (ofTopic, ofAccount int, err error) {
	err = db.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM topic_subscription WHERE topic_id = $1 AND filtered),
		(SELECT COUNT(*) FROM topic_subscription WHERE owner = $2 AND filtered)`, topic, owner).Scan(&ofTopic, &ofAccount)
	if err != nil {
		return 0, 0, fmt.Errorf("count filter policies: %w", err)
	}
	return ofTopic, ofAccount, nil
}

// countSubscription counts one more on the topic; false when it has limit already.
func countSubscription(ctx context.Context, tx *store.Tx, topic int64, limit int) (bool, error) {
	n, err := affected(tx.Exec(ctx, `UPDATE topic SET subscriptions = subscriptions + 1 WHERE id = $1 AND subscriptions < $2`, topic, limit))
	if err != nil {
		return false, fmt.Errorf("count subscription: %w", err)
	}
	return n > 0, nil
}

// insertSubscription adds the subscription and sets its id.
func insertSubscription(ctx context.Context, tx *store.Tx, s *Subscription, now int64) error {
	err := tx.QueryRow(ctx, `INSERT INTO topic_subscription (uuid, topic_id, owner, region, protocol, endpoint, attributes, filtered,
			state, authenticated, guarded, token, token_expires_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, '', 0, $12) RETURNING id`,
		s.UUID, s.Topic.id, s.Owner, s.Topic.Region, s.Protocol, s.Endpoint, encodeMap(s.attrs), s.filtered(),
		s.state, s.authenticated, s.guarded, now).Scan(&s.id)
	if err != nil {
		return fmt.Errorf("insert subscription: %w", err)
	}
	return nil
}

func updateSubscriptionAttributes(ctx context.Context, tx *store.Tx, s *Subscription) error {
	_, err := tx.Exec(ctx, `UPDATE topic_subscription SET attributes = $2, filtered = $3 WHERE id = $1`, s.id, encodeMap(s.attrs), s.filtered())
	if err != nil {
		return fmt.Errorf("update attributes of subscription: %w", err)
	}
	return nil
}

func updateToken(ctx context.Context, tx *store.Tx, id int64, hash string, expires int64) error {
	if _, err := tx.Exec(ctx, `UPDATE topic_subscription SET token = $2, token_expires_at = $3 WHERE id = $1`, id, hash, expires); err != nil {
		return fmt.Errorf("update token of subscription: %w", err)
	}
	return nil
}

func confirmSubscription(ctx context.Context, tx *store.Tx, id int64, authenticated, guarded bool) error {
	_, err := tx.Exec(ctx, `UPDATE topic_subscription SET state = 'confirmed', authenticated = $2, guarded = $3 WHERE id = $1`, id, authenticated, guarded)
	if err != nil {
		return fmt.Errorf("confirm subscription: %w", err)
	}
	return nil
}

func removeSubscription(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `UPDATE topic_subscription SET state = 'removed' WHERE id = $1`, id); err != nil {
		return fmt.Errorf("remove subscription: %w", err)
	}
	return nil
}

// deleteSubscriptions deletes subscriptions of one topic.
func deleteSubscriptions(ctx context.Context, tx *store.Tx, topic int64, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	n, err := affected(tx.Exec(ctx, `DELETE FROM topic_subscription WHERE id IN `+in(1, len(ids)), appendIDs(nil, ids)...))
	if err != nil {
		return fmt.Errorf("delete subscriptions: %w", err)
	}
	if _, err := tx.Exec(ctx, `UPDATE topic SET subscriptions = subscriptions - $2 WHERE id = $1`, topic, n); err != nil {
		return fmt.Errorf("count subscriptions: %w", err)
	}
	return nil
}

func appendIDs(args []any, ids []int64) []any {
	for _, id := range ids {
		args = append(args, id)
	}
	return args
}

func scanID(row store.Row) (id int64, err error) { return id, row.Scan(&id) }

// someOf returns up to limit subscriptions of a topic.
func someOf(ctx context.Context, db store.Querier, topic int64, limit int) ([]int64, error) {
	rows, err := db.Query(ctx, `SELECT id FROM topic_subscription WHERE topic_id = $1 ORDER BY id LIMIT $2`, topic, limit)
	list, err := store.All(rows, err, scanID)
	if err != nil {
		return nil, fmt.Errorf("read the subscriptions of a topic: %w", err)
	}
	return list, nil
}

// expired returns up to limit subscriptions, with their topics, whose token nobody used in time.
func expired(ctx context.Context, db store.Querier, now int64, limit int) (topics, ids []int64, err error) {
	rows, err := db.Query(ctx, `SELECT topic_id, id FROM topic_subscription WHERE state <> 'confirmed' AND token_expires_at <= $1 ORDER BY token_expires_at LIMIT $2`,
		now, limit)
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var topic, id int64
		err := row.Scan(&topic, &id)
		topics, ids = append(topics, topic), append(ids, id)
		return struct{}{}, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read expired subscriptions: %w", err)
	}
	return topics, ids, nil
}
