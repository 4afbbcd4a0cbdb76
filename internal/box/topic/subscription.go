package topic

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/store"
)

// The states of a subscription.
const (
	statePending   = "pending"   // nobody at the endpoint has confirmed it
	stateConfirmed = "confirmed" // it gets messages
	stateRemoved   = "removed"   // unsubscribed by a link; a token takes it back
)

// Subscription is a subscription as it was read, with its topic. It is never changed.
type Subscription struct {
	Topic *Topic
	// UUID is the last part of the ARN.
	UUID string
	// Owner is the account that subscribed.
	Owner              string
	Protocol, Endpoint string

	id            int64
	state         string
	attrs         map[string]string // as set
	authenticated bool              // who confirmed it was authenticated
	guarded       bool              // a link does not unsubscribe it
}

// ARN returns the subscription's ARN: the topic's and the UUID.
func (s *Subscription) ARN() string { return s.Topic.ARN() + ":" + s.UUID }

// parseSubscriptionARN reads a subscription's ARN.
func parseSubscriptionARN(arn string) (topic Ref, id string, err error) {
	p := strings.Split(arn, ":")
	if len(p) < 6 {
		return Ref{}, "", errParameter("SubscriptionArn", "An ARN must have at least 6 elements, not %d", len(p))
	}
	r := Ref{}
	if len(p) == 7 {
		r = Ref{Account: p[4], Region: p[3], Name: p[5]}
	}
	if len(p) != 7 || !r.valid() || r.ARN()+":"+p[6] != arn || uuid.Validate(p[6]) != nil {
		return Ref{}, "", errInvalid("SubscriptionArn")
	}
	return r, p[6], nil
}

// tokenLife is how long a confirmation token is good for.
const tokenLife = 3 * 24 * time.Hour

