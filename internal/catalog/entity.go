package catalog

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Entity is one thing in the catalog as it is stored. Computed properties are added
// to Properties by those who answer with it.
type Entity struct {
	Blueprint  string
	Identifier string
	Title      *string // nil: none was given; readers show the identifier
	Icon       *string
	Team       []string
	// Properties hold JSON values (nil, bool, float64, string, []any, map[string]any)
	// of properties that the blueprint has.
	Properties map[string]any
	// Relations has every relation of the blueprint: nil or a string where it is to
	// one, a []string where it is to many.
	Relations  map[string]any
	Datasource string // the User-Agent of the last writer
	CreatedAt  time.Time
	UpdatedAt  time.Time
	CreatedBy  string
	UpdatedBy  string
	// Revision is 1 when created and grows by one with every change.
	Revision int64
	// Cause is that of the last change.
	Cause Cause

	id          int64
	blueprintID int64
}

// Writer is who makes changes.
type Writer struct {
	By         string // user or client id: createdBy, updatedBy
	Datasource string // the User-Agent, kept as $datasource
	Cause      Cause
}

// Cause says what made a change.
type Cause struct {
	// Origin is the part that made it: api, cli, exporter-event, exporter-sync,
	// integration, catalog (which follows from another change).
	Origin string `json:"origin,omitempty"`
	// EventID, EventTime (RFC 3339) and RuleARN name the event that told of it.
	EventID   string `json:"event_id,omitempty"`
	EventTime string `json:"event_time,omitempty"`
	RuleARN   string `json:"rule_arn,omitempty"`
	// RunID is the full sync or the action run that it belongs to.
	RunID string `json:"run_id,omitempty"`
	// Record is the event record, or the resource, that it was made from.
	Record string `json:"record,omitempty"`
	// Why tells of a change that follows from another one, in words.
	Why string `json:"why,omitempty"`
}

// Optional is a value that may be absent, which is not the same as null: null
// clears what is there.
type Optional struct {
	Given bool
	Value any // a JSON value; nil is null
}

// Given is an Optional with a value.
func Given(v any) Optional { return Optional{Given: true, Value: v} }

// EntityInput is what a writer says of an entity.
type EntityInput struct {
	// Identifier is a string; another one than that of EntityChange renames. Absent or
	// null on create: one is made. A search rule stands for the one entity it finds.
	Identifier Optional
	Title      Optional // string or null
	Icon       Optional // string or null
	Team       Optional // string, list of strings, search rule or null
	// Properties are JSON values by key, nil to clear one; a nil map says nothing.
	Properties map[string]any
	// Relations are by key: a string, a list of strings, a search rule (a
	// map[string]any with combinator and rules), or nil to clear; a nil map says nothing.
	Relations map[string]any
}

// EntityChange is one change that Apply is asked for.
type EntityChange struct {
	Delete    bool
	Blueprint string
	// Identifier is of the entity that is changed, as from a path. Empty: that of
	// Entity, or, on create, one that is made.
	Identifier string
	Entity     EntityInput
	// Upsert creates or changes. Without it, a change with an Identifier must find its
	// entity and one without must not.
	Upsert bool
	// Merge leaves what is not given as it is; without it, it is removed.
	Merge bool
	// CreateMissingRelated makes entities that relations point to and that are not there.
	CreateMissingRelated bool
	// DeleteDependents also deletes the entities with a required relation to a deleted
	// one; without it, they are the error has_dependents.
	DeleteDependents bool
	// Cause is what made this change; nil stands for the Writer's. A batch of event
	// records has one for each.
	Cause *Cause
}

// ChangeResult is what came of an EntityChange.
type ChangeResult struct {
	Blueprint  string
	Identifier string // as it is now
	Created    bool
	Deleted    bool
	Unchanged  bool // nothing was written
	// Entity is as it is now, or was when deleted; nil with an Err.
	Entity *Entity
	// Also are other entities that were deleted as dependents.
	Also []EntityRef
	// Warnings tell of what was left out.
	Warnings []string
	// Err is why this change was refused, an *Error; it left no trace.
	Err error
}

// EntityRef names an entity.
type EntityRef struct{ Blueprint, Identifier string }

// ApplyOptions are about a call of Apply as a whole.
type ApplyOptions struct {
	// ValidateOnly makes the same checks and writes nothing; Commit is not called.
	ValidateOnly bool
	// Separate: the changes stand for themselves. Where deletes without DeleteDependents concern many
	// entities together, relations to some are emptied before, also if others are refused then.
	Separate bool
	// SameDatasource, if not nil, says of a $datasource that the writer has written under it too:
	// where it is an entity's, and nothing else differs, it stays, and the change is none.
	SameDatasource func(datasource string) bool
	// Commit runs at the end of the transaction that stores the changes, also when
	// there are none; its error undoes them. It may run more than once.
	Commit func(ctx context.Context, tx *store.Tx, results []ChangeResult) error
}

// valueChange is an entity before and after a change, for the index of values: no
// Before when it is created, no After when it is deleted.
type valueChange struct {
	id            int64
	blueprint     *Blueprint
	before, after *Entity
}
