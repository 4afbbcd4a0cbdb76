package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected files in testdata anew")

var tiny = service{
	pkg: "tiny", queryModel: "tiny-query", signingName: "tiny", eventSource: "tiny.example", errorPrefix: "com.tiny#", maxBody: "1 << 10",
	validation: "awsapi.ValidationSQS", pathMember: "name",
	toString: map[string][]string{"Thing": {"Name", "Color"}}, errors: map[string]string{"BadThing": "Bad"},
}

func TestGeneratedPackage(t *testing.T) {
	out := t.TempDir()
	if err := run([]service{tiny}, "testdata/models", out); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shapes.go", "service.go", "schema.go", "errors.go"} {
		got, err := os.ReadFile(filepath.Join(out, "tiny", name))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "tiny", name+".txt")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestModelsThatCannotBeGeneratedAreRefused(t *testing.T) {
	model := func(protocol, shapes string) string {
		return `{"metadata":{"protocol":"` + protocol + `"},"operations":{"Get":{"input":{"shape":"A"}}},"shapes":{` + shapes + `}}`
	}
	tests := []struct{ name, model, want string }{
		{"another protocol", model("rest-xml", `"A":{"type":"structure"}`), "protocol rest-xml is not one of json, query, ec2 and rest-json"},
		{"a shape inside itself", model("json", `"A":{"type":"structure","members":{"B":{"shape":"B"}}},"B":{"type":"list","member":{"shape":"A"}}`), "contains itself"},
		{"a shape that is not defined", model("json", `"A":{"type":"structure","members":{"B":{"shape":"B"}}}`), "shape B is used and not defined"},
		{"a pattern that RE2 lacks", model("json", `"A":{"type":"structure","members":{"B":{"shape":"B"}}},"B":{"type":"string","pattern":"(?<=a)b"}`), "shape B: pattern (?<=a)b"},
		{"not JSON", `{`, "odd.json"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "odd.json"), []byte(test.model), 0o644); err != nil {
				t.Fatal(err)
			}
			err := run([]service{{pkg: "odd"}}, dir, t.TempDir())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestAnEnumsOrderHasTheModelsValues(t *testing.T) {
	dir := t.TempDir()
	model := `{"metadata":{"protocol":"json"},"operations":{"Get":{"input":{"shape":"A"}}},"shapes":{"A":{"type":"structure","members":{"Mode":{"shape":"Mode"}}},"Mode":{"type":"string","enum":["ON","OFF"]}}}`
	if err := os.WriteFile(filepath.Join(dir, "odd.json"), []byte(model), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		order []string
		want  string
	}{
		"another order":   {[]string{"OFF", "ON"}, ""},
		"a value is gone": {[]string{"OFF"}, "shape Mode: its enum's values"},
		"a value is new":  {[]string{"OFF", "ON", "AUTO"}, "shape Mode: its enum's values"},
	} {
		err := run([]service{{pkg: "odd", maxBody: "1", enums: map[string][]string{"Mode": tt.order}}}, dir, t.TempDir())
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestAnOrderOfMembersHasAllOfThem(t *testing.T) {
	dir := t.TempDir()
	model := `{"metadata":{"protocol":"json"},"operations":{"Get":{"output":{"shape":"A"}}},"shapes":{"A":{"type":"structure","members":{"Arn":{"shape":"S"},"Name":{"shape":"S"}}},"S":{"type":"string"}}}`
	if err := os.WriteFile(filepath.Join(dir, "odd.json"), []byte(model), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		order []string
		want  string
	}{
		"another order":    {[]string{"Name", "Arn"}, ""},
		"a member is gone": {[]string{"Name"}, "shape A: its members"},
		"a member is new":  {[]string{"Name", "Arn", "Tags"}, "shape A: its members"},
	} {
		out := t.TempDir()
		err := run([]service{{pkg: "odd", maxBody: "1", members: map[string][]string{"A": tt.order}}}, dir, out)
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if err != nil {
			continue
		}
		for file, members := range map[string][2]string{"shapes.go": {"\tName ", "\tArn "}, "schema.go": {`{Name: "Name"`, `{Name: "Arn"`}} {
			text, err := os.ReadFile(filepath.Join(out, "odd", file))
			first, second := strings.Index(string(text), members[0]), strings.Index(string(text), members[1])
			if err != nil || first < 0 || second < first {
				t.Errorf("%s: %s has another order: %v\n%s", name, file, err, text)
			}
		}
	}
}

// What is committed is what the generator makes of the models.
func TestCommittedPackagesAreWhatTheModelsGive(t *testing.T) {
	models := os.Getenv("RIALTO_MODELS")
	if models == "" {
		t.Skip("RIALTO_MODELS does not name a directory of service models; they are no part of the repository")
	}
	out := t.TempDir()
	if err := run(services, models, out); err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		files, err := filepath.Glob(filepath.Join(out, s.pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal("no files", err)
		}
		for _, file := range files {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(s.pkg, filepath.Base(file)))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("%s/%s is not what the generator writes: run make generate", s.pkg, filepath.Base(file))
			}
		}
	}
}