// newToken returns a token to send out and what is kept to know it by. It has so
// many random bits that its hash needs no salt.
func newToken() (token, hash string) {
	var b [64]byte
	rand.Read(b[:])
	token = hex.EncodeToString(b[:])
	return token, tokenHash(token)
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// AddSubscription subscribes an endpoint for the account. Where its owner is not known
// to agree, the subscription is pending and the endpoint is sent a token. An endpoint
// that is subscribed already stays so; with other attributes it's an error.
func (t *Topics) AddSubscription(ctx context.Context, have *Topic, account, protocol, endpoint string, attrs map[string]string) (*Subscription, error) {
	s := &Subscription{Topic: have, UUID: uuid.NewString(), Owner: account, Protocol: protocol, Endpoint: endpoint, state: statePending}
	if err := t.checkEndpoint(s); err != nil {
		return nil, err
	}
	var err error
	if s.attrs, err = newSubscriptionAttributes(s, attrs); err != nil {
		return nil, errParameter("Attributes", "%v", err)
	}
	if s.ownEndpoint() {
		s.state, s.authenticated = stateConfirmed, true
	}
	var result *Subscription
	subscribe := func(tx *store.Tx) error {
		if result, err = t.subscribe(ctx, tx, s); err == nil {
			awsapi.Made(ctx, result)
		}
		return err
	}
	err = t.db.Update(ctx, subscribe)
	if store.IsUnique(err) { // another node made it meanwhile
		err = t.db.Update(ctx, subscribe)
	}
	return result, err
}

func (t *Topics) subscribe(ctx context.Context, tx *store.Tx, s *Subscription) (*Subscription, error) {
	now, err := findTopic(ctx, tx, s.Topic.Ref)
	if err != nil {
		return nil, err
	}
	if now == nil || now.id != s.Topic.id {
		return nil, errNoTopic()
	}
	old, err := findEndpoint(ctx, tx, now.id, s.Protocol, s.Endpoint)
	if err != nil {
		return nil, err
	}
	switch {
	case old != nil && old.state == stateConfirmed:
		return old, old.sameAs(s.attrs)
	case old != nil && old.state == statePending && old.Owner == s.Owner:
		s.id, s.UUID = old.id, old.UUID
		if err := updateSubscriptionAttributes(ctx, tx, s); err != nil {
			return nil, err
		}
	default:
		if old != nil {
			if err := t.deleteSubscription(ctx, tx, old); err != nil {
				return nil, err
			}
		}
		if err := t.insertSubscription(ctx, tx, s); err != nil {
			return nil, err
		}
	}
	if err := checkFilterCount(ctx, tx, s); err != nil {
		return nil, err
	}
	if s.state == statePending {
		return s, t.sendToken(ctx, tx, s, kindConfirmation)
	}
	return s, nil
}

func (t *Topics) insertSubscription(ctx context.Context, tx *store.Tx, s *Subscription) error {
	room, err := countSubscription(ctx, tx, s.Topic.id, t.maxSubscriptions)
	if err != nil {
		return err
	}
	if !room {
		return sns.ErrSubscriptionLimitExceededException("Subscription limit of %d for topic %s exceeded", t.maxSubscriptions, s.Topic.ARN())
	}
	return insertSubscription(ctx, tx, s, t.now())
}

// deleteSubscription removes it and lets its lane clear what still waits for it.
func (t *Topics) deleteSubscription(ctx context.Context, tx *store.Tx, s *Subscription) error {
	if err := deleteSubscriptions(ctx, tx, s.Topic.id, []int64{s.id}); err != nil {
		return err
	}
	return t.clearLanes(ctx, tx, []int64{s.id})
}

// sameAs says whether a subscription that exists has the attributes given.
func (s *Subscription) sameAs(attrs map[string]string) error {
	for name, v := range attrs {
		if s.attribute(name) != v {
			return errParameter("Attributes", "Subscription already exists with different attributes")
		}
	}
	return nil
}

// sendToken gives the subscription a new token and sends it to the endpoint.
func (t *Topics) sendToken(ctx context.Context, tx *store.Tx, s *Subscription, kind string) error {
	token, hash := newToken()
	if err := updateToken(ctx, tx, s.id, hash, t.now()+tokenLife.Milliseconds()); err != nil {
		return err
	}
	m := storedMessage{topic: s.Topic.id, messageID: uuid.NewString(), kind: kind, publishedAt: t.now()}
	m.token = t.opt.Sealer.Seal(tokenPurpose(m.messageID), []byte(token))
	if err := insertMessages(ctx, tx, []*storedMessage{&m}); err != nil {
		return err
	}
	return t.addDeliveries(ctx, tx, []delivery{{subscription: s.id, protocol: s.Protocol, message: m.id, dueAt: m.publishedAt}})
}

func tokenPurpose(messageID string) string { return "topic-token/" + messageID }

// Confirm confirms the subscription that the token was sent for, and returns it. authenticated
// says that the caller's signature was checked; guard, that from now on only a
// signed request unsubscribes.
func (t *Topics) Confirm(ctx context.Context, topic Ref, token string, authenticated, guard bool) (*Subscription, error) {
	var s *Subscription
	err := t.db.Update(ctx, func(tx *store.Tx) (err error) {
		if s, err = findToken(ctx, tx, topic, tokenHash(token), t.now()); err != nil {
			return err
		}
		if s == nil {
			return errInvalid("Token")
		}
		awsapi.Made(ctx, s)
		if s.state == stateConfirmed {
			return nil
		}
		return confirmSubscription(ctx, tx, s.id, authenticated, guard)
	})
	return s, err
}

// RemoveSubscription removes the subscription for one of the accounts that own it or its
// topic. Others, whose account is empty if they are unknown, may unsubscribe it unless it
// is guarded; the endpoint is told then and may take it back. One that does not exist is no error.
func (t *Topics) RemoveSubscription(ctx context.Context, topic Ref, id, account string) error {
	return t.db.Update(ctx, func(tx *store.Tx) error {
		s, err := findSubscription(ctx, tx, topic, id)
		if err != nil || s == nil || s.state == stateRemoved {
			return err
		}
		if s.state == statePending {
			return errParameter("SubscriptionArn", "Cannot unsubscribe a subscription that is pending confirmation")
		}
		if account == s.Owner || account == s.Topic.Account {
			return t.deleteSubscription(ctx, tx, s)
		}
		if s.guarded {
			return errDenied("anonymous", "SNS:Unsubscribe", s.ARN(), "because the subscription can be removed by its owner and the topic's only")
		}
		if s.Protocol == protocolSQS || s.Protocol == protocolLambda {
			return t.deleteSubscription(ctx, tx, s)
		}
		if err := removeSubscription(ctx, tx, s.id); err != nil {
			return err
		}
		return t.sendToken(ctx, tx, s, kindUnsubscribed)
	})
}

// SetSubscriptionAttribute changes an attribute; an empty FilterPolicy, DeliveryPolicy or
// RedrivePolicy removes it. authorize is asked about the subscription first.
func (t *Topics) SetSubscriptionAttribute(ctx context.Context, topic Ref, id, name, value string, authorize func(*Subscription) error) error {
	return t.db.Update(ctx, func(tx *store.Tx) error {
		s, err := t.subscription(ctx, tx, topic, id, authorize)
		if err != nil {
			return err
		}
		if s.attrs, err = changeSubscriptionAttribute(s, name, value); err != nil {
			return errInvalid(err.Error())
		}
		if err := updateSubscriptionAttributes(ctx, tx, s); err != nil {
			return err
		}
		return checkFilterCount(ctx, tx, s)
	})
}

// subscription returns one that is there and that the caller may know of.
func (t *Topics) subscription(ctx context.Context, db store.Querier, topic Ref, id string, authorize func(*Subscription) error) (*Subscription, error) {
	s, err := findSubscription(ctx, db, topic, id)
	if err != nil {
		return nil, err
	}
	if s == nil || s.state == stateRemoved {
		return nil, errNoSubscription()
	}
	return s, authorize(s)
}

// checkFilterCount returns FilterPolicyLimitExceeded when the subscription's policy is one too many.
func checkFilterCount(ctx context.Context, tx *store.Tx, s *Subscription) error {
	if !s.filtered() {
		return nil
	}
	ofTopic, ofAccount, err := countFilters(ctx, tx, s.Topic.id, s.Owner)
	if err != nil {
		return err
	}
	if ofTopic > maxTopicFilters || ofAccount > maxAccountFilters {
		return sns.ErrFilterPolicyLimitExceededException("Filter policy limit exceeded: a topic can have at most %d and an account at most %d.", maxTopicFilters, maxAccountFilters)
	}
	return nil
}
