package topic

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filterCase is a file of testdata/filter: a policy, and messages that it lets
// through or keeps out.
type filterCase struct {
	// Rule is what the case holds.
	Rule   string
	Scope  string
	Policy json.RawMessage
	// Error is what the policy is refused with; empty where it is taken.
	Error string
	// Accepted and Rejected are messages: attributes, or a body.
	Accepted, Rejected []struct {
		Attributes map[string]struct{ Type, Value string }
		Body       string
	}
}

func TestFilterCases(t *testing.T) {
	files, err := filepath.Glob("testdata/filter/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c filterCase
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			if c.Scope == "" {
				c.Scope = scopeAttributes
			}
			f, err := compileFilter(c.Scope, string(c.Policy))
			if c.Error != "" {
				if err == nil || !strings.Contains(err.Error(), c.Error) {
					t.Fatalf("%s: got %v, want %s", c.Rule, err, c.Error)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", c.Rule, err)
			}
			for want, list := range map[bool][]struct {
				Attributes map[string]struct{ Type, Value string }
				Body       string
			}{true: c.Accepted, false: c.Rejected} {
				for i, m := range list {
					message := Message{Text: m.Body, Attributes: map[string]Value{}}
					for name, v := range m.Attributes {
						message.Attributes[name] = Value{Type: v.Type, Text: v.Value}
					}
					if got := f.matches(message.subject(protocolSQS)); got != want {
						t.Errorf("%s: message %d: %v, want %v", c.Rule, i, got, want)
					}
				}
			}
		})
	}
}

func TestLimitsOfFilterPolicies(t *testing.T) {
	values := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"v",`, n), ",") }
	for name, tt := range map[string]struct{ scope, policy, err string }{
		"150 combinations":       {scopeAttributes, `{"a":[` + values(15) + `],"b":[` + values(10) + `]}`, ""},
		"160 combinations":       {scopeAttributes, `{"a":[` + values(16) + `],"b":[` + values(10) + `]}`, "too complex"},
		"levels multiply":        {scopeBody, `{"a":{"b":{"c":[` + values(4) + `]}},"d":{"e":[` + values(3) + `]}}`, ""}, // AWS: 4 × 3 × 3 × 2 = 72
		"levels multiply beyond": {scopeBody, `{"a":{"b":{"c":[` + values(9) + `]}},"d":{"e":[` + values(3) + `]}}`, "too complex"},
		"alternatives add up":    {scopeBody, `{"$or":[{"a":[` + values(75) + `]},{"b":[` + values(75) + `]}]}`, ""},
		"and no further":         {scopeBody, `{"$or":[{"a":[` + values(75) + `]},{"b":[` + values(76) + `]}]}`, "too complex"},
		"five keys":              {scopeAttributes, `{"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"]}`, ""},
		"six keys":               {scopeAttributes, `{"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"],"f":["1"]}`, "more than 5 keys"},
		"six keys in $or":        {scopeAttributes, `{"$or":[{"a":["1"],"b":["1"],"c":["1"]},{"d":["1"],"e":["1"],"f":["1"]}]}`, "more than 5 keys"},
		"six keys below one":     {scopeBody, `{"x":{"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"],"f":["1"]}}`, ""},
		"a large policy":         {scopeBody, `{"a":["` + strings.Repeat("x", maxFilterSize) + `"]}`, "more than the 262144 allowed"},
	} {
		if _, err := compileFilter(tt.scope, tt.policy); tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v, want %q", name, err, tt.err)
		}
	}
}

// A topic has at most 200 filter policies.
func TestTheNumberOfFilterPoliciesIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("t", nil)
		policy := map[string]string{"FilterPolicy": `{"a":["1"]}`}
		for i := range maxTopicFilters {
			f.subscribe(topic, "sqs", queueRef(fmt.Sprint("q", i)).ARN(), policy)
		}
		_, err := f.AddSubscription(f.ctx, mustFind(t, f), account, "sqs", queueRef("more").ARN(), policy)
		refused(t, err, "FilterPolicyLimitExceededException", "at most 200")
		f.maxSubscriptions = maxTopicFilters
		_, err = f.AddSubscription(f.ctx, mustFind(t, f), account, "sqs", queueRef("more").ARN(), nil)
		refused(t, err, "SubscriptionLimitExceededException", "limit of 200")
	})
}

func mustFind(t *testing.T, f *fixture) *Topic {
	t.Helper()
	have, err := f.Find(f.ctx, Ref{account, region, "t"})
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// No policy makes the check fail in another way than by an error, and what it
// takes matches without fault.
func FuzzFilter(f *testing.F) {
	files, err := filepath.Glob("testdata/filter/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var c filterCase
		if err := json.Unmarshal(text, &c); err != nil {
			f.Fatal(err)
		}
		f.Add(string(c.Policy), "上海", "1e2")
	}
	f.Fuzz(func(t *testing.T, policy, text, number string) {
		m := Message{Text: text, Attributes: map[string]Value{"a": {Type: "String", Text: text}, "n": {Type: "Number", Text: number}, "l": {Type: "String.Array", Text: text}}}
		for _, scope := range []string{scopeAttributes, scopeBody} {
			c, err := compileFilter(scope, policy)
			if err == nil {
				c.matches(m.subject(protocolSQS))
			}
		}
		if doc := attributesJSON(m.Attributes); !json.Valid(doc) {
			t.Errorf("attributes became %s", doc)
		}
	})
}
