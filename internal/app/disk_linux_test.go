package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sys/unix"
)

func TestAFullDiskThrottlesAndWorksAgainOnceThereIsSpace(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("needs the right to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	s := startServer(t, func(c *Config) { c.DataDir, c.EventLogBytes = filepath.Join(disk, "data"), 16<<20 })
	in := s.caller("000000000000", "us-east-1")
	ctx := t.Context()
	queue, err := in.queues().CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]int{} // how often a call succeeded
	calls := func() map[string]error {
		out := map[string]error{}
		defer func() {
			for name, err := range out {
				if err == nil {
					done[name]++
				}
			}
		}()
		_, out["PutEvents"] = in.events().PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
			{Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String(`{}`)},
		}})
		_, out["PutRule"] = in.events().PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(`{"source":["shop"]}`)})
		_, out["SendMessage"] = in.queues().SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("x")})
		_, out["RunInstances"] = in.ec2().RunInstances(ctx, &ec2.RunInstancesInput{
			ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		})
		return out
	}

	// Sources of another server, whose disk has space.
	there := startServer(t, nil)
	remote := s.realAccountAt(t, there, awsAccount)
	remote.queue("rialto")
	accepted := func(name string) int {
		t.Helper()
		var source addedSource
		s.do(t, "GET", "/v1/sources/"+name, nil, &source)
		return source.Activity.Accepted
	}
	var endpoint addedSource
	s.do(t, "POST", "/v1/sources", map[string]any{"name": "endpoint", "kind": "endpoint", "allow_accounts": []string{awsAccount}, "bus": in.busARN("default")}, &endpoint)
	s.do(t, "POST", "/v1/sources", map[string]any{"name": "queue", "kind": "queue", "queue": queueAt(remote, "rialto"), "allow_accounts": []string{awsAccount}, "bus": in.busARN("default")}, nil)
	token, _ := s.token(t, endpoint.ClientID, endpoint.ClientSecret)
	arrival := func(id string) string {
		return `{"version":"0","id":"` + id + `","detail-type":"order","source":"shop","account":"` + awsAccount + `","time":"2026-01-15T21:29:54Z","region":"us-east-1","resources":[],"detail":{}}`
	}

	filler := filepath.Join(disk, "filler")
	if err := fill(filler); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	// What the files of the database have room for already is used up before.
	var refused map[string]error
	eventually(t, "all calls to be refused", func() bool {
		refused = calls()
		return !slices.Contains(slices.Collect(maps.Values(refused)), nil)
	})
	for name, err := range refused {
		code := map[string]string{"SendMessage": "Throttling", "RunInstances": "RequestLimitExceeded"}[name]
		if code == "" {
			code = "ThrottlingException"
		}
		refusedAs(t, err, code, "")
	}
	made, arrived := 0, 0
	eventually(t, "a project to be refused", func() bool {
		made++
		a := s.rest(t, "POST", apiRoot+"/projects", "", map[string]string{"name": fmt.Sprint("full-", made)})
		return a.Status == 503 && a.Code == "service_offline"
	})
	eventually(t, "an event at the endpoint to be refused", func() bool {
		a := s.rest(t, "POST", endpoint.EndpointURL, token, arrival(fmt.Sprint("full-", arrived)))
		if a.Status == 202 {
			arrived++
		}
		return a.Status == 503 && strings.Contains(string(a.Body), "disk")
	})
	url := remote.queue("rialto")
	if _, err := remote.queues().SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(arrival("e-2"))}); err != nil {
		t.Fatal(err)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event log to take events again", func() bool { return calls()["PutEvents"] == nil })
	for name, err := range calls() {
		if err != nil {
			t.Errorf("%s once there is space: %v", name, err)
		}
	}
	s.do(t, "POST", apiRoot+"/projects", map[string]string{"name": "web"}, nil)
	if a := s.rest(t, "POST", endpoint.EndpointURL, token, arrival("e-1")); a.Status != 202 {
		t.Errorf("an event at an endpoint once there is space: %s", a)
	}
	eventually(t, "the message to be taken in", func() bool { return accepted("queue") == 1 })
	if n := accepted("endpoint"); n != arrived+1 {
		t.Errorf("the endpoint accepted %d events, want %d", n, arrived+1)
	}

	// The trail has the calls that changed something, and no success of those that did not.
	for _, name := range []string{"PutRule", "RunInstances"} {
		eventually(t, "the events of "+name, func() bool { return s.succeeded(t, name) == done[name] })
	}
	if _, metrics := s.get("/metrics"); strings.Contains(metrics, "rialto_api_calls_lost_total 0\n") {
		t.Error("refused calls whose events found no space are not counted")
	}
}

// succeeded counts the events of calls of an operation that succeeded.
func (s *testServer) succeeded(t *testing.T, operation string) (n int) {
	t.Helper()
	for _, rec := range s.logged(t) {
		var e struct {
			Detail struct{ EventName, ErrorCode string }
		}
		if err := json.Unmarshal(rec.JSON, &e); err != nil {
			t.Fatal(err)
		}
		if e.Detail.EventName == operation && e.Detail.ErrorCode == "" {
			n++
		}
	}
	return n
}

// fill writes a file until the disk takes no more, and returns why.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	return err
}
