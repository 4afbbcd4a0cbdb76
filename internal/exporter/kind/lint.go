package kind

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/jq"
)

// maxPatternDefault is how long an event pattern may be if nothing else was agreed with AWS.
const maxPatternDefault = 2048

// SampleEvent is an event that rules are tried with.
type SampleEvent struct {
	Name string
	Body []byte
}

// LintRules checks event rules by themselves, and tries them with events. It returns what is
// wrong, as warnings what may be, and the records that the rules make of the events, each
// named by rule and event.
func LintRules(rules []Declared, events []SampleEvent) ([]config.Problem, []config.SampleRecord) {
	l := &ruleLinter{matched: map[string]bool{}}
	for i := range rules {
		l.rule(&rules[i], events)
	}
	for _, e := range events {
		if len(rules) > 0 && !l.matched[e.Name] {
			l.warnf(config.Problem{Path: e.Name}, "matches none of the rules")
		}
	}
	return l.problems, l.records
}

type ruleLinter struct {
	problems []config.Problem
	records  []config.SampleRecord
	matched  map[string]bool // events, by name
}

func (l *ruleLinter) failf(at config.Problem, format string, args ...any) {
	at.Message = fmt.Sprintf(format, args...)
	l.problems = append(l.problems, at)
}

func (l *ruleLinter) warnf(at config.Problem, format string, args ...any) {
	at.Warning = true
	l.failf(at, format, args...)
}

func (l *ruleLinter) rule(r *Declared, events []SampleEvent) {
	at := config.Problem{Path: r.Name + ".EventPattern", Line: r.PatternLine}
	var pattern *eventpattern.Pattern
	if r.Pattern != nil {
		var err error
		if pattern, err = eventpattern.Compile(r.Pattern); err != nil {
			l.failf(at, "is no event pattern: %v", err)
		}
		l.pattern(at, r.Pattern)
	}
	for i := range r.Targets {
		l.target(r, &r.Targets[i], pattern, events)
	}
}

