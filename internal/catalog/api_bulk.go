package catalog

import (
	"context"
	"net/http"
	"slices"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	maxBulk       = 20 // entities of a bulk. Port: 20
	maxBulkDelete = 100
	// maxDeleteRounds bounds how often a bulk deletion is tried in another order.
	maxDeleteRounds = 12
	// unknownIdentifier stands for one that could not be found out. Port: "unknown".
	unknownIdentifier = "unknown"
)

// bulkEntity is an entity of a bulk that was stored.
type bulkEntity struct {
	Identifier string   `json:"identifier"`
	Index      int      `json:"index"`
	Created    bool     `json:"created"`
	Unchanged  bool     `json:"unchanged,omitempty"` // nothing was written
	Warnings   []string `json:"warnings,omitempty"`
}

// bulkError is an entity of a bulk that was refused.
type bulkError struct {
	Identifier string `json:"identifier"`
	Index      int    `json:"index"`
	StatusCode int    `json:"statusCode"`
	Error      string `json:"error"`
	Message    string `json:"message"`
	Details    any    `json:"details,omitempty"`
}

func refusedInBulk(index int, identifier string, e *Error) bulkError {
	return bulkError{Identifier: identifier, Index: index, StatusCode: e.Status, Error: e.Code, Message: e.Message, Details: e.Details}
}

// serveBulk stores up to 20 entities: those that are good, whatever the others are.
func (c *Catalog) serveBulk(w http.ResponseWriter, r *http.Request) error {
	flags, err := readWriteFlags(r.URL.Query())
	if err != nil {
		return err
	}
	list, err := readList(w, r, "entities", 1, maxBulk)
	if err != nil {
		return err
	}
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	blueprint := r.PathValue("bp")
	if _, err := c.Blueprint(r.Context(), blueprint); err != nil {
		return err
	}
	entities, refused := []bulkEntity{}, []bulkError{}
	var changes []EntityChange
	var indexes []int
	for i, v := range list {
		in, err := bulkInput(v, blueprint)
		if err != nil {
			refused = append(refused, refusedInBulk(i, givenIdentifier(v), err))
			continue
		}
		indexes = append(indexes, i)
		changes = append(changes, EntityChange{
			Blueprint: blueprint, Entity: in, Upsert: flags.upsert, Merge: flags.merge, CreateMissingRelated: flags.createMissing,
		})
	}
	results, err := c.Apply(r.Context(), by, changes, ApplyOptions{ValidateOnly: flags.validateOnly})
	if err != nil {
		return err
	}
	for i, result := range results {
		if result.Err == nil {
			entities = append(entities, bulkEntity{result.Identifier, indexes[i], result.Created, result.Unchanged, result.Warnings})
			continue
		}
		e, ok := errorOf(result.Err)
		if !ok {
			return result.Err
		}
		refused = append(refused, refusedInBulk(indexes[i], givenIdentifier(list[indexes[i]]), e))
	}
	slices.SortFunc(refused, func(a, b bulkError) int { return a.Index - b.Index })
	status := http.StatusOK
	if len(refused) > 0 {
		status = http.StatusMultiStatus
	}
	return answer(w, status, map[string]any{"entities": entities, "errors": refused})
}

func bulkInput(v any, blueprint string) (EntityInput, *Error) {
	object, ok := v.(map[string]any)
	if !ok {
		return EntityInput{}, invalid("An entity must be an object, not %s.", jsonKind(v))
	}
	in, err := givenEntity(object, blueprint)
	if e, ok := errorOf(err); ok {
		return in, e
	}
	return in, nil
}

// givenIdentifier is what an element of a bulk names its entity.
func givenIdentifier(v any) string {
	object, _ := v.(map[string]any)
	if s, ok := object["identifier"].(string); ok && s != "" {
		return s
	}
	return unknownIdentifier
}

