package catalog

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/rialto-bus/rialto/internal/auth"
)

func (c *Catalog) registerEntities(add register) {
	const entities = "/v1/blueprints/{bp}/entities"
	add("POST "+entities, auth.Write, c.serveCreateEntity)
	add("GET "+entities+"/{id}", auth.Read, c.serveEntity)
	add("PUT "+entities+"/{id}", auth.Write, c.serveChangeEntity)
	add("PATCH "+entities+"/{id}", auth.Write, c.serveChangeEntity)
	add("DELETE "+entities+"/{id}", auth.Write, c.serveDeleteEntity)
	add("POST "+entities+"/bulk", auth.Write, c.serveBulk)
	add("POST /v1/blueprints/{bp}/bulk/entities/delete", auth.Write, c.serveBulkDelete)
}

// viewOf reads which parts of entities a request asks for.
func viewOf(q url.Values) view {
	v := view{
		include: paramList(q, "include"), exclude: paramList(q, "exclude"),
		excludeComputed: hint(q, "exclude_calculated_properties"), titles: hint(q, "attach_title_to_relation"),
		strikes: &strikes{},
	}
	if hint(q, attachIdentifiers) {
		v.warnings = []string{attachIdentifiers + " is not served by this catalog: mirror properties show titles alone; read relations, or mirror $identifier"}
	}
	return v
}

// attachIdentifiers is a parameter of Port's that is told to be passed over.
const attachIdentifiers = "attach_identifier_to_title_mirror_properties"

// warned adds the warnings, if there are any, to an answer.
func warned(members map[string]any, warnings []string) map[string]any {
	if len(warnings) > 0 {
		members["warnings"] = warnings
	}
	return members
}

func (c *Catalog) serveEntity(w http.ResponseWriter, r *http.Request) error {
	e, err := c.Entity(r.Context(), r.PathValue("bp"), r.PathValue("id"))
	if err != nil {
		return err
	}
	v := viewOf(r.URL.Query())
	shown, err := c.show(r.Context(), &v, []Entity{*e})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, warned(map[string]any{"entity": shown[0]}, v.warnings))
}

// writeFlags are the parameters of requests that write entities.
type writeFlags struct {
	upsert, merge, createMissing, validateOnly bool
}

func readWriteFlags(q url.Values) (f writeFlags, err error) {
	for name, into := range map[string]*bool{
		"upsert": &f.upsert, "merge": &f.merge, "create_missing_related_entities": &f.createMissing, "validation_only": &f.validateOnly,
	} {
		if *into, err = flag(q, name); err != nil {
			return f, err
		}
	}
	return f, nil
}

// givenEntity reads what a body says of an entity of the path's blueprint.
func givenEntity(body map[string]any, blueprint string) (EntityInput, error) {
	if named, ok := body["blueprint"]; ok && named != nil && named != blueprint {
		return EntityInput{}, invalid("blueprint is %s in the body, but the path names %q.", inBrief(named), blueprint)
	}
	return entityInput(body)
}

// givenChange reads a change of the path's entity, or of the one that the body names
// where the path has none, and whether it is only to be checked.
func givenChange(w http.ResponseWriter, r *http.Request) (change EntityChange, validateOnly bool, err error) {
	flags, err := readWriteFlags(r.URL.Query())
	if err != nil {
		return change, false, err
	}
	_, body, err := readBody(w, r)
	if err != nil {
		return change, false, err
	}
	blueprint := r.PathValue("bp")
	in, err := givenEntity(body, blueprint)
	return EntityChange{
		Blueprint: blueprint, Identifier: r.PathValue("id"), Entity: in, Upsert: flags.upsert, Merge: flags.merge, CreateMissingRelated: flags.createMissing,
	}, flags.validateOnly, err
}

// serveCreateEntity is POST, which replaces what is there with upsert, and merges with
// merge too.
func (c *Catalog) serveCreateEntity(w http.ResponseWriter, r *http.Request) error {
	change, validateOnly, err := givenChange(w, r)
	if err != nil {
		return err
	}
	return c.writeEntity(w, r, change, validateOnly)
}

// serveChangeEntity is PUT, which replaces, and PATCH, which merges.
func (c *Catalog) serveChangeEntity(w http.ResponseWriter, r *http.Request) error {
	change, validateOnly, err := givenChange(w, r)
	if err != nil {
		return err
	}
	change.Merge = change.Merge || r.Method == http.MethodPatch
	return c.writeEntity(w, r, change, validateOnly)
}

// writeEntity makes one change and answers with the entity.
func (c *Catalog) writeEntity(w http.ResponseWriter, r *http.Request, change EntityChange, validateOnly bool) error {
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	results, err := c.Apply(r.Context(), by, []EntityChange{change}, ApplyOptions{ValidateOnly: validateOnly})
	if err != nil {
		return err
	}
	result := results[0]
	if result.Err != nil {
		return result.Err
	}
	status := http.StatusOK
	if result.Created && !validateOnly {
		status = http.StatusCreated
	}
	out := map[string]any{}
	if result.Entity != nil {
		out["entity"] = entityJSON(result.Entity)
	}
	return answer(w, status, warned(out, result.Warnings))
}

func (c *Catalog) serveDeleteEntity(w http.ResponseWriter, r *http.Request) error {
	dependents, err := flag(r.URL.Query(), "delete_dependents")
	if err != nil {
		return err
	}
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	results, err := c.Apply(r.Context(), by, []EntityChange{{
		Delete: true, Blueprint: r.PathValue("bp"), Identifier: r.PathValue("id"), DeleteDependents: dependents,
	}}, ApplyOptions{})
	if err != nil {
		return err
	}
	if err := results[0].Err; err != nil {
		return err
	}
	return answer(w, http.StatusOK, nil)
}

// errorOf is an error as an element of a bulk answer tells of it.
func errorOf(err error) (*Error, bool) { return errors.AsType[*Error](err) }
