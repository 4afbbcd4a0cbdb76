package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The paths of a file's parts repeat the keys around them, and may be much longer
// than the file.
func TestReadingAFileTakesLittleMoreThanTheFile(t *testing.T) {
	key := strings.Repeat("k", maxName)
	text := strings.Repeat(`{"`+key+`":`, 11) + `[` + strings.Repeat("1,", 500_000) + `1]` + strings.Repeat(`}`, 11)
	var paths int
	doc, problems := readDocument([]byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for path := range doc.lines {
		paths += len(path)
	}
	if paths > maxPaths+100*maxName {
		t.Errorf("the paths of a file of %d bytes have %d bytes", len(text), paths)
	}
}

// However much of a resource each of its items has in it, they cannot exhaust the
// server.
func TestEntitiesOfOneResourceAreBoundedTogether(t *testing.T) {
	const mapping = `{"resources": [{"kind": "AWS::SQS::Queue", "port": {"entity": {"mappings": [
		{"itemsToParse": "[range(%d)]", "identifier": ".item", "blueprint": "b", "properties": {"all": ".text"}}]}}}]}`
	resource := map[string]any{"text": strings.Repeat("x", 500_000)}
	for items, want := range map[int]string{10: "", 500: "resources[0].port.entity.mappings[0]: the entities of the resource are larger than 64 MiB together"} {
		cfg, err := Parse(fmt.Appendf(nil, mapping, items))
		if err != nil {
			t.Fatal(err)
		}
		m, err := cfg.Resources[0].Map(t.Context(), evaluator(t), resource)
		switch {
		case want == "" && (err != nil || len(m.Entities) != items-1): // 0 identifies nothing
			t.Errorf("%d items: %d entities, %v", items, len(m.Entities), err)
		case want != "" && (err == nil || err.Error() != want || len(m.Entities) > 0):
			t.Errorf("%d items: %d entities, %v", items, len(m.Entities), err)
		}
	}
}

// A record is stored with what is wrong with it, and PostgreSQL stores no NUL in a text.
func TestNothingOfARecordHasANUL(t *testing.T) {
	record := func(key, value string) string {
		r := map[string]string{"resource_type": "AWS::SQS::Queue", "region": `"us-east-1"`, "identifier": `"q"`}
		r[key] = value
		text, _ := json.Marshal(r)
		return string(text)
	}
	for _, c := range []struct{ body, key string }{
		{record("identifier", `"a\u0000b"`), "identifier"},
		{record("identifier", `["q", "a\u0007b"]`), "identifier"},
		{record("identifier", `error("a\u0000b")`), "identifier"},
		{record("identifier", ".\x00"), "identifier"},
		{record("region", "\x00 x"), "region"},
		{record("action", `"\u0000"`), "action"},
		{record("account", "\x00"), "account"},
		{record("event_id", "a\x00"), "event_id"},
		{record("ruleArn", "a\nb"), "ruleArn"},
		{record("resource_type", "AWS::SQS\x00::Queue"), "resource_type"},
	} {
		records, err := ParseRecords(t.Context(), evaluator(t), []byte(c.body))
		bad, ok := errors.AsType[*RecordError](err)
		if !ok || bad.Key != c.key || strings.Contains(err.Error(), "\x00") || len(records) > 0 {
			t.Errorf("%s: %v, %q", c.body, records, err)
		}
	}
}
