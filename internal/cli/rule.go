package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/event"
)

func newRule(s *streams) *cobra.Command {
	return group("rule", "Event patterns and input transformers, tried without a server", newRuleTest(s))
}

func newRuleTest(s *streams) *cobra.Command {
	f := &ruleFlags{}
	cmd := &cobra.Command{
		Use:   "test [EVENTS-FILE…]",
		Short: "Say which events a pattern matches and why, and what targets receive of them",
		Long: `Match events against an event pattern, say why each does or does not match, and
show what a target receives of those that do: by its Input, InputPath or
InputTransformer. Without a pattern all events are transformed. No server is
needed.

Events are read from the files, or from standard input: JSON objects one after
the other, or arrays of them. Patterns, inputs and templates are given as they
are if they begin with one of { [ " < and as the name of a file otherwise.
--rule and --targets read what 'aws events describe-rule' and 'aws events
list-targets-by-rule' print.

It ends with 0 if all events match and all bodies are JSON, with 1 if not, and
with 2 if the pattern, the transformer or an event is wrong.`,
		Example: `  rialto rule test --pattern '{"source": ["shop"]}' events.jsonl
  rialto rule test --pattern pattern.json --input-template '"<id> is <state>"' \
    --path id='$.detail.instance-id' --path state='$.detail.state' event.json
  rialto rule test --rule rule.json --targets targets.json -o json < events.jsonl`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.templateGiven, f.inputGiven, f.pathGiven = cmd.Flags().Changed("input-template"), cmd.Flags().Changed("input"), cmd.Flags().Changed("input-path")
			return testRule(s, f, args)
		},
	}
	f.add(cmd)
	return listing(cmd, s)
}

// testedEvent is what became of one event.
type testedEvent struct {
	// File and Number say where the event was read; Number counts from 1 in each file.
	File   string `json:"file"`
	Number int    `json:"number"`
	ID     string `json:"id,omitempty"`
	// Matched and Report are missing where there is no pattern.
	Matched *bool                `json:"matched,omitempty"`
	Report  *eventpattern.Report `json:"report,omitempty"`
	Bodies  []testedBody         `json:"bodies,omitempty"`
}

// testedBody is what one target receives of an event.
type testedBody struct {
	Target string `json:"target,omitempty"`
	Body   string `json:"body"`
	// Error says why the body is not delivered.
	Error string `json:"error,omitempty"`
}

// testRule reads all that it is given before it prints anything.
func testRule(s *streams, f *ruleFlags, files []string) error {
	rule, err := f.read(s)
	if err != nil {
		return err
	}
	events, err := readEvents(s, files)
	if err != nil {
		return err
	}
	tested := make([]testedEvent, 0, len(events))
	for _, e := range events {
		result, err := rule.test(e)
		if err != nil {
			return usagef("%s: event %d: %w", e.file, e.number, err)
		}
		tested = append(tested, result)
	}
	if err := printTested(s, tested); err != nil {
		return err
	}
	return verdict(tested)
}

// test returns an error for an event that cannot be read.
func (r *ruleUnderTest) test(e readEvent) (testedEvent, error) {
	result := testedEvent{File: e.file, Number: e.number, ID: e.id}
	if r.pattern != nil {
		report := r.pattern.Explain(e.text)
		if report.Error != "" {
			return result, errors.New(report.Error)
		}
		result.Report, result.Matched = &report, &report.Matched
		if !report.Matched {
			return result, nil
		}
	}
	for _, target := range r.targets {
		body, err := target.transform.Render(e.text, r.variables(e))
		var invalid *inputtransform.InvalidJSONError
		var large *inputtransform.TooLargeError
		switch {
		case errors.As(err, &invalid):
			result.Bodies = append(result.Bodies, testedBody{Target: target.id, Body: string(invalid.Body), Error: err.Error() + target.hint()})
		case errors.As(err, &large):
			result.Bodies = append(result.Bodies, testedBody{Target: target.id, Error: err.Error()})
		case err != nil:
			return result, err
		default:
			result.Bodies = append(result.Bodies, testedBody{Target: target.id, Body: string(body)})
		}
	}
	return result, nil
}

