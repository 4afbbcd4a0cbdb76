package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Change is one entry of the history of the catalog: what changed of an entity or a
// blueprint, when, and why.
type Change struct {
	ID         int64
	Resource   string // ResourceEntity or ResourceBlueprint
	Blueprint  string // identifier of the blueprint, then
	Identifier string // of the entity, since then; empty for blueprints
	Action     string // CREATE, UPDATE or DELETE
	At         time.Time
	By         string
	Datasource string
	Cause      Cause
	// Fields are what changed: identifier, title, icon, team, properties.arn,
	// relations.vpc; of a blueprint, its members.
	Fields map[string]FieldChange

	blueprintID int64
}

// What changes are of.
const (
	ResourceEntity    = "entity"
	ResourceBlueprint = "blueprint"
)

// The actions of changes. Port: those of its audit log.
const (
	ActionCreate = "CREATE"
	ActionUpdate = "UPDATE"
	ActionDelete = "DELETE"
)

// FieldChange is one field before and after; null stands for not there.
type FieldChange struct {
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// ChangeFilter picks entries of the history. Empty fields pick all.
type ChangeFilter struct {
	Resource   string
	Blueprint  string
	Identifier string // with Blueprint
	Action     string
	Origin     string // of the cause; several are parted by commas
	RunID      string
	By         string
	// From and To bound the time, both included.
	From, To time.Time
	// Before is the entry to go on from: older ones are listed. 0: from the newest.
	Before int64
	// Limit is how many at most; 0 stands for 100, more than 1000 for 1000.
	Limit int

	blueprintID int64
}

// Limits of a list of changes.
const (
	defaultChanges = 100
	mostChanges    = 1000
)

// History lists the changes of an entity, the last first: those before the entry given (0
// for the last), at most limit. A deleted entity keeps its history; one that was renamed
// has it under both names. A blueprint that does not exist is a not_found *Error.
func (c *Catalog) History(ctx context.Context, blueprint, identifier string, before int64, limit int) ([]Change, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, err
	}
	b, err := m.blueprint(blueprint)
	if err != nil {
		return nil, err
	}
	if checkIdentifier(identifier) != "" {
		return nil, nil // no entity ever had that name
	}
	list, err := listEntityChanges(ctx, c.db, b.id, identifier, before, clampChanges(limit))
	if err != nil {
		return nil, fmt.Errorf("history of entity %s of blueprint %s: %w", identifier, blueprint, err)
	}
	return list, nil
}

// Audits lists changes of entities and blueprints, the last first.
func (c *Catalog) Audits(ctx context.Context, f ChangeFilter) ([]Change, error) {
	f.Limit = clampChanges(f.Limit)
	for _, text := range []string{f.Resource, f.Blueprint, f.Identifier, f.Action, f.Origin, f.RunID, f.By} {
		if boundText(text, len(text)) != text {
			return nil, nil // no database holds it
		}
	}
	if f.Blueprint != "" && f.Identifier != "" {
		m, err := c.model(ctx, c.db)
		if err != nil {
			return nil, err
		}
		// By its id an index finds them; one that is gone is looked for by its name.
		if b := m.byIdentifier[f.Blueprint]; b != nil {
			f.blueprintID = b.id
		}
	}
	// What is in a cause is in no index.
	ctx, cancel := context.WithTimeout(ctx, c.plan.time)
	defer cancel()
	list, err := listChanges(ctx, c.db, f)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, tooMany("from", "and to are too far apart for this filter: looking took longer than %s; ask for a shorter time, or for one entity", c.plan.time)
	}
	if err != nil {
		return nil, fmt.Errorf("list changes of the catalog: %w", err)
	}
	return list, nil
}

func clampChanges(limit int) int {
	if limit <= 0 {
		return defaultChanges
	}
	return min(limit, mostChanges)
}

// fields collects what differs between two things.
type fields map[string]FieldChange

// add notes a field unless it is the same. Null and not there are the same.
func (f fields) add(name string, before, after any) error {
	if reflect.DeepEqual(before, after) {
		return nil
	}
	var change FieldChange
	var err error
	if change.Before, err = encode(before); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if change.After, err = encode(after); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if bytes.Equal(change.Before, change.After) {
		return nil
	}
	f[name] = change
	return nil
}

