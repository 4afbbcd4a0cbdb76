package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// sample is an event as it is printed, or as it arrived.
type sample struct {
	Version    string          `json:"version"`
	ID         string          `json:"id"`
	DetailType any             `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       string          `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// Every sample goes through put and arrives at the target of a rule as it is
// printed; what it lacks is filled in, and said.
func TestEverySampleEventArrivesAsItIsPrinted(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "events", "*.json"))
	if err != nil || len(files) < 16 {
		t.Fatalf("found %d samples: %v", len(files), err)
	}
	url := testServer(t)
	queues := map[string]*sampleQueue{}
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		queues[region] = newSampleQueue(t, url, region)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want sample
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			code, out, errOut := rialto(t, "", "put", file, "--server", url, "-o", "json")
			if code != ExitOK {
				t.Fatalf("put ended with %d: %s", code, errOut)
			}
			var put struct {
				Events []struct {
					ID    string
					Bus   string
					Notes []string
				}
			}
			if err := json.Unmarshal([]byte(out), &put); err != nil || len(put.Events) != 1 {
				t.Fatalf("put printed %s: %v", out, err)
			}
			var notes []string
			if types, ok := want.DetailType.([]any); ok {
				want.DetailType = types[0]
				notes = append(notes, "detail-type was an array of one string; took the string, as AWS sends it")
			}
			region := want.Region
			if region == "" {
				region = "us-east-1"
			}
			got := queues[region].next(t)
			for _, member := range []struct {
				name, standard string
				want           *string
			}{{"id", put.Events[0].ID, &want.ID}, {"account", demoAccount, &want.Account}, {"time", got.Time, &want.Time}, {"region", region, &want.Region}} {
				if *member.want == "" {
					*member.want = member.standard
					notes = append(notes, "filled in "+member.name)
				}
			}
			if !slices.Equal(slices.Sorted(slices.Values(put.Events[0].Notes)), slices.Sorted(slices.Values(notes))) {
				t.Errorf("the notes are %q, want %q", put.Events[0].Notes, notes)
			}
			if bus := "arn:aws:events:" + region + ":" + demoAccount + ":event-bus/default"; put.Events[0].Bus != bus {
				t.Errorf("it went to %s, want %s", put.Events[0].Bus, bus)
			}
			if want.Version == "" {
				want.Version = "0"
			}
			if got.text() != want.text() {
				t.Errorf("what arrived is\n%s\nwant\n%s", got.text(), want.text())
			}
		})
	}
}

// text is the sample in one spelling.
func (s sample) text() string {
	var detail any
	if err := json.Unmarshal(s.Detail, &detail); err != nil {
		return err.Error()
	}
	if s.Resources == nil {
		s.Resources = []string{}
	}
	s.Detail, _ = json.Marshal(detail)
	b, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// sampleQueue gets every event of a region but those of the calls that make it.
type sampleQueue struct {
	client *sqs.Client
	url    string
}

func newSampleQueue(t *testing.T, server, region string) *sampleQueue {
	t.Helper()
	events := eventbridge.New(eventbridge.Options{Region: region, BaseEndpoint: &server, Credentials: scriptCredentials})
	q := &sampleQueue{client: sqs.New(sqs.Options{Region: region, BaseEndpoint: &server, Credentials: scriptCredentials})}
	queue, err := q.client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("all")})
	if err != nil {
		t.Fatal(err)
	}
	q.url = *queue.QueueUrl
	_, err = events.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("all"), EventPattern: aws.String(`{"source":[{"anything-but":["aws.events","aws.sqs"]}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("all"), Targets: []ebtypes.Target{
		{Id: aws.String("q"), Arn: aws.String("arn:aws:sqs:" + region + ":" + demoAccount + ":all")},
	}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatal(out, err)
	}
	return q
}

// next takes the next event off the queue.
func (q *sampleQueue) next(t *testing.T) sample {
	t.Helper()
	out, err := q.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.url, WaitTimeSeconds: 20})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("nothing arrived: %v", err)
	}
	if _, err := q.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: out.Messages[0].ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	var s sample
	if err := json.NewDecoder(strings.NewReader(*out.Messages[0].Body)).Decode(&s); err != nil {
		t.Fatalf("what arrived is %s: %v", *out.Messages[0].Body, err)
	}
	return s
}
