package topic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

// deliveryPolicy says how messages are delivered to an http or https endpoint.
type deliveryPolicy struct {
	Retry retryPolicy
	// PerSecond is the most deliveries a second; 0 sets no limit.
	PerSecond int
	// ContentType is that of the requests.
	ContentType string
	// fixed says that subscriptions cannot have a policy of their own.
	fixed bool
}

const defaultContentType = "text/plain; charset=UTF-8"

// defaultDelivery is AWS's for http and https endpoints.
var defaultDelivery = deliveryPolicy{
	Retry:       retryPolicy{retries: 3, minDelay: 20 * time.Second, maxDelay: 20 * time.Second, function: "linear"},
	ContentType: defaultContentType,
}

// maxRetryTime is how long all retries to an http endpoint may take. AWS: "a hard limit".
const maxRetryTime = time.Hour

// The JSON of delivery policies. A member that is there and null says nothing.
type (
	wireRetry struct {
		MinDelay        *int    `json:"minDelayTarget"`
		MaxDelay        *int    `json:"maxDelayTarget"`
		Retries         *int    `json:"numRetries"`
		MaxDelayRetries *int    `json:"numMaxDelayRetries"`
		NoDelayRetries  *int    `json:"numNoDelayRetries"`
		MinDelayRetries *int    `json:"numMinDelayRetries"`
		Function        *string `json:"backoffFunction"`
	}
	wireThrottle struct {
		PerSecond *int `json:"maxReceivesPerSecond"`
	}
	wireRequest struct {
		ContentType *string `json:"headerContentType"`
	}
	wireSubscriptionPolicy struct {
		Healthy    *wireRetry    `json:"healthyRetryPolicy"`
		Sickly     *wireRetry    `json:"sicklyRetryPolicy"`
		Throttle   *wireThrottle `json:"throttlePolicy"`
		Request    *wireRequest  `json:"requestPolicy,omitempty"`
		Guaranteed bool          `json:"guaranteed"`
	}
	wireTopicPolicy struct {
		HTTP *wireTopicHTTP `json:"http"`
	}
	wireTopicHTTP struct {
		Healthy  *wireRetry    `json:"defaultHealthyRetryPolicy"`
		Sickly   *wireRetry    `json:"defaultSicklyRetryPolicy,omitempty"`
		Fixed    bool          `json:"disableSubscriptionOverrides"`
		Throttle *wireThrottle `json:"defaultThrottlePolicy,omitempty"`
		Request  *wireRequest  `json:"defaultRequestPolicy,omitempty"`
	}
)

// parseTopicDelivery reads the DeliveryPolicy of a topic. Empty is the default.
func parseTopicDelivery(text string) (deliveryPolicy, error) {
	p := defaultDelivery
	if text == "" {
		return p, nil
	}
	var w wireTopicPolicy
	if err := decodeStrict(text, &w); err != nil {
		return p, errDelivery(err)
	}
	if w.HTTP == nil {
		return p, errDelivery(errors.New("http is missing"))
	}
	if w.HTTP.Sickly != nil {
		return p, errDelivery(errors.New("http.defaultSicklyRetryPolicy is not available"))
	}
	p.fixed = w.HTTP.Fixed
	if err := p.apply(w.HTTP.Healthy, w.HTTP.Throttle, w.HTTP.Request, "http.default"); err != nil {
		return p, errDelivery(err)
	}
	return p, nil
}

// parseSubscriptionDelivery reads the DeliveryPolicy of a subscription; what it
// leaves out is as base has it.
func parseSubscriptionDelivery(text string, base deliveryPolicy) (deliveryPolicy, error) {
	p := base
	if text == "" {
		return p, nil
	}
	var w wireSubscriptionPolicy
	if err := decodeStrict(text, &w); err != nil {
		return p, errDelivery(err)
	}
	if w.Sickly != nil {
		return p, errDelivery(errors.New("sicklyRetryPolicy is not available"))
	}
	if w.Guaranteed {
		return p, errDelivery(errors.New("guaranteed is not available"))
	}
	if err := p.apply(w.Healthy, w.Throttle, w.Request, ""); err != nil {
		return p, errDelivery(err)
	}
	return p, nil
}

func errDelivery(err error) error { return fmt.Errorf("DeliveryPolicy: %w", err) }