// blueprintFields are what changed of a blueprint, properties and relations one by one.
func blueprintFields(before, after *Blueprint) (fields, error) {
	old, err := flatDefinition(before)
	if err != nil {
		return nil, err
	}
	cur, err := flatDefinition(after)
	if err != nil {
		return nil, err
	}
	f := fields{}
	for key, v := range cur {
		if err := f.add(key, old[key], v); err != nil {
			return nil, err
		}
	}
	for key, v := range old {
		if _, there := cur[key]; !there {
			if err := f.add(key, v, nil); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

func flatDefinition(b *Blueprint) (map[string]any, error) {
	flat := map[string]any{}
	if b == nil {
		return flat, nil
	}
	var top map[string]any
	if err := json.Unmarshal(b.Raw, &top); err != nil {
		return nil, err
	}
	if schema, ok := top["schema"].(map[string]any); ok {
		delete(top, "schema")
		for key, v := range schema {
			top["schema."+key] = v
		}
	}
	for key, v := range top {
		section, ok := v.(map[string]any)
		if !ok || !(key == "relations" || strings.HasSuffix(strings.ToLower(key), "properties")) {
			flat[key] = v
			continue
		}
		for name, v := range section {
			flat[key+"."+name] = v
		}
	}
	return flat, nil
}

// recordBlueprint writes a change of a blueprint into the history and publishes it.
func (c *Catalog) recordBlueprint(ctx context.Context, tx *store.Tx, w Writer, before, after *Blueprint) error {
	f, err := blueprintFields(before, after)
	if err != nil {
		return err
	}
	b, action := after, ActionUpdate
	switch {
	case before == nil:
		action = ActionCreate
	case after == nil:
		b, action = before, ActionDelete
	}
	change := Change{
		Resource: ResourceBlueprint, Blueprint: b.Identifier, blueprintID: b.id, Action: action,
		At: c.now(), By: w.By, Datasource: w.Datasource, Cause: w.Cause, Fields: f,
	}
	source, err := datasourceID(ctx, tx, w.Datasource)
	if err != nil {
		return err
	}
	row, err := change.row()
	if err != nil {
		return err
	}
	if err := insertChanges(ctx, tx, source, []changeRow{row}); err != nil {
		return err
	}
	rec, err := c.changeEvent(change, nil)
	if err != nil {
		return err
	}
	return tx.Publish(ctx, rec)
}

// changeDetail is the detail of the event that tells of a change.
type changeDetail struct {
	Change     string      `json:"change"` // created, updated or deleted
	Blueprint  string      `json:"blueprint"`
	Identifier string      `json:"identifier,omitempty"`
	Entity     *eventState `json:"entity,omitempty"`
	Fields     fields      `json:"fields,omitempty"`
	// Truncated: the entity and the fields are left out, since they are too large.
	Truncated  bool   `json:"truncated,omitempty"`
	By         string `json:"by,omitempty"`
	Datasource string `json:"datasource,omitempty"`
	Cause      Cause  `json:"cause"`
}

// eventState is an entity as the event shows it: as it is now, or was when deleted.
type eventState struct {
	Title      *string        `json:"title"`
	Icon       *string        `json:"icon,omitempty"`
	Team       []string       `json:"team"`
	Properties map[string]any `json:"properties"`
	Relations  map[string]any `json:"relations"`
	Revision   int64          `json:"revision"`
}

// maxDetail is how large the detail of an event may be. AWS: a target takes 256 KB, an
// SQS message among them.
const maxDetail = 200 << 10

// changeWords are the actions as events name them: entity.created.
var changeWords = map[string]string{ActionCreate: "created", ActionUpdate: "updated", ActionDelete: "deleted"}

// changeEvent is the event that tells of a change, on the default bus of the home
// account: of source rialto, and with a detail-type such as entity.created.
func (c *Catalog) changeEvent(change Change, e *Entity) (event.Record, error) {
	d := changeDetail{
		Change: changeWords[change.Action], Blueprint: change.Blueprint, Identifier: change.Identifier, Fields: change.Fields,
		By: change.By, Datasource: change.Datasource, Cause: change.Cause,
	}
	if e != nil {
		d.Entity = &eventState{e.Title, e.Icon, e.Team, e.Properties, e.Relations, e.Revision}
		// Fields would say the same once more.
		if change.Action != ActionUpdate {
			d.Fields = nil
		}
	}
	detail, err := encode(d)
	if err != nil {
		return event.Record{}, err
	}
	if len(detail) > maxDetail {
		d.Entity, d.Fields, d.Truncated = nil, nil, true
		if detail, err = encode(d); err != nil {
			return event.Record{}, err
		}
	}
	account, region := c.o.HomeAccount, c.o.HomeRegion
	ev := event.Event{
		ID: event.NewID(), Source: "rialto", DetailType: change.Resource + "." + d.Change,
		Account: account, Region: region, Time: change.At.Truncate(time.Second), Detail: detail,
	}
	return event.Record{
		Bus: event.BusRef{Account: account, Region: region, Name: event.DefaultBus},
		ID:  ev.ID, Origin: event.OriginService + " catalog", JSON: ev.AppendJSON(nil),
	}, nil
}
