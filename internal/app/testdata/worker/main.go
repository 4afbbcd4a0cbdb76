// Command worker is a function of the tests: a compiled one, on aws-lambda-go. It writes down each
// event that it gets in the file that OUT names, and does what the event says: the
// detail's "do" of an event from a rule, the body of each message from a queue.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type work struct {
	Detail  struct{ Do string } `json:"detail"`
	Records []struct {
		EventSource string `json:"eventSource"`
	}
}

func handle(ctx context.Context, raw json.RawMessage) (any, error) {
	if err := note(ctx, raw); err != nil {
		return nil, err
	}
	var w work
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, err
	}
	if len(w.Records) == 0 || w.Records[0].EventSource != "aws:sqs" {
		return nil, do(w.Detail.Do)
	}
	var batch events.SQSEvent
	if err := json.Unmarshal(raw, &batch); err != nil {
		return nil, err
	}
	var answer events.SQSEventResponse
	for _, m := range batch.Records {
		if m.Body == "bad" {
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
			continue
		}
		if err := do(m.Body); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

func do(what string) error {
	switch what {
	case "fail":
		return errors.New("it was told to fail: 失败 💥")
	case "crash":
		os.Exit(3)
	case "hang":
		time.Sleep(time.Minute)
	case "slow":
		time.Sleep(300 * time.Millisecond)
	}
	return nil
}

// note appends the event and its request id to the file.
func note(ctx context.Context, raw json.RawMessage) error {
	lc, _ := lambdacontext.FromContext(ctx)
	line, err := json.Marshal(map[string]any{"request": lc.AwsRequestID, "event": raw})
	if err != nil {
		return err
	}
	out, err := os.OpenFile(os.Getenv("OUT"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return errors.Join(err, out.Close())
}

func main() { lambda.Start(handle) }
