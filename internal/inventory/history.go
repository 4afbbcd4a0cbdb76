package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Cause says what made a change: exactly one of an event, a sync run, an agent or
// a caller of the API.
type Cause struct {
	// Kind is event, sync, agent or api.
	Kind string `json:"kind"`
	// EventID and WebhookID name the event and the webhook that took it in. For
	// several events that one read settled it is the last of them by time.
	EventID   string `json:"event_id,omitempty"`
	WebhookID string `json:"webhook_id,omitempty"`
	RunID     string `json:"run_id,omitempty"`
	AgentID   string `json:"agent_id,omitempty"`
	// KeyID is the access key of the caller.
	KeyID string `json:"key_id,omitempty"`
	// Why is the rule that decided, in words.
	Why string `json:"why,omitempty"`
	// Reason is why a server was removed: terminated, not_found, absent, manual
	// or excluded.
	Reason string `json:"reason,omitempty"`
	// Anomaly: the cloud and the events contradicted each other.
	Anomaly bool `json:"anomaly,omitempty"`

	eventTime time.Time
}

// The kinds of cause.
const (
	causeEvent = "event"
	causeSync  = "sync"
	causeAgent = "agent"
	causeAPI   = "api"
)

// Change is one entry of a server's history.
type Change struct {
	ID       int64
	ServerID string
	At       time.Time
	// Kind is added, updated, removed, enrolled or labeled; with "server." before
	// it, it is the detail-type of the event that is published.
	Kind   string
	Cause  Cause
	Fields map[string]FieldChange
}

// The kinds of change.
const (
	changeAdded    = "added"
	changeUpdated  = "updated"
	changeRemoved  = "removed"
	changeEnrolled = "enrolled"
	changeLabeled  = "labeled"
)

// FieldChange is one field before and after; null stands for not there.
type FieldChange struct {
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// volatile fields change with every sign of life and are no change of a server.
var volatile = []string{"last_seen", "state", "instance_details.last_confirmed"}

// diff compares two servers field by field; before is nil for a new one.
func diff(before, after *Server, now time.Time) (map[string]FieldChange, error) {
	old, err := flatFields(before, now)
	if err != nil {
		return nil, err
	}
	cur, err := flatFields(after, now)
	if err != nil {
		return nil, err
	}
	null := json.RawMessage("null")
	out := map[string]FieldChange{}
	for k, a := range cur {
		b, ok := old[k]
		if !ok {
			b = null
		}
		if !bytes.Equal(a, b) && !slices.Contains(volatile, k) {
			out[k] = FieldChange{Before: b, After: a}
		}
	}
	for k, b := range old {
		if _, ok := cur[k]; !ok && !slices.Contains(volatile, k) {
			out[k] = FieldChange{Before: b, After: null}
		}
	}
	return out, nil
}

// flatFields are a server's fields as the API shows them, those of
// instance_details under their own names.
func flatFields(s *Server, now time.Time) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if s == nil {
		return fields, nil
	}
	text, err := json.Marshal(toServerJSON(s, now))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	if d, ok := fields["instance_details"]; ok {
		delete(fields, "instance_details")
		var details map[string]json.RawMessage
		if err := json.Unmarshal(d, &details); err != nil {
			return nil, err
		}
		for k, v := range details {
			fields["instance_details."+k] = v
		}
	}
	return fields, nil
}

// record writes a change into the server's history and publishes it. An update
// that changes no field leaves no trace.
func (v *Inventory) record(ctx context.Context, tx *store.Tx, kind string, before, after *Server, cause Cause) error {
	now := v.now()
	fields, err := diff(before, after, now)
	if err != nil {
		return fmt.Errorf("compare server %s: %w", after.ID, err)
	}
	if len(fields) == 0 {
		return nil
	}
	c := Change{ServerID: after.ID, At: now, Kind: kind, Cause: cause, Fields: fields}
	if err := insertChange(ctx, tx, c); err != nil {
		return err
	}
	rec, err := v.changeEvent(after, c)
	if err != nil {
		return err
	}
	if err := tx.Publish(ctx, rec); err != nil {
		return err
	}
	tx.OnCommit(func() { v.counters.changed(kind, cause, now) })
	return nil
}

// changeEvent is the event that tells of a change: on the default bus of the
// server's own account and region.
func (v *Inventory) changeEvent(s *Server, c Change) (event.Record, error) {
	account, region := s.AccountID, s.Region
	if account == "" || region == "" {
		account, region = v.o.HomeAccount, v.o.HomeRegion
	}
	detail, err := json.Marshal(changeDetail{
		Change: c.Kind, Server: toServerJSON(s, c.At), Fields: c.Fields, Cause: c.Cause,
	})
	if err != nil {
		return event.Record{}, err
	}
	e := event.Event{
		ID: event.NewID(), Source: "rialto", DetailType: "server." + c.Kind,
		Account: account, Region: region, Time: c.At.Truncate(time.Second), Detail: detail,
	}
	if s.InstanceID != "" {
		e.Resources = []string{instanceARN(s.AccountID, s.Region, s.InstanceID)}
	}
	return event.Record{
		Bus: event.BusRef{Account: account, Region: region, Name: event.DefaultBus},
		ID:  e.ID, Origin: event.OriginService + " inventory", JSON: e.AppendJSON(nil),
	}, nil
}

// announce publishes what happened to a cloud account itself. More is added to
// the detail, which names the account.
func (v *Inventory) announce(ctx context.Context, tx *store.Tx, a CloudAccount, detailType string, more map[string]any) error {
	detail := map[string]any{"cloud_account_id": a.ID, "account_id": a.AccountID, "project_id": a.ProjectID}
	maps.Copy(detail, more)
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	region := v.o.HomeRegion
	if len(a.Regions) > 0 {
		region = a.Regions[0]
	}
	e := event.Event{
		ID: event.NewID(), Source: "rialto", DetailType: detailType,
		Account: a.AccountID, Region: region, Time: v.now().Truncate(time.Second), Detail: text,
	}
	return tx.Publish(ctx, event.Record{
		Bus: event.BusRef{Account: a.AccountID, Region: region, Name: event.DefaultBus},
		ID:  e.ID, Origin: event.OriginService + " inventory", JSON: e.AppendJSON(nil),
	})
}

func instanceARN(account, region, id string) string {
	return "arn:" + event.Partition(region) + ":ec2:" + region + ":" + account + ":instance/" + id
}

// History lists a server's changes, the last first: those before the entry id
// given (0 for the last), at most limit. A removed server keeps its history.
func (v *Inventory) History(ctx context.Context, serverID string, before int64, limit int) ([]Change, error) {
	list, err := listChanges(ctx, v.db, serverID, before, limit)
	if err != nil {
		return nil, fmt.Errorf("history of server %s: %w", serverID, err)
	}
	return list, nil
}
