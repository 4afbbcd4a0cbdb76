package config

import "time"

// Record is an event record: what a rule's input transformer put on the
// exporter's queue. It says that something happened to a resource.
type Record struct {
	// Kind, Region and Identifier name the resource. The identifier may be an
	// alias, or, of a record that deletes, that of the entity.
	Kind, Region, Identifier string
	// Delete says that the resource was deleted; otherwise it was made or changed.
	Delete bool
	// Account is the cloud account; "" where the record does not say.
	Account string
	// EventID, EventName, EventTime and ErrorCode are those of the event, and
	// RuleARN is the rule that it matched; "" and zero where the record does not say.
	EventID, EventName, RuleARN, ErrorCode string
	EventTime                              time.Time
}