func decodeStrict(text string, into any) error {
	if err := httpapi.CheckJSON([]byte(text)); err != nil {
		return fmt.Errorf("failed to parse JSON: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func (p *deliveryPolicy) apply(retry *wireRetry, throttle *wireThrottle, request *wireRequest, prefix string) error {
	member := func(name string) string {
		if prefix == "" {
			return name
		}
		return prefix + strings.ToUpper(name[:1]) + name[1:]
	}
	if retry != nil {
		r, err := retry.policy(member("healthyRetryPolicy"))
		if err != nil {
			return err
		}
		p.Retry = r
	}
	if throttle != nil && throttle.PerSecond != nil {
		if *throttle.PerSecond < 1 {
			return fmt.Errorf("%s.maxReceivesPerSecond must be greater than or equal to 1", member("throttlePolicy"))
		}
		p.PerSecond = *throttle.PerSecond
	}
	if request != nil && request.ContentType != nil {
		if !validContentType(*request.ContentType) {
			return fmt.Errorf("%s.headerContentType %q is not supported", member("requestPolicy"), *request.ContentType)
		}
		p.ContentType = *request.ContentType
	}
	return nil
}

// policy checks a retry policy as AWS does. What it leaves out has AWS's defaults.
func (w *wireRetry) policy(name string) (retryPolicy, error) {
	number := func(v *int, otherwise int) int {
		if v == nil {
			return otherwise
		}
		return *v
	}
	low, high := number(w.MinDelay, 20), number(w.MaxDelay, 20)
	if w.MaxDelay == nil {
		high = max(low, 20)
	}
	if w.MinDelay == nil {
		low = min(high, 20)
	}
	r := retryPolicy{
		retries: number(w.Retries, 3), noDelay: number(w.NoDelayRetries, 0), minDelayRetries: number(w.MinDelayRetries, 0),
		maxDelayRetries: number(w.MaxDelayRetries, 0), minDelay: time.Duration(low) * time.Second, maxDelay: time.Duration(high) * time.Second,
		function: "linear",
	}
	if w.Function != nil {
		r.function = *w.Function
	}
	switch {
	case low < 1:
		return r, fmt.Errorf("%s.minDelayTarget must be greater than or equal to 1", name)
	case high > 3600:
		return r, fmt.Errorf("%s.maxDelayTarget must be less than or equal to 3600", name)
	case low > high:
		return r, fmt.Errorf("%s.maxDelayTarget must be greater than or equal to minDelayTarget", name)
	case r.retries < 0 || r.retries > 100:
		return r, fmt.Errorf("%s.numRetries must be between 0 and 100", name)
	case r.noDelay < 0 || r.minDelayRetries < 0 || r.maxDelayRetries < 0:
		return r, fmt.Errorf("%s: numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries must be greater than or equal to 0", name)
	case r.noDelay > r.retries || r.minDelayRetries > r.retries || r.maxDelayRetries > r.retries || r.backoffRetries() < 0:
		return r, fmt.Errorf("%s.numRetries must be greater than or equal to the sum of numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries", name)
	case !slices.Contains(backoffFunctions, r.function):
		return r, fmt.Errorf("%s.backoffFunction must be one of %s", name, strings.Join(backoffFunctions, ", "))
	case r.total() > maxRetryTime:
		return r, fmt.Errorf("%s: the total of all delays, %s, must not be more than 3600 seconds", name, r.total())
	}
	return r, nil
}

// contentTypes are what headerContentType may be, with or without parameters.
var contentTypes = []string{
	"text/plain", "text/css", "text/csv", "text/html", "text/xml",
	"application/atom+xml", "application/json", "application/octet-stream", "application/soap+xml",
	"application/x-www-form-urlencoded", "application/xhtml+xml", "application/xml",
}

func validContentType(v string) bool {
	kind, _, err := mime.ParseMediaType(v)
	return err == nil && slices.Contains(contentTypes, kind)
}

// delivery is the topic's policy with the defaults. The text was checked when it was set.
func (have *Topic) delivery() deliveryPolicy {
	p, _ := parseTopicDelivery(have.attrs[attrDeliveryPolicy])
	return p
}

func (r retryPolicy) wire() *wireRetry {
	return &wireRetry{
		MinDelay: new(int(r.minDelay / time.Second)), MaxDelay: new(int(r.maxDelay / time.Second)), Retries: new(r.retries),
		MaxDelayRetries: new(r.maxDelayRetries), NoDelayRetries: new(r.noDelay), MinDelayRetries: new(r.minDelayRetries), Function: new(r.function),
	}
}

func (p deliveryPolicy) throttle() *wireThrottle {
	if p.PerSecond == 0 {
		return nil
	}
	return &wireThrottle{PerSecond: new(p.PerSecond)}
}

// topicJSON is EffectiveDeliveryPolicy of a topic.
func (p deliveryPolicy) topicJSON() string {
	return encode(wireTopicPolicy{HTTP: &wireTopicHTTP{
		Healthy: p.Retry.wire(), Fixed: p.fixed, Throttle: p.throttle(), Request: &wireRequest{ContentType: new(p.ContentType)},
	}})
}

// subscriptionJSON is EffectiveDeliveryPolicy of a subscription.
func (p deliveryPolicy) subscriptionJSON() string {
	return encode(wireSubscriptionPolicy{
		Healthy: p.Retry.wire(), Throttle: p.throttle(), Request: &wireRequest{ContentType: new(p.ContentType)},
	})
}

func encode(v any) string {
	text, _ := json.Marshal(v) // of structs of strings and numbers
	return string(text)
}
