package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// maxPolicy is AWS's limit for the policy of a bus, in characters.
const maxPolicy = 10240

// ActionPutEvents is the action that a bus's policy has to allow to let events in.
const ActionPutEvents = "events:PutEvents"

// Caller is on whose account and in which region an operation acts.
type Caller struct {
	// Account is 12 digits.
	Account string
	Region  string
	// AccessKeyID is the access key of the call, for the traces of its events.
	AccessKeyID string
}

// Permission is one statement of a bus's policy, in the short form of AWS's
// PutPermission.
type Permission struct {
	StatementID string
	// Action must be events:PutEvents.
	Action string
	// Principal is a 12-digit account or *.
	Principal string
	// OrgID limits the statement to accounts of an organization; empty: no limit.
	OrgID string
}

// PutPermission adds a statement to the bus's policy, or replaces the one with
// its id.
func (b *Buses) PutPermission(ctx context.Context, ref event.BusRef, p Permission) error {
	if p.Action != ActionPutEvents {
		return awsapi.ValidationException("Provided value in parameter 'action' is not supported.")
	}
	return b.changePolicy(ctx, ref, func(doc *policyDocument) error { return doc.put(p, ref) })
}

// PutPolicy replaces the bus's whole policy.
func (b *Buses) PutPolicy(ctx context.Context, ref event.BusRef, policy string) error {
	if err := checkPolicy(policy); err != nil {
		return err
	}
	return b.savePolicy(ctx, ref, func(string) (string, error) { return policy, nil })
}

// RemovePermission removes the statement from the bus's policy. AWS:
// ResourceNotFoundException when there is none.
func (b *Buses) RemovePermission(ctx context.Context, ref event.BusRef, statementID string) error {
	return b.changePolicy(ctx, ref, func(doc *policyDocument) error {
		i := doc.find(statementID)
		if i < 0 {
			return notFound("Statement with the provided id does not exist.")
		}
		doc.Statement = append(doc.Statement[:i], doc.Statement[i+1:]...)
		return nil
	})
}

// RemovePolicy removes all of the bus's policy.
func (b *Buses) RemovePolicy(ctx context.Context, ref event.BusRef) error {
	return b.savePolicy(ctx, ref, func(string) (string, error) { return "", nil })
}

func (b *Buses) changePolicy(ctx context.Context, ref event.BusRef, edit func(*policyDocument) error) error {
	return b.savePolicy(ctx, ref, func(old string) (string, error) {
		doc, err := readPolicy(old)
		if err != nil {
			return "", err
		}
		if err := edit(doc); err != nil {
			return "", err
		}
		if len(doc.Statement) == 0 {
			return "", nil
		}
		text, err := json.Marshal(doc)
		if err != nil {
			return "", err
		}
		return string(text), checkPolicy(string(text))
	})
}

func (b *Buses) savePolicy(ctx context.Context, ref event.BusRef, edit func(old string) (string, error)) error {
	return b.change(ctx, ref, func(tx *store.Tx, _ int64) ([]string, error) {
		_, err := b.changeBus(ctx, tx, ref, func(e *EventBus) (err error) {
			e.Policy, err = edit(e.Policy)
			return err
		})
		return nil, err
	})
}

func checkPolicy(policy string) error {
	if utf8.RuneCountInString(policy) > maxPolicy {
		return awsapi.Errorf(events.CodePolicyLengthExceededException, "The policy of an event bus can have at most %d characters.", maxPolicy)
	}
	if err := auth.ValidatePolicy(policy); err != nil {
		return awsapi.ValidationException("Provided value in parameter 'policy' is not valid. Reason: %s", err)
	}
	return nil
}

// policyDocument is a policy whose statements are left as they were written.
type policyDocument struct {
	Version   string `json:",omitempty"`
	ID        string `json:"Id,omitempty"`
	Statement []json.RawMessage
}

func readPolicy(text string) (*policyDocument, error) {
	if text == "" {
		return &policyDocument{Version: "2012-10-17"}, nil
	}
	var doc struct {
		Version, ID string
		Statement   json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("read policy of event bus: %w", err)
	}
	read := &policyDocument{Version: doc.Version, ID: doc.ID}
	if len(doc.Statement) > 0 && doc.Statement[0] == '{' {
		read.Statement = []json.RawMessage{doc.Statement}
		return read, nil
	}
	if err := json.Unmarshal(doc.Statement, &read.Statement); err != nil {
		return nil, fmt.Errorf("read policy of event bus: %w", err)
	}
	return read, nil
}

