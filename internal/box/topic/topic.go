// Package topic is the box's SNS: standard topics with AWS's rules, whose
// messages are kept in SQL until each subscription has had them.
//
// It knows nothing of events and rules. Topics implements the generated
// sns.Service. A message that was published survives; each subscription has a
// lane of its own, a durable job, so that a slow endpoint delays nobody else.
//
// Endpoints are queues, http and https addresses, e-mail addresses where an SMTP
// server is configured, and functions where there is a service of them. FIFO topics,
// KMS keys, SMS, mobile applications and Firehose are refused by name.
//
// Where AWS leaves a choice, or its choice serves only its own scale, this
// package decides as follows:
//   - A changed filter policy holds for every message published after the answer;
//     AWS takes up to 15 minutes.
//   - A deleted topic takes its subscriptions and what they still wait for with it.
//   - A topic without a policy of its own takes messages from rules and other services
//     on behalf of its own account, and from nobody on behalf of others.
package topic

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// Ref names a topic.
type Ref struct {
	Account, Region, Name string
}

// ARN returns the topic's ARN. AWS: arn:aws:sns:REGION:ACCOUNT:NAME.
func (r Ref) ARN() string {
	return "arn:" + event.Partition(r.Region) + ":sns:" + r.Region + ":" + r.Account + ":" + r.Name
}

var (
	validName   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	validRegion = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
)

// parseARN reads a topic's ARN; parameter is what the request calls it.
func parseARN(parameter, arn string) (Ref, error) {
	p := strings.Split(arn, ":")
	if len(p) < 6 {
		return Ref{}, errParameter(parameter, "An ARN must have at least 6 elements, not %d", len(p))
	}
	r := Ref{Account: p[4], Region: p[3], Name: p[5]}
	if len(p) != 6 || !r.valid() || r.ARN() != arn {
		return Ref{}, errInvalid(parameter)
	}
	return r, nil
}

// valid says whether there can be a topic of that name: what else stands in an ARN is
// not looked for.
func (r Ref) valid() bool {
	return auth.IsAccount(r.Account) && validRegion.MatchString(r.Region) && validName.MatchString(r.Name)
}

// HTTP makes the calls to http and https endpoints. It guards which addresses
// they may reach.
type HTTP interface {
	Do(req *http.Request) (*http.Response, error)
	// CheckURL says why an address would never be called.
	CheckURL(url string) error
}

// Functions run functions that are subscribed to topics.
type Functions interface {
	// Invoke hands the payload to a function, to be run in its own time. The caller in
	// ctx is the topic's account, the auth.Source the topic. An *awsapi.Error
	// that is no fault of the service is final.
	Invoke(ctx context.Context, functionARN string, payload []byte) error
}

