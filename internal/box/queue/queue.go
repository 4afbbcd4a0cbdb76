// Package queue is the box's SQS: standard and FIFO queues with AWS's rules,
// kept in SQL, so that a message that was acknowledged survives and a receive
// is exact.
//
// It knows nothing of events, targets or HTTP. Queues implements the generated
// sqs.Service; code in this process may also use the methods beneath it, such as
// Find and Send, which are the same without the wire's shapes.
//
// Where AWS leaves a choice, or its choice serves only its own scale, this
// queue decides as follows:
//   - Only the handle of the latest receive deletes a message. Deleting with an older one
//     succeeds and does nothing, which AWS allows for standard queues.
//   - A deleted queue's name may be used again at once; AWS makes one wait 60 seconds.
//   - Changed attributes hold at once on this node, and within a second on others.
package queue

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Ref names a queue.
type Ref struct {
	Account, Region, Name string
}

// ARN returns the queue's ARN. AWS: arn:aws:sqs:REGION:ACCOUNT:NAME.
func (r Ref) ARN() string {
	return "arn:" + event.Partition(r.Region) + ":sqs:" + r.Region + ":" + r.Account + ":" + r.Name
}

// ParseARN reads a queue's ARN. The last result is false when it is not one.
func ParseARN(arn string) (Ref, bool) {
	p := strings.Split(arn, ":")
	if len(p) != 6 || p[0] != "arn" || p[2] != "sqs" || !validRegion.MatchString(p[3]) || !validAccount.MatchString(p[4]) || !validName.MatchString(p[5]) {
		return Ref{}, false
	}
	r := Ref{Account: p[4], Region: p[3], Name: p[5]}
	return r, r.ARN() == arn
}

var (
	validRegion  = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	validAccount = regexp.MustCompile(`^[0-9]{12}$`)
	validName    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$|^[A-Za-z0-9_-]{1,75}\.fifo$`)
)

// Options configure Queues.
type Options struct {
	// BaseURL returns what queue URLs begin with, such as http://127.0.0.1:7425,
	// without a slash at the end. Required.
	BaseURL func() string
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Queues are all queues of this installation. Its methods are safe for concurrent use.
type Queues struct {
	db    *store.DB
	opt   Options
	known cache
	bell  bell
	moves bell // rung under 0 when a move task starts

	// flying remembers which contents have maxFlying messages in flight.
	flying    recent
	maxFlying int
}

// New returns the queues kept in db. Whoever calls it also runs [Queues.Run].
func New(db *store.DB, opt Options) *Queues {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Queues{db: db, opt: opt, maxFlying: maxFlying}
}

// now is the clock in unix milliseconds, as the tables hold times.
func (q *Queues) now() int64 { return q.opt.Now().UnixMilli() }

// Queue is a queue as it was read. It is never changed.
type Queue struct {
	Ref
	Settings
	Tags map[string]string
	// Created and Modified are unix milliseconds.
	Created, Modified int64

	id int64
	// contents is what the queue's messages hang on; purging replaces it.
	contents int64
	purged   int64
	attrs    map[string]string // as set, in canonical form
	policy   *auth.Policy      // nil without one
}

// URL returns the URL that the caller of SQS knows the queue by.
func (q *Queues) URL(r Ref) string {
	return strings.TrimSuffix(q.opt.BaseURL(), "/") + "/" + r.Account + "/" + r.Name
}

// Create makes the queue, or does nothing when it exists with the same values
// of the attributes given. Tags are set on creation only. It returns
// QueueNameExists when the values differ, and AWS's errors for invalid ones.
func (q *Queues) Create(ctx context.Context, r Ref, attrs, tags map[string]string) error {
	attrs, err := newAttributes(r.Name, attrs)
	if err != nil {
		return err
	}
	if err := checkTags(nil, tags); err != nil {
		return err
	}
	create := func(tx *store.Tx) error {
		have, err := findQueue(ctx, tx, r)
		if err != nil {
			return err
		}
		if have != nil {
			return sameAttributes(have.attrs, attrs)
		}
		set := parseSettings(attrs)
		if err := checkRedrive(ctx, tx, r, set, attrs); err != nil {
			return err
		}
		return insertQueue(ctx, tx, r, set, attrs, tags, q.now())
	}
	err = q.db.Update(ctx, create)
	if store.IsUnique(err) { // another node made it meanwhile
		err = q.db.Update(ctx, create)
	}
	return err
}

// Delete removes the queue and what it holds.
func (q *Queues) Delete(ctx context.Context, r Ref) error {
	return q.change(ctx, r, func(tx *store.Tx, have *Queue) error {
		if err := dropContents(ctx, tx, have.contents, q.now()); err != nil {
			return err
		}
		return deleteQueue(ctx, tx, have.id)
	})
}

// purgePause is how long AWS makes one wait between purges of a queue.
const purgePause = 60 * time.Second

// Purge removes all messages, those in flight too. It returns
// PurgeQueueInProgress when the last one is less than a minute ago.
func (q *Queues) Purge(ctx context.Context, r Ref) error {
	return q.change(ctx, r, func(tx *store.Tx, have *Queue) error {
		now := q.now()
		if have.purged != 0 && now-have.purged < purgePause.Milliseconds() {
			return errPurging(r.Name)
		}
		if err := dropContents(ctx, tx, have.contents, now); err != nil {
			return err
		}
		return renewContents(ctx, tx, have.id, now)
	})
}

// SetAttributes changes the attributes given. An empty Policy, RedrivePolicy
// or RedriveAllowPolicy removes it.
func (q *Queues) SetAttributes(ctx context.Context, r Ref, changed map[string]string) error {
	return q.change(ctx, r, func(tx *store.Tx, have *Queue) error {
		attrs, err := changeAttributes(have.attrs, changed)
		if err != nil {
			return err
		}
		set := parseSettings(attrs)
		if _, ok := changed[attrRedrivePolicy]; ok {
			if err := checkRedrive(ctx, tx, r, set, attrs); err != nil {
				return err
			}
		}
		return updateAttributes(ctx, tx, have.id, set, attrs, q.now())
	})
}

// change runs fn in a transaction with the queue as it is now, and has the
// queue read anew afterwards.
func (q *Queues) change(ctx context.Context, r Ref, fn func(tx *store.Tx, have *Queue) error) error {
	return q.db.Update(ctx, func(tx *store.Tx) error {
		have, err := findQueue(ctx, tx, r)
		if err != nil {
			return err
		}
		if have == nil {
			return errNoQueue()
		}
		tx.OnCommit(func() {
			q.known.forget(r)
			q.bell.ringAll(have.id)
		})
		return fn(tx, have)
	})
}

// Find returns the queue, at most a second old when another node changed it.
// Without one it returns QueueDoesNotExist.
func (q *Queues) Find(ctx context.Context, r Ref) (*Queue, error) {
	if have := q.known.get(r); have != nil {
		return have, nil
	}
	gen := q.known.generation()
	have, err := findQueue(ctx, q.db, r)
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, errNoQueue()
	}
	q.known.put(have, gen)
	return have, nil
}

// List returns up to limit queues of the account and region whose names begin
// with prefix and come after the name given.
func (q *Queues) List(ctx context.Context, account, region, prefix, after string, limit int) ([]Ref, error) {
	if strings.IndexByte(prefix, 0) >= 0 {
		return nil, nil // of no queue's name, and PostgreSQL cannot be asked for it
	}
	return listQueues(ctx, q.db, account, region, prefix, after, limit)
}