// serveBulkDelete deletes up to 100 entities: all of those that are there, or none
// where others depend on one of them.
func (c *Catalog) serveBulkDelete(w http.ResponseWriter, r *http.Request) error {
	dependents, err := flag(r.URL.Query(), "delete_dependents")
	if err != nil {
		return err
	}
	list, err := readList(w, r, "entities", 1, maxBulkDelete)
	if err != nil {
		return err
	}
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	blueprint := r.PathValue("bp")
	if _, err := c.Blueprint(r.Context(), blueprint); err != nil {
		return err
	}
	changes := make([]EntityChange, 0, len(list))
	for i, v := range list {
		id, ok := v.(string)
		if !ok || id == "" {
			return invalid("entities[%d] must be the identifier of an entity, not %s.", i, inBrief(v))
		}
		changes = append(changes, EntityChange{Delete: true, Blueprint: blueprint, Identifier: id, DeleteDependents: dependents})
	}
	deleted, err := c.deleteTogether(r.Context(), by, changes)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"deletedEntities": deleted})
}

// deleteTogether deletes all entities of changes that are there, in one transaction, or none where
// others depend on some. Where very many point to them, these are changed before, some at a time, once
// it is known that nothing depends on any.
func (c *Catalog) deleteTogether(ctx context.Context, by Writer, changes []EntityChange) ([]string, error) {
	changes, err := c.deletable(ctx, by, changes)
	if err != nil {
		return nil, err
	}
	results, err := c.Apply(ctx, by, changes, ApplyOptions{Separate: true, Commit: func(_ context.Context, _ *store.Tx, results []ChangeResult) error {
		_, refusal := dependedOn(changes, results) // it came in the meantime
		return refusal
	}})
	if err != nil {
		return nil, err
	}
	return deletedOf(changes, results)
}

// dependedOn are the deletes that were refused for what depends on their entities, with the last refusal.
func dependedOn(changes []EntityChange, results []ChangeResult) (needed []EntityChange, refusal error) {
	for i, result := range results {
		if e, ok := errorOf(result.Err); ok && e.Code == CodeHasDependents {
			needed, refusal = append(needed, changes[i]), e
		}
	}
	return needed, refusal
}

// deletable returns deletes in an order in which none is refused, where there is one: those that could
// not go are put last, in reverse, as long as that gets further. It changes nothing.
func (c *Catalog) deletable(ctx context.Context, by Writer, changes []EntityChange) ([]EntityChange, error) {
	if !slices.ContainsFunc(changes, func(ch EntityChange) bool { return !ch.DeleteDependents }) {
		return changes, nil
	}
	left := len(changes) + 1
	var refusal error
	for range maxDeleteRounds {
		results, err := c.Apply(ctx, by, changes, ApplyOptions{ValidateOnly: true})
		if err != nil {
			return nil, err
		}
		var needed []EntityChange
		if needed, refusal = dependedOn(changes, results); refusal == nil {
			return changes, nil
		}
		if len(needed) >= left {
			return nil, refusal
		}
		left = len(needed)
		changes = slices.DeleteFunc(slices.Clone(changes), func(ch EntityChange) bool {
			return slices.ContainsFunc(needed, func(n EntityChange) bool { return n.Identifier == ch.Identifier })
		})
		slices.Reverse(needed)
		changes = append(changes, needed...)
	}
	return nil, refusal
}

// deletedOf lists what was deleted, also as a dependent of another. What was not
// there is left out.
func deletedOf(changes []EntityChange, results []ChangeResult) ([]string, error) {
	deleted, also := []string{}, map[string]bool{}
	for i, result := range results {
		for _, ref := range result.Also {
			also[ref.Identifier] = also[ref.Identifier] || ref.Blueprint == result.Blueprint
		}
		e, refused := errorOf(result.Err)
		switch {
		case result.Err == nil || also[changes[i].Identifier]:
			deleted = append(deleted, changes[i].Identifier)
		case !refused || e.Status != http.StatusNotFound:
			return nil, result.Err
		}
	}
	return deleted, nil
}
