package kind

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/jq"
)

func TestMain(m *testing.M) {
	jq.Main()
	m.Run()
}

func evaluator(t testing.TB) *jq.Evaluator {
	t.Helper()
	ev := jq.New(jq.Options{})
	t.Cleanup(func() {
		if err := ev.Close(); err != nil {
			t.Error(err)
		}
	})
	return ev
}

// eventCase is an event, the rules that it matches, and what the records say that the
// rule of the kind makes of it.
type eventCase struct {
	About   string
	Rules   []string
	Records []struct{ Identifier, Region, Action string }
	Event   json.RawMessage
}

func readCase(t testing.TB, file string) eventCase {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c eventCase
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return c
}

// compiled is a rule ready to be matched and filled in.
type compiled struct {
	kind      *Kind
	rule      *Rule
	pattern   *eventpattern.Pattern
	transform *inputtransform.Transform
}

func compile(t testing.TB) []compiled {
	t.Helper()
	var list []compiled
	for _, k := range All() {
		for i := range k.Rules {
			r := &k.Rules[i]
			p, err := eventpattern.Compile(r.Pattern())
			if err != nil {
				t.Fatalf("%s: the pattern: %v", r.Name, err)
			}
			paths, text := r.Transformer(k.Name)
			x, err := inputtransform.Compile(inputtransform.Input{Template: &inputtransform.Template{Paths: paths, Text: text}})
			if err != nil {
				t.Fatalf("%s: the transformer: %v", r.Name, err)
			}
			list = append(list, compiled{k, r, p, x})
		}
	}
	return list
}

func ruleARN(name string) string { return "arn:aws:events:eu-west-1:111122223333:rule/" + name }

// Each case is an event as AWS sends it: it matches the rules that it says, those of other
// kinds included, and the kind's own make the records that it says.
func TestRulesMakeRecordsOfEvents(t *testing.T) {
	rules, ev := compile(t), evaluator(t)
	for _, k := range All() {
		files, err := filepath.Glob(filepath.Join("testdata", "events", k.Slug(), "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			t.Run(k.Slug()+"/"+strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
				c := readCase(t, file)
				matched := []string{}
				for _, r := range rules {
					ok, err := r.pattern.Match(c.Event)
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						continue
					}
					matched = append(matched, r.rule.FullName())
					if r.kind == k {
						checkRecords(t, ev, r, c)
					}
				}
				slices.Sort(matched)
				slices.Sort(c.Rules)
				if d := cmp.Diff(c.Rules, matched); d != "" {
					t.Errorf("it matches (-want +got):\n%s", d)
				}
			})
		}
	}
}

func checkRecords(t *testing.T, ev *jq.Evaluator, r compiled, c eventCase) {
	t.Helper()
	body, err := r.transform.Render(c.Event, inputtransform.Variables{RuleARN: ruleARN(r.rule.FullName()), RuleName: r.rule.FullName()})
	if err != nil {
		t.Fatalf("fill in the template: %v", err)
	}
	got, err := config.ParseRecords(t.Context(), ev, body)
	if err != nil {
		t.Fatalf("read the record: %v\n%s", err, body)
	}
	var e struct {
		ID, Account, Time, Region string
		DetailType                string `json:"detail-type"`
		Detail                    struct{ EventName, EventTime string }
	}
	if err := json.Unmarshal(c.Event, &e); err != nil {
		t.Fatal(err)
	}
	name := e.Detail.EventName
	if name == "" {
		name = e.DetailType
	}
	at, err := time.Parse(time.RFC3339, e.Time)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Record{}
	for _, w := range c.Records {
		want = append(want, config.Record{
			Kind: r.kind.Name, Region: w.Region, Identifier: w.Identifier, Delete: w.Action == "delete",
			Account: e.Account, EventID: e.ID, EventName: name, EventTime: at, RuleARN: ruleARN(r.rule.FullName()),
		})
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the records (-want +got):\n%s\n%s", d, body)
	}
}

// Every kind has an event of each sort, and of each rule.
func TestEveryRuleHasItsEvents(t *testing.T) {
	for _, k := range All() {
		dir := filepath.Join("testdata", "events", k.Slug())
		for _, sort := range []string{"create", "update", "tag", "delete", "failed"} {
			if _, err := os.Stat(filepath.Join(dir, sort+".json")); err != nil {
				t.Errorf("%s has no event %q", k.Name, sort)
			}
		}
		failed := readCase(t, filepath.Join(dir, "failed.json"))
		if len(failed.Rules) > 0 || len(failed.Records) > 0 {
			t.Errorf("%s: a failed call matches %v", k.Name, failed.Rules)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, file := range files {
			for _, name := range readCase(t, file).Rules {
				have[name] = true
			}
		}
		for i := range k.Rules {
			if !have[k.Rules[i].FullName()] {
				t.Errorf("no event of %s matches rule %s", k.Name, k.Rules[i].FullName())
			}
		}
	}
}

// A failed call matches no rule, whatever else it says.
func TestFailedCallsMatchNoRule(t *testing.T) {
	rules := compile(t)
	files, err := filepath.Glob(filepath.Join("testdata", "events", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	calls := 0
	for _, file := range files {
		var event map[string]any
		if err := json.Unmarshal(readCase(t, file).Event, &event); err != nil {
			t.Fatal(err)
		}
		if event["detail-type"] != callDetailType {
			continue
		}
		calls++
		event["detail"].(map[string]any)["errorCode"] = "ThrottlingException"
		for _, r := range rules {
			if ok, err := r.pattern.Match(compact(event)); err != nil || ok {
				t.Errorf("%s: rule %s matches it failed: %v, %v", file, r.rule.Name, ok, err)
			}
		}
	}
	if calls < 100 {
		t.Errorf("only %d cases are calls", calls)
	}
}
