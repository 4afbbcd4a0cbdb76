package function

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/event"
)

// maxPolicySize is AWS's limit of a function's policy in bytes.
const maxPolicySize = 20 << 10

// actionInvoke is the permission that an invocation needs.
const actionInvoke = "lambda:InvokeFunction"

// authorize says whether the caller in ctx may do the action, such as
// lambda:InvokeFunction, on the function. The own account's keys may by their role, which the
// dispatcher has checked; other accounts, and services such as a rule, by the function's
// policy only.
func (f *Functions) authorize(ctx context.Context, fn *Function, action string) error {
	caller := awsapi.CallerFrom(ctx)
	r := auth.PolicyRequest{Principal: caller.Account, Action: action, Resource: fn.ARN()}
	who := "arn:" + event.Partition(fn.Region) + ":iam::" + caller.Account + ":root"
	if src, service := auth.SourceFrom(ctx); service {
		r.Principal, r.Service, r.SourceARN, r.SourceAccount = "", src.Service, src.ARN, src.Account
		who = src.Service
	} else {
		if caller.Account == fn.Account {
			return nil
		}
		r.OrgID = f.o.OrgID
	}
	if fn.policy != nil && fn.policy.Evaluate(r) == auth.Allow {
		return nil
	}
	return errDenied(who, action, fn.ARN(), "because no resource-based policy allows the "+action+" action")
}

// policyDocument is a policy as AWS writes it.
type policyDocument struct {
	Version   string            `json:"Version"`
	ID        string            `json:"Id"`
	Statement []json.RawMessage `json:"Statement"`
}

func readPolicy(fn *Function) (policyDocument, error) {
	doc := policyDocument{Version: "2012-10-17", ID: "default"}
	if fn.policyText == "" {
		return doc, nil
	}
	if err := json.Unmarshal([]byte(fn.policyText), &doc); err != nil {
		return doc, fmt.Errorf("read the policy of %s: %w", fn.ARN(), err)
	}
	return doc, nil
}

func (fn *Function) setPolicy(doc policyDocument) error {
	fn.policyText = ""
	if len(doc.Statement) == 0 {
		return nil
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write the policy of %s: %w", fn.ARN(), err)
	}
	if len(text) > maxPolicySize {
		return lambda.ErrPolicyLengthExceededException("The final policy size (%d) is bigger than the limit (%d).", len(text), maxPolicySize)
	}
	if err := auth.ValidatePolicy(string(text)); err != nil {
		return errParameter("The statement cannot be part of a policy: %v", err)
	}
	fn.policyText = string(text)
	return nil
}

// addStatement adds to the function's policy.
func (fn *Function) addStatement(sid string, statement json.RawMessage) error {
	doc, err := readPolicy(fn)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(doc.Statement, called(sid)) {
		return lambda.ErrResourceConflictException("The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", sid)
	}
	doc.Statement = append(doc.Statement, statement)
	return fn.setPolicy(doc)
}

// removeStatement takes a statement from the function's policy. Without any left, the policy goes.
func (fn *Function) removeStatement(sid string) error {
	doc, err := readPolicy(fn)
	if err != nil {
		return err
	}
	n := len(doc.Statement)
	doc.Statement = slices.DeleteFunc(doc.Statement, called(sid))
	if len(doc.Statement) == n {
		return lambda.ErrResourceNotFoundException("Statement %s is not found in resource policy.", sid)
	}
	return fn.setPolicy(doc)
}

func called(sid string) func(json.RawMessage) bool {
	return func(s json.RawMessage) bool {
		var head struct{ Sid string }
		return json.Unmarshal(s, &head) == nil && head.Sid == sid
	}
}
