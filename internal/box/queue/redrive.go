package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/rialto-bus/rialto/internal/store"
)

// Redrive says when a message leaves for the dead-letter queue.
type Redrive struct {
	DeadLetter Ref
	// MaxReceives is how often a message is received before it is moved.
	MaxReceives int64
}

// redriveText is the JSON of a RedrivePolicy in the order in which AWS returns it.
type redriveText struct {
	DeadLetterARN string `json:"deadLetterTargetArn"`
	MaxReceives   int64  `json:"maxReceiveCount"`
}

// canonicalRedrive checks a RedrivePolicy by itself. AWS: maxReceiveCount may
// be a number or a string, and is returned as a number.
func canonicalRedrive(v string) (string, error) {
	if v == "" {
		return "", nil
	}
	var in map[string]json.RawMessage
	if json.Unmarshal([]byte(v), &in) != nil || in == nil {
		return "", errParameter(attrRedrivePolicy, v, "Redrive policy is not a valid JSON map.")
	}
	for name := range in {
		if name != "deadLetterTargetArn" && name != "maxReceiveCount" {
			return "", errParameter(attrRedrivePolicy, v, "Redrive policy contains an unknown attribute: %s.", name)
		}
	}
	for _, name := range []string{"deadLetterTargetArn", "maxReceiveCount"} {
		if in[name] == nil {
			return "", errParameter(attrRedrivePolicy, v, "Redrive policy does not contain mandatory attribute: %s.", name)
		}
	}
	var arn string
	if json.Unmarshal(in["deadLetterTargetArn"], &arn) != nil {
		return "", errParameter(attrRedrivePolicy, v, "Invalid value for deadLetterTargetArn.")
	}
	if _, ok := ParseARN(arn); !ok {
		return "", errParameter(attrRedrivePolicy, v, "Invalid value for deadLetterTargetArn.")
	}
	text := string(bytes.Trim(in["maxReceiveCount"], `"`))
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > 1000 {
		return "", errParameter(attrRedrivePolicy, v, "Invalid value for maxReceiveCount: %s, valid values are from 1 to 1000 both inclusive.", text)
	}
	out, err := json.Marshal(redriveText{arn, n})
	return string(out), err
}

// parseRedrive reads what canonicalRedrive returned.
func parseRedrive(v string) *Redrive {
	var t redriveText
	if v == "" || json.Unmarshal([]byte(v), &t) != nil {
		return nil
	}
	dead, _ := ParseARN(t.DeadLetterARN)
	return &Redrive{DeadLetter: dead, MaxReceives: t.MaxReceives}
}

// The values of redrivePermission.
const (
	allowAll     = "allowAll"
	denyAll      = "denyAll"
	allowByQueue = "byQueue"
)

// redriveAllowText is the JSON of a RedriveAllowPolicy.
type redriveAllowText struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns,omitempty"`
}

func canonicalRedriveAllow(v string) (string, error) {
	if v == "" {
		return "", nil
	}
	var t redriveAllowText
	dec := json.NewDecoder(bytes.NewReader([]byte(v)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil || dec.More() {
		return "", errParameter(attrRedriveAllow, v, "Redrive allow policy is not a valid JSON map of redrivePermission and sourceQueueArns.")
	}
	if _, ok := oneOf(allowAll, denyAll, allowByQueue)(t.Permission); !ok {
		return "", errParameter(attrRedriveAllow, v, "redrivePermission must be one of allowAll, denyAll and byQueue.")
	}
	if (t.Permission == allowByQueue) != (len(t.Sources) > 0) || len(t.Sources) > 10 {
		return "", errParameter(attrRedriveAllow, v, "sourceQueueArns needs 1 to 10 ARNs with redrivePermission byQueue, and must be left out otherwise.")
	}
	for _, arn := range t.Sources {
		if _, ok := ParseARN(arn); !ok {
			return "", errParameter(attrRedriveAllow, v, "sourceQueueArns holds an invalid ARN: %s.", arn)
		}
	}
	out, err := json.Marshal(t)
	return string(out), err
}

// mayRedrive says whether the queue lets source use it for its dead letters.
func (have *Queue) mayRedrive(source Ref) bool {
	v := have.attrs[attrRedriveAllow]
	if v == "" {
		return true
	}
	var t redriveAllowText
	if json.Unmarshal([]byte(v), &t) != nil {
		return false
	}
	return t.Permission == allowAll || t.Permission == allowByQueue && slices.Contains(t.Sources, source.ARN())
}

// checkRedrive checks a queue's dead-letter queue: it exists, is of the same
// owner, region and type, and lets this queue use it.
func checkRedrive(ctx context.Context, tx *store.Tx, source Ref, set Settings, attrs map[string]string) error {
	if set.Redrive == nil {
		return nil
	}
	bad := func(reason string, args ...any) error {
		return errParameter(attrRedrivePolicy, attrs[attrRedrivePolicy], reason, args...)
	}
	r := set.Redrive.DeadLetter
	if r.Account != source.Account {
		return bad("Dead-letter target owner should be same as the source.")
	}
	if r.Region != source.Region {
		return bad("Dead letter target must be in the same region as the source.")
	}
	if r == source {
		return bad("Dead letter target must not be the source queue itself.")
	}
	dead, err := findQueue(ctx, tx, r)
	if err != nil {
		return err
	}
	if dead == nil {
		return bad("Dead letter target does not exist.")
	}
	if dead.FIFO != set.FIFO {
		return bad("Dead-letter queue must be same type of queue as the source.")
	}
	if !dead.mayRedrive(source) {
		return bad("Queue does not have permission to use %s as a dead-letter queue.", r.ARN())
	}
	return nil
}

// DeadLetterSources returns up to limit queues of the same account and region
// that name r as their dead-letter queue, in order of name after the one given.
func (q *Queues) DeadLetterSources(ctx context.Context, r Ref, after string, limit int) ([]Ref, error) {
	return listSources(ctx, q.db, r, after, limit)
}
