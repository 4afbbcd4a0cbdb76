package stack

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
)

// action is what was begun with a resource and is not known to have ended.
type action string

const (
	noAction action = ""
	creating action = "create"
	updating action = "update"
	// restoring is the update back to what a resource was.
	restoring action = "restore"
	deleting  action = "delete"
)

// Resource is a resource of a stack as it was read, or is about to be written.
type Resource struct {
	LogicalID, Type string
	// PhysicalID is what Ref stands for; empty until it is made.
	PhysicalID string
	Status     Status
	Reason     string
	// Updated is in unix milliseconds.
	Updated int64
	// Metadata is that of the template, as JSON; empty without one.
	Metadata string

	id, stackID int64
	identifier  string // primary identifier; empty until it is made
	action      action
	token       string // of the action
	details     details
	prior       *details // from before changedBy
	madeBy      int64
	changedBy   int64
	droppedBy   int64
	gone        bool
	again       bool // its action was begun by a process that is no more
}

// details are what a resource is made of.
type details struct {
	// Properties are those asked for, the name chosen for it included.
	Properties resource.Model
	// Model is what its handler last told.
	Model resource.Model `json:",omitempty"`
	// Refused: the change to this failed, and the type has taken back what was done of it.
	Refused bool `json:",omitempty"`
	// Name is the name chosen for it; empty where the template gives one or the type has none.
	Name string `json:",omitempty"`

	DependsOn           []string                `json:",omitempty"`
	DeletionPolicy      template.DeletionPolicy `json:",omitempty"`
	UpdateReplacePolicy template.DeletionPolicy `json:",omitempty"`
	Metadata            map[string]any          `json:",omitempty"`
}

// made says whether there may be something to delete.
func (r *Resource) made() bool { return r.identifier != "" || r.action == creating }

// whole is the model with the properties that cannot be read.
func (d *details) whole() resource.Model {
	whole := maps.Clone(d.Model)
	if whole == nil {
		whole = resource.Model{}
	}
	maps.Copy(whole, d.Properties)
	return whole
}

// sameAttributes says whether nothing but the properties and the model may differ.
func (d *details) sameAttributes(o *details) bool {
	return slices.Equal(d.DependsOn, o.DependsOn) && d.DeletionPolicy == o.DeletionPolicy &&
		d.UpdateReplacePolicy == o.UpdateReplacePolicy && same(d.Metadata, o.Metadata)
}

// same says whether two JSON values are equal, numbers by how they are written.
func same(a, b any) bool { return encode(a) == encode(b) }

// encode writes a JSON value, objects with their keys in order.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error() // what handlers return that is no JSON value differs from all others
	}
	return string(text)
}

// live are the resources of a stack that its template has, by logical id.
func live(all []*Resource) map[string]*Resource {
	m := make(map[string]*Resource, len(all))
	for _, r := range all {
		if r.droppedBy == 0 && !r.gone {
			m[r.LogicalID] = r
		}
	}
	return m
}
