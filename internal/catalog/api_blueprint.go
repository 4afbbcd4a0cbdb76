package catalog

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/rialto-bus/rialto/internal/auth"
)

func (c *Catalog) registerBlueprints(add register) {
	const one = "/v1/blueprints/{bp}"
	add("GET /v1/blueprints", auth.Read, c.serveBlueprints)
	add("POST /v1/blueprints", auth.Write, c.serveCreateBlueprint)
	add("GET "+one, auth.Read, c.serveBlueprint)
	add("PUT "+one, auth.Write, c.serveReplaceBlueprint)
	add("PATCH "+one, auth.Write, c.servePatchBlueprint)
	add("DELETE "+one, auth.Write, c.serveDeleteBlueprint)
	add("DELETE "+one+"/all-entities", auth.Write, c.serveDeleteAll)
	add("GET /v1/migrations/{id}", auth.Read, c.serveMigration)
}

// blueprintJSON is a blueprint as it was given, with what clients expect of every one,
// such as required and many of a relation, and when it was made and changed.
func blueprintJSON(b *Blueprint) (map[string]any, error) {
	out := map[string]any{}
	if err := json.Unmarshal(b.Raw, &out); err != nil {
		return nil, fmt.Errorf("read blueprint %s: %w", b.Identifier, err)
	}
	for _, name := range []string{"relations", "mirrorProperties", "calculationProperties", "aggregationProperties"} {
		if out[name] == nil {
			out[name] = map[string]any{}
		}
	}
	relations, _ := out["relations"].(map[string]any)
	for key := range relations {
		if r, ok := relations[key].(map[string]any); ok {
			r["required"], r["many"] = b.Relations[key].Required, b.Relations[key].Many
		}
	}
	if schema, ok := out["schema"].(map[string]any); ok && schema["required"] == nil {
		schema["required"] = []string{}
	}
	out["identifier"], out["title"] = b.Identifier, b.Title
	out["createdAt"], out["createdBy"] = stamp(b.CreatedAt), b.CreatedBy
	out["updatedAt"], out["updatedBy"] = stamp(b.UpdatedAt), b.UpdatedBy
	return out, nil
}

func answerBlueprint(w http.ResponseWriter, status int, b *Blueprint) error {
	shown, err := blueprintJSON(b)
	if err != nil {
		return err
	}
	return answer(w, status, map[string]any{"blueprint": shown})
}

func (c *Catalog) serveBlueprints(w http.ResponseWriter, r *http.Request) error {
	list, err := c.Blueprints(r.Context())
	if err != nil {
		return err
	}
	shown := make([]map[string]any, 0, len(list))
	for _, b := range list {
		one, err := blueprintJSON(b)
		if err != nil {
			return err
		}
		shown = append(shown, one)
	}
	return answer(w, http.StatusOK, map[string]any{"blueprints": shown})
}

func (c *Catalog) serveBlueprint(w http.ResponseWriter, r *http.Request) error {
	b, err := c.Blueprint(r.Context(), r.PathValue("bp"))
	if err != nil {
		return err
	}
	return answerBlueprint(w, http.StatusOK, b)
}

func (c *Catalog) serveCreateBlueprint(w http.ResponseWriter, r *http.Request) error {
	return c.writeBlueprint(w, r, http.StatusCreated, "", func(by Writer, body []byte) (*Blueprint, error) {
		return c.CreateBlueprint(r.Context(), by, body)
	})
}

func (c *Catalog) serveReplaceBlueprint(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("bp")
	return c.writeBlueprint(w, r, http.StatusOK, id, func(by Writer, body []byte) (*Blueprint, error) {
		return c.PutBlueprint(r.Context(), by, id, body)
	})
}

// writeBlueprint stores a whole blueprint, or with validation_only checks it: an
// addition of ours, by which the command line tries what it is to apply.
func (c *Catalog) writeBlueprint(w http.ResponseWriter, r *http.Request, status int, id string, write func(Writer, []byte) (*Blueprint, error)) error {
	only, err := flag(r.URL.Query(), "validation_only")
	if err != nil {
		return err
	}
	body, _, err := readBody(w, r)
	if err != nil {
		return err
	}
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	var b *Blueprint
	if only {
		status = http.StatusOK
		b, err = c.CheckBlueprint(r.Context(), id, body)
	} else {
		b, err = write(by, body)
	}
	if err != nil {
		return err
	}
	return answerBlueprint(w, status, b)
}

func (c *Catalog) servePatchBlueprint(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r)
	if err != nil {
		return err
	}
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	b, err := c.PatchBlueprint(r.Context(), by, r.PathValue("bp"), body)
	if err != nil {
		return err
	}
	return answerBlueprint(w, http.StatusOK, b)
}

func (c *Catalog) serveDeleteBlueprint(w http.ResponseWriter, r *http.Request) error {
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	if err := c.DeleteBlueprint(r.Context(), by, r.PathValue("bp")); err != nil {
		return err
	}
	return answer(w, http.StatusOK, nil)
}

func (c *Catalog) serveDeleteAll(w http.ResponseWriter, r *http.Request) error {
	withBlueprint, err := flag(r.URL.Query(), "delete_blueprint")
	if err != nil {
		return err
	}
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	m, err := c.DeleteAllEntities(r.Context(), by, r.PathValue("bp"), withBlueprint)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"migrationId": m.ID})
}

func (c *Catalog) serveMigration(w http.ResponseWriter, r *http.Request) error {
	m, err := c.Migration(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"migration": map[string]any{
		"id": m.ID, "actor": m.Writer.By, "sourceBlueprint": m.Blueprint, "mapping": map[string]any{}, "status": m.Status,
		"deleteBlueprint": m.DeleteBlueprint, "deletedEntities": m.Deleted, "message": m.Error,
		"createdAt": stamp(m.CreatedAt), "updatedAt": stamp(m.UpdatedAt),
	}})
}
