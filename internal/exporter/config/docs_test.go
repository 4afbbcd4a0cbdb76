package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What the guide shows is read as it stands there.
func TestTheGuidesExamples(t *testing.T) {
	text, err := os.ReadFile("../../../docs/mappings.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d examples", len(blocks))
	}
	cfg, err := Parse(blocks[0][1])
	if err != nil || len(cfg.Warnings) > 0 {
		t.Fatalf("%v, %v", err, cfg.Warnings)
	}
	_, err = Parse([]byte(strings.Replace(string(blocks[0][1]), ".MemorySize", ".[", 1)))
	if err == nil || !strings.Contains(string(text), "`"+err.Error()+"`") {
		t.Errorf("the guide does not quote the mistake as it is told: %v", err)
	}
	ev := evaluator(t)
	m, err := cfg.Resources[0].Map(t.Context(), ev, map[string]any{
		"Arn": "arn:f", "FunctionName": "订单", "Runtime": "go", "MemorySize": 128.0, "Tags": []any{map[string]any{"Key": "owner", "Value": "素素"}},
		"Layers": []any{map[string]any{"Arn": "arn:l"}},
	})
	if err != nil || len(m.Entities) != 2 || len(m.Problems) > 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	if p := m.Entities[0].Properties; p["owner"] != "素素" || p["memory"] != 128 {
		t.Errorf("%v", p)
	}
	for _, b := range blocks[1:] {
		records, err := ParseRecords(t.Context(), ev, b[1])
		if err != nil || len(records) != 1 || records[0].Delete || records[0].Region != "eu-west-1" {
			t.Errorf("%s: %+v, %v", b[1], records, err)
		}
	}
}
