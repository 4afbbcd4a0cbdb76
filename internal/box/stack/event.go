package stack

import (
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// stackType is the type that events about a stack itself have.
const stackType = "AWS::CloudFormation::Stack"

// Event is one of a stack's events. AWS: the properties are JSON.
type Event struct {
	ID                    string
	LogicalID, PhysicalID string
	Type                  string
	Status                Status
	Reason                string
	Properties            string
	// Token is the operation's ClientRequestToken.
	Token string
	// At is in unix milliseconds.
	At int64

	id int64
}

// Limits of what an event tells, in bytes.
const (
	maxReason     = 4 << 10
	maxProperties = 64 << 10
)

// tell stores events of a stack, oldest first, and publishes them, in the transaction that makes what they tell of.
func (s *Stacks) tell(ctx context.Context, tx *store.Tx, st *Stack, events ...Event) error {
	records := make([]event.Record, 0, len(events))
	for i := range events {
		e := &events[i]
		e.At, e.Reason = s.now(), cut(e.Reason, maxReason)
		if len(e.Properties) > maxProperties {
			e.Properties = ""
		}
		e.ID = uuid.NewString()
		if e.Type != stackType {
			// AWS: the ids of resources' events begin so; a time follows there, which two of them may have in common.
			e.ID = e.LogicalID + "-" + string(e.Status) + "-" + e.ID
		}
		if err := s.insertEvent(ctx, tx, st.id, e); err != nil {
			return err
		}
		records = append(records, s.record(st, e))
	}
	if err := tx.Publish(ctx, records...); err != nil {
		return err
	}
	return s.enqueueNotes(ctx, tx, st, events)
}

// stackEvent is the event of a stack's status.
func stackEvent(st *Stack, status Status, reason, token string) Event {
	return Event{LogicalID: st.Name, PhysicalID: st.ARN(), Type: stackType, Status: status, Reason: reason, Token: token}
}

// record is an event as users' rules see it. AWS: "CloudFormation Stack Status Change" and "CloudFormation
// Resource Status Change" of aws.cloudformation.
func (s *Stacks) record(st *Stack, e *Event) event.Record {
	type statusDetails struct {
		Status Status `json:"status"`
		Reason string `json:"status-reason"`
	}
	detail := struct {
		StackID  string        `json:"stack-id"`
		Logical  string        `json:"logical-resource-id,omitempty"`
		Physical *string       `json:"physical-resource-id,omitempty"`
		Status   statusDetails `json:"status-details"`
		Type     string        `json:"resource-type,omitempty"`
		Token    string        `json:"client-request-token"`
	}{StackID: st.ARN(), Status: statusDetails{e.Status, e.Reason}, Token: e.Token}
	detailType := "CloudFormation Stack Status Change"
	if e.Type != stackType {
		detailType = "CloudFormation Resource Status Change"
		detail.Logical, detail.Physical, detail.Type = e.LogicalID, &e.PhysicalID, e.Type
	}
	text, _ := json.Marshal(detail) // of plain strings
	ev := event.Event{
		ID: event.NewID(), DetailType: detailType, Source: "aws.cloudformation",
		Account: st.Account, Region: st.Region, Time: time.UnixMilli(e.At).UTC().Truncate(time.Second),
		Resources: []string{st.ARN()}, Detail: text,
	}
	return event.Record{
		Bus: event.BusRef{Account: st.Account, Region: st.Region, Name: event.DefaultBus},
		ID:  ev.ID, Origin: event.OriginService + " stack", JSON: ev.AppendJSON(nil),
	}
}

// cut shortens a text to so many bytes.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	limit -= len("…")
	for !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}
