package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// awsClient calls AWS operations in JSON. Its signature is one in form only: the
// servers under test have no access keys and take any.
type awsClient struct {
	http *http.Client
	// url returns the server's URL, after waiting for one if there is none.
	url func(context.Context) (string, error)
}

func newAWSClient(url func(context.Context) (string, error)) *awsClient {
	return &awsClient{url: url, http: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
}

func (p *serverProcess) client() *awsClient {
	return newAWSClient(func(context.Context) (string, error) { return p.url, nil })
}

const (
	testRegion  = "us-east-1"
	testAccount = "000000000000"
)

var targetPrefixes = map[string]string{"events": "AWSEvents.", "sqs": "AmazonSQS."}

// authorization is a SigV4 header for the service at the time of X-Amz-Date.
func authorization(service, date string) string {
	return "AWS4-HMAC-SHA256 Credential=test/" + date[:len("20260102")] + "/" + testRegion + "/" + service + "/aws4_request, " +
		"SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000"
}

// refusal is an answer that is not 200.
type refusal struct {
	Status  int    `json:"-"`
	Type    string `json:"__type"`
	Message string `json:"message"`
}

func (e *refusal) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Type, e.Message) }

// call calls an operation. The error is a *refusal when the server answered.
func (c *awsClient) call(ctx context.Context, service, operation string, in, out any) error {
	url, err := c.url(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", targetPrefixes[service]+operation)
	date := time.Now().UTC().Format("20060102T150405Z")
	req.Header.Set("X-Amz-Date", date)
	req.Header.Set("Authorization", authorization(service, date))
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		e := &refusal{Status: resp.StatusCode}
		if json.Unmarshal(answer, e) != nil {
			e.Message = string(answer)
		}
		return e
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// must calls an operation that has to succeed.
func (c *awsClient) must(t *testing.T, service, operation string, in map[string]any) map[string]any {
	t.Helper()
	var out map[string]any
	if err := c.call(t.Context(), service, operation, in, &out); err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return out
}

// entry is an entry of PutEvents.
type entry struct{ Source, DetailType, Detail string }

// put puts events and returns the ids of those that were acknowledged.
func (c *awsClient) put(ctx context.Context, entries []entry) (ids []string, err error) {
	var out struct {
		Entries []struct{ EventId, ErrorCode string }
	}
	if err := c.call(ctx, "events", "PutEvents", map[string]any{"Entries": entries}, &out); err != nil {
		return nil, err
	}
	for _, e := range out.Entries {
		ids = append(ids, e.EventId) // empty for an entry that was refused
	}
	return ids, nil
}

// message is what ReceiveMessage returns.
type message struct {
	MessageId, ReceiptHandle, Body string
	MessageAttributes              map[string]struct{ StringValue string }
}

// eventID is the id of the event that the message carries.
func (m message) eventID() string {
	var e struct{ ID string }
	_ = json.Unmarshal([]byte(m.Body), &e) // without one it is nobody's
	return e.ID
}

// receive takes up to ten messages, waiting a second for the first.
func (c *awsClient) receive(ctx context.Context, queue string) ([]message, error) {
	var out struct{ Messages []message }
	err := c.call(ctx, "sqs", "ReceiveMessage", map[string]any{
		"QueueUrl": queueURL(queue), "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "MessageAttributeNames": []string{"All"},
	}, &out)
	return out.Messages, err
}

// remove deletes messages and returns the ids of those that are gone.
func (c *awsClient) remove(ctx context.Context, queue string, messages []message) ([]string, error) {
	entries := make([]map[string]string, len(messages))
	for i, m := range messages {
		entries[i] = map[string]string{"Id": fmt.Sprint("m", i), "ReceiptHandle": m.ReceiptHandle}
	}
	var out struct{ Successful []struct{ Id string } }
	if err := c.call(ctx, "sqs", "DeleteMessageBatch", map[string]any{"QueueUrl": queueURL(queue), "Entries": entries}, &out); err != nil {
		return nil, err
	}
	var gone []string
	for i, m := range messages {
		for _, s := range out.Successful {
			if s.Id == fmt.Sprint("m", i) {
				gone = append(gone, m.MessageId)
			}
		}
	}
	return gone, nil
}

func queueURL(name string) string {
	return "https://sqs." + testRegion + ".amazonaws.com/" + testAccount + "/" + name
}

func queueARN(name string) string {
	return "arn:aws:sqs:" + testRegion + ":" + testAccount + ":" + name
}

// createQueue creates a queue whose messages come back visibility seconds after
// they were received.
func (c *awsClient) createQueue(t *testing.T, name string, visibility int) {
	t.Helper()
	c.must(t, "sqs", "CreateQueue", map[string]any{
		"QueueName": name, "Attributes": map[string]string{"VisibilityTimeout": fmt.Sprint(visibility)},
	})
}

// createRule creates a rule for a detail type with one target, which has a
// dead-letter queue.
func (c *awsClient) createRule(t *testing.T, name, detailType, targetARN, deadLetters string) {
	t.Helper()
	c.must(t, "events", "PutRule", map[string]any{"Name": name, "EventPattern": fmt.Sprintf(`{"detail-type":[%q]}`, detailType)})
	target := map[string]any{"Id": "1", "Arn": targetARN, "DeadLetterConfig": map[string]string{"Arn": queueARN(deadLetters)}}
	if targetARN[:len("arn:aws:events")] == "arn:aws:events" {
		target["RoleArn"] = "arn:aws:iam::" + testAccount + ":role/events"
	}
	out := c.must(t, "events", "PutTargets", map[string]any{"Rule": name, "Targets": []any{target}})
	if out["FailedEntryCount"] != float64(0) {
		t.Fatalf("PutTargets: %v", out)
	}
}

// createDestination creates an API destination at the URL and returns its ARN.
func (c *awsClient) createDestination(t *testing.T, name, url string, perSecond int) string {
	t.Helper()
	connection := c.must(t, "events", "CreateConnection", map[string]any{
		"Name": name, "AuthorizationType": "API_KEY",
		"AuthParameters": map[string]any{"ApiKeyAuthParameters": map[string]string{"ApiKeyName": "X-Key", "ApiKeyValue": "secret"}},
	})
	destination := c.must(t, "events", "CreateApiDestination", map[string]any{
		"Name": name, "ConnectionArn": connection["ConnectionArn"], "HttpMethod": "POST",
		"InvocationEndpoint": url, "InvocationRateLimitPerSecond": perSecond,
	})
	return destination["ApiDestinationArn"].(string)
}
