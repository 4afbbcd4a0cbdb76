package auth

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// policyCase is one file of testdata/policy.
type policyCase struct {
	Policy json.RawMessage `json:"policy"`
	Asks   []struct {
		Name     string        `json:"name"`
		Request  PolicyRequest `json:"request"`
		Decision string        `json:"decision"`
	} `json:"asks"`
}

func TestEvaluatePolicyCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/policy/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c policyCase
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(c.Asks) == 0 {
			t.Errorf("%s asks nothing", file)
		}
		for _, ask := range c.Asks {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json")+"/"+ask.Name, func(t *testing.T) {
				got, err := evaluate(string(c.Policy), ask.Request)
				if err != nil {
					t.Fatal(err)
				}
				if got.String() != ask.Decision {
					t.Errorf("decision %s, want %s", got, ask.Decision)
				}
			})
		}
	}
}

func TestConditions(t *testing.T) {
	many := func(v ...string) map[string][]string { return map[string][]string{"events:source": v} }
	tests := []struct {
		name      string
		condition string
		context   map[string][]string
		want      bool
	}{
		{"StringEquals", `{"StringEquals":{"events:source":"a"}}`, many("a"), true},
		{"StringEquals minds case", `{"StringEquals":{"events:source":"a"}}`, many("A"), false},
		{"StringEquals has alternatives", `{"StringEquals":{"events:source":["x","a"]}}`, many("a"), true},
		{"StringEquals knows no wildcard", `{"StringEquals":{"events:source":"*"}}`, many("a"), false},
		{"StringEquals takes * for itself", `{"StringEquals":{"events:source":"*"}}`, many("*"), true},
		{"keys ignore case", `{"StringEquals":{"EVENTS:Source":"a"}}`, many("a"), true},
		{"a missing key fails", `{"StringEquals":{"events:source":"a"}}`, nil, false},
		{"IfExists forgives a missing key", `{"StringEqualsIfExists":{"events:source":"a"}}`, nil, true},
		{"IfExists minds a key that is there", `{"StringEqualsIfExists":{"events:source":"a"}}`, many("b"), false},
		{"StringNotEquals", `{"StringNotEquals":{"events:source":["a","b"]}}`, many("b"), false},
		{"StringNotEquals of a missing key holds", `{"StringNotEquals":{"events:source":"a"}}`, nil, true},
		{"StringEqualsIgnoreCase", `{"StringEqualsIgnoreCase":{"events:source":"Straße"}}`, many("STRAße"), true},
		{"StringNotEqualsIgnoreCase", `{"StringNotEqualsIgnoreCase":{"events:source":"a"}}`, many("A"), false},
		{"StringLike run", `{"StringLike":{"events:source":"com.*.事件"}}`, many("com.例.事件"), true},
		{"StringLike one", `{"StringLike":{"events:source":"?🎉"}}`, many("🎈🎉"), true},
		{"StringLike one is not none", `{"StringLike":{"events:source":"?"}}`, many(""), false},
		{"StringNotLike", `{"StringNotLike":{"events:source":"aws.*"}}`, many("aws.ec2"), false},
		{"conditions are joined by and", `{"StringLike":{"events:source":"a*"},"StringNotLike":{"events:source":"*b"}}`, many("ab"), false},
		{"ForAnyValue", `{"ForAnyValue:StringEquals":{"events:source":"b"}}`, many("a", "b"), true},
		{"ForAnyValue of none", `{"ForAnyValue:StringEquals":{"events:source":"b"}}`, nil, false},
		{"ForAnyValue negated", `{"ForAnyValue:StringNotEquals":{"events:source":"b"}}`, many("b"), false},
		{"ForAllValues", `{"ForAllValues:StringEquals":{"events:source":["a","b"]}}`, many("a", "b"), true},
		{"ForAllValues with one too many", `{"ForAllValues:StringEquals":{"events:source":["a","b"]}}`, many("a", "c"), false},
		{"ForAllValues of none", `{"ForAllValues:StringEquals":{"events:source":"a"}}`, nil, true},
		{"ForAllValues negated", `{"ForAllValues:StringNotEquals":{"events:source":"b"}}`, many("a", "b"), false},
		{"ArnLike", `{"ArnLike":{"aws:SourceArn":"arn:aws:events:*:111111111111:rule/*"}}`, nil, true},
		{"ArnEquals takes wildcards too", `{"ArnEquals":{"aws:SourceArn":"arn:aws:events:eu-west-?:111111111111:rule/b*"}}`, nil, true},
		{"an ARN's wildcard stays in its part", `{"ArnLike":{"events:source":"arn:aws:logs:*:111111111111:log-group:*"}}`,
			many("arn:aws:logs:eu-west-1:222222222222:log-group:111111111111:log-group:x"), false},
		{"an ARN's last part takes in colons", `{"ArnLike":{"events:source":"arn:aws:logs:*:222222222222:log-group:*"}}`,
			many("arn:aws:logs:eu-west-1:222222222222:log-group:a:b:c"), true},
		{"ArnNotEquals", `{"ArnNotEquals":{"aws:SourceArn":"arn:aws:events:eu-west-1:111111111111:rule/bus/r"}}`, nil, false},
		{"Bool", `{"Bool":{"aws:PrincipalIsAWSService":"true"}}`, nil, true},
		{"Bool written as a boolean", `{"Bool":{"aws:PrincipalIsAWSService":true}}`, nil, true},
		{"Bool the other way", `{"Bool":{"aws:PrincipalIsAWSService":"false"}}`, nil, false},
		{"Null of a missing key", `{"Null":{"events:source":"true"}}`, nil, true},
		{"Null of a key that is there", `{"Null":{"events:source":"true"}}`, many("a"), false},
		{"not Null", `{"Null":{"events:source":false}}`, many("a"), true},
		{"NumericLessThanEquals", `{"NumericLessThanEquals":{"events:source":10}}`, many("10.0"), true},
		{"NumericGreaterThan", `{"NumericGreaterThan":{"events:source":"10"}}`, many("9"), false},
		{"a number that is none", `{"NumericEquals":{"events:source":"10"}}`, many("ten"), false},
		{"DateGreaterThan", `{"DateGreaterThan":{"events:source":"2026-01-01T00:00:00Z"}}`, many("2026-01-01T00:00:01Z"), true},
		{"the current time is known", `{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`, nil, false},
		{"IpAddress", `{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.1"]}}`, map[string][]string{"aws:SourceIp": {"192.0.2.1"}}, true},
		{"NotIpAddress", `{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, map[string][]string{"aws:SourceIp": {"10.9.9.9"}}, false},
		{"a variable", `{"StringEquals":{"events:source":"x-${aws:SourceAccount}"}}`, many("x-111111111111"), true},
		{"a variable's value is literal", `{"StringLike":{"events:source":"${aws:PrincipalOrgID}"}}`, many("anything"), false},
		{"a variable with a default", `{"StringEquals":{"events:source":"${events:nothing, 'b'}"}}`, many("b"), true},
		{"a variable without a value matches nothing", `{"StringLike":{"events:source":"*${events:nothing}"}}`, many("b"), false},
		{"an escaped star", `{"StringLike":{"events:source":"a${*}"}}`, many("ab"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":` + tt.condition + `}}`
			got, err := evaluate(policy, PolicyRequest{
				Service: "events.amazonaws.com", Action: "sqs:SendMessage", Resource: "arn:aws:sqs:eu-west-1:111111111111:q",
				SourceARN: "arn:aws:events:eu-west-1:111111111111:rule/bus/r", SourceAccount: "111111111111", OrgID: "*",
				Context: tt.context,
			})
			if err != nil {
				t.Fatal(err)
			}
			if (got == Allow) != tt.want {
				t.Errorf("%s: %v", tt.condition, got)
			}
		})
	}
}