// find returns the index of the statement with the id, -1 if there is none.
func (d *policyDocument) find(id string) int {
	for i, raw := range d.Statement {
		var s struct{ Sid string }
		if json.Unmarshal(raw, &s) == nil && s.Sid == id {
			return i
		}
	}
	return -1
}

func (d *policyDocument) put(p Permission, ref event.BusRef) error {
	statement := struct {
		Sid, Effect string
		Principal   any
		Action      string
		Resource    string
		Condition   map[string]map[string]string `json:",omitempty"`
	}{Sid: p.StatementID, Effect: "Allow", Principal: "*", Action: p.Action, Resource: ref.ARN()}
	if p.Principal != "*" {
		statement.Principal = map[string]string{"AWS": "arn:" + event.Partition(ref.Region) + ":iam::" + p.Principal + ":root"}
	}
	if p.OrgID != "" {
		statement.Condition = map[string]map[string]string{"StringEquals": {"aws:PrincipalOrgID": p.OrgID}}
	}
	raw, err := json.Marshal(statement)
	if err != nil {
		return err
	}
	if i := d.find(p.StatementID); i >= 0 {
		d.Statement[i] = raw
		return nil
	}
	d.Statement = append(d.Statement, raw)
	return nil
}

// denyAll stands in for a policy that this version cannot read.
const denyAll = `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`

// policyOf returns the bus's policy, parsed; nil if it has none.
func (b *Buses) policyOf(e EventBus) *auth.Policy {
	if e.Policy == "" {
		return nil
	}
	p, err := auth.ParsePolicy(e.Policy)
	if err == nil {
		return p
	}
	b.logger.Error("policy of event bus cannot be read; nothing is allowed on it", "bus", e.Ref.ARN(), "error", err)
	if p, err = auth.ParsePolicy(denyAll); err != nil {
		panic("bus: " + err.Error()) // a constant
	}
	return p
}

// lookup returns what this node knows of the bus, asking SQL about a bus that
// it does not know; nil when there is no such bus.
func (b *Buses) lookup(ctx context.Context, ref event.BusRef) (*snapshot, error) {
	s := b.snapshotOf(ref)
	if s != nil && s.exists {
		return s, nil
	}
	if ref.Name == event.DefaultBus {
		return emptyDefault, nil
	}
	version, err := selectVersion(ctx, b.db, ref)
	if err != nil {
		return nil, fmt.Errorf("look for event bus %s: %w", ref.ARN(), err)
	}
	if uint64(version) <= b.RuleVersion(ref) {
		return nil, nil
	}
	if err := b.WaitVersion(ctx, ref, uint64(version)); err != nil {
		return nil, err
	}
	if s = b.snapshotOf(ref); s != nil && s.exists {
		return s, nil
	}
	return nil, nil
}

// emptyDefault is a default bus of which nothing was ever set.
var emptyDefault = &snapshot{exists: true}

// denial says why the bus's policy does not let r.Principal do r.Action on
// r.Resource, or on the bus if that is empty, in AWS's words; empty if it does.
// Without a policy, or where it says nothing, the bus's own account may and others
// may not. A nil snapshot is a bus that does not exist, which has no policy.
func (b *Buses) denial(s *snapshot, ref event.BusRef, r auth.PolicyRequest) string {
	r.OrgID = b.orgID
	if r.Resource == "" {
		r.Resource = ref.ARN()
	}
	var policy *auth.Policy
	if s != nil {
		policy = s.policy
	}
	if auth.Permit(policy, ref.Account, r) {
		return ""
	}
	because := "because no resource-based policy allows the " + r.Action + " action"
	if policy != nil && policy.Evaluate(r) == auth.Deny {
		because = "with an explicit deny in a resource-based policy"
	}
	who := r.Principal
	if auth.IsAccount(who) {
		who = "arn:" + event.Partition(ref.Region) + ":iam::" + who + ":root"
	}
	return fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", who, r.Action, r.Resource, because)
}

func accessDenied(denial string) error { return events.ErrAccessDeniedException("%s", denial) }
