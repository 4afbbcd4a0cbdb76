package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/jq"
)

func TestMain(m *testing.M) {
	jq.Main()
	goleak.VerifyTestMain(m)
}

// corpus runs f over each file of testdata/dir, read as a T.
func corpus[T any](t *testing.T, dir string, least int, f func(t *testing.T, c T)) {
	t.Helper()
	files, err := filepath.Glob("testdata/" + dir + "/*.json")
	if err != nil || len(files) < least {
		t.Fatalf("%d files in testdata/%s: %v", len(files), dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c T
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			f(t, c)
		})
	}
}

func evaluator(t testing.TB) *jq.Evaluator {
	t.Helper()
	ev := jq.New(jq.Options{Workers: 2, Timeout: 300 * time.Millisecond})
	t.Cleanup(func() { ev.Close() })
	return ev
}

// saysAll reports where problems do not begin with, or contain, what is wanted, in
// any order.
func saysAll(t *testing.T, what string, problems []Problem, want []string) {
	t.Helper()
	var lines []string
	for _, p := range problems {
		lines = append(lines, Problem{Path: p.Path, Message: p.Message}.String())
	}
	for _, w := range want {
		found := false
		for i, line := range lines {
			if strings.Contains(line, w) {
				lines, found = append(lines[:i], lines[i+1:]...), true
				break
			}
		}
		if !found {
			t.Errorf("no %s says %q", what, w)
		}
	}
	if len(lines) > 0 {
		t.Errorf("%ss that are not wanted:\n%s", what, strings.Join(lines, "\n"))
	}
}

func TestConfigurations(t *testing.T) {
	type configCase struct {
		Config   json.RawMessage `json:"config"`
		Problems []string        `json:"problems"`
		Warnings []string        `json:"warnings"`
	}
	corpus(t, "config", 55, func(t *testing.T, c configCase) {
		cfg, err := Parse(c.Config)
		if len(c.Problems) == 0 {
			if err != nil {
				t.Fatal(err)
			}
			saysAll(t, "warning", cfg.Warnings, c.Warnings)
			return
		}
		wrong, ok := err.(*Errors)
		if !ok || cfg != nil {
			t.Fatalf("got %v, %v", cfg, err)
		}
		saysAll(t, "problem", wrong.Problems, c.Problems)
		for _, p := range wrong.Problems {
			if p.Line == 0 {
				t.Errorf("%s has no line", p)
			}
		}
	})
}

// mapCase is a file of testdata/map.
type mapCase struct {
	Resource map[string]any  `json:"resource"`
	Pass     json.RawMessage `json:"resource_config"`
	Want     struct {
		Selected bool         `json:"selected"`
		Entities []wantEntity `json:"entities"`
		Problems []string     `json:"problems"`
		Error    string       `json:"error"`
	} `json:"want"`
}

type wantEntity struct {
	Blueprint  string         `json:"blueprint"`
	Identifier string         `json:"identifier"`
	Title      *string        `json:"title,omitempty"`
	Icon       *string        `json:"icon,omitempty"`
	Team       any            `json:"team,omitempty"`
	Properties map[string]any `json:"properties"`
	Relations  map[string]any `json:"relations,omitempty"`
}

func TestMappings(t *testing.T) {
	ev := evaluator(t)
	corpus(t, "map", 55, func(t *testing.T, c mapCase) {
		cfg, err := Parse([]byte(`{"resources":[` + string(c.Pass) + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		before, _ := json.Marshal(c.Resource)
		got, err := cfg.Resources[0].Map(t.Context(), ev, c.Resource)
		if after, _ := json.Marshal(c.Resource); string(after) != string(before) {
			t.Errorf("the resource is now %s", after)
		}
		if c.Want.Error != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.Want.Error) {
				t.Fatalf("got %v, want %s", err, c.Want.Error)
			}
			if diff := cmp.Diff(Mapped{}, got); diff != "" {
				t.Errorf("with the error, %s", diff)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.Selected != c.Want.Selected {
			t.Errorf("selected: %v", got.Selected)
		}
		entities := make([]wantEntity, 0, len(got.Entities))
		for _, e := range got.Entities {
			if e.Properties == nil {
				t.Errorf("%s has no properties", e.Identifier)
			}
			entities = append(entities, wantEntity(e))
		}
		if diff := cmp.Diff(asJSON(t, append([]wantEntity{}, c.Want.Entities...)), asJSON(t, entities)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		saysAll(t, "problem", got.Problems, c.Want.Problems)
	})
}

// asJSON is v as it is sent.
func asJSON(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var w any
	if err := json.Unmarshal(text, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// recordCase is a file of testdata/record.
type recordCase struct {
	Body    json.RawMessage `json:"body"`
	Text    string          `json:"text"`
	Records []wantRecord    `json:"records"`
	Error   string          `json:"error"`
}

type wantRecord struct {
	Kind       string    `json:"kind"`
	Region     string    `json:"region"`
	Identifier string    `json:"identifier"`
	Delete     bool      `json:"delete"`
	Account    string    `json:"account"`
	EventID    string    `json:"event_id"`
	EventName  string    `json:"event_name"`
	RuleARN    string    `json:"rule_arn"`
	ErrorCode  string    `json:"error_code"`
	EventTime  time.Time `json:"event_time"`
}

func TestEventRecords(t *testing.T) {
	ev := evaluator(t)
	corpus(t, "record", 45, func(t *testing.T, c recordCase) {
		body := []byte(c.Text)
		if c.Body != nil {
			body = c.Body
		}
		got, err := ParseRecords(t.Context(), ev, body)
		if c.Error != "" {
			if err == nil || !strings.Contains(err.Error(), c.Error) || got != nil {
				t.Fatalf("got %v, %v, want %s", got, err, c.Error)
			}
			_, permanent := err.(*RecordError)
			if again := strings.Contains(c.Error, "took too long"); permanent == again {
				t.Errorf("permanent: %v", permanent)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		records := make([]wantRecord, 0, len(got))
		for _, r := range got {
			records = append(records, wantRecord(r))
		}
		if diff := cmp.Diff(append([]wantRecord{}, c.Records...), records); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}
