package catalog

import (
	"encoding/json"
	"time"
)

// Blueprint is a kind of entity.
type Blueprint struct {
	Identifier  string
	Title       string
	Description string
	Icon        string
	// Raw is the JSON object as it was given, with the keys that this package does not
	// know, and without createdAt, createdBy, updatedAt and updatedBy.
	Raw          json.RawMessage
	Properties   map[string]Property
	Required     []string
	Relations    map[string]Relation
	Mirrors      map[string]Mirror
	Calculations map[string]Calculation
	Aggregations map[string]Aggregation
	Ownership    *Ownership
	// Revision is 1 when created and grows by one with every change.
	Revision  int64
	CreatedAt time.Time
	UpdatedAt time.Time
	CreatedBy string
	UpdatedBy string

	id     int64
	schema *schema // that of its properties
}

// Property is a property that entities are given.
type Property struct {
	Type   string // string, number, boolean, object or array
	Format string
	Title  string
	// Items is the schema of an array's items; nil: any.
	Items map[string]any
	// Default is the value of entities that are created without one, if HasDefault.
	Default    any
	HasDefault bool
	// Raw is the definition as it was given.
	Raw map[string]any
}

// Relation points to entities of a blueprint.
type Relation struct {
	Target   string
	Required bool
	Many     bool
	Title    string

	id int64 // in catalog_relations; a relation that is removed and made again has a new one
}

// Mirror shows a property of a related entity.
type Mirror struct {
	Title string
	Path  string // rel1.rel2.property, the last may be a meta property: rel.$identifier
}

// Calculation is a property that jq computes from the entity when it is read.
type Calculation struct {
	Title       string
	Calculation string
	Type        string
	Format      string
}

// Aggregation is a property computed from related entities.
type Aggregation struct {
	Title  string
	Target string // blueprint of the entities that are counted
	// Func is count, sum, min, max, median or average; By is entities or property.
	Func, By string
	// Property is what is computed over, where By is property.
	Property string
	// AverageOf is hour, day, week, month or total; MeasureTimeBy the date property that
	// average over time goes by, $createdAt if empty.
	AverageOf, MeasureTimeBy string
	// Query is the search that entities must also satisfy, as JSON; nil: none.
	Query json.RawMessage
	// PathFilter are the relations that lead to the entities; empty: any way.
	PathFilter []PathFilter
}

// PathFilter is a way of relations between entities.
type PathFilter struct {
	Path          []string
	FromBlueprint string // where the path starts; empty: at the entity itself
}

// Ownership says how entities get their team.
type Ownership struct {
	Type  string // Direct or Inherited
	Title string
	Path  string // of relations, where inherited
}
