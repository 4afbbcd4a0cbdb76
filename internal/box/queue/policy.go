package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// checkPolicy checks a Policy attribute; empty removes the policy.
func checkPolicy(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxPolicySize {
		return errPolicy("the policy is %d bytes long, more than the %d allowed", len(text), maxPolicySize)
	}
	if err := auth.ValidatePolicy(text); err != nil {
		return errPolicy("%v", err)
	}
	return nil
}

// ownerOnly are the actions that a policy cannot grant to other accounts. AWS:
// "Cross-account permissions don't apply to" them.
var ownerOnly = map[string]bool{
	"AddPermission": true, "CancelMessageMoveTask": true, "DeleteQueue": true, "ListMessageMoveTasks": true,
	"ListQueueTags": true, "RemovePermission": true, "SetQueueAttributes": true, "StartMessageMoveTask": true,
	"TagQueue": true, "UntagQueue": true,
}

// notDeniable are what an owner may always do, so that a policy that denies
// everything can be taken back. AWS: the account's root user may.
var notDeniable = map[string]bool{"SetQueueAttributes": true, "RemovePermission": true, "DeleteQueue": true}

// authorize says whether the caller in ctx may do the action, such as
// SendMessage, on the queue. The caller's role has been checked by the dispatcher.
func authorize(ctx context.Context, have *Queue, action string) error {
	caller := awsapi.CallerFrom(ctx)
	r := auth.PolicyRequest{Principal: caller.Account, Action: "sqs:" + action, Resource: have.ARN()}
	who := "arn:" + event.Partition(have.Region) + ":iam::" + caller.Account + ":root"
	src, service := auth.SourceFrom(ctx)
	if service {
		r.Principal, r.Service, r.SourceARN, r.SourceAccount = "", src.Service, src.ARN, src.Account
		who = src.Service
	}
	owner := !service && caller.Account == have.Account
	switch {
	case owner && notDeniable[action]:
		return nil
	case !owner && ownerOnly[action]:
	case auth.Permit(have.policy, have.Account, r):
		return nil
	}
	lower := strings.ToLower(r.Action)
	why := "because no resource-based policy allows the " + lower + " action"
	if have.policy != nil && have.policy.Evaluate(r) == auth.Deny {
		why = "with an explicit deny in a resource-based policy"
	}
	return errDenied(who, lower, have.ARN(), why)
}

// policyDocument is a policy as AddPermission writes it. Statements are kept
// as they are.
type policyDocument struct {
	Version   string            `json:"Version,omitempty"`
	ID        string            `json:"Id,omitempty"`
	Statement []json.RawMessage `json:"Statement"`
}

type policyStatement struct {
	Sid       string          `json:"Sid"`
	Effect    string          `json:"Effect"`
	Principal policyPrincipal `json:"Principal"`
	Action    any             `json:"Action"`
	Resource  string          `json:"Resource"`
}

type policyPrincipal struct {
	AWS any `json:"AWS"`
}

// grantable are the actions that AddPermission takes.
var grantable = []string{"*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility",
	"GetQueueAttributes", "GetQueueUrl", "ListDeadLetterSourceQueues", "PurgeQueue"}

const maxStatements = 20

// Allow adds a statement to the queue's policy that allows the actions
// to the accounts. The label, up to 80 letters, digits, hyphens and underscores, is its Sid.
func (q *Queues) Allow(ctx context.Context, r Ref, label string, accounts, actions []string) error {
	if !validLabel(label) {
		return errParameter("Label", label, "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")
	}
	statement, err := permission(r, label, accounts, actions)
	if err != nil {
		return err
	}
	return q.changePolicy(ctx, r, func(doc *policyDocument) error {
		if slices.ContainsFunc(doc.Statement, labelled(label)) {
			return errParameter("Label", label, "Already exists.")
		}
		if len(doc.Statement) >= maxStatements {
			return errPolicy("a policy can have at most %d statements", maxStatements)
		}
		doc.Statement = append(doc.Statement, statement)
		return nil
	})
}

// Disallow removes the statement whose Sid is the label.
func (q *Queues) Disallow(ctx context.Context, r Ref, label string) error {
	return q.changePolicy(ctx, r, func(doc *policyDocument) error {
		n := len(doc.Statement)
		doc.Statement = slices.DeleteFunc(doc.Statement, labelled(label))
		if len(doc.Statement) == n {
			return errParameter("Label", label, "can't find label.")
		}
		return nil
	})
}

func validLabel(label string) bool {
	return validName.MatchString(label) && !strings.Contains(label, ".")
}

// permission returns the statement that AddPermission adds.
func permission(r Ref, label string, accounts, actions []string) (json.RawMessage, error) {
	if len(accounts) == 0 {
		return nil, errMissing("PrincipalId")
	}
	if len(actions) == 0 {
		return nil, errMissing("ActionName")
	}
	if len(actions) > 7 {
		return nil, errInvalid("The number of actions, %d, exceeds the maximum of 7.", len(actions))
	}
	var principals, granted []string
	for _, a := range accounts {
		if !validAccount.MatchString(a) {
			return nil, errParameter("PrincipalId", a, "Unable to verify.")
		}
		principals = append(principals, "arn:"+event.Partition(r.Region)+":iam::"+a+":root")
	}
	for _, a := range actions {
		if !slices.Contains(grantable, a) {
			return nil, errParameter("ActionName", "SQS:"+a, "Only the queue owner is allowed to invoke this action.")
		}
		granted = append(granted, "SQS:"+a)
	}
	return json.Marshal(policyStatement{
		Sid: label, Effect: "Allow", Principal: policyPrincipal{AWS: oneOrMany(principals)},
		Action: oneOrMany(granted), Resource: r.ARN(),
	})
}

// oneOrMany writes a single value without a list, as AWS does.
func oneOrMany(list []string) any {
	if len(list) == 1 {
		return list[0]
	}
	return list
}

func labelled(label string) func(json.RawMessage) bool {
	return func(s json.RawMessage) bool {
		var head struct{ Sid string }
		return json.Unmarshal(s, &head) == nil && head.Sid == label
	}
}

// changePolicy edits the statements of the queue's policy; without any left,
// the policy goes.
func (q *Queues) changePolicy(ctx context.Context, r Ref, edit func(*policyDocument) error) error {
	return q.change(ctx, r, func(tx *store.Tx, have *Queue) error {
		doc, err := readPolicy(have)
		if err != nil {
			return err
		}
		if err := edit(&doc); err != nil {
			return err
		}
		text := ""
		if len(doc.Statement) > 0 {
			b, err := json.Marshal(doc)
			if err != nil {
				return fmt.Errorf("write policy of %s: %w", r.ARN(), err)
			}
			text = string(b)
		}
		attrs, err := changeAttributes(have.attrs, map[string]string{attrPolicy: text})
		if err != nil {
			return err
		}
		return updateAttributes(ctx, tx, have.id, parseSettings(attrs), attrs, q.now())
	})
}

func readPolicy(have *Queue) (policyDocument, error) {
	doc := policyDocument{Version: "2012-10-17", ID: have.ARN() + "/SQSDefaultPolicy"}
	if have.Policy == "" {
		return doc, nil
	}
	// A policy may have a single statement that is in no list.
	var in struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(have.Policy), &in); err != nil {
		return doc, fmt.Errorf("read policy of %s: %w", have.ARN(), err)
	}
	doc.Version, doc.ID = in.Version, in.ID
	if json.Unmarshal(in.Statement, &doc.Statement) != nil {
		doc.Statement = []json.RawMessage{in.Statement}
	}
	return doc, nil
}
