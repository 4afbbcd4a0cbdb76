package exporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

// originEvent is the origin of changes that event records led to.
const originEvent = "exporter-event"

const (
	// maxIdentifier is how many bytes an identifier of a record may have.
	maxIdentifier = 2000
	// maxCandidates is how many resources a record may name by a short name.
	maxCandidates = 20
	// disabledPause is how long a record waits whose account is not enabled.
	disabledPause = 5 * time.Minute
)

// record is an event record and the resource that it names.
type record struct {
	config.Record
	Key
	// at is when the event happened, as far as is known: never after the record came.
	at time.Time
	// byName: the record names the resource by another name than its identifier; unsure:
	// by one that others have too.
	byName, unsure bool
	// unselected: the configuration does not select the resource's region and account.
	unselected bool
}

// cause is that of the changes that the record leads to.
func (r *record) cause(messageID string) catalog.Cause {
	return catalog.Cause{Origin: originEvent, EventID: r.EventID, EventTime: r.at.UTC().Format(time.RFC3339Nano), RuleARN: r.RuleARN, Record: messageID}
}

// settled is an event record that was dealt with: its change is stored, or it was given
// up.
type settled struct {
	Key
	Delete bool
	// Unselected: the configuration does not select the region and account.
	Unselected bool
	// EventAt is when the event happened, ReceivedAt when its record came here, and StoredAt
	// when its change was stored.
	EventAt, ReceivedAt, StoredAt time.Time
	// Outcome is Failed for one that was given up, with Err.
	Outcome Outcome
	Err     error
}

// tell tells the followers of records that were dealt with.
func (x *Exporter) tell(list []settled) {
	for _, s := range list {
		for _, f := range x.followers {
			f(s)
		}
	}
}

// settled is what the followers are told of a message that was given up.
func (m *message) settled(now time.Time) []settled {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]settled, len(m.records))
	for i := range m.records {
		r := &m.records[i]
		list[i] = settled{Key: r.Key, Delete: r.Delete, EventAt: r.at, ReceivedAt: m.receivedAt, StoredAt: now, Outcome: Failed, Err: m.failure.err}
	}
	return list
}

// take reads what messages say and hands on what is to be done.
func (p *pipe) take(ctx context.Context, list []*message) {
	p.all.Go(func() {
		cfg, accounts, err := p.known(ctx)
		for _, m := range list {
			if err != nil {
				m.open = 1
				m.settle(&failure{err: err, away: ctx.Err() != nil})
				continue
			}
			p.parse(ctx, m, cfg, accounts)
		}
	})
}

func (p *pipe) known(ctx context.Context) (*config.Config, map[string]Account, error) {
	cfg, err := p.x.Config(ctx)
	if err != nil {
		return nil, nil, err
	}
	list, err := p.x.Accounts(ctx)
	if err != nil {
		return nil, nil, err
	}
	accounts := make(map[string]Account, len(list))
	for _, a := range list {
		accounts[a.Account] = a
	}
	return cfg.Parsed(), accounts, nil
}

// parse reads what one message says.
func (p *pipe) parse(ctx context.Context, m *message, cfg *config.Config, accounts map[string]Account) {
	m.open = 1 // this function itself
	var f *failure
	defer func() {
		if r := recover(); r != nil {
			f = &failure{err: fmt.Errorf("reading the record: panic: %v", r), stubborn: true}
		}
		m.settle(f)
	}()
	parsed, err := config.ParseRecords(ctx, p.x.o.JQ, []byte(m.body))
	if err != nil {
		_, bad := errors.AsType[*config.RecordError](err)
		f = &failure{err: err, fatal: bad, away: ctx.Err() != nil}
		return
	}
	for i := range parsed {
		list, g := p.resolve(ctx, m, parsed[i], cfg, accounts)
		if g.worse(f) {
			f = g
		}
		m.mu.Lock()
		m.records = append(m.records, list...)
		m.mu.Unlock()
		if g != nil {
			continue
		}
		for _, r := range list {
			if r.ErrorCode != "" {
				// The call failed: nothing has changed.
				p.x.tell([]settled{{Key: r.Key, Delete: r.Delete, Unselected: r.unselected, EventAt: r.at, ReceivedAt: m.receivedAt, StoredAt: p.x.now(), Outcome: Ignored}})
				continue
			}
			p.x.waiting.add(r.Key, m.id, p.x.now())
			if pause := p.putOff(r.Key); pause > 0 && m.mayWait() {
				busy := fmt.Errorf("reads of %s in %s of account %s are slow, and %d others wait for theirs", r.Key.Kind, r.Key.Region, r.Key.Account, crowd)
				if g := (&failure{err: busy, pause: pause, putOff: true}); g.worse(f) {
					f = g
				}
				continue
			}
			m.mu.Lock()
			m.open++
			m.mu.Unlock()
			p.enqueue(ctx, &job{message: m, record: r})
		}
	}
}

