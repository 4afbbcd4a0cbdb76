package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/inputtransform"
)

const (
	// maxRuleFile bounds the files of patterns, templates, rules and targets, in bytes.
	maxRuleFile = 1 << 20
	// maxTestEvents bounds a file of events, in bytes.
	maxTestEvents = 64 << 20
)

// ruleFlags are the flags of rule test.
type ruleFlags struct {
	pattern, rule, targets               string
	input, inputPath                     string
	inputTemplate, inputTransformer      string
	paths                                []string
	ruleName, ruleARN, ingestion         string
	inputGiven, pathGiven, templateGiven bool
}

func (f *ruleFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.pattern, "pattern", "", "event pattern, or a file with it")
	flags.StringVar(&f.input, "input", "", "Input of the target: a JSON text, or a file with it")
	flags.StringVar(&f.inputPath, "input-path", "", "InputPath of the target, such as $.detail")
	flags.StringVar(&f.inputTemplate, "input-template", "", "InputTemplate of the target, or a file with it")
	flags.StringArrayVar(&f.paths, "path", nil, "path of a placeholder of --input-template, as NAME=$.PATH; may be repeated")
	flags.StringVar(&f.inputTransformer, "input-transformer", "", "InputTransformer of the target in AWS's JSON shape, or a file with it")
	flags.StringVar(&f.rule, "rule", "", "file with what describe-rule prints: pattern, name and ARN")
	flags.StringVar(&f.targets, "targets", "", "file with what list-targets-by-rule prints: what each target receives")
	flags.StringVar(&f.ruleName, "rule-name", "", "value of <aws.events.rule-name> (default: that of --rule, or \"rule\")")
	flags.StringVar(&f.ruleARN, "rule-arn", "", "value of <aws.events.rule-arn> (default: that of --rule, or one that fits the event)")
	flags.StringVar(&f.ingestion, "ingestion-time", "", "value of <aws.events.event.ingestion-time>, in RFC 3339 (default: the event's time, or now)")
}

// ruleUnderTest is what the flags and their files say.
type ruleUnderTest struct {
	pattern   *eventpattern.Pattern // nil: all events are transformed
	name, arn string
	ingestion time.Time
	targets   []targetUnderTest
}

type targetUnderTest struct {
	id        string
	transform *inputtransform.Transform
	pathless  []string // placeholders that no path is given for, which stay as they are
}

// placeholder is one that stands for a path; <aws.events.…> do not.
var placeholder = regexp.MustCompile(`<[A-Za-z0-9_-]+>`)

