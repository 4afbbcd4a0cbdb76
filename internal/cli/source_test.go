package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptCall calls an endpoint with a token, as an API destination does.
func scriptCall(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: call TOKEN_URL CLIENT SECRET URL FILE")
	}
	resp, err := http.PostForm(args[0], url.Values{"grant_type": {"client_credentials"}, "client_id": {args[1]}, "client_secret": {args[2]}})
	ts.Check(err)
	defer resp.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	ts.Check(json.NewDecoder(resp.Body).Decode(&token))
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, args[3], strings.NewReader(ts.ReadFile(args[4])))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	answer, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	_, err = fmt.Fprintf(ts.Stdout(), "%d %s", answer.StatusCode, bytes.TrimSpace(body))
	ts.Check(err)
}

// scriptQueue makes a queue and sends messages to it.
func scriptQueue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: queue NAME REGION [BODY…]")
	}
	client := sqs.New(sqs.Options{Region: args[1], BaseEndpoint: aws.String(ts.Getenv("RIALTO_SERVER")), Credentials: scriptCredentials})
	made, err := client.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &args[0]})
	ts.Check(err)
	for _, body := range args[2:] {
		_, err := client.SendMessage(context.Background(), &sqs.SendMessageInput{QueueUrl: made.QueueUrl, MessageBody: &body})
		ts.Check(err)
	}
}