// Sealer encrypts what must be stored readable.
type Sealer interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Options configure Topics.
type Options struct {
	// BaseURL returns what the URLs that subscribers visit begin with, such as
	// http://127.0.0.1:7425, without a slash at the end. Required.
	BaseURL func() string
	// Queues, HTTP and Sealer are required.
	Queues sqs.Service
	HTTP   HTTP
	Sealer Sealer
	// Mail sends to e-mail addresses; nil refuses them.
	Mail *Mail
	// Functions is nil where there are none; then they cannot be subscribed.
	Functions Functions
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Topics are all topics of this installation. Its methods are safe for
// concurrent use.
type Topics struct {
	db      *store.DB
	jobs    *work.Runner
	opt     Options
	filters filters
	signer  signer
	pace    paces
	counts  counters

	maxSubscriptions int // of a topic
}

// maxSubscriptions is AWS's limit of a topic.
const maxSubscriptions = 12_500_000

// New returns the topics kept in db. It registers its job queues with jobs,
// whose Run delivers messages and must not have begun. Whoever calls it also
// runs [Topics.Run].
func New(db *store.DB, jobs *work.Runner, opt Options) *Topics {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	t := &Topics{db: db, jobs: jobs, opt: opt, maxSubscriptions: maxSubscriptions}
	t.signer.topics = t
	jobs.Handle(fanOutQueue, work.QueueOptions{}, t.fanOut)
	jobs.Handle(laneQueue, work.QueueOptions{Concurrency: maxLanes}, t.runLane)
	jobs.Handle(outsideQueue, work.QueueOptions{Concurrency: maxLanes}, t.runLane)
	jobs.Handle(dropQueue, work.QueueOptions{Concurrency: 1}, t.dropSubscriptions)
	return t
}

// now is the clock in unix milliseconds, as the tables hold times.
func (t *Topics) now() int64 { return t.opt.Now().UnixMilli() }

// Topic is a topic as it was read. It is never changed.
type Topic struct {
	Ref
	Tags map[string]string
	// Created is in unix milliseconds.
	Created int64

	id     int64
	attrs  map[string]string // as set
	policy *auth.Policy      // nil without one of its own
}

// Create makes the topic, or does nothing when it exists with the same values of
// the attributes and tags given. It returns InvalidParameter when they
// differ, and AWS's errors for invalid ones.
func (t *Topics) Create(ctx context.Context, r Ref, attrs, tags map[string]string) error {
	attrs, err := newAttributes(r, attrs)
	if err != nil {
		return err
	}
	if err := checkTags(nil, tags); err != nil {
		return err
	}
	create := func(tx *store.Tx) error {
		have, err := findTopic(ctx, tx, r)
		if err != nil {
			return err
		}
		if have != nil {
			return have.sameAs(attrs, tags)
		}
		return insertTopic(ctx, tx, r, attrs, tags, t.now())
	}
	err = t.db.Update(ctx, create)
	if store.IsUnique(err) { // another node made it meanwhile
		err = t.db.Update(ctx, create)
	}
	return err
}

// sameAs says whether a topic that exists has the values given.
func (have *Topic) sameAs(attrs, tags map[string]string) error {
	for name, v := range attrs {
		if have.attribute(name) != v {
			return errParameter("Attributes", "Topic already exists with different attributes")
		}
	}
	for k, v := range tags {
		if now, ok := have.Tags[k]; !ok || now != v {
			return errParameter("Tags", "Topic already exists with different tags")
		}
	}
	return nil
}

const dropQueue = "topic.drop"

// Delete removes the topic and, soon after, its subscriptions.
func (t *Topics) Delete(ctx context.Context, have *Topic) error {
	return t.db.Update(ctx, func(tx *store.Tx) error {
		gone, err := deleteTopic(ctx, tx, have.id)
		if err != nil || !gone {
			return err
		}
		return t.jobs.Enqueue(ctx, tx, work.NewJob{Queue: dropQueue, Key: strconv.FormatInt(have.id, 10)})
	})
}

// SetAttribute changes an attribute of the topic.
func (t *Topics) SetAttribute(ctx context.Context, r Ref, name, value string) error {
	value, err := checkAttribute(name, value)
	if err != nil {
		return err
	}
	return t.change(ctx, r, func(tx *store.Tx, have *Topic) error {
		if absent[name] != nil {
			return nil // it asks for nothing
		}
		next := maps.Clone(have.attrs)
		next[name] = value
		return updateTopicAttributes(ctx, tx, have.id, next)
	})
}

// change runs fn in a transaction with the topic as it is now.
func (t *Topics) change(ctx context.Context, r Ref, fn func(tx *store.Tx, have *Topic) error) error {
	return t.db.Update(ctx, func(tx *store.Tx) error {
		have, err := findTopic(ctx, tx, r)
		if err != nil {
			return err
		}
		if have == nil {
			return errNoTopic()
		}
		return fn(tx, have)
	})
}

// Find returns the topic; without one NotFound.
func (t *Topics) Find(ctx context.Context, r Ref) (*Topic, error) {
	have, err := findTopic(ctx, t.db, r)
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, errNoTopic()
	}
	return have, nil
}
