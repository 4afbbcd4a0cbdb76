package catalog

import (
	"encoding/json"
	"time"
)

// Change is one entry of the history of the catalog: what changed of an entity or a
// blueprint, when, and why.
type Change struct {
	ID         int64
	Resource   string // entity or blueprint
	Blueprint  string // identifier of the blueprint, then
	Identifier string // of the entity; empty for blueprints
	Action     string // CREATE, UPDATE or DELETE
	At         time.Time
	By         string
	Datasource string
	Cause      Cause
	// Fields are what changed: title, properties.arn, relations.vpc, …
	Fields map[string]FieldChange
}

// FieldChange is one field before and after; null stands for not there.
type FieldChange struct {
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}
