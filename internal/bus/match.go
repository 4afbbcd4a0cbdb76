package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rialto-bus/rialto/internal/event"
)

// scratch holds the set ids of one Match.
var scratch = sync.Pool{New: func() any { return new([]uint64) }}

// Match appends to dst the subscriptions that the record's event has: the
// targets of the enabled rules of its bus that match it, and only of
// rec.ReplayRules where those are given. It never waits. The error says that the
// event is not JSON.
func (b *Buses) Match(rec *event.Record, dst []*Subscription) ([]*Subscription, error) {
	ids := scratch.Get().(*[]uint64)
	defer scratch.Put(ids)
	for {
		now := b.snapshotOf(rec.Bus)
		if now == nil || len(now.matching) == 0 {
			return dst, nil
		}
		var err error
		if *ids, err = now.set.Match((*ids)[:0], rec.JSON); err != nil {
			return dst, fmt.Errorf("match event %s: %w", rec.ID, err)
		}
		// A change enters the new pattern into the set, replaces the snapshot and then
		// removes the old pattern. While the snapshot is the same, every rule that it
		// holds was in the set all along; if it was replaced meanwhile, look again.
		if b.snapshotOf(rec.Bus) == now {
			return collect(dst, rec, now, *ids), nil
		}
	}
}

func collect(dst []*Subscription, rec *event.Record, now *snapshot, ids []uint64) []*Subscription {
	if len(ids) == 0 {
		return dst
	}
	onlyReads := readsOnly(rec.JSON)
	for _, id := range ids {
		r := now.matching[id]
		if r == nil || onlyReads && r.state != RuleEnabledReads {
			continue // r is nil while a change is under way
		}
		if id&scheduled != 0 && r.pattern != "" && slices.Contains(ids, r.id) {
			continue // it also matches by its pattern
		}
		if len(rec.ReplayRules) > 0 && !slices.Contains(rec.ReplayRules, r.arn) {
			continue
		}
		dst = append(dst, r.subscriptions...)
	}
	return dst
}

var readOnlyMember = []byte(`"readOnly":true`)

// readsOnly says whether the event is a CloudTrail management event of a call
// that only read. AWS: rules in state ENABLED do not get those.
func readsOnly(envelope []byte) bool {
	if !bytes.Contains(envelope, readOnlyMember) {
		return false
	}
	var e struct {
		DetailType string `json:"detail-type"`
		Detail     struct {
			ReadOnly        bool  `json:"readOnly"`
			ManagementEvent *bool `json:"managementEvent"`
		} `json:"detail"`
	}
	if json.Unmarshal(envelope, &e) != nil {
		return false
	}
	management := e.Detail.ManagementEvent == nil || *e.Detail.ManagementEvent
	return e.DetailType == "AWS API Call via CloudTrail" && e.Detail.ReadOnly && management
}

// WantsReads says whether a rule on the account's default bus takes calls that only read,
// as far as this node knows. It never waits.
func (b *Buses) WantsReads(account, region string) bool {
	now := b.snapshotOf(event.BusRef{Account: account, Region: region, Name: event.DefaultBus})
	return now != nil && now.reads
}

// RuleVersion returns the rule version of the bus that this node matches by.
func (b *Buses) RuleVersion(ref event.BusRef) uint64 {
	if s := b.snapshotOf(ref); s != nil {
		return s.version
	}
	return 0
}

// WaitVersion returns once this node matches by rules that are at least as new
// as version, which it reads from SQL when it is behind.
func (b *Buses) WaitVersion(ctx context.Context, ref event.BusRef, version uint64) error {
	if b.RuleVersion(ref) >= version {
		return nil
	}
	removed, err := b.catchUp(ctx, ref, version)
	if err != nil {
		return fmt.Errorf("read rules of event bus %s: %w", ref.ARN(), err)
	}
	b.tellRemoved(removed)
	return nil
}

// Refresh reads the rules of all buses that another node has changed since this
// one read them.
func (b *Buses) Refresh(ctx context.Context) error {
	versions, err := selectVersions(ctx, b.db)
	if err != nil {
		return fmt.Errorf("read rule versions: %w", err)
	}
	for ref, version := range versions {
		if err := b.WaitVersion(ctx, ref, uint64(version)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Buses) catchUp(ctx context.Context, ref event.BusRef, version uint64) ([]int64, error) {
	defer b.lock(ref)()
	if b.RuleVersion(ref) >= version {
		return nil, nil
	}
	return b.reload(ctx, ref)
}

// ErrNoSubscription says that a subscription's rule or target is gone.
var ErrNoSubscription = errors.New("the rule or the target was deleted")

// Subscription returns the subscription as it is now, asking SQL when this node
// does not know it. It returns ErrNoSubscription once rule or target is gone.
func (b *Buses) Subscription(ctx context.Context, id int64) (*Subscription, error) {
	if s := b.subscription(id); s != nil {
		return s, nil
	}
	ref, ok, err := selectBusOfSubscription(ctx, b.db, id)
	if err != nil {
		return nil, fmt.Errorf("look for subscription %d: %w", id, err)
	}
	if !ok {
		return nil, ErrNoSubscription
	}
	version, err := selectVersion(ctx, b.db, ref)
	if err != nil {
		return nil, fmt.Errorf("look for subscription %d: %w", id, err)
	}
	if err := b.WaitVersion(ctx, ref, uint64(version)); err != nil {
		return nil, err
	}
	if s := b.subscription(id); s != nil {
		return s, nil
	}
	return nil, ErrNoSubscription
}

func (b *Buses) subscription(id int64) *Subscription {
	b.subscriptions.RLock()
	defer b.subscriptions.RUnlock()
	return b.subscriptions.byID[id]
}
