package queue

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names of the attributes that can be set, as AWS has them.
const (
	attrDelay         = "DelaySeconds"
	attrMaxSize       = "MaximumMessageSize"
	attrRetention     = "MessageRetentionPeriod"
	attrPolicy        = "Policy"
	attrWait          = "ReceiveMessageWaitTimeSeconds"
	attrVisibility    = "VisibilityTimeout"
	attrRedrivePolicy = "RedrivePolicy"
	attrRedriveAllow  = "RedriveAllowPolicy"
	attrFIFO          = "FifoQueue"
	attrContentDedup  = "ContentBasedDeduplication"
	attrDedupScope    = "DeduplicationScope"
	attrThroughput    = "FifoThroughputLimit"
	attrManagedSSE    = "SqsManagedSseEnabled"
	attrKmsKey        = "KmsMasterKeyId"
	attrKmsReuse      = "KmsDataKeyReusePeriodSeconds"
)

// MaxMessageSize is the largest message, body and attributes, in bytes. AWS:
// also the largest sum of a batch.
const MaxMessageSize = 1 << 20

// maxPolicySize is AWS's limit of a queue's policy in bytes.
const maxPolicySize = 8192

// Settings are a queue's attributes with their defaults.
type Settings struct {
	FIFO                               bool
	Delay, Retention, Visibility, Wait time.Duration
	// MaxSize is the size in bytes up to which the queue takes messages.
	MaxSize int
	// ContentDedup makes the hash of the body the deduplication id of messages without one.
	ContentDedup bool
	// DedupByGroup says that deduplication ids count within their message group only.
	DedupByGroup bool
	// Policy is the resource policy's JSON; empty without one.
	Policy string
	// Redrive is nil without a dead-letter queue.
	Redrive *Redrive
}

// attributeRule checks a value and returns its canonical form.
type attributeRule struct {
	check    func(value string) (string, bool)
	initial  string // reported while unset
	fifoOnly bool
}

var attributeRules = map[string]attributeRule{
	attrDelay:         {check: number(0, 900), initial: "0"},
	attrMaxSize:       {check: number(1024, MaxMessageSize), initial: strconv.Itoa(MaxMessageSize)},
	attrRetention:     {check: number(60, 1209600), initial: "345600"},
	attrWait:          {check: number(0, 20), initial: "0"},
	attrVisibility:    {check: number(0, 43200), initial: "30"},
	attrManagedSSE:    {check: boolean, initial: "true"},
	attrPolicy:        {check: anything},
	attrRedrivePolicy: {check: anything},
	attrRedriveAllow:  {check: anything},
	attrFIFO:          {check: boolean, fifoOnly: true},
	attrContentDedup:  {check: boolean, initial: "false", fifoOnly: true},
	attrDedupScope:    {check: oneOf("queue", "messageGroup"), initial: "queue", fifoOnly: true},
	attrThroughput:    {check: oneOf("perQueue", "perMessageGroupId"), initial: "perQueue", fifoOnly: true},
}

func number(low, high int) func(string) (string, bool) {
	return func(v string) (string, bool) {
		n, err := strconv.Atoi(v)
		return strconv.Itoa(n), err == nil && n >= low && n <= high
	}
}

func boolean(v string) (string, bool) {
	v = strings.ToLower(v)
	return v, v == "true" || v == "false"
}

func oneOf(words ...string) func(string) (string, bool) {
	return func(v string) (string, bool) {
		if slices.Contains(words, v) {
			return v, true
		}
		return "", false
	}
}

// anything is for attributes that have a check of their own.
func anything(v string) (string, bool) { return v, true }

