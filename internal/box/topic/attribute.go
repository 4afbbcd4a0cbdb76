package topic

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The names of the attributes of topics, as AWS has them.
const (
	attrDeliveryPolicy   = "DeliveryPolicy" // of subscriptions, too
	attrDisplayName      = "DisplayName"
	attrPolicy           = "Policy"
	attrSignatureVersion = "SignatureVersion"
	attrTracing          = "TracingConfig"
)

// maxDisplayName is AWS's limit in characters.
const maxDisplayName = 100

// absent are attributes of AWS's topics that are not to be had here, each with
// the values that ask for nothing: they are taken and change nothing.
var absent = map[string][]string{
	"KmsMasterKeyId":            {""},
	"FifoTopic":                 {"", "false"},
	"ContentBasedDeduplication": {"", "false"},
	"FifoThroughputScope":       {""},
	"ArchivePolicy":             {"", "{}"},
	"DataProtectionPolicy":      {""},
}

// statusLogging are the attributes by which AWS logs deliveries.
var statusLogging = regexp.MustCompile(`^(HTTP|Firehose|Lambda|Application|SQS)(SuccessFeedbackRoleArn|SuccessFeedbackSampleRate|FailureFeedbackRoleArn)$`)

// newAttributes checks a new topic's name and attributes and returns those that
// are to be kept.
func newAttributes(r Ref, attrs map[string]string) (map[string]string, error) {
	if strings.HasSuffix(r.Name, ".fifo") || strings.EqualFold(attrs["FifoTopic"], "true") {
		return nil, errParameter("Topic Name", "FIFO topics are not available here. Use a standard topic, or send to a FIFO queue.")
	}
	if !validName.MatchString(r.Name) {
		return nil, errInvalid("Topic Name")
	}
	kept := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		v, err := checkAttribute(name, attrs[name])
		if err != nil {
			return nil, err
		}
		if absent[name] == nil {
			kept[name] = v
		}
	}
	return kept, nil
}

// checkAttribute checks an attribute's value and returns it as it is kept.
func checkAttribute(name, v string) (string, error) {
	if nothing, ok := absent[name]; ok {
		if slices.Contains(nothing, strings.ToLower(v)) {
			return "", nil
		}
		return "", errParameter(name, "This attribute is not available here: topics have no KMS keys, no FIFO order, no archive and no data protection. Leave it out.")
	}
	if statusLogging.MatchString(name) {
		return "", errParameter(name, "Delivery status logging is not available here. Leave it out.")
	}
	switch name {
	case attrDisplayName:
		if utf8.RuneCountInString(v) > maxDisplayName || strings.ContainsFunc(v, unicode.IsControl) || !validText(v) {
			return "", errInvalid(name)
		}
		return v, nil
	case attrSignatureVersion:
		if v != "1" && v != "2" {
			return "", errParameter(name, "The signature version must be 1 or 2.")
		}
		return v, nil
	case attrTracing:
		if v == "Active" {
			return "", errParameter(name, "Active tracing is not available here. Use PassThrough, which hands on the publisher's trace header.")
		}
		if v != "PassThrough" {
			return "", errParameter(name, "The value must be PassThrough.")
		}
		return v, nil
	case attrDeliveryPolicy:
		if _, err := parseTopicDelivery(v); err != nil {
			return "", errInvalid(err.Error())
		}
		return v, nil
	case attrPolicy:
		return v, checkPolicy(v)
	}
	return "", errInvalid("AttributeName")
}

// attribute returns an attribute's value, or what AWS has for one that is unset.
func (have *Topic) attribute(name string) string {
	if v, ok := have.attrs[name]; ok {
		return v
	}
	switch name {
	case attrPolicy:
		return defaultPolicy(have.Ref)
	case attrSignatureVersion:
		return "1"
	case attrTracing:
		return "PassThrough"
	}
	return ""
}

// states are how many subscriptions a topic has in each state.
type states struct{ confirmed, pending, removed int64 }

// attributes returns what GetTopicAttributes reports.
func (have *Topic) attributes(n states) map[string]string {
	all := map[string]string{
		"TopicArn":                have.ARN(),
		"Owner":                   have.Account,
		"SubscriptionsConfirmed":  strconv.FormatInt(n.confirmed, 10),
		"SubscriptionsPending":    strconv.FormatInt(n.pending, 10),
		"SubscriptionsDeleted":    strconv.FormatInt(n.removed, 10),
		"EffectiveDeliveryPolicy": have.delivery().topicJSON(),
		attrPolicy:                have.attribute(attrPolicy),
		attrDisplayName:           have.attribute(attrDisplayName),
	}
	maps.Copy(all, have.attrs)
	return all
}