func TestVariablesAreLiteralInTheLanguageOf2008(t *testing.T) {
	policy := `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*",
		"Condition":{"StringEquals":{"events:source":"${aws:SourceAccount}"}}}}`
	for value, want := range map[string]Decision{"${aws:SourceAccount}": Allow, "111111111111": NoMatch} {
		got, err := evaluate(policy, PolicyRequest{SourceAccount: "111111111111", Context: map[string][]string{"events:source": {value}}})
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", value, got, err, want)
		}
	}
}

func TestValidatePolicyRefusesByName(t *testing.T) {
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	with := func(s string) string {
		return statement(`{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"` + s + `}`)
	}
	tests := []struct{ name, policy, message string }{
		{"no JSON", `{`, "not valid JSON"},
		{"empty", ``, "not valid JSON"},
		{"a list", `[]`, "JSON object"},
		{"an unknown element", `{"Statements":[]}`, `"Statements"`},
		{"an element in another case", `{"statement":[]}`, `"statement"`},
		{"a repeated element", `{"Statement":[],"Statement":[]}`, "twice"},
		{"no statement", `{"Version":"2012-10-17"}`, "Statement"},
		{"an unknown version", `{"Version":"2020-01-01","Statement":[]}`, "Version"},
		{"an unknown effect", statement(`{"Effect":"allow","Principal":"*","Action":"*","Resource":"*"}`), "Effect"},
		{"no principal", statement(`{"Effect":"Allow","Action":"*","Resource":"*"}`), "Principal"},
		{"NotPrincipal", statement(`{"Effect":"Deny","NotPrincipal":"*","Action":"*","Resource":"*"}`), "NotPrincipal"},
		{"a federated principal", statement(`{"Effect":"Allow","Principal":{"Federated":"x"},"Action":"*","Resource":"*"}`), "Federated"},
		{"an empty principal", statement(`{"Effect":"Allow","Principal":{},"Action":"*","Resource":"*"}`), "Principal"},
		{"a principal with a wildcard", statement(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:user/*"},"Action":"*","Resource":"*"}`), "without wildcards"},
		{"a service that is none", statement(`{"Effect":"Allow","Principal":{"Service":"events"},"Action":"*","Resource":"*"}`), `"events"`},
		{"no action", statement(`{"Effect":"Allow","Principal":"*","Resource":"*"}`), "Action is missing"},
		{"both actions", with(`,"NotAction":"*"`), "exclude"},
		{"an action without service", statement(`{"Effect":"Allow","Principal":"*","Action":"SendMessage","Resource":"*"}`), `"SendMessage"`},
		{"an empty action list", statement(`{"Effect":"Allow","Principal":"*","Action":[],"Resource":"*"}`), "Action is empty"},
		{"no resource", statement(`{"Effect":"Allow","Principal":"*","Action":"*"}`), "Resource is missing"},
		{"a resource that is no ARN", statement(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"queue"}`), `"queue"`},
		{"an unknown operator", with(`,"Condition":{"StringMatches":{"aws:SourceArn":"x"}}`), `"StringMatches"`},
		{"an operator in another case", with(`,"Condition":{"stringequals":{"aws:SourceArn":"x"}}`), `"stringequals"`},
		{"Null with IfExists", with(`,"Condition":{"NullIfExists":{"aws:SourceArn":"true"}}`), "Null stands alone"},
		{"a key that is none", with(`,"Condition":{"StringEquals":{"SourceArn":"x"}}`), `"SourceArn"`},
		{"a condition without value", with(`,"Condition":{"StringEquals":{"aws:SourceArn":[]}}`), "no value"},
		{"a value that is an object", with(`,"Condition":{"StringEquals":{"aws:SourceArn":{}}}`), "strings"},
		{"a number that is none", with(`,"Condition":{"NumericEquals":{"aws:x":"y"}}`), "not a number"},
		{"a date that is none", with(`,"Condition":{"DateEquals":{"aws:x":"yesterday"}}`), "not a date"},
		{"an address that is none", with(`,"Condition":{"IpAddress":{"aws:SourceIp":"300.0.0.1"}}`), "CIDR"},
		{"a boolean that is none", with(`,"Condition":{"Bool":{"aws:x":"yes"}}`), "true or false"},
		{"an ARN that is none", with(`,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws"}}`), "not an ARN"},
		{"a variable without end", with(`,"Condition":{"StringEquals":{"aws:x":"${aws:y"}}`), "no end"},
		{"two statements of one Sid", statement(`{"Sid":"一","Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Sid":"一","Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`), "twice"},
		{"a policy too large", `{"Id":"` + strings.Repeat("x", MaxPolicySize) + `"}`, "allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := ValidatePolicy(tt.policy)
			if err == nil || !strings.Contains(err.Error(), tt.message) {
				t.Errorf("ValidatePolicy = %v, want %q in it", err, tt.message)
			}
		})
	}
}

func TestPermit(t *testing.T) {
	const owner, other = "111111111111", "222222222222"
	policy := func(s string) *Policy {
		p, err := ParsePolicy(s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	allowOther := policy(`{"Statement":{"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"sqs:SendMessage","Resource":"*"}}`)
	denyAll := policy(`{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}}`)
	account := func(a string) PolicyRequest {
		return PolicyRequest{Principal: a, Action: "sqs:SendMessage", Resource: "x"}
	}
	rule := func(a string) PolicyRequest {
		return PolicyRequest{Service: "events.amazonaws.com", SourceAccount: a, Action: "sqs:SendMessage", Resource: "x"}
	}
	tests := []struct {
		name   string
		policy *Policy
		ask    PolicyRequest
		want   bool
	}{
		{"no policy, same account", nil, account(owner), true},
		{"no policy, other account", nil, account(other), false},
		{"no policy, rule of the same account", nil, rule(owner), true},
		{"no policy, rule of another account", nil, rule(other), false},
		{"no policy, nobody", nil, PolicyRequest{}, false},
		{"policy allows the other account", allowOther, account(other), true},
		{"policy silent, same account", allowOther, account(owner), true},
		{"policy silent, user of the same account", allowOther, account("arn:aws:iam::111111111111:user/x"), true},
		{"policy silent, rule of the same account", allowOther, rule(owner), false},
		{"policy denies the owner", denyAll, account(owner), false},
	}
	for _, tt := range tests {
		if got := Permit(tt.policy, owner, tt.ask); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	files, _ := filepath.Glob("testdata/policy/*.json")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var c policyCase
		if json.Unmarshal(text, &c) == nil {
			f.Add(string(c.Policy), "events.amazonaws.com", "sqs:SendMessage", "arn:aws:sqs:eu-west-1:111111111111:q")
		}
	}
	f.Fuzz(func(t *testing.T, policy, who, action, resource string) {
		p, err := ParsePolicy(policy)
		if err != nil {
			return
		}
		for _, r := range []PolicyRequest{{Service: who}, {Principal: who}} {
			r.Action, r.Resource = action, resource
			if a, b := p.Evaluate(r), p.Evaluate(r); a != b {
				t.Errorf("two answers: %v and %v", a, b)
			}
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("*:*", "a:b")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		g, err := compileGlob(pattern, false)
		if err != nil {
			t.Fatalf("%q without variables does not compile: %v", pattern, err)
		}
		lit, err := literalGlob(s, false)
		if err != nil || !lit.match(s, nil, false) {
			t.Errorf("%q does not match itself", s)
		}
		if !strings.ContainsAny(pattern, "*?") && g.match(s, nil, false) != (string([]rune(pattern)) == string([]rune(s))) {
			t.Errorf("pattern %q without wildcards against %q", pattern, s)
		}
	})
}

// evaluate parses a policy and says what it decides.
func evaluate(policyJSON string, r PolicyRequest) (Decision, error) {
	p, err := ParsePolicy(policyJSON)
	if err != nil {
		return Deny, err
	}
	return p.Evaluate(r), nil
}
