package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what the cases give into their files; read it before you believe it")

// pseudo is the stack that the cases are bound for.
var pseudo = Pseudo{
	AccountID: "123456789012", Region: "eu-west-1", Partition: "aws", URLSuffix: "amazonaws.com",
	StackID:   "arn:aws:cloudformation:eu-west-1:123456789012:stack/shop/5d0a1cb0-0000-4000-8000-000000000001",
	StackName: "shop", NotificationARNs: []string{"arn:aws:sns:eu-west-1:123456789012:news"},
}

// made resolves references as if every resource existed.
type made struct{}

func (made) Ref(id string) (any, error) { return id + "-id", nil }

func (made) GetAtt(id, attribute string) (any, error) {
	switch attribute {
	case "Absent":
		return nil, errors.New("resource " + id + " has no attribute Absent")
	case "List":
		return []any{id + "-1", id + "-2"}, nil
	case "Object":
		return map[string]any{"b": json.Number("1.50"), "a": true}, nil
	case "Number":
		return 42, nil
	}
	return id + "." + attribute, nil
}

func (made) Import(name string) (string, error) {
	if name == "gone" {
		return "", errors.New("No export named gone found.")
	}
	return "<" + name + ">", nil
}

// outcome is what a case gives.
type outcome struct {
	Parameters map[string]string   `json:",omitempty"`
	Order      []string            // resources in creation order
	DependsOn  map[string][]string `json:",omitempty"`
	Policies   map[string]string   `json:",omitempty"`
	Properties map[string]any
	Metadata   map[string]any    `json:",omitempty"`
	Outputs    map[string]string `json:",omitempty"`
	Exports    map[string]string `json:",omitempty"`
	Imports    []string          `json:",omitempty"`
}

func run(body []byte, parameters map[string]string) (*outcome, error) {
	t, err := Parse(body)
	if err != nil {
		return nil, err
	}
	b, err := t.Bind(Input{Parameters: parameters, Pseudo: pseudo})
	if err != nil {
		return nil, err
	}
	o := &outcome{
		Parameters: map[string]string{}, DependsOn: map[string][]string{}, Policies: map[string]string{}, Properties: map[string]any{},
		Metadata: map[string]any{}, Outputs: map[string]string{}, Exports: map[string]string{}, Imports: b.Imports(),
	}
	for _, p := range b.Parameters() {
		o.Parameters[p.Name] = p.Shown
	}
	for _, r := range b.Resources() {
		if err := o.add(r); err != nil {
			return nil, err
		}
	}
	for _, out := range b.Outputs() {
		if o.Outputs[out.Name], err = out.Value(made{}); err != nil {
			return nil, err
		}
		if out.Export != "" {
			o.Exports[out.Name] = out.Export
		}
	}
	return o, nil
}

func (o *outcome) add(r *Resource) error {
	o.Order = append(o.Order, r.LogicalID)
	if r.DependsOn != nil {
		o.DependsOn[r.LogicalID] = r.DependsOn
	}
	if r.DeletionPolicy != Delete || r.UpdateReplacePolicy != Delete {
		o.Policies[r.LogicalID] = string(r.DeletionPolicy) + " " + string(r.UpdateReplacePolicy)
	}
	properties, err := r.Properties(made{})
	if err != nil {
		return err
	}
	o.Properties[r.LogicalID] = properties
	metadata, err := r.Metadata(made{})
	if metadata != nil {
		o.Metadata[r.LogicalID] = metadata
	}
	return err
}

// describe returns the outcome or the error as the files have it.
func describe(o *outcome, err error) (section string, data []byte) {
	if err != nil {
		return "error", []byte(err.Error() + "\n")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(o); err != nil {
		return "error", []byte(err.Error())
	}
	return "want", b.Bytes()
}

type fileCase struct {
	path       string
	archive    *txtar.Archive
	template   []byte
	parameters map[string]string
	section    string // want or error
	want       []byte
}

func readCases(t testing.TB) []*fileCase {
	paths, err := filepath.Glob(filepath.Join("testdata", "cases", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	cases := make([]*fileCase, len(paths))
	for i, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c := &fileCase{path: path, archive: archive}
		for _, f := range archive.Files {
			switch f.Name {
			case "template":
				c.template = f.Data
			case "parameters":
				if err := json.Unmarshal(f.Data, &c.parameters); err != nil {
					t.Fatalf("%s: %v", path, err)
				}
			case "want", "error":
				c.section, c.want = f.Name, f.Data
			default:
				t.Fatalf("%s: unknown section %s", path, f.Name)
			}
		}
		cases[i] = c
	}
	return cases
}

func (c *fileCase) name() string { return strings.TrimSuffix(filepath.Base(c.path), ".txt") }

// save writes what the case gave into its file.
func (c *fileCase) save(section string, data []byte) error {
	kept := c.archive.Files[:0]
	for _, f := range c.archive.Files {
		if f.Name != "want" && f.Name != "error" {
			kept = append(kept, f)
		}
	}
	c.archive.Files = append(kept, txtar.File{Name: section, Data: data})
	return os.WriteFile(c.path, txtar.Format(c.archive), 0o644)
}

func TestCases(t *testing.T) {
	cases := readCases(t)
	if len(cases) < 150 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name(), func(t *testing.T) {
			o, err := run(c.template, c.parameters)
			var placed *Error
			if err != nil && !errors.As(err, &placed) {
				t.Fatalf("%T is not *Error: %v", err, err)
			}
			section, got := describe(o, err)
			if *update {
				if err := c.save(section, got); err != nil {
					t.Fatal(err)
				}
				return
			}
			if section != c.section || !bytes.Equal(got, c.want) {
				t.Errorf("%s\n%s", section, cmp.Diff(string(c.want), string(got)))
			}
		})
	}
}

// Errors about the text itself differ between the formats; all others name the same path and say the same.
func TestBothFormatsGiveTheSame(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.name(), func(t *testing.T) {
			n, err := read(c.template)
			if err != nil || c.name() == "names-that-look-like-booleans" {
				return // broken text, or text that only YAML has
			}
			var b bytes.Buffer
			if err := encode(&b, n.literal()); err != nil {
				t.Fatal(err)
			}
			o, err := run(c.template, c.parameters)
			other, otherErr := run(b.Bytes(), c.parameters)
			section, want := describe(o, withoutPlace(err))
			otherSection, got := describe(other, withoutPlace(otherErr))
			if section != otherSection || !bytes.Equal(got, want) {
				t.Errorf("as JSON: %s\n%s\n%s", otherSection, cmp.Diff(string(want), string(got)), b.Bytes())
			}
		})
	}
}

// A file from Windows means what it means elsewhere, and its errors name the same lines.
func TestLineEndsDoNotMatter(t *testing.T) {
	for _, c := range readCases(t) {
		section, want := describe(run(c.template, c.parameters))
		other, got := describe(run(bytes.ReplaceAll(c.template, []byte("\n"), []byte("\r\n")), c.parameters))
		if section != other || !bytes.Equal(want, got) {
			t.Errorf("%s: %s\n%s", c.name(), other, cmp.Diff(string(want), string(got)))
		}
	}
}

func withoutPlace(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Path: e.Path, Message: e.Message}
}
