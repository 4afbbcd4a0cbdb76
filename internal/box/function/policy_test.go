package function

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func permission(id, principal string, change ...func(*lambda.AddPermissionInput)) *lambda.AddPermissionInput {
	in := &lambda.AddPermissionInput{FunctionName: new("hello"), StatementId: &id, Action: new(actionInvoke), Principal: &principal}
	for _, c := range change {
		c(in)
	}
	return in
}

const ruleARN = "arn:aws:events:eu-west-1:111122223333:rule/订单"

func TestAddPermissionWritesTheStatementAsAWSDoes(t *testing.T) {
	const tail = `"Action":"lambda:InvokeFunction","Resource":"` + helloARN + `"`
	for name, tt := range map[string]struct {
		in   *lambda.AddPermissionInput
		want string
	}{
		"a service": {permission("s", "events.amazonaws.com"), `{"Sid":"s","Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},` + tail + `}`},
		"a service for a source": {permission("s", "events.amazonaws.com", func(in *lambda.AddPermissionInput) { in.SourceArn, in.SourceAccount = new(ruleARN), new(account) }),
			`{"Sid":"s","Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},` + tail + `,"Condition":{"ArnLike":{"AWS:SourceArn":"` + ruleARN + `"},"StringEquals":{"AWS:SourceAccount":"` + account + `"}}}`},
		"an account": {permission("s", other), `{"Sid":"s","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},` + tail + `}`},
		"a role":     {permission("s", "arn:aws:iam::444455556666:role/caller"), `{"Sid":"s","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:role/caller"},` + tail + `}`},
		"an organization": {permission("s", "*", func(in *lambda.AddPermissionInput) { in.PrincipalOrgID = new("o-a1b2c3d4e5") }),
			`{"Sid":"s","Effect":"Allow","Principal":"*",` + tail + `,"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}}`},
		"a token": {permission("s", "alexa-appkit.amazonaws.com", func(in *lambda.AddPermissionInput) { in.EventSourceToken = new("token") }),
			`{"Sid":"s","Effect":"Allow","Principal":{"Service":"alexa-appkit.amazonaws.com"},` + tail + `,"Condition":{"StringEquals":{"lambda:EventSourceToken":"token"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSQLite(t)
			f.newFunction("hello")
			out := must[*lambda.AddPermissionOutput](f, "AddPermission", tt.in)
			if diff := cmp.Diff(tt.want, *out.Statement); diff != "" {
				t.Error(diff)
			}
			policy := must[*lambda.GetPolicyOutput](f, "GetPolicy", &lambda.GetPolicyInput{FunctionName: new("hello")})
			if diff := cmp.Diff(`{"Version":"2012-10-17","Id":"default","Statement":[`+tt.want+`]}`, *policy.Policy); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPolicyGrowsAndGoes(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("hello")
		refused := func(operation string, in any, want string) {
			t.Helper()
			if _, err := call[any](f, operation, in); err == nil || err.Error() != want {
				t.Errorf("%s: got %v", operation, err)
			}
		}
		remove := func(id string) *lambda.RemovePermissionInput {
			return &lambda.RemovePermissionInput{FunctionName: new("hello"), StatementId: &id}
		}
		get := &lambda.GetPolicyInput{FunctionName: new("hello")}
		refused("GetPolicy", get, "ResourceNotFoundException: The resource you requested does not exist.")
		refused("RemovePermission", remove("one"), "ResourceNotFoundException: Statement one is not found in resource policy.")
		must[*lambda.AddPermissionOutput](f, "AddPermission", permission("one", other))
		must[*lambda.AddPermissionOutput](f, "AddPermission", permission("two", "*"))
		refused("AddPermission", permission("one", "*"), "ResourceConflictException: The statement id (one) provided already exists. Please provide a new statement id, or remove the existing statement.")
		must[*lambda.RemovePermissionOutput](f, "RemovePermission", remove("one"))
		if got := *must[*lambda.GetPolicyOutput](f, "GetPolicy", get).Policy; strings.Contains(got, `"one"`) || !strings.Contains(got, `"two"`) {
			t.Errorf("got %s", got)
		}
		must[*lambda.RemovePermissionOutput](f, "RemovePermission", remove("two"))
		refused("GetPolicy", get, "ResourceNotFoundException: The resource you requested does not exist.")
	})
}

func TestAPolicyHas20KilobytesAtMost(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("hello")
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = call[*lambda.AddPermissionOutput](f, "AddPermission", permission(fmt.Sprintf("statement-%03d", i), "events.amazonaws.com"))
	}
	if !awsapi.HasCode(err, lambda.CodePolicyLengthExceededException) || !strings.Contains(err.Error(), "is bigger than the limit (20480).") {
		t.Errorf("got %v", err)
	}
	policy := must[*lambda.GetPolicyOutput](f, "GetPolicy", &lambda.GetPolicyInput{FunctionName: new("hello")})
	if n := len(*policy.Policy); n > 20480 || n < 20000 {
		t.Errorf("it holds %d bytes", n)
	}
}

func TestThePolicyDecidesForServicesAndOtherAccounts(t *testing.T) {
	events := auth.Source{Service: "events.amazonaws.com", ARN: ruleARN, Account: account}
	fromRule := func(in *lambda.AddPermissionInput) {
		in.SourceArn = new("arn:aws:events:eu-west-1:111122223333:rule/*")
	}
	fromOtherRule := func(in *lambda.AddPermissionInput) {
		in.SourceArn = new("arn:aws:events:eu-west-1:111122223333:rule/other")
	}
	for name, tt := range map[string]struct {
		granted []*lambda.AddPermissionInput
		source  *auth.Source
		caller  string
		allowed bool
	}{
		"the own account needs none":                    {nil, nil, account, true},
		"the own account beside a policy":               {[]*lambda.AddPermissionInput{permission("s", other)}, nil, account, true},
		"another account without a policy":              {nil, nil, other, false},
		"another account that is allowed":               {[]*lambda.AddPermissionInput{permission("s", other)}, nil, other, true},
		"another account beside one that is":            {[]*lambda.AddPermissionInput{permission("s", "777788889999")}, nil, other, false},
		"everybody":                                     {[]*lambda.AddPermissionInput{permission("s", "*")}, nil, other, true},
		"the organization":                              {[]*lambda.AddPermissionInput{permission("s", "*", func(in *lambda.AddPermissionInput) { in.PrincipalOrgID = new("o-a1b2c3d4e5") })}, nil, other, true},
		"another organization":                          {[]*lambda.AddPermissionInput{permission("s", "*", func(in *lambda.AddPermissionInput) { in.PrincipalOrgID = new("o-z9y8x7w6v5") })}, nil, other, false},
		"another action":                                {[]*lambda.AddPermissionInput{permission("s", other, func(in *lambda.AddPermissionInput) { in.Action = new("lambda:GetFunction") })}, nil, other, false},
		"every action":                                  {[]*lambda.AddPermissionInput{permission("s", other, func(in *lambda.AddPermissionInput) { in.Action = new("lambda:*") })}, nil, other, true},
		"a rule without a policy, its own account's":    {nil, &events, account, false},
		"a rule beside another principal":               {[]*lambda.AddPermissionInput{permission("s", other)}, &events, account, false},
		"a rule that is allowed":                        {[]*lambda.AddPermissionInput{permission("s", "events.amazonaws.com", fromRule)}, &events, account, true},
		"another rule than the one that is":             {[]*lambda.AddPermissionInput{permission("s", "events.amazonaws.com", fromOtherRule)}, &events, account, false},
		"one of two statements":                         {[]*lambda.AddPermissionInput{permission("s", "events.amazonaws.com", fromOtherRule), permission("r", "events.amazonaws.com", fromRule)}, &events, account, true},
		"another service":                               {[]*lambda.AddPermissionInput{permission("s", "sns.amazonaws.com")}, &events, account, false},
		"a rule of another account than the one it was": {[]*lambda.AddPermissionInput{permission("s", "events.amazonaws.com", func(in *lambda.AddPermissionInput) { in.SourceAccount = new(other) })}, &events, account, false},
		"a token that no service here has":              {[]*lambda.AddPermissionInput{permission("s", "events.amazonaws.com", func(in *lambda.AddPermissionInput) { in.EventSourceToken = new("t") })}, &events, account, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSQLite(t)
			arn := f.newFunction("hello")
			for _, in := range tt.granted {
				must[*lambda.AddPermissionOutput](f, "AddPermission", in)
			}
			ctx := t.Context()
			if tt.source != nil {
				ctx = auth.WithSource(ctx, *tt.source)
			}
			_, err := callAs[*lambda.InvokeOutput](f, ctx, admin(tt.caller), "Invoke", &lambda.InvokeInput{FunctionName: &arn})
			if tt.allowed && err != nil || !tt.allowed && !awsapi.HasCode(err, "AccessDeniedException") {
				t.Errorf("got %v", err)
			}
		})
	}
}
