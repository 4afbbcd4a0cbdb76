package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
)

// maxPolicySize is AWS's limit of a topic's policy in bytes.
const maxPolicySize = 30 << 10

// grantable are the actions that a topic's policy may speak of.
var grantable = map[string]bool{
	"addpermission": true, "deletetopic": true, "getdataprotectionpolicy": true, "gettopicattributes": true,
	"listsubscriptionsbytopic": true, "listtagsforresource": true, "publish": true, "putdataprotectionpolicy": true,
	"removepermission": true, "settopicattributes": true, "subscribe": true, "receive": true, "*": true,
}

// ownerOnly are the actions that a policy cannot grant to other accounts.
var ownerOnly = map[string]bool{"TagResource": true, "UntagResource": true}

// notDeniable are what an owner may always do, so that a policy that denies
// everything can be taken back. AWS: the account's root user may.
var notDeniable = map[string]bool{"SetTopicAttributes": true, "DeleteTopic": true}

// checkPolicy checks a Policy attribute.
func checkPolicy(text string) error {
	if text == "" {
		return errInvalid("Policy is empty")
	}
	if len(text) > maxPolicySize {
		return errParameter(attrPolicy, "The policy is %d bytes long, more than the %d allowed", len(text), maxPolicySize)
	}
	if err := auth.ValidatePolicy(text); err != nil {
		return errParameter(attrPolicy, "%v", err)
	}
	var doc struct{ Statement statements }
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return errParameter(attrPolicy, "%v", err)
	}
	for _, s := range doc.Statement {
		for _, a := range s.Action {
			service, name, _ := strings.Cut(strings.ToLower(a), ":")
			if a != "*" && (service != "sns" || !grantable[name] && !strings.ContainsAny(name, "*?")) {
				return errInvalid("Policy statement action out of service scope!")
			}
		}
	}
	return nil
}

// statements and words read what policies may write with or without a list.
type (
	statements []struct{ Action words }
	words      []string
)

// UnmarshalJSON reads a statement or a list of them.
func (s *statements) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(string(b), "{") {
		b = []byte("[" + string(b) + "]")
	}
	return json.Unmarshal(b, (*[]struct{ Action words })(s))
}

// UnmarshalJSON reads a string or a list of them.
func (w *words) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(string(b), `"`) {
		b = []byte("[" + string(b) + "]")
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// defaultPolicy is what AWS reports of a topic whose policy was not set. A topic
// that is given this very text behaves as one without a policy.
func defaultPolicy(r Ref) string {
	return fmt.Sprintf(`{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow",`+
		`"Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission",`+
		`"SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":"%s",`+
		`"Condition":{"StringEquals":{"AWS:SourceOwner":"%s"}}}]}`, r.ARN(), r.Account)
}

// authorize says whether the caller in ctx may do the action, such as Publish,
// on the topic. The caller's role has been checked by the dispatcher. about holds
// further condition keys.
func authorize(ctx context.Context, have *Topic, action string, about map[string][]string) error {
	caller := awsapi.CallerFrom(ctx)
	r := auth.PolicyRequest{Principal: caller.Account, Action: "SNS:" + action, Resource: have.ARN(), Context: about}
	who := "arn:" + event.Partition(have.Region) + ":iam::" + caller.Account + ":root"
	onBehalfOf := caller.Account
	src, service := auth.SourceFrom(ctx)
	if service {
		r.Principal, r.Service, r.SourceARN, r.SourceAccount = "", src.Service, src.ARN, src.Account
		who, onBehalfOf = src.Service, src.Account
	}
	if r.Context == nil {
		r.Context = map[string][]string{}
	}
	r.Context["AWS:SourceOwner"] = []string{onBehalfOf}
	owner := !service && caller.Account == have.Account
	switch {
	case owner && notDeniable[action]:
		return nil
	case !owner && ownerOnly[action]:
	case auth.Permit(have.policy, have.Account, r):
		return nil
	}
	why := "because no resource-based policy allows the " + r.Action + " action"
	if have.policy != nil && have.policy.Evaluate(r) == auth.Deny {
		why = "with an explicit deny in a resource-based policy"
	}
	return errDenied(who, r.Action, have.ARN(), why)
}
