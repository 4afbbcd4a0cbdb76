package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rogpeppe/go-internal/testscript"
)

const scriptRegion = "us-east-1"

func scriptEvents(ts *testscript.TestScript) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: scriptRegion, BaseEndpoint: aws.String(ts.Getenv("RIALTO_SERVER")), Credentials: scriptCredentials})
}

func scriptQueues(ts *testscript.TestScript) *sqs.Client {
	return sqs.New(sqs.Options{Region: scriptRegion, BaseEndpoint: aws.String(ts.Getenv("RIALTO_SERVER")), Credentials: scriptCredentials})
}

// scriptQueueRule makes a rule that sends the events of the source of its name to the
// queue of its name, whether there is one or not.
func scriptQueueRule(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: queuerule NAME")
	}
	ctx, c, name := context.Background(), scriptEvents(ts), args[0]
	_, err := c.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: aws.String(fmt.Sprintf(`{"source":[%q]}`, name))})
	ts.Check(err)
	_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: []ebtypes.Target{{
		Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:" + scriptRegion + ":" + demoAccount + ":" + name),
	}}})
	ts.Check(err)
}

func scriptDeleteRule(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: deleterule NAME")
	}
	ctx, c := context.Background(), scriptEvents(ts)
	_, err := c.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &args[0], Ids: []string{"queue"}})
	ts.Check(err)
	_, err = c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &args[0]})
	ts.Check(err)
}

func scriptCreateQueue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: createqueue NAME")
	}
	_, err := scriptQueues(ts).CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &args[0]})
	ts.Check(err)
}

// scriptReceived waits for a message with the text in a queue.
func scriptReceived(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: received QUEUE TEXT")
	}
	c := scriptQueues(ts)
	at, err := c.GetQueueUrl(context.Background(), &sqs.GetQueueUrlInput{QueueName: &args[0]})
	ts.Check(err)
	deadline := time.Now().Add(awaitTime)
	for time.Now().Before(deadline) {
		out, err := c.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: at.QueueUrl, WaitTimeSeconds: 1})
		ts.Check(err)
		for _, m := range out.Messages {
			if strings.Contains(*m.Body, args[1]) {
				return
			}
		}
	}
	ts.Fatalf("waited in vain for %s in queue %s", args[1], args[0])
}

func TestTimesAreGivenAsSuchOrAsHowLongAgo(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2h": "2026-03-10T10:00:00Z", "3d": "2026-03-07T12:00:00Z", "90s": "2026-03-10T11:58:30Z", "0d": "2026-03-10T12:00:00Z",
		"2026-01-15T21:29:54Z": "2026-01-15T21:29:54Z", "2026-01-15T22:29:54+01:00": "2026-01-15T21:29:54Z",
	} {
		got, err := timeOrAgo(text, now)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s is %s, want %s: %v", text, got, want, err)
		}
	}
	for _, text := range []string{"", "yesterday", "-2h", "-1d", "3 days", "2026-01-15", "d", "99999999d"} {
		if got, err := timeOrAgo(text, now); err == nil {
			t.Errorf("%q is %s, want an error", text, got)
		}
	}
}

func TestWhatWasDroppedIsSaidBelowTheList(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/dead-letters":
			fmt.Fprint(w, `{"list":[]}`)
		case "/v1/dead-letters/summary":
			fmt.Fprint(w, `{"list":[],"list_more":true,"dropped":[{"rule_arn":"arn:aws:events:us-east-1:000000000000:rule/orders","target_id":"queue","reason":"size","count":120,
				"bytes":98304,"oldest_at":"2026-01-02T03:04:05Z","newest_at":"2026-01-03T03:04:05Z","last_dropped_at":"2026-01-04T03:04:05Z"}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	run := func(args ...string) (out, errOut string) {
		t.Helper()
		var o, e bytes.Buffer
		if code := Run(t.Context(), append([]string{"dead-letters", "list", "--server", server.URL}, args...), strings.NewReader(""), &o, &e); code != ExitOK {
			t.Fatalf("exit code %d: %s", code, &e)
		}
		return o.String(), e.String()
	}
	const row = "arn:aws:events:us-east-1:000000000000:rule/orders  queue   size    120    98304  2026-01-02T03:04:05Z  2026-01-03T03:04:05Z  2026-01-04T03:04:05Z"
	if out, errOut := run(); !strings.Contains(out, "Dropped, since they were too old or took too much room:") || !strings.Contains(out, row) || errOut != "" {
		t.Errorf("a table is\n%s%s", out, errOut)
	}
	if out, errOut := run("-o", "json"); out != "[]\n" || !strings.Contains(errOut, "--dropped") {
		t.Errorf("JSON is\n%s%s", out, errOut)
	}
	if out, _ := run("--dropped"); strings.Count(out, "\n") != 2 || !strings.Contains(out, row) {
		t.Errorf("--dropped shows\n%s", out)
	}
	if _, errOut := run("--summary"); !strings.Contains(errOut, "There are more rules and targets than the 0 listed.") {
		t.Errorf("a summary that is cut says %q", errOut)
	}
	if out, _ := run("--dropped", "-o", "json"); !strings.Contains(out, `"count": 120`) {
		t.Errorf("--dropped -o json shows\n%s", out)
	}
}

func TestWhatAServerSaysCannotDriveATerminal(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"code":"resource_does_not_exist","message":"no \u001b[31mred\u009b31m\u0007\nletter"}}`)
	}))
	defer server.Close()
	var out, errOut bytes.Buffer
	Run(t.Context(), []string{"dead-letters", "show", "1", "--server", server.URL}, strings.NewReader(""), &out, &errOut)
	if got := errOut.String(); strings.ContainsAny(got, "\x1b\u009b\a") || !strings.Contains(got, "red") || !strings.Contains(got, "\nletter") {
		t.Errorf("it prints %q", got)
	}
}
