package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
)

// The names of the attributes of subscriptions, as AWS has them; DeliveryPolicy is among them.
const (
	attrFilterPolicy = "FilterPolicy"
	attrFilterScope  = "FilterPolicyScope"
	attrRaw          = "RawMessageDelivery"
	attrRedrive      = "RedrivePolicy"
)

// newSubscriptionAttributes checks the attributes of a new subscription. Its
// error says what is wrong, without AWS's words around it.
func newSubscriptionAttributes(s *Subscription, attrs map[string]string) (map[string]string, error) {
	kept := map[string]string{}
	for name, v := range attrs {
		v, err := checkSubscriptionAttribute(s, name, v)
		if err != nil {
			return nil, err
		}
		if v != "" {
			kept[name] = v
		}
	}
	return kept, checkFilter(kept)
}

// changeSubscriptionAttribute returns the attributes with the change.
func changeSubscriptionAttribute(s *Subscription, name, v string) (map[string]string, error) {
	v, err := checkSubscriptionAttribute(s, name, v)
	if err != nil {
		return nil, err
	}
	next := maps.Clone(s.attrs)
	next[name] = v
	if v == "" {
		delete(next, name)
	}
	return next, checkFilter(next)
}

// checkSubscriptionAttribute returns the value as it is kept; empty stands for none.
func checkSubscriptionAttribute(s *Subscription, name, v string) (string, error) {
	switch name {
	case attrRaw:
		return checkRaw(s, v)
	case attrFilterScope:
		if v != "" && v != scopeAttributes && v != scopeBody {
			return "", fmt.Errorf("FilterPolicyScope: Invalid value [%s]. Please use either MessageBody or MessageAttributes", v)
		}
		return v, nil
	case attrFilterPolicy:
		if strings.Join(strings.Fields(v), "") == "{}" {
			return "", nil
		}
		return v, nil
	case attrDeliveryPolicy:
		if v != "" && !s.overHTTP() {
			return "", fmt.Errorf("Delivery protocol [%s] does not support delivery policies.", s.Protocol)
		}
		_, err := parseSubscriptionDelivery(v, defaultDelivery)
		return v, err
	case attrRedrive:
		return v, checkRedrive(s, v)
	case "SubscriptionRoleArn", "ReplayPolicy", "ReplayStatus":
		return "", fmt.Errorf("%s: This attribute is not available here: topics have no Firehose endpoints and no archive", name)
	}
	return "", errors.New("AttributeName")
}

func checkRaw(s *Subscription, v string) (string, error) {
	raw, err := strconv.ParseBool(strings.ToLower(v))
	if err != nil {
		return "", fmt.Errorf("RawMessageDelivery: Invalid value [%s]. Must be true or false.", v)
	}
	if raw && !s.overHTTP() && s.Protocol != protocolSQS {
		return "", fmt.Errorf("Delivery protocol [%s] does not support raw message delivery.", s.Protocol)
	}
	return strconv.FormatBool(raw), nil
}

// checkFilter checks policy and scope together.
func checkFilter(attrs map[string]string) error {
	text := attrs[attrFilterPolicy]
	if text == "" {
		return nil
	}
	if _, err := compileFilter(scopeOf(attrs), text); err != nil {
		return fmt.Errorf("FilterPolicy: %w", err)
	}
	return nil
}

func scopeOf(attrs map[string]string) string {
	if v := attrs[attrFilterScope]; v != "" {
		return v
	}
	return scopeAttributes
}

// redrive is the JSON of RedrivePolicy.
type redrive struct {
	DeadLetterARN string `json:"deadLetterTargetArn"`
}

// checkRedrive checks a RedrivePolicy. AWS: the dead-letter queue is a standard queue in
// the region of the topic and the account of the subscription.
func checkRedrive(s *Subscription, text string) error {
	if text == "" {
		return nil
	}
	var r redrive
	if err := decodeStrict(text, &r); err != nil {
		return fmt.Errorf("RedrivePolicy: %w", err)
	}
	q, ok := parseQueueARN(r.DeadLetterARN)
	switch {
	case !ok:
		return errors.New("RedrivePolicy: deadLetterTargetArn is an invalid arn")
	case strings.HasSuffix(q.name, ".fifo"):
		return errors.New("RedrivePolicy: deadLetterTargetArn: a standard topic needs a standard queue")
	case q.region != s.Topic.Region || q.account != s.Owner:
		return errors.New("RedrivePolicy: the dead-letter queue must be in the same account and region as the subscription")
	}
	return nil
}

// deadLetterARN is the queue of the RedrivePolicy, empty without one.
func (s *Subscription) deadLetterARN() string {
	var r redrive
	if text := s.attrs[attrRedrive]; text != "" {
		_ = json.Unmarshal([]byte(text), &r) // it was checked when it was set
	}
	return r.DeadLetterARN
}

// queueARN is the ARN of a queue in its parts.
type queueARN struct{ region, account, name string }

var validQueue = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}(\.fifo)?$`)

func parseQueueARN(arn string) (queueARN, bool) {
	p := strings.Split(arn, ":")
	if len(p) != 6 {
		return queueARN{}, false
	}
	q := queueARN{region: p[3], account: p[4], name: p[5]}
	ok := arn == "arn:"+event.Partition(q.region)+":sqs:"+q.region+":"+q.account+":"+q.name &&
		auth.IsAccount(q.account) && validRegion.MatchString(q.region) && validQueue.MatchString(q.name)
	return q, ok
}

// attribute returns an attribute's value, or what AWS has for one that is unset.
func (s *Subscription) attribute(name string) string {
	if v, ok := s.attrs[name]; ok {
		return v
	}
	switch name {
	case attrRaw:
		return "false"
	case attrFilterScope:
		return scopeAttributes
	}
	return ""
}

func (s *Subscription) raw() bool      { return s.attrs[attrRaw] == "true" }
func (s *Subscription) filtered() bool { return s.attrs[attrFilterPolicy] != "" }

// delivery is the policy that holds for an http or https endpoint.
func (s *Subscription) delivery() deliveryPolicy {
	base := s.Topic.delivery()
	if base.fixed {
		return base
	}
	p, _ := parseSubscriptionDelivery(s.attrs[attrDeliveryPolicy], base) // it was checked when it was set
	return p
}

// attributes returns what GetSubscriptionAttributes reports.
func (s *Subscription) attributes() map[string]string {
	all := map[string]string{
		"SubscriptionArn":              s.ARN(),
		"TopicArn":                     s.Topic.ARN(),
		"Owner":                        s.Owner,
		"Protocol":                     s.Protocol,
		"Endpoint":                     s.Endpoint,
		"SubscriptionPrincipal":        "arn:" + event.Partition(s.Topic.Region) + ":iam::" + s.Owner + ":root",
		"PendingConfirmation":          strconv.FormatBool(s.state == statePending),
		"ConfirmationWasAuthenticated": strconv.FormatBool(s.authenticated),
		attrRaw:                        s.attribute(attrRaw),
	}
	if s.filtered() {
		all[attrFilterScope] = s.attribute(attrFilterScope)
	}
	if s.overHTTP() {
		all["EffectiveDeliveryPolicy"] = s.delivery().subscriptionJSON()
	}
	maps.Copy(all, s.attrs)
	return all
}
