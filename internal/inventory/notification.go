package inventory

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// notification is an EC2 Instance State-change Notification, checked.
type notification struct {
	ID         string
	Account    string
	Region     string
	Time       time.Time
	InstanceID string
	State      string
}

const (
	stateChangeSource = "aws.ec2"
	stateChangeType   = "EC2 Instance State-change Notification"
)

// notOurs is a valid event that the inventory does not act on.
type notOurs string

// Error says what would be acted on.
func (n notOurs) Error() string { return string(n) }

// envelope holds the members of an event that matter here. Others are let pass:
// AWS adds members, such as replay-name.
type envelope struct {
	Version    *string         `json:"version"`
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       string          `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// inWords tells a caller, who knows nothing of Go, of JSON of the wrong shape.
func inWords(err error) string {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case !ok:
		return err.Error()
	case wrong.Field == "":
		return "it is JSON of type " + wrong.Value + ", not an object"
	}
	return "its " + wrong.Field + " is of type " + wrong.Value
}

// parseNotification reads the body of a webhook call. The error is ErrInvalid with
// what is wrong, or notOurs.
func parseNotification(body []byte) (notification, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return notification{}, invalid("The body is not one EventBridge event: %s.", inWords(err))
	}
	if e.Version != nil && *e.Version != "0" {
		return notification{}, invalid("The event's version is %q; this webhook knows version \"0\".", *e.Version)
	}
	for _, m := range []struct {
		name, value string
		max         int
	}{{"id", e.ID, 64}, {"source", e.Source, 256}, {"detail-type", e.DetailType, 512}, {"account", e.Account, 12}, {"time", e.Time, 64}, {"region", e.Region, 64}} {
		if m.value == "" {
			return notification{}, invalid("The event has no %s. If the rule's target has an input transformer, remove it.", m.name)
		}
		if len(m.value) > m.max {
			return notification{}, invalid("The event's %s is %d bytes long, more than the %d allowed.", m.name, len(m.value), m.max)
		}
	}
	if e.Source != stateChangeSource || e.DetailType != stateChangeType {
		return notification{}, notOurs("This webhook acts on events of source " + stateChangeSource + " and detail-type " + stateChangeType + ".")
	}
	n := notification{ID: e.ID, Account: e.Account, Region: e.Region}
	if !accountForm.MatchString(n.Account) {
		return notification{}, invalid("The event's account %q is not 12 digits.", n.Account)
	}
	if strings.ContainsFunc(n.Region, func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
		return notification{}, invalid("The event's region %q does not look like us-east-1.", n.Region)
	}
	var err error
	if n.Time, err = time.Parse(time.RFC3339, e.Time); err != nil {
		return notification{}, invalid("The event's time %q does not look like 2026-01-15T21:29:54Z.", e.Time)
	}
	n.Time = n.Time.UTC().Truncate(time.Millisecond)
	return n, n.readDetail(e)
}

func (n *notification) readDetail(e envelope) error {
	var detail struct {
		InstanceID string `json:"instance-id"`
		State      string `json:"state"`
	}
	if len(e.Detail) == 0 {
		return invalid("The event has no detail. If the rule's target has an input transformer, remove it.")
	}
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return invalid("The event's detail is not that of a state change: %s.", err)
	}
	// AWS prints an example with a space before the id.
	n.InstanceID, n.State = strings.TrimSpace(detail.InstanceID), detail.State
	if !instanceIDForm.MatchString(n.InstanceID) {
		return invalid("The event's instance-id %q does not look like i-0abcd1234ef567890.", detail.InstanceID)
	}
	if n.State == "" {
		return invalid("The event's detail has no state.")
	}
	if stateRank(n.State) == 0 {
		return notOurs("The state " + n.State + " is not one that this webhook acts on.")
	}
	return n.checkResources(e.Resources)
}

// checkResources refuses an event whose ARN speaks of something else than its
// members do. AWS: the ARN is that of the instance, in any partition.
func (n *notification) checkResources(arns []string) error {
	if len(arns) == 0 {
		return nil
	}
	if len(arns) > 1 {
		return invalid("The event names %d resources, a state change names one.", len(arns))
	}
	p := strings.SplitN(strings.TrimSpace(arns[0]), ":", 6)
	ok := len(p) == 6 && p[0] == "arn" && strings.HasPrefix(p[1], "aws") && p[2] == "ec2" &&
		p[3] == n.Region && p[4] == n.Account && strings.ReplaceAll(p[5], " ", "") == "instance/"+n.InstanceID
	if !ok {
		return invalid("The event's resource %q is not the instance that its other members name.", arns[0])
	}
	return nil
}
