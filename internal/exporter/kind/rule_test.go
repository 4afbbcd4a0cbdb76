package kind

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/jq"
)

// EventBridge's limits: a pattern's default quota, and a template's.
const (
	maxPattern  = 2048
	maxTemplate = 8192
	maxPaths    = 100
)

func TestRulesAreWithinTheLimitsOfEventBridge(t *testing.T) {
	name := regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,64}$`)
	seen := map[string]bool{}
	for _, k := range All() {
		if len(k.Rules) == 0 {
			t.Errorf("%s has no rules", k.Name)
		}
		for i := range k.Rules {
			r := &k.Rules[i]
			if !name.MatchString(r.FullName()) || seen[r.FullName()] {
				t.Errorf("rule name %q is no name, or there twice", r.FullName())
			}
			seen[r.FullName()] = true
			if r.About == "" || len(r.About) > 512 || !strings.HasSuffix(r.About, ".") {
				t.Errorf("%s is described as %q", r.Name, r.About)
			}
			if n := len(r.Pattern()); n > maxPattern {
				t.Errorf("%s: the pattern has %d characters, %d are possible", r.Name, n, maxPattern)
			}
			paths, text := r.Transformer(k.Name)
			if len(text) > maxTemplate || len(paths) > maxPaths || len(paths) > inputtransform.MaxPaths {
				t.Errorf("%s: the template has %d characters and %d paths", r.Name, len(text), len(paths))
			}
			for key, path := range paths {
				if len(path) > inputtransform.MaxPath || !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(key) {
					t.Errorf("%s: path %s at %s", r.Name, path, key)
				}
			}
		}
	}
}

// The keys that stand for something in every record are not a kind's own, and every
// key that jq reads is there.
func TestRecordsHaveTheKeysThatTheirJQReads(t *testing.T) {
	reserved := []string{
		"resource_type", "region", "identifier", "action", "awsRegion", "account", "eventName", "eventId", "eventTime", "rule_arn",
		"event_id", "event_time", "event_name", "ruleArn", "error_code", "errorCode",
	}
	read := regexp.MustCompile(`(^|[^\])a-zA-Z"])\.([a-zA-Z_]\w*)`)
	for _, k := range All() {
		for i := range k.Rules {
			r := &k.Rules[i]
			_, text := r.Transformer(k.Name)
			var keys map[string]any
			if err := json.Unmarshal([]byte(regexp.MustCompile(`: <\w+>`).ReplaceAllString(text, ": []")), &keys); err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			used := map[string]bool{}
			for _, m := range read.FindAllStringSubmatch(r.Identifier+" "+r.action(), -1) {
				used[m[2]] = true
				if _, ok := keys[m[2]]; !ok && m[2] != "resourceId" {
					t.Errorf("%s reads .%s, which is not in the record", r.Name, m[2])
				}
			}
			for key := range r.Values {
				if slices.Contains(reserved, key) || !used[key] {
					t.Errorf("%s has the key %s, which is taken, or not read", r.Name, key)
				}
			}
			for key := range r.Lists {
				if slices.Contains(reserved, key) || !used[key] {
					t.Errorf("%s has the key %s, which is taken, or not read", r.Name, key)
				}
			}
			for _, program := range []string{r.Identifier, r.action()} {
				if _, err := jq.Compile(program); err != nil {
					t.Errorf("%s: %s: %v", r.Name, program, err)
				}
			}
		}
	}
}

// A rule is either of calls or of a service's own events.
func TestRulesAreOfOneSort(t *testing.T) {
	for _, k := range All() {
		for i := range k.Rules {
			r := &k.Rules[i]
			calls := r.Service != "" && len(r.Calls) > 0 && r.Source == "" && r.DetailType == "" && len(r.Detail) == 0 && r.Delete == ""
			events := r.Source != "" && r.DetailType != "" && r.Service == "" && len(r.Calls) == 0 && !r.Dated
			if calls == events {
				t.Errorf("%s is neither of calls nor of events, or of both", r.Name)
			}
			for _, c := range r.Calls {
				for _, name := range c.Names {
					if c.Deletes && strings.HasSuffix(name, "*") {
						t.Errorf("%s deletes after %s, which is not one call", r.Name, name)
					}
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, name := range []string{"AWS::Lambda::Function", "aws::lambda::function"} {
		if k, ok := Find(name); !ok || k.Name != "AWS::Lambda::Function" || k.Slug() != "aws-lambda-function" {
			t.Errorf("Find(%q) = %v, %v", name, k, ok)
		}
	}
	for _, name := range []string{"", "Lambda", "AWS::Lambda::Functions", "AWS::Nothing::Here"} {
		if k, ok := Find(name); ok {
			t.Errorf("Find(%q) = %s", name, k.Name)
		}
	}
}

func TestNearNamesWhatMayHaveBeenMeant(t *testing.T) {
	for given, want := range map[string]string{
		"Lambda": "AWS::Lambda::Function", "AWS::Lambda::Functions": "AWS::Lambda::Function", "lambda-function": "AWS::Lambda::Function",
		"dynamodb": "AWS::DynamoDB::Table", "Bucket": "AWS::S3::Bucket", "buckets": "AWS::S3::Bucket",
	} {
		if near := Near(given); !slices.Contains(near, want) {
			t.Errorf("Near(%q) = %v, want %s", given, near, want)
		}
	}
	for _, given := range []string{"", "AWS::", "🚀", "AWS::Foo::Bar"} {
		if near := Near(given); len(near) > 0 {
			t.Errorf("Near(%q) = %v", given, near)
		}
	}
}
