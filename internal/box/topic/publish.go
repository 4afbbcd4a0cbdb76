package topic

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// maxDirect is how many deliveries are made in the transaction of a publish; for
	// more a job makes them, in chunks of fanChunk.
	maxDirect   = 100
	fanChunk    = 100
	fanOutQueue = "topic.fanout"
)

// PublishMessages publishes messages that have been checked and returns their ids. When it
// returns they and what delivers them are durable.
func (t *Topics) PublishMessages(ctx context.Context, have *Topic, messages []*Message) ([]string, error) {
	ids := make([]string, len(messages))
	stored := make([]*storedMessage, len(messages))
	for i, m := range messages {
		ids[i] = uuid.NewString()
		stored[i] = &storedMessage{topic: have.id, messageID: ids[i], kind: kindNotification, content: *m, publishedAt: t.now()}
	}
	limit := maxDirect / len(messages)
	to, err := recipients(ctx, t.db, have.id, 0, limit+1)
	if err != nil {
		return nil, err
	}
	add := func(tx *store.Tx) error { return t.startFanOut(ctx, tx, stored) }
	if len(to) <= limit {
		wanted, err := t.wantedBy(stored, to)
		if err != nil {
			return nil, err
		}
		add = func(tx *store.Tx) error { return t.addMessages(ctx, tx, wanted) }
	}
	err = t.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		// Whoever deletes the topic from here on finds the message published before.
		now, err := findTopic(ctx, tx, have.Ref)
		if err != nil {
			return err
		}
		if now == nil || now.id != have.id {
			return errNoTopic()
		}
		return add(tx)
	})
	if err != nil {
		return nil, err
	}
	t.counts.published.Add(int64(len(messages)))
	return ids, nil
}

// wanted is a message and the subscriptions that are to get it.
type wanted struct {
	message *storedMessage
	by      []recipient
}

// wantedBy matches messages against the filter policies of subscriptions. Messages that nobody
// wants are left out.
func (t *Topics) wantedBy(messages []*storedMessage, to []recipient) ([]wanted, error) {
	var list []wanted
	for _, m := range messages {
		w := wanted{message: m}
		subjects := map[string]subject{}
		for _, r := range to {
			ok, err := t.wants(r, &m.content, subjects)
			if err != nil {
				return nil, err
			}
			if !ok {
				t.counts.filtered.Add(1)
				continue
			}
			w.by = append(w.by, r)
		}
		if len(w.by) > 0 {
			list = append(list, w)
		}
	}
	return list, nil
}

// wants says whether a subscription's filter policy lets the message through.
// subjects keeps what policies see, by protocol.
func (t *Topics) wants(r recipient, m *Message, subjects map[string]subject) (bool, error) {
	text := r.attrs[attrFilterPolicy]
	if text == "" {
		return true, nil
	}
	f, err := t.filters.get(scopeOf(r.attrs), text)
	if err != nil {
		return false, err
	}
	s, ok := subjects[r.protocol]
	if !ok {
		s = m.subject(r.protocol)
		subjects[r.protocol] = s
	}
	return f.matches(s), nil
}

// addMessages stores messages with their deliveries.
func (t *Topics) addMessages(ctx context.Context, tx *store.Tx, list []wanted) error {
	var deliveries []delivery
	for _, w := range list {
		if err := insertMessages(ctx, tx, []*storedMessage{w.message}); err != nil {
			return err
		}
		deliveries = append(deliveries, w.deliveries()...)
	}
	return t.addDeliveries(ctx, tx, deliveries)
}

func (w wanted) deliveries() []delivery {
	list := make([]delivery, len(w.by))
	for i, r := range w.by {
		list[i] = delivery{subscription: r.id, protocol: r.protocol, message: w.message.id, dueAt: w.message.publishedAt}
	}
	return list
}

// addDeliveries stores deliveries and wakes the lanes that make them.
func (t *Topics) addDeliveries(ctx context.Context, tx *store.Tx, list []delivery) error {
	if err := insertDeliveries(ctx, tx, list); err != nil {
		return err
	}
	lanes := map[int64]string{}
	for _, d := range list {
		lanes[d.subscription] = laneOf(d.protocol)
	}
	return t.wake(ctx, tx, lanes)
}

// wake has the lanes of subscriptions, each in its queue, look for what is due.
func (t *Topics) wake(ctx context.Context, tx *store.Tx, lanes map[int64]string) error {
	jobs := make([]work.NewJob, 0, len(lanes))
	// In one order, so that transactions that wake the same lanes do not wait for one another in a circle.
	for _, id := range slices.Sorted(maps.Keys(lanes)) {
		jobs = append(jobs, work.NewJob{Queue: lanes[id], Key: strconv.FormatInt(id, 10), Replace: true})
	}
	return t.jobs.Enqueue(ctx, tx, jobs...)
}

// clearLanes has lanes drop what waits for subscriptions that are gone. It needs no
// endpoint, so it is done beside the queues.
func (t *Topics) clearLanes(ctx context.Context, tx *store.Tx, ids []int64) error {
	lanes := map[int64]string{}
	for _, id := range ids {
		lanes[id] = laneQueue
	}
	return t.wake(ctx, tx, lanes)
}

// startFanOut stores messages for so many subscriptions that a job makes the deliveries.
func (t *Topics) startFanOut(ctx context.Context, tx *store.Tx, messages []*storedMessage) error {
	var jobs []work.NewJob
	for _, m := range messages {
		m.fannedTo = new(int64)
	}
	if err := insertMessages(ctx, tx, messages); err != nil {
		return err
	}
	for _, m := range messages {
		jobs = append(jobs, work.NewJob{Queue: fanOutQueue, Key: strconv.FormatInt(m.id, 10)})
	}
	return t.jobs.Enqueue(ctx, tx, jobs...)
}

// fanOut makes the deliveries of one message, a chunk of subscriptions in each
// transaction, which also notes how far it came: a crash repeats nothing.
func (t *Topics) fanOut(ctx context.Context, j work.Job) work.Outcome {
	id, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail(err.Error())
	}
	m, err := messageByID(ctx, t.db, id)
	if err != nil {
		return work.Retry(err.Error())
	}
	for m != nil && m.fannedTo != nil {
		to, err := recipients(ctx, t.db, m.topic, *m.fannedTo, fanChunk)
		if err != nil {
			return work.Retry(err.Error())
		}
		list, err := t.wantedBy([]*storedMessage{m}, to)
		if err != nil {
			return work.Retry(err.Error())
		}
		var next *int64
		if len(to) == fanChunk {
			next = &to[len(to)-1].id
		}
		err = t.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return t.advance(ctx, tx, m, next, list) })
		if err != nil {
			return work.Retry(err.Error())
		}
		m.fannedTo = next
	}
	return work.Done()
}

func (t *Topics) advance(ctx context.Context, tx *store.Tx, m *storedMessage, next *int64, list []wanted) error {
	if err := advanceFanOut(ctx, tx, m.id, *m.fannedTo, next); err != nil {
		return err
	}
	for _, w := range list {
		if err := t.addDeliveries(ctx, tx, w.deliveries()); err != nil {
			return err
		}
	}
	if next != nil {
		return nil
	}
	return forgetMessage(ctx, tx, m.id) // if nobody wants it
}