// pathless returns the placeholders that stand for nothing. Once there are paths,
// those that have none are refused.
func pathless(t *inputtransform.Template) []string {
	if t == nil || t.Paths != nil {
		return nil
	}
	found := placeholder.FindAllString(t.Text, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

// awsRule is what describe-rule prints, as far as it matters here.
type awsRule struct {
	Name         string
	Arn          string
	EventPattern string
}

// awsTarget is one target of what list-targets-by-rule prints, as far as it matters here.
type awsTarget struct {
	ID               string `json:"Id"`
	Input            *string
	InputPath        *string
	InputTransformer *awsTransformer
}

type awsTransformer struct {
	InputPathsMap map[string]string
	InputTemplate string
}

func (t *awsTransformer) template() *inputtransform.Template {
	if t == nil {
		return nil
	}
	return &inputtransform.Template{Paths: t.InputPathsMap, Text: t.InputTemplate}
}

func (f *ruleFlags) read(s *streams) (*ruleUnderTest, error) {
	if f.pattern != "" && f.rule != "" {
		return nil, usagef("--pattern and --rule are two event patterns; give one")
	}
	r := &ruleUnderTest{}
	text, err := f.readPattern(s, r)
	if err != nil {
		return nil, err
	}
	if text != nil {
		if r.pattern, err = eventpattern.Compile(text); err != nil {
			return nil, usagef("Event pattern is not valid. Reason: %w", err)
		}
	}
	if f.ruleName != "" {
		r.name = f.ruleName
	}
	if f.ruleARN != "" {
		r.arn = f.ruleARN
	}
	if f.ingestion != "" {
		if r.ingestion, err = time.Parse(time.RFC3339Nano, f.ingestion); err != nil {
			return nil, usagef("--ingestion-time %q is not a time such as 2026-09-13T12:17:30.408Z", f.ingestion)
		}
	}
	if r.targets, err = f.readTargets(s); err != nil {
		return nil, err
	}
	if r.pattern == nil && r.targets == nil {
		return nil, usagef("there is nothing to test: give --pattern, an --input…, --rule or --targets")
	}
	return r, nil
}

// readPattern returns nil if there is none.
func (f *ruleFlags) readPattern(s *streams, r *ruleUnderTest) ([]byte, error) {
	if f.rule == "" {
		if f.pattern == "" {
			return nil, nil
		}
		return textOrFile(s, f.pattern)
	}
	text, err := readLimited(s, f.rule, maxRuleFile)
	if err != nil {
		return nil, err
	}
	var rule awsRule
	if err := json.Unmarshal(text, &rule); err != nil {
		return nil, usagef("%s is not what describe-rule prints: %w", f.rule, err)
	}
	if rule.EventPattern == "" {
		return nil, usagef("%s has no EventPattern, so there is nothing to match", f.rule)
	}
	r.name, r.arn = rule.Name, rule.Arn
	return []byte(rule.EventPattern), nil
}

func (f *ruleFlags) readTargets(s *streams) ([]targetUnderTest, error) {
	in, err := f.readInput(s)
	if err != nil {
		return nil, err
	}
	given := in != inputtransform.Input{}
	if f.targets == "" {
		if !given {
			return nil, nil
		}
		transform, err := inputtransform.Compile(in)
		if err != nil {
			return nil, usageError{err}
		}
		return []targetUnderTest{{transform: transform, pathless: pathless(in.Template)}}, nil
	}
	if given {
		return nil, usagef("--targets says what targets receive; leave out --input, --input-path, --input-template and --input-transformer")
	}
	return readTargetsFile(s, f.targets)
}

func readTargetsFile(s *streams, name string) ([]targetUnderTest, error) {
	text, err := readLimited(s, name, maxRuleFile)
	if err != nil {
		return nil, err
	}
	var list struct{ Targets []awsTarget }
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) { // as put-targets takes it
		err = json.Unmarshal(text, &list.Targets)
	} else {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, usagef("%s is not what list-targets-by-rule prints: %w", name, err)
	}
	if len(list.Targets) == 0 {
		return nil, usagef("%s has no target", name)
	}
	var targets []targetUnderTest
	for _, t := range list.Targets {
		transform, err := inputtransform.Compile(inputtransform.Input{Text: t.Input, Path: t.InputPath, Template: t.InputTransformer.template()})
		if refusal, ok := errors.AsType[*inputtransform.Error](err); ok {
			text := refusal.Message(t.ID)
			if refusal.Detail != "" {
				text += " (" + refusal.Detail + ")"
			}
			return nil, usagef("%s", text)
		}
		targets = append(targets, targetUnderTest{id: t.ID, transform: transform, pathless: pathless(t.InputTransformer.template())})
	}
	return targets, nil
}

// readInput returns what the flags say about a single target.
func (f *ruleFlags) readInput(s *streams) (inputtransform.Input, error) {
	var in inputtransform.Input
	if len(f.paths) > 0 && !f.templateGiven {
		return in, usagef("--path goes with --input-template; --input-transformer has its own paths")
	}
	if f.templateGiven && f.inputTransformer != "" {
		return in, usagef("--input-template and --input-transformer are two templates; give one")
	}
	if f.inputGiven {
		text, err := textOrFile(s, f.input)
		if err != nil {
			return in, err
		}
		in.Text = new(string(text))
	}
	if f.pathGiven {
		in.Path = &f.inputPath
	}
	var err error
	switch {
	case f.templateGiven:
		in.Template, err = f.readTemplate(s)
	case f.inputTransformer != "":
		in.Template, err = readTransformer(s, f.inputTransformer)
	}
	return in, err
}

func (f *ruleFlags) readTemplate(s *streams) (*inputtransform.Template, error) {
	text, err := textOrFile(s, f.inputTemplate)
	if err != nil {
		return nil, err
	}
	template := &inputtransform.Template{Text: string(text)}
	for _, given := range f.paths {
		name, path, ok := strings.Cut(given, "=")
		if !ok {
			return nil, usagef("--path %q is not NAME=$.PATH", given)
		}
		if template.Paths == nil {
			template.Paths = map[string]string{}
		}
		if _, twice := template.Paths[name]; twice {
			return nil, usagef("--path %s is given twice", name)
		}
		template.Paths[name] = path
	}
	return template, nil
}

func readTransformer(s *streams, given string) (*inputtransform.Template, error) {
	text, err := textOrFile(s, given)
	if err != nil {
		return nil, err
	}
	var transformer awsTransformer
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&transformer); err != nil {
		return nil, usagef(`--input-transformer is not {"InputPathsMap": {…}, "InputTemplate": "…"}: %w`, err)
	}
	return transformer.template(), nil
}

// textOrFile returns what is given, or what the file of that name holds: JSON and templates begin with a mark that is no file's.
func textOrFile(s *streams, given string) ([]byte, error) {
	if start := strings.TrimLeft(given, " \t\r\n"); start == "" || strings.ContainsRune(`{["<`, rune(start[0])) {
		return []byte(given), nil
	}
	text, err := readLimited(s, given, maxRuleFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("%w; what is no file begins with one of { [ \" <", err)
	}
	return text, err
}

// readLimited reads a file, "-" standard input.
func readLimited(s *streams, name string, most int64) ([]byte, error) {
	in := s.in
	if name != "-" {
		f, err := os.Open(filepath.Clean(name))
		if err != nil {
			return nil, usageError{err}
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, usagef("read %s: %w", name, err)
	}
	if int64(len(text)) > most {
		return nil, usagef("%s holds more than %d bytes, which are the most that are read", name, most)
	}
	return text, nil
}

func readEvents(s *streams, files []string) ([]readEvent, error) {
	if len(files) == 0 {
		files = []string{"-"}
	}
	var events []readEvent
	for _, file := range files {
		text, err := readLimited(s, file, maxTestEvents)
		if err != nil {
			return nil, err
		}
		name := file
		if name == "-" {
			name = "standard input"
		}
		found, err := splitEvents(name, text)
		if err != nil {
			return nil, usagef("%s: %w", name, err)
		}
		if len(found) == 0 {
			return nil, usagef("%s holds no event", name)
		}
		events = append(events, found...)
	}
	return events, nil
}

// splitEvents reads JSON values one after the other; the elements of an array are events.
func splitEvents(file string, text []byte) ([]readEvent, error) {
	var events []readEvent
	decoder := json.NewDecoder(bytes.NewReader(text))
	for {
		var value json.RawMessage
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return events, nil
		} else if err != nil {
			return nil, fmt.Errorf("what follows event %d is not JSON: %w", len(events), err)
		}
		list := []json.RawMessage{value}
		if value[0] == '[' {
			list = nil
			if err := json.Unmarshal(value, &list); err != nil {
				return nil, fmt.Errorf("what follows event %d is no list of events: %w", len(events), err)
			}
		}
		for _, event := range list {
			events = append(events, newReadEvent(file, len(events)+1, event))
		}
	}
}
