package function

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/event"
)

// grantable are the actions that AddPermission takes: what is done with one function.
var grantable = map[string]bool{
	"*": true, "lambda:*": true, actionInvoke: true, "lambda:AddPermission": true, "lambda:DeleteFunction": true,
	"lambda:GetFunction": true, "lambda:GetFunctionConfiguration": true, "lambda:GetPolicy": true, "lambda:ListTags": true,
	"lambda:RemovePermission": true, "lambda:TagResource": true, "lambda:UntagResource": true,
	"lambda:UpdateFunctionCode": true, "lambda:UpdateFunctionConfiguration": true,
}

// statement is a statement as AWS's AddPermission writes it.
type statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Principal any                          `json:"Principal"`
	Action    string                       `json:"Action"`
	Resource  string                       `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

// newStatement returns the statement that AddPermission adds.
func newStatement(r Ref, in *lambda.AddPermissionInput) (json.RawMessage, error) {
	if err := checkPermission(in); err != nil {
		return nil, err
	}
	principal, err := permissionPrincipal(r, *in.Principal)
	if err != nil {
		return nil, err
	}
	s := statement{
		Sid: *in.StatementId, Effect: "Allow", Principal: principal, Action: *in.Action, Resource: r.ARN(),
		Condition: map[string]map[string]string{},
	}
	s.when("StringEquals", "AWS:SourceAccount", in.SourceAccount)
	s.when("StringEquals", "aws:PrincipalOrgID", in.PrincipalOrgID)
	s.when("StringEquals", "lambda:EventSourceToken", in.EventSourceToken)
	s.when("ArnLike", "AWS:SourceArn", in.SourceArn)
	return json.Marshal(s)
}

func checkPermission(in *lambda.AddPermissionInput) error {
	switch {
	case text(in.FunctionUrlAuthType) != "":
		return errUnsupported("FunctionUrlAuthType", "functions have no URLs here.")
	case in.InvokedViaFunctionUrl != nil && *in.InvokedViaFunctionUrl:
		return errUnsupported("InvokedViaFunctionUrl", "functions have no URLs here.")
	case !grantable[*in.Action]:
		return errUnsupported("The action "+*in.Action, "a function's policy can grant lambda:InvokeFunction and what else is done with one function.")
	}
	return nil
}

func (s *statement) when(operator, key string, value *string) {
	if text(value) == "" {
		return
	}
	if s.Condition[operator] == nil {
		s.Condition[operator] = map[string]string{}
	}
	s.Condition[operator][key] = *value
}

var (
	servicePrincipal = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?$`)
	iamPrincipal     = regexp.MustCompile(`^arn:aws[a-z-]*:(iam|sts)::(\d{12}):(root|user/.+|role/.+|assumed-role/.+|federated-user/.+)$`)
)

// permissionPrincipal writes a principal as a policy has it: everybody, a service, an account or
// one of its users and roles.
func permissionPrincipal(r Ref, name string) (any, error) {
	switch {
	case name == "*":
		return "*", nil
	case auth.IsAccount(name):
		return map[string]string{"AWS": "arn:" + event.Partition(r.Region) + ":iam::" + name + ":root"}, nil
	case iamPrincipal.MatchString(name) && !strings.ContainsAny(name, "*?"):
		return map[string]string{"AWS": name}, nil
	case servicePrincipal.MatchString(name):
		return map[string]string{"Service": name}, nil
	}
	return nil, errParameter("The provided principal was invalid. Please check the principal and try again.")
}
