package queue

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// dedupInterval is how long a deduplication id is remembered, and a receive
// attempt may be repeated. AWS: five minutes.
const dedupInterval = 5 * time.Minute

func putFIFO(ctx context.Context, tx *store.Tx, have *Queue, m *newMessage, now int64) (Sent, error) {
	// The group is locked before the message gets its number, so that within
	// a group numbers grow in the order of commits.
	if err := joinGroup(ctx, tx, have.contents, m.groupID, now+m.delay.Milliseconds()); err != nil {
		return Sent{}, err
	}
	id, err := insertMessage(ctx, tx, have, m, now)
	if err != nil {
		return Sent{}, err
	}
	scope := ""
	if have.DedupByGroup {
		scope = m.groupID
	}
	sent, fresh, err := rememberDedup(ctx, tx, have.id, scope, m.dedupID, m.messageID, id, now, now+dedupInterval.Milliseconds())
	if err != nil || fresh {
		return sent, err
	}
	if err := deleteMessages(ctx, tx, []message{{id: id}}); err != nil {
		return Sent{}, err
	}
	return sent, settleGroup(ctx, tx, have.contents, m.groupID, now)
}

// takeFIFO puts messages in flight: of each group that has none in flight its
// first ones, in order.
func (q *Queues) takeFIFO(ctx context.Context, tx *store.Tx, have *Queue, req ReceiveRequest, t taking) ([]message, error) {
	if req.AttemptID != "" {
		again, err := repeatAttempt(ctx, tx, have, req, t)
		if err != nil || len(again) > 0 {
			return again, err
		}
	}
	groups, err := readyGroups(ctx, tx, have.contents, t.now, req.Max)
	if err != nil {
		return nil, err
	}
	var got []message
	for _, g := range groups {
		if len(got) == req.Max {
			break
		}
		some, err := q.takeGroup(ctx, tx, have, g, req.Max-len(got), t)
		if err != nil {
			return nil, err
		}
		got = append(got, some...)
	}
	if req.AttemptID == "" || len(got) == 0 {
		return got, nil
	}
	expires := min(t.now+dedupInterval.Milliseconds(), t.visibleAt)
	return got, saveAttempt(ctx, tx, have.contents, req.AttemptID, t.receipt, got, expires)
}

// takeGroup takes from one group, which the caller has locked.
func (q *Queues) takeGroup(ctx context.Context, tx *store.Tx, have *Queue, group string, limit int, t taking) ([]message, error) {
	head, err := groupHead(ctx, tx, have.contents, group, limit)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(head, func(m message) bool { return m.visibleAt > t.now }); i >= 0 {
		head = head[:i] // what comes after a delayed message waits for it
	}
	head, err = q.discard(ctx, tx, have, head, t.now, 0)
	if err != nil {
		return nil, err
	}
	got, err := takeMessages(ctx, tx, head, t)
	if err != nil {
		return nil, err
	}
	sortByID(got)
	return got, settleGroup(ctx, tx, have.contents, group, t.now)
}

func sortByID(list []message) {
	slices.SortFunc(list, func(a, b message) int { return cmp.Compare(a.id, b.id) })
}

// repeatAttempt gives out again what the attempt of the same id was given, if
// all of it is still in flight. AWS: same handles, visibility starts anew.
func repeatAttempt(ctx context.Context, tx *store.Tx, have *Queue, req ReceiveRequest, t taking) ([]message, error) {
	_, list, all, err := findAttempt(ctx, tx, have.contents, req.AttemptID, t.now)
	if err != nil || !all || len(list) == 0 {
		return nil, err
	}
	if err := updateAllVisibility(ctx, tx, list, t.visibleAt); err != nil {
		return nil, err
	}
	groups := map[string]bool{}
	for _, m := range list {
		groups[m.groupID] = true
	}
	for g := range groups {
		if err := settleGroup(ctx, tx, have.contents, g, t.now); err != nil {
			return nil, err
		}
	}
	sortByID(list)
	return list, nil
}
