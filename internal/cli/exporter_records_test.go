package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestABodyOfSeveralLinesStandsBelowTheTable(t *testing.T) {
	var out bytes.Buffer
	s := &streams{out: &out, format: "table"}
	body := "{\n  \"identifier\": \"订单 🚀\x1b[2J\"\n}\n"
	if err := printDeadRecord(s, shown[deadRecord]{row: deadRecord{ID: "r1", Body: &body}}); err != nil {
		t.Fatal(err)
	}
	want := "\n\n{\n  \"identifier\": \"订单 🚀\uFFFD[2J\"\n}\n"
	if text := out.String(); !strings.HasSuffix(text, want) || !strings.Contains(text, "body        below\n") {
		t.Errorf("it shows\n%s", text)
	}
}