// resolve finds the resources that a record is about.
func (p *pipe) resolve(ctx context.Context, m *message, parsed config.Record, cfg *config.Config, accounts map[string]Account) ([]record, *failure) {
	r := record{Record: parsed, at: m.sentAt}
	if !parsed.EventTime.IsZero() {
		r.at = parsed.EventTime
	}
	if r.at.After(m.receivedAt) {
		r.at = m.receivedAt
	}
	r.Key = Key{Account: parsed.Account, Region: reader.Region(parsed.Kind, parsed.Region), Kind: parsed.Kind, Identifier: parsed.Identifier}
	if r.Key.Account == "" {
		r.Key.Account = m.p.queue.Account
	}
	account, followed := accounts[r.Key.Account]
	bad := func(format string, args ...any) ([]record, *failure) {
		return []record{r}, &failure{err: fmt.Errorf(format, args...), fatal: true}
	}
	r.unselected = !slices.ContainsFunc(cfg.Of(r.Key.Kind), func(pass *config.Resource) bool {
		return selects(pass, r.Key.Account, r.Key.Region, account.HomeRegion)
	})
	switch {
	case !followed:
		return bad("account %q is not followed; follow it, or have its events go elsewhere", r.Key.Account)
	case len(cfg.Of(r.Key.Kind)) == 0:
		return bad("resource_type: kind %q is not configured", r.Key.Kind)
	case !event.IsRegion(parsed.Region):
		return bad("region: %q is not the code of a region, such as eu-west-1", parsed.Region)
	case len(r.Key.Identifier) > maxIdentifier:
		return bad("identifier: longer than %d bytes", maxIdentifier)
	case strings.ContainsRune(r.Key.Identifier, 0):
		return bad("identifier: has a NUL character")
	case !account.Enabled:
		return []record{r}, &failure{err: fmt.Errorf("account %s is not enabled", r.Key.Account), pause: disabledPause}
	case !r.Delete, r.ErrorCode != "":
		return []record{r}, nil
	}
	list, err := p.candidates(ctx, r)
	if err != nil {
		return []record{r}, &failure{err: err, away: ctx.Err() != nil}
	}
	return list, nil
}

// candidates are the resources that a record of a delete may mean: the one with that
// identifier if it is known, else those of which the entity with that identifier is made
// or which have that short name, and the one with that identifier after all.
func (p *pipe) candidates(ctx context.Context, r record) ([]record, error) {
	known, err := loadResources(ctx, p.x.db, []Key{r.Key})
	if err != nil {
		return nil, err
	}
	if k := known[r.Key]; k != nil && k.Present {
		return []record{r}, nil
	}
	entities, err := resourcesOfEntity(ctx, p.x.db, r.Key, r.Record.Identifier, maxCandidates)
	if err != nil {
		return nil, err
	}
	named, err := resourcesNamed(ctx, p.x.db, r.Key, maxCandidates)
	if err != nil {
		return nil, err
	}
	var list []record
	add := func(keys []Key, unsure bool) {
		for _, k := range keys {
			if !slices.ContainsFunc(list, func(o record) bool { return o.Key == k }) && len(list) < maxCandidates {
				c := r
				c.Key, c.byName, c.unsure = k, true, unsure
				list = append(list, c)
			}
		}
	}
	add(entities, len(entities) > 1)
	add(named, len(entities) > 0 || len(named) > 1)
	// Under that name it is remembered as gone, for resources that get it later: what is
	// read of them may be old.
	return append(list, r), nil
}