// newAttributes checks a new queue's name and attributes and returns them in
// canonical form.
func newAttributes(name string, attrs map[string]string) (map[string]string, error) {
	fifo := strings.EqualFold(attrs[attrFIFO], "true")
	if !validName.MatchString(name) || fifo != strings.HasSuffix(name, ".fifo") {
		if fifo {
			return nil, errInvalid("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
		}
		return nil, errInvalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	if v, ok := attrs[attrFIFO]; ok && !fifo {
		if _, ok := boolean(v); !ok {
			return nil, errAttributeValue(attrFIFO)
		}
		return nil, errAttributeName(attrFIFO)
	}
	initial := map[string]string{}
	if fifo {
		initial[attrFIFO] = "true"
	}
	return changeAttributes(initial, attrs)
}

// changeAttributes returns the attributes with the changes, all checked by
// themselves and against each other.
func changeAttributes(have, changed map[string]string) (map[string]string, error) {
	next := make(map[string]string, len(have)+len(changed))
	maps.Copy(next, have)
	fifo := have[attrFIFO] == "true"
	for name, v := range changed {
		v, err := checkAttribute(name, v, fifo)
		if err != nil {
			return nil, err
		}
		if v == "" {
			delete(next, name)
			continue
		}
		next[name] = v
	}
	if next[attrThroughput] == "perMessageGroupId" && next[attrDedupScope] != "messageGroup" {
		return nil, errInvalid("The FifoThroughputLimit attribute can be set to perMessageGroupId only when DeduplicationScope is set to messageGroup.")
	}
	return next, nil
}

// checkAttribute returns the canonical value; empty stands for none.
func checkAttribute(name, v string, fifo bool) (string, error) {
	switch name {
	case attrKmsKey, attrKmsReuse:
		if v == "" {
			return "", nil
		}
		return "", errUnsupported("The attribute %s is not available: queues here have no KMS keys. Leave it out, or set SqsManagedSseEnabled.", name)
	case attrPolicy:
		return v, checkPolicy(v)
	case attrRedrivePolicy:
		return canonicalRedrive(v)
	case attrRedriveAllow:
		return canonicalRedriveAllow(v)
	}
	rule, ok := attributeRules[name]
	if !ok || rule.fifoOnly && !fifo {
		return "", errAttributeName(name)
	}
	v, ok = rule.check(v)
	if !ok || name == attrFIFO && v != "true" {
		return "", errAttributeValue(name)
	}
	return v, nil
}

// sameAttributes says whether a queue that exists has the values given.
func sameAttributes(have, given map[string]string) error {
	for name, v := range given {
		now, ok := have[name]
		if !ok {
			now = attributeRules[name].initial
		}
		if now != v {
			return errQueueExists(name)
		}
	}
	return nil
}

// parseSettings reads attributes that have been checked.
func parseSettings(attrs map[string]string) Settings {
	text := func(name string) string {
		if v, ok := attrs[name]; ok {
			return v
		}
		return attributeRules[name].initial
	}
	num := func(name string) int {
		n, _ := strconv.Atoi(text(name))
		return n
	}
	secs := func(name string) time.Duration { return time.Duration(num(name)) * time.Second }
	return Settings{
		FIFO:         text(attrFIFO) == "true",
		Delay:        secs(attrDelay),
		Retention:    secs(attrRetention),
		Visibility:   secs(attrVisibility),
		Wait:         secs(attrWait),
		MaxSize:      num(attrMaxSize),
		ContentDedup: text(attrContentDedup) == "true",
		DedupByGroup: text(attrDedupScope) == "messageGroup",
		Policy:       text(attrPolicy),
		Redrive:      parseRedrive(text(attrRedrivePolicy)),
	}
}

// Attributes returns the attributes that are set or have a default, as
// GetQueueAttributes reports them: those that can be set, QueueArn,
// CreatedTimestamp and LastModifiedTimestamp.
func (have *Queue) Attributes() map[string]string {
	all := map[string]string{
		"QueueArn":              have.ARN(),
		"CreatedTimestamp":      strconv.FormatInt(have.Created/1000, 10),
		"LastModifiedTimestamp": strconv.FormatInt(have.Modified/1000, 10),
	}
	for name, rule := range attributeRules {
		v, ok := have.attrs[name]
		if !ok {
			v = rule.initial
		}
		if v != "" && (have.FIFO || !rule.fifoOnly) {
			all[name] = v
		}
	}
	return all
}

// knownAttribute says whether GetQueueAttributes may be asked for the name.
func knownAttribute(name string) bool {
	if _, ok := attributeRules[name]; ok {
		return true
	}
	switch name {
	case "All", "QueueArn", "CreatedTimestamp", "LastModifiedTimestamp", attrVisible, attrInFlight, attrDelayed, attrKmsKey, attrKmsReuse:
		return true
	}
	return false
}

// The names of the counts of messages.
const (
	attrVisible  = "ApproximateNumberOfMessages"
	attrInFlight = "ApproximateNumberOfMessagesNotVisible"
	attrDelayed  = "ApproximateNumberOfMessagesDelayed"
)

// encodeMap writes a map as the tables hold it; nil becomes {}.
func encodeMap(m map[string]string) string {
	if m == nil {
		m = map[string]string{}
	}
	text, _ := json.Marshal(m) // a map of strings always encodes
	return string(text)
}
