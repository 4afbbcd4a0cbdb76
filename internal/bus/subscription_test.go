package bus

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// fired is what the schedule of a rule on the default bus puts there.
func fired(rule string) *event.Record { return firedOn(defaultRef, rule) }

func firedOn(ref event.BusRef, rule string) *event.Record {
	rec := scheduledEvent(ruleSchedule{account: ref.Account, region: ref.Region, rule: rule}, testNow)
	return &rec
}

func TestARuleMatchesTheEventsOfItsOwnSchedule(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		put := func(name, pattern, schedule string, state RuleState) {
			t.Helper()
			r := Rule{Bus: defaultRef, Name: name, Pattern: pattern, Schedule: schedule, State: state}
			if _, err := x.PutRule(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
			if err := x.PutTargets(t.Context(), defaultRef, name, []RuleTarget{toQueue("a"), toQueue("b")}); err != nil {
				t.Fatal(err)
			}
		}
		const hourly = "rate(1 hour)"
		put("clock", "", hourly, "")
		put("other", "", hourly, "")
		put("both", `{"source":["my.app"]}`, hourly, "")
		put("twice", `{"source":["aws.events"]}`, hourly, "")
		put("off", "", hourly, RuleDisabled)
		expect := func(step string, rec *event.Record, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, matched(t, x, rec)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step, diff)
			}
			subs, err := x.Match(rec, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range subs { // as a reader of the log asks that has it from JSON
				text, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				read := new(Subscription)
				if err := json.Unmarshal(text, read); err != nil {
					t.Fatal(err)
				}
				if ok, err := read.Matches(rec); !ok || err != nil {
					t.Errorf("%s: %s does not match by itself: %v", step, s.RuleName, err)
				}
				if ok, err := read.Matches(record(defaultRef, "nobody")); ok || err != nil {
					t.Errorf("%s: %s matches what it should not: %v", step, s.RuleName, err)
				}
			}
		}
		expect("only a schedule", fired("clock"), "clock/a", "clock/b", "twice/a", "twice/b")
		expect("a pattern and a schedule", fired("both"), "both/a", "both/b", "twice/a", "twice/b")
		expect("by its pattern", record(defaultRef, "my.app"), "both/a", "both/b")
		expect("both ways, once", fired("twice"), "twice/a", "twice/b")
		expect("disabled", fired("off"), "twice/a", "twice/b")
		put("both", `{"source":["my.app"]}`, "", "")
		expect("the schedule taken away", fired("both"), "twice/a", "twice/b")
		put("both", "", hourly, "")
		expect("the pattern taken away", fired("both"), "both/a", "both/b", "twice/a", "twice/b")
		if err := x.RemoveTargets(t.Context(), defaultRef, "clock", []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		expect("without targets", fired("clock"), "twice/a", "twice/b")
		another := openNode(t, x.db, x.auth)
		if diff := cmp.Diff([]string{"both/a", "both/b", "twice/a", "twice/b"}, matched(t, another, fired("both"))); diff != "" {
			t.Errorf("another node (-want +got):\n%s", diff)
		}
	})
}

func TestRenderMakesWhatTheTargetGets(t *testing.T) {
	t.Parallel()
	rec := record(defaultRef, "my.app")
	rec.Accepted = testNow
	text := func(s string) *string { return &s }
	for name, c := range map[string]struct {
		input inputtransform.Input
		want  string
	}{
		"the event":         {inputtransform.Input{}, string(rec.JSON)},
		"a text":            {inputtransform.Input{Text: text(`{ "a": 1 }`)}, `{ "a": 1 }`},
		"a part":            {inputtransform.Input{Path: text("$.source")}, `"my.app"`},
		"a template":        {inputtransform.Input{Template: &inputtransform.Template{Paths: map[string]string{"s": "$.source"}, Text: `{"s":<s>}`}}, `{"s":"my.app"}`},
		"the rule's own":    {inputtransform.Input{Template: &inputtransform.Template{Text: `{"r":<aws.events.rule-arn>,"n":"<aws.events.rule-name>"}`}}, `{"r":"arn:r","n":"r"}`},
		"when it was taken": {inputtransform.Input{Template: &inputtransform.Template{Text: `{"t":<aws.events.event.ingestion-time>}`}}, `{"t":"2026-03-04T05:06:07.891Z"}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Subscription{RuleARN: "arn:r", RuleName: "r", Target: Target{ID: "t", Input: c.input}}
			for range 2 { // compiled, and kept
				if got, err := s.Render(rec); err != nil || string(got) != c.want {
					t.Errorf("got %s %v, want %s", got, err, c.want)
				}
			}
		})
	}
	for name, c := range map[string]struct {
		input inputtransform.Input
		body  string
	}{
		"a variable that nobody knows": {inputtransform.Input{Template: &inputtransform.Template{Text: `{"v":<undefined>}`}}, `{"v":<undefined>}`},
		"no text":                      {inputtransform.Input{Text: text("")}, ""},
	} {
		s := &Subscription{Target: Target{Input: c.input}}
		_, err := s.Render(rec)
		if broken, ok := errors.AsType[*inputtransform.InvalidJSONError](err); !ok || string(broken.Body) != c.body {
			t.Errorf("%s: %T %v", name, err, err)
		}
	}
}

// putManaged makes a rule that belongs to a service, with a target.
func putManaged(t *testing.T, x *fixture, name string) {
	t.Helper()
	err := x.change(t.Context(), defaultRef, func(tx *store.Tx, version int64) ([]string, error) {
		r := Rule{Bus: defaultRef, Name: name, Pattern: `{"source":["a"]}`, State: RuleEnabled, ManagedBy: "some.service.amazonaws.com", CreatedBy: testAccount, version: version}
		if err := insertRule(t.Context(), tx, r); err != nil {
			return nil, err
		}
		r, _, err := selectRule(t.Context(), tx, defaultRef, name)
		if err != nil {
			return nil, err
		}
		target := toQueue("t")
		target.Kind, target.ruleID, target.version = KindQueue, r.id, version
		return []string{name}, saveTarget(t.Context(), tx, target)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheAPIOfRulesThatAServiceManages(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		x := open(t, db)
		putManaged(t, x, "managed")
		play(t, x, "testdata/api/managed/rule.txt")
		if subs, err := x.Match(record(defaultRef, "a"), nil); err != nil || slices.ContainsFunc(subs, func(s *Subscription) bool { return s.RuleName == "managed" }) {
			t.Error(subs, err)
		}
	})
}
