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
		"us-east-1: it is gone from the inventory, 2 remain", "Function checkout was created, its entity followed; from event to change ",
		"Function checkout was deleted, its entity followed", "the full sync added it", "Drift: missed create of AWS::Lambda::Function refunds",
		"Done: inventory and catalog were right after every change", "Next: 'rialto serve'",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
}
