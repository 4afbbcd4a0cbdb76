package cli

import (
	"strings"
	"testing"
)

func TestDemoPlaysTheStory(t *testing.T) {
	t.Parallel()
	code, out, errOut := rialto(t, "", "demo")
	if code != ExitOK || errOut != "" {
		t.Fatalf("the demo ended with %d: %s\n%s", code, errOut, out)
	}
	for _, want := range []string{
		"us-east-1: launched 3 instances", "eu-west-1: all 3 are in the inventory, INACTIVE until an agent enrolls; from event to change ",
		"us-east-1: it is gone from the inventory, 2 remain", "Done: the inventory was right after every change", "Next: 'rialto serve'",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
}
