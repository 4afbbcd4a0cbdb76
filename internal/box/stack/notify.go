package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// notifyQueue holds a job for each event that a topic is to be told of.
	notifyQueue = "stack.notify"
	// notifyFor is how long it is tried.
	notifyFor = time.Hour
)

// note is a job's payload.
type note struct {
	Account, Region, Topic, Message string
}

// enqueueNotes has the stack's topics told of events.
func (s *Stacks) enqueueNotes(ctx context.Context, tx *store.Tx, st *Stack, events []Event) error {
	var jobs []work.NewJob
	for _, topic := range st.Config.Topics {
		for i := range events {
			payload, err := json.Marshal(note{st.Account, st.Region, topic, message(st, &events[i])})
			if err != nil {
				return err
			}
			jobs = append(jobs, work.NewJob{Queue: notifyQueue, Payload: payload})
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	return s.jobs.Enqueue(ctx, tx, jobs...)
}

// message is what topics are told. AWS: lines of NAME='value'.
func message(st *Stack, e *Event) string {
	var b strings.Builder
	for _, line := range [][2]string{
		{"StackId", st.ARN()}, {"Timestamp", time.UnixMilli(e.At).UTC().Format("2006-01-02T15:04:05.000Z")}, {"EventId", e.ID},
		{"LogicalResourceId", e.LogicalID}, {"Namespace", st.Account}, {"PhysicalResourceId", e.PhysicalID}, {"ResourceProperties", e.Properties},
		{"ResourceStatus", string(e.Status)}, {"ResourceStatusReason", e.Reason}, {"ResourceType", e.Type}, {"StackName", st.Name}, {"ClientRequestToken", e.Token},
	} {
		fmt.Fprintf(&b, "%s='%s'\n", line[0], line[1])
	}
	return b.String()
}

// notify is the job that tells a topic of an event.
func (s *Stacks) notify(ctx context.Context, j work.Job) work.Outcome {
	var n note
	if err := json.Unmarshal(j.Payload, &n); err != nil {
		return work.Fail(err.Error())
	}
	c := awsapi.Caller{Account: n.Account, Region: n.Region, Role: awsapi.RolePublisher, SourceIP: invokedBy, UserAgent: invokedBy, InvokedBy: invokedBy}
	_, err := s.opt.Services.Invoke(ctx, c, "sns", "Publish", &sns.PublishInput{TopicArn: &n.Topic, Subject: new("AWS CloudFormation Notification"), Message: &n.Message})
	if err == nil {
		return work.Done()
	}
	if e, ok := errors.AsType[*awsapi.Error](err); ok && !e.Fault {
		return work.Fail(e.Error())
	}
	return work.Retry(err.Error())
}

// notNotified says that a topic was not told.
func (s *Stacks) notNotified(_ context.Context, _ *store.Tx, g work.GivenUp) error {
	var n note
	if err := json.Unmarshal(g.Job.Payload, &n); err != nil {
		return err
	}
	s.opt.Logger.Warn("a topic was not told of a stack's event", "topic", n.Topic, "reason", g.Reason)
	return nil
}
