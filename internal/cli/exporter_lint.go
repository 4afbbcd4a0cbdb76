package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
	"github.com/rialto-bus/rialto/internal/jq"
)

// The limits of samples.
const (
	maxSamples    = 10000
	maxSampleFile = 1 << 20
)

// finding is what lint has found.
type finding struct {
	Level   string `json:"level"` // error or warning
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
}

func found(file string, problems []config.Problem) []finding {
	list := make([]finding, 0, len(problems))
	for _, p := range problems {
		f := finding{Level: "error", File: file, Line: p.Line, Path: p.Path, Message: p.Message}
		if p.Warning {
			f.Level = "warning"
		}
		list = append(list, f)
	}
	return list
}

// exporterLint is what lint is asked for, and what it has read of it.
type exporterLint struct {
	config, samplesDir string
	rules, blueprints  []string

	ev        *jq.Evaluator
	conf      *config.Config
	resources map[string][]map[string]any // by kind
	events    []kind.SampleEvent
	records   []config.SampleRecord
	findings  []finding
}

func newExporterLint(s *streams) *cobra.Command {
	l := &exporterLint{}
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check a configuration, event rules and their jq with samples, before they are deployed",
		Long: `Check a configuration, and the event rules of CloudFormation templates, by
themselves and with samples: what the mappings make of resources, which rules an
event matches, and what the exporter reads of the records that they make of it.
What is wrong or suspicious is printed, and nothing of what is right.

Samples are the JSON files of a directory and those below it. Each is
  an event              as EventBridge sends it, or 'rialto tail -o json' prints it
  a resource            as 'aws cloudcontrol get-resource' prints it, or
                        {"kind": "AWS::SQS::Queue", "properties": {…}}
  an event record       as it is on the exporter's queue
  or several of these, one after the other or as a list.

With --blueprints, in files as for 'rialto catalog apply', blueprints, properties
and relations are warned of that a mapping names and the files do not have.

Nothing is asked of a server or of AWS. It ends with 0 if there is nothing but
warnings, and with 1 if something is wrong.`,
		Example: `  rialto exporter lint --config config.json
  rialto exporter lint --config config.json --blueprints blueprints.json
  rialto exporter lint --config config.json --rules rules.yaml --samples samples -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context(), s) },
	}
	f := cmd.Flags()
	f.StringVar(&l.config, "config", "", "the configuration, a file or -")
	f.StringSliceVar(&l.rules, "rules", nil, "a CloudFormation template with event rules, a file or -; may be repeated")
	f.StringArrayVar(&l.blueprints, "blueprints", nil, "a file with the blueprints that are mapped to; may be repeated")
	f.StringVar(&l.samplesDir, "samples", "", "directory of samples")
	return listing(cmd, s)
}

func (l *exporterLint) run(ctx context.Context, s *streams) error {
	if l.config == "" && len(l.rules) == 0 {
		return usagef("name what is to be checked: --config, --rules or both")
	}
	l.ev = jq.New(jq.Options{})
	defer l.ev.Close() //nolint:errcheck // its workers end with us
	if l.samplesDir != "" {
		if err := l.readSamples(); err != nil {
			return err
		}
	}
	if l.config != "" {
		if err := l.readConfig(s); err != nil {
			return err
		}
	}
	if err := l.checkBlueprints(s); err != nil {
		return err
	}
	if err := l.lintRules(s); err != nil {
		return err
	}
	switch {
	case l.conf != nil:
		l.findings = append(l.findings, found(l.config, config.Lint(ctx, l.ev, l.conf, l.resources, l.records))...)
	case l.config == "":
		l.findings = append(l.findings, found("", kind.LintRecords(ctx, l.ev, l.records))...)
	}
	return l.print(s)
}

func (l *exporterLint) readConfig(s *streams) error {
	text, err := readConfigText(s, l.config)
	if err != nil {
		return err
	}
	conf, err := parseConfigText(text)
	if bad, ok := errors.AsType[*config.Errors](err); ok {
		l.findings = append(l.findings, found(l.config, bad.Problems)...)
		return nil
	}
	l.conf = conf
	return err
}

// checkBlueprints warns of what the mappings name and the files with blueprints do not have.
func (l *exporterLint) checkBlueprints(s *streams) error {
	if len(l.blueprints) > 0 && l.config == "" {
		return usagef("--blueprints are those that a configuration maps to: name it with --config")
	}
	files := &applier{}
	for _, name := range l.blueprints {
		if err := files.read(s, name); err != nil {
			return err
		}
	}
	if len(l.blueprints) == 0 || l.conf == nil {
		return nil
	}
	has := map[string]*config.BlueprintKeys{}
	for _, b := range files.blueprints {
		schema, _ := b.body["schema"].(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		relations, _ := b.body["relations"].(map[string]any)
		has[b.Blueprint] = &config.BlueprintKeys{Properties: slices.Collect(maps.Keys(properties)), Relations: slices.Collect(maps.Keys(relations))}
	}
	l.findings = append(l.findings, found(l.config, config.CheckBlueprints(l.conf, func(blueprint string) (*config.BlueprintKeys, error) {
		return has[blueprint], nil
	}))...)
	return nil
}

// lintRules checks the rules, and keeps the records that they make of sample events.
func (l *exporterLint) lintRules(s *streams) error {
	var all []kind.Declared
	for _, name := range l.rules {
		text, err := readLimited(s, name, kind.MaxRules)
		if err != nil {
			return err
		}
		rules, problems := kind.ReadRules(text)
		l.findings = append(l.findings, found(name, problems)...)
		more, records := kind.LintRules(rules, l.events)
		more = slices.DeleteFunc(more, func(p config.Problem) bool { return p.Line == 0 }) // about events: told of all rules together
		l.findings, l.records, all = append(l.findings, found(name, more)...), append(l.records, records...), append(all, rules...)
	}
	problems, _ := kind.LintRules(all, l.events)
	for _, f := range found(l.samplesDir, problems) {
		if f.Line == 0 {
			l.findings = append(l.findings, f)
		}
	}
	return nil
}

// readSamples reads the samples of the directory. What is none is a finding.
func (l *exporterLint) readSamples() error {
	l.resources = map[string][]map[string]any{}
	n := 0
	err := filepath.WalkDir(l.samplesDir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.EqualFold(filepath.Ext(name), ".json") {
			return err
		}
		if n++; n > maxSamples {
			return usagef("there are more than %d samples in %s", maxSamples, l.samplesDir)
		}
		short, err := filepath.Rel(l.samplesDir, name)
		if err != nil {
			return err
		}
		if problem := l.readSample(name, short); problem != "" {
			l.findings = append(l.findings, found(l.samplesDir, []config.Problem{{Path: short, Message: problem}})...)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return usageError{err}
	}
	if err == nil && n == 0 {
		return usagef("there are no JSON files in %s", l.samplesDir)
	}
	return err
}

func (l *exporterLint) readSample(name, short string) (problem string) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return err.Error()
	case !info.Mode().IsRegular():
		return "is no file"
	case info.Size() > maxSampleFile:
		return fmt.Sprintf("has %d bytes, at most %d are possible", info.Size(), maxSampleFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	list, err := samplesOf(text)
	if err != nil {
		return "is not JSON: " + err.Error()
	}
	if len(list) == 1 {
		return l.addSample(list[0], short)
	}
	for i, item := range list {
		if problem := l.addSample(item, fmt.Sprintf("%s[%d]", short, i)); problem != "" {
			return fmt.Sprintf("element %d %s", i, problem)
		}
	}
	return ""
}

// samplesOf are the samples of a text: JSON values one after the other, and the elements of those
// that are lists.
func samplesOf(text []byte) (list []json.RawMessage, err error) {
	for dec := json.NewDecoder(bytes.NewReader(text)); ; {
		var value json.RawMessage
		switch err := dec.Decode(&value); {
		case errors.Is(err, io.EOF):
			return list, nil
		case err != nil:
			return nil, err
		}
		var elements []json.RawMessage
		if json.Unmarshal(value, &elements) != nil {
			elements = []json.RawMessage{value}
		}
		list = append(list, elements...)
	}
}

func (l *exporterLint) addSample(text []byte, name string) (problem string) {
	var v struct {
		DetailType   *string        `json:"detail-type"`
		ResourceType *string        `json:"resource_type"`
		Kind         string         `json:"kind"`
		Properties   map[string]any `json:"properties"`
		TypeName     string
		Description  *struct{ Properties string } `json:"ResourceDescription"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return "is not the JSON of an event, a resource or a record: " + err.Error()
	}
	switch {
	case v.DetailType != nil:
		l.events = append(l.events, kind.SampleEvent{Name: name, Body: text})
	case v.ResourceType != nil:
		l.records = append(l.records, config.SampleRecord{Name: name, Body: text})
	case v.Kind != "" && v.Properties != nil:
		l.resources[v.Kind] = append(l.resources[v.Kind], v.Properties)
	case v.TypeName != "" && v.Description != nil:
		var properties map[string]any
		if err := json.Unmarshal([]byte(v.Description.Properties), &properties); err != nil || properties == nil {
			return "has a ResourceDescription whose Properties are no JSON object"
		}
		l.resources[v.TypeName] = append(l.resources[v.TypeName], properties)
	default:
		return `is none of an event (with "detail-type"), a resource (with "kind" and "properties", or as 'aws cloudcontrol get-resource' prints it) and a record (with "resource_type")`
	}
	return ""
}

func (l *exporterLint) print(s *streams) error {
	faults := 0
	rows := [][]string{}
	for _, f := range l.findings {
		if f.Level == "error" {
			faults++
		}
		line := "-"
		if f.Line > 0 {
			line = strconv.Itoa(f.Line)
		}
		rows = append(rows, []string{f.Level, or(f.File), line, or(f.Path), strings.ReplaceAll(f.Message, "\n", " ")})
	}
	if s.format == "table" && len(l.findings) == 0 {
		if _, err := fmt.Fprintln(s.out, "Nothing is wrong"); err != nil {
			return err
		}
	} else if err := s.print(append([]finding{}, l.findings...), []string{"LEVEL", "FILE", "LINE", "PATH", "MESSAGE"}, rows); err != nil {
		return err
	}
	if faults == 0 {
		return nil
	}
	return errors.New(counted(faults, "error"))
}