// hint names the placeholders that may be why a body is not JSON.
func (t *targetUnderTest) hint() string {
	if len(t.pathless) == 0 {
		return ""
	}
	return "; no path is given for " + strings.Join(t.pathless, ", ") + ": --path NAME=$.PATH or InputPathsMap gives one"
}

// variables are those given on the command line or by --rule; what neither says is made up from the event.
func (r *ruleUnderTest) variables(of readEvent) inputtransform.Variables {
	v := inputtransform.Variables{RuleName: r.name, RuleARN: r.arn, Ingestion: r.ingestion}
	if v.RuleName == "" {
		v.RuleName = "rule"
	}
	if v.RuleARN == "" {
		region, account := of.region, of.account
		if region == "" {
			region = "us-east-1"
		}
		if account == "" {
			account = "000000000000"
		}
		v.RuleARN = "arn:" + event.Partition(region) + ":events:" + region + ":" + account + ":rule/" + v.RuleName
	}
	if v.Ingestion.IsZero() {
		v.Ingestion = of.time
	}
	if v.Ingestion.IsZero() {
		v.Ingestion = time.Now()
	}
	return v
}

func printTested(s *streams, tested []testedEvent) error {
	if s.format != "table" {
		return s.print(tested, nil, nil)
	}
	var b strings.Builder
	for i, e := range tested {
		if i > 0 {
			b.WriteString("\n")
		}
		e.write(&b)
	}
	_, err := fmt.Fprint(s.out, b.String())
	return err
}

func (e *testedEvent) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s, event %d", plain(e.File), e.Number)
	if e.ID != "" {
		fmt.Fprintf(b, " (id %s)", plain(e.ID))
	}
	b.WriteString("\n")
	if e.Report != nil {
		writeLines(b, "  ", e.Report.String())
	}
	for _, body := range e.Bodies {
		of := ""
		if body.Target != "" {
			of = " of " + plain(body.Target)
		}
		switch {
		case body.Error != "" && body.Body == "":
			fmt.Fprintf(b, "  No body%s: %s.\n", of, body.Error)
			continue
		case body.Error != "":
			fmt.Fprintf(b, "  Body%s, which is not delivered: %s.\n", of, body.Error)
		default:
			fmt.Fprintf(b, "  Body%s:\n", of)
		}
		writeLines(b, "    ", body.Body)
	}
}

func writeLines(b *strings.Builder, indent, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(b, "%s%s\n", indent, plain(strings.TrimRight(line, "\r\n")))
	}
}

// verdict is an error if not all events match, or not all bodies can be delivered.
func verdict(tested []testedEvent) error {
	unmatched, broken, bodies := 0, 0, 0
	for _, e := range tested {
		if e.Matched != nil && !*e.Matched {
			unmatched++
		}
		for _, body := range e.Bodies {
			bodies++
			if body.Error != "" {
				broken++
			}
		}
	}
	var what []string
	if unmatched > 0 {
		what = append(what, fmt.Sprintf("%d of %d events not matched", unmatched, len(tested)))
	}
	if broken > 0 {
		what = append(what, fmt.Sprintf("%d of %d bodies not delivered", broken, bodies))
	}
	if what == nil {
		return nil
	}
	return errors.New(strings.Join(what, ", "))
}

// readEvent is an event as it was read.
type readEvent struct {
	file                string
	number              int
	text                json.RawMessage
	id, region, account string
	time                time.Time
}

// newReadEvent takes one JSON value and writes it as a bus does, so that bodies come
// out as they are delivered.
func newReadEvent(file string, number int, text json.RawMessage) readEvent {
	e := readEvent{file: file, number: number, text: event.AppendCompact(nil, text)}
	var members map[string]json.RawMessage
	if json.Unmarshal(e.text, &members) != nil {
		return e // said when it is matched or transformed
	}
	for name, to := range map[string]any{"id": &e.id, "region": &e.region, "account": &e.account, "time": &e.time} {
		_ = json.Unmarshal(members[name], to) // a member of another kind is as one that is missing
	}
	return e
}