// pattern warns of what a pattern should have, or not.
func (l *ruleLinter) pattern(at config.Problem, pattern []byte) {
	if len(pattern) > maxPatternDefault {
		l.warnf(at, "has %d characters, and EventBridge takes %d unless more was agreed", len(pattern), maxPatternDefault)
	}
	var p struct {
		DetailType []any `json:"detail-type"`
		Detail     struct {
			ErrorCode json.RawMessage `json:"errorCode"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(pattern, &p); err != nil {
		return // of another form: what it is compiled with says so
	}
	if slices.Contains(p.DetailType, any(callDetailType)) && p.Detail.ErrorCode == nil {
		l.warnf(at, `matches calls that failed too, which change nothing; add "errorCode": [{"exists": false}] to detail`)
	}
}

func (l *ruleLinter) target(r *Declared, t *DeclaredTarget, pattern *eventpattern.Pattern, events []SampleEvent) {
	at := config.Problem{Path: r.Name + ".Targets." + t.ID + ".InputTransformer", Line: t.Line}
	switch {
	case !t.Transforms:
		l.warnf(at, "is missing: the event goes as it is, which is no record for the exporter")
		return
	case t.Unread != "":
		l.warnf(at, "is not checked: %s", t.Unread)
		return
	}
	transform, err := inputtransform.Compile(inputtransform.Input{Template: &inputtransform.Template{Paths: t.Paths, Text: t.Template}})
	if err != nil {
		l.failf(at, "%v", err)
		return
	}
	l.inlined(at, t.Template)
	tried := false
	for _, e := range events {
		if pattern == nil {
			break
		}
		ok, err := pattern.Match(e.Body)
		if err != nil || !ok {
			continue // what is no event at all is told by who read it
		}
		tried, l.matched[e.Name] = true, true
		l.render(r.Name+", "+e.Name, at, transform, e.Body)
	}
	if !tried {
		l.untried(at, transform, t.Paths)
	}
}

func (l *ruleLinter) render(name string, at config.Problem, transform *inputtransform.Transform, event []byte) {
	body, err := transform.Render(event, variables())
	if err != nil {
		l.failf(at, "cannot be filled in: %v (%s)", err, name)
		return
	}
	l.records = append(l.records, config.SampleRecord{Name: name, Body: body})
}

func variables() inputtransform.Variables {
	return inputtransform.Variables{RuleARN: "arn:aws:events:us-east-1:111122223333:rule/sample", RuleName: "sample", Ingestion: time.Unix(0, 0)}
}

// jqKeys are the keys of a record that are programs.
var jqKeys = []string{"region", "identifier", "action"}

var placeholder = regexp.MustCompile(`<[A-Za-z0-9_.-]+>`)

// inlined warns of programs that an event's text becomes a part of.
func (l *ruleLinter) inlined(at config.Problem, template string) {
	var keys map[string]any
	if json.Unmarshal([]byte(placeholderValues(template)), &keys) != nil {
		return
	}
	for _, key := range []string{"identifier", "action"} {
		if s, ok := keys[key].(string); ok && strings.Contains(s, inlineMark) {
			l.warnf(at, `%s has text of the event within its jq, which a quote or a backslash there breaks; put the value at a key of its own, and read it as .key`, key)
		}
	}
}

// inlineMark stands where a template has a placeholder.
const inlineMark = "\ufffc"

// placeholderValues replaces the placeholders of a template: those within texts by a mark,
// others by a text of it.
func placeholderValues(template string) string {
	var b strings.Builder
	inText := false
	for i := 0; i < len(template); i++ {
		switch c := template[i]; {
		case inText && c == '\\' && i+1 < len(template):
			b.WriteString(template[i : i+2])
			i++
			continue
		case c == '"':
			inText = !inText
		case c == '<':
			if m := placeholder.FindString(template[i:]); m != "" && strings.HasPrefix(template[i:], m) {
				if inText {
					b.WriteString(inlineMark)
				} else {
					b.WriteString(`"` + inlineMark + `"`)
				}
				i += len(m) - 1
				continue
			}
		}
		b.WriteByte(template[i])
	}
	return b.String()
}

// untried checks what a template makes of an event that has something at each path: its
// programs must be jq.
func (l *ruleLinter) untried(at config.Problem, transform *inputtransform.Transform, paths map[string]string) {
	event, err := json.Marshal(eventWith(paths))
	if err != nil {
		return
	}
	body, err := transform.Render(event, variables())
	if err != nil {
		l.failf(at, "cannot be filled in: %v", err)
		return
	}
	var record map[string]any
	if err := json.Unmarshal(body, &record); err != nil {
		l.failf(at, "makes no record, which is a JSON object with resource_type, region and identifier")
		return
	}
	for _, key := range append([]string{"resource_type"}, jqKeys...) {
		text, ok := record[key].(string)
		switch {
		case !ok && key == "action" && record[key] == nil:
		case !ok:
			l.failf(at, "makes a record without a text at %s", key)
		case key == "resource_type":
		default:
			if _, err := jq.Compile(text); err != nil {
				l.failf(at, "makes %s of a record, which is not jq: %v (in %s)", key, err, text)
			}
		}
	}
}

// eventWith is an event with a text at each of the paths.
func eventWith(paths map[string]string) map[string]any {
	event := map[string]any{"detail": map[string]any{}}
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		steps := strings.Split(strings.TrimPrefix(paths[key], "$."), ".")
		at := event
		for i, step := range steps {
			name, index, indexed := strings.Cut(strings.TrimSuffix(step, "]"), "[")
			var value any = "sample-1"
			next := map[string]any{}
			if i < len(steps)-1 {
				if have, ok := at[name].(map[string]any); ok {
					next = have
				}
				value = next
			}
			if n, err := strconv.Atoi(index); indexed && err == nil && n >= 0 && n < 100 {
				list := make([]any, n+1)
				list[n] = value
				value = list
			}
			if have, ok := at[name]; ok && i == len(steps)-1 {
				value = have
			}
			at[name], at = value, next
		}
	}
	return event
}

// LintRecords reads records that rules made, without a configuration, and returns what is
// wrong with them.
func LintRecords(ctx context.Context, ev *jq.Evaluator, records []config.SampleRecord) []config.Problem {
	var problems []config.Problem
	for _, r := range records {
		if _, err := config.ParseRecords(ctx, ev, r.Body); err != nil {
			problems = append(problems, config.Problem{Path: r.Name, Message: err.Error()})
		}
	}
	return problems
}
