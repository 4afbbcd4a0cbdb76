package cli

import (
	"strings"
	"testing"
)

func TestWhatOthersWroteDoesNotSteerTheTerminal(t *testing.T) {
	const name = "a\x1b[2Jb\u009b31mc\rd\n服务器 🚀"
	var out strings.Builder
	s := &streams{out: &out}
	if err := s.printTable([]string{"NAME", "STATE"}, [][]string{{name, "x\ty"}}); err != nil {
		t.Fatal(err)
	}
	event := `{"bus":"arn:aws:events:us-east-1:000000000000:event-bus/default","event":{"time":"2026-01-02T03:04:05Z",
		"source":"s\u001b]0;owned\u0007","detail-type":"订单 📦","detail":{"k":"` + "\u009b" + `31m"}}}`
	if err := printEvent(s, []byte(event)); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u009b\r\a\t") || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("printed %q", out.String())
	}
	for _, want := range []string{"服务器 🚀", "订单 📦", "us-east-1/default"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, out.String())
		}
	}
}
