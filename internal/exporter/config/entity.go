package config

// Entity is what a mapping made of a resource.
type Entity struct {
	Blueprint, Identifier string
	// Title and Icon are nil where the mapping has none, or gave null.
	Title, Icon *string
	// Team is nil, a string, a []string, or a search rule (map[string]any).
	Team any
	// Properties is never nil. A nil value clears the property; a key that is not
	// there is left as it is.
	Properties map[string]any
	// Relations is nil where the mapping has none. A value is nil, a string, a
	// []string, or a search rule (map[string]any).
	Relations map[string]any
}

// Mapped is what a pass makes of a resource.
type Mapped struct {
	// Selected is false where the selector leaves the resource out: it has no
	// entities then, and those it had go.
	Selected bool
	// Entities are in the order of the mappings and their items.
	Entities []Entity
	// Problems are what could not be evaluated, and is null or left out for it.
	Problems []Problem
}
