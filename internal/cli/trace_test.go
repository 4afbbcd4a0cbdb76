package cli

import (
	"context"
	"strings"
	"testing"
)

func TestTraceThatIsInterruptedEndsQuietly(t *testing.T) {
	t.Parallel()
	url := testServer(t)
	event := `{"id": "order-1", "source": "shop", "detail-type": "order", "detail": {}}`
	if code, _, errOut := rialto(t, event, "put", "-", "--server", url); code != ExitOK {
		t.Fatalf("put ended with %d: %s", code, errOut)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, errOut := &strings.Builder{}, &strings.Builder{}
	code := Run(ctx, []string{"trace", "order-1", "--follow", "--server", url}, strings.NewReader(""), out, errOut)
	if code != ExitFailed || errOut.String() != "" || out.String() != "" {
		t.Errorf("trace --follow that is interrupted ended with %d and printed %q, %q", code, out, errOut)
	}
}

func TestTraceAlignsTheNamesOfRules(t *testing.T) {
	rules := []tracedRule{{Rule: "orders-that-are-large-of-all-regions"}, {Rule: "b"}}
	var out strings.Builder
	p := &tracePrinter{out: &out, trace: &traced{}}
	p.notMatched(&tracedEvent{NotMatched: rules})
	want := "  did not match, by the rules as they are now:\n" +
		"    orders-that-are-large-of-all-regions  it does not match\n" +
		"    b" + strings.Repeat(" ", 35) + "  it does not match\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}
