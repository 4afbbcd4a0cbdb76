package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const (
	maxApplyFile = 64 << 20
	// A bulk holds 20 entities, and a request a mebibyte.
	bulkEntities = 20
	bulkBytes    = 900 << 10
)

// What became of a blueprint or an entity that was applied.
const (
	appliedCreated    = "created"
	appliedUpdated    = "updated"
	appliedUnchanged  = "unchanged"
	appliedFailed     = "failed"
	appliedNotChecked = "not checked" // of a dry run
)

// applied is a blueprint or an entity of a file, and what became of it.
type applied struct {
	Kind       string `json:"kind"` // blueprint or entity
	Blueprint  string `json:"blueprint"`
	Identifier string `json:"identifier,omitempty"`
	Result     string `json:"result"`
	Error      string `json:"error,omitempty"`
	Message    string `json:"message,omitempty"`
	// Warnings are of what was applied, such as of a property that was left out.
	Warnings []string `json:"warnings,omitempty"`
	Source   string   `json:"source"`

	body map[string]any
}

func (a *applied) fail(err error) {
	a.Result, a.Message = appliedFailed, err.Error()
	if refused, ok := errors.AsType[*refusedError](err); ok {
		a.Error, a.Message = refused.code, refused.message
	}
}

// about is what a table says of it: why it failed, or what it was warned of.
func (a *applied) about() string {
	if a.Message != "" {
		return a.Message
	}
	return strings.Join(a.Warnings, "; ")
}

// applier applies files to the catalog.
type applier struct {
	c             *client
	dryRun        bool
	replace       bool
	createMissing bool

	blueprints, entities []*applied
	existing             map[string]map[string]any // blueprints of the server, by identifier
}

func newCatalogApply(s *streams, c *client) *cobra.Command {
	var files []string
	a := &applier{c: c, existing: map[string]map[string]any{}}
	cmd := &cobra.Command{
		Use:   "apply -f FILE…",
		Short: "Create and update blueprints and entities from YAML or JSON files",
		Long: `Create and update what files hold: blueprints (documents with a schema) and
entities (documents with a blueprint), one a document, in lists, or under the keys
blueprints and entities. Blueprints go first, each after those that it points to;
an entity whose relation points to one that comes later in the files is tried again
after that. Nothing is deleted. MESSAGE is why something was refused, or what of an
entity was left out, as a property that its blueprint does not have.

Entities are merged into what is there; with --replace they take its place.
--dry-run checks and tells what would be done, and changes nothing.`,
		Example: `  rialto catalog apply -f blueprints.yaml -f entities.json
  rialto catalog get -o json | jq .[0] | rialto catalog apply -f - --dry-run`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return usagef("there is nothing to apply: give -f FILE")
			}
			for _, name := range files {
				if err := a.read(s, name); err != nil {
					return err
				}
			}
			if err := a.apply(cmd.Context()); err != nil {
				return err
			}
			return a.print(s)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&files, "file", "f", nil, `file to apply; "-" is standard input; may be repeated`)
	f.BoolVar(&a.dryRun, "dry-run", false, "check, and tell what would be done")
	f.BoolVar(&a.replace, "replace", false, "entities take the place of what is there, instead of being merged into it")
	f.BoolVar(&a.createMissing, "create-missing", false, "create entities that relations point to and that are not there")
	return listing(remote(cmd, c), s)
}

func (a *applier) read(s *streams, name string) error {
	text, err := readLimited(s, name, maxApplyFile)
	if err != nil {
		return err
	}
	docs, err := yamlDocuments(text)
	if err != nil {
		return usagef("%s: %w", name, err)
	}
	for i, doc := range docs {
		source := name
		if len(docs) > 1 {
			source += "#" + strconv.Itoa(i+1)
		}
		if err := a.sort(source, doc); err != nil {
			return err
		}
	}
	return nil
}

// sort puts a document where it belongs.
func (a *applier) sort(source string, doc any) error {
	if list, ok := doc.([]any); ok {
		for i, v := range list {
			if err := a.sort(fmt.Sprintf("%s[%d]", source, i), v); err != nil {
				return err
			}
		}
		return nil
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return usagef("%s is neither a blueprint nor an entity: it is no object", source)
	}
	blueprints, hasBlueprints := object["blueprints"]
	entities, hasEntities := object["entities"]
	if hasBlueprints || hasEntities {
		for _, part := range []any{blueprints, entities} {
			if part == nil {
				continue
			}
			if err := a.sort(source, part); err != nil {
				return err
			}
		}
		return nil
	}
	identifier, _ := object["identifier"].(string)
	_, isBlueprint := object["schema"]
	of, isEntity := object["blueprint"].(string)
	switch {
	case isBlueprint && !isEntity && identifier != "":
		a.blueprints = append(a.blueprints, &applied{Kind: "blueprint", Blueprint: identifier, Source: source, body: object})
	case isBlueprint && !isEntity:
		return usagef("%s is a blueprint without an identifier", source)
	case isEntity && !isBlueprint:
		a.entities = append(a.entities, &applied{Kind: "entity", Blueprint: of, Identifier: identifier, Source: source, body: object})
	default:
		return usagef("%s is neither a blueprint (an object with identifier and schema) nor an entity (one with identifier and blueprint)", source)
	}
	return nil
}

func (a *applier) apply(ctx context.Context) error {
	if err := a.readExisting(ctx); err != nil {
		return err
	}
	if err := a.applyBlueprints(ctx); err != nil {
		return err
	}
	return a.applyEntities(ctx)
}

// readExisting reads what there is of the blueprints that files hold or point to.
func (a *applier) readExisting(ctx context.Context) error {
	var answer struct {
		Blueprints []map[string]any `json:"blueprints"`
	}
	if err := a.c.do(ctx, http.MethodGet, catalogPath("blueprints"), nil, &answer); err != nil {
		return err
	}
	for _, b := range answer.Blueprints {
		if id, ok := b["identifier"].(string); ok {
			a.existing[id] = b
		}
	}
	return nil
}

// ends reports whether an error is about more than what was being applied, so that
// there is no use in going on.
func ends(err error) bool {
	refused, ok := errors.AsType[*refusedError](err)
	return !ok || refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden || refused.status >= 500
}

// applyEntities goes in rounds: what needs an entity that is not there yet waits for
// the next, as long as a round gets further.
func (a *applier) applyEntities(ctx context.Context) error {
	waiting := a.entities
	for len(waiting) > 0 {
		var again []*applied
		for _, batch := range a.batches(waiting) {
			later, err := a.applyBatch(ctx, batch)
			if err != nil {
				return err
			}
			again = append(again, later...)
		}
		if len(again) == len(waiting) {
			return nil
		}
		waiting = again
	}
	return nil
}

// batches parts entities into those of one call each.
func (a *applier) batches(list []*applied) [][]*applied {
	var out [][]*applied
	open := map[string]int{} // by what a batch has in common, its place in out
	size := map[string]int{}
	for _, e := range list {
		if _, known := a.existing[e.Blueprint]; a.dryRun && !known && a.holdsBlueprint(e.Blueprint) {
			e.Result, e.Message = appliedNotChecked, "its blueprint is not there yet"
			continue
		}
		text, err := json.Marshal(e.body)
		if err != nil {
			e.fail(err)
			continue
		}
		key := e.Blueprint + "\x00" + strconv.FormatBool(a.pointsIntoFiles(e))
		i, ok := open[key]
		if !ok || len(out[i]) == bulkEntities || size[key]+len(text) > bulkBytes {
			out = append(out, nil)
			i = len(out) - 1
			open[key], size[key] = i, 0
		}
		out[i] = append(out[i], e)
		size[key] += len(text) + 1
	}
	return out
}

func (a *applier) holdsBlueprint(identifier string) bool {
	return slices.ContainsFunc(a.blueprints, func(b *applied) bool { return b.Blueprint == identifier })
}

// pointsIntoFiles reports whether a dry run must not mind that an entity's relations
// point to what is not there: it is in the files, too.
func (a *applier) pointsIntoFiles(e *applied) bool {
	if !a.dryRun {
		return false
	}
	relations, _ := e.body["relations"].(map[string]any)
	for _, v := range relations {
		targets, isList := v.([]any)
		if !isList {
			targets = []any{v}
		}
		for _, target := range targets {
			if slices.ContainsFunc(a.entities, func(other *applied) bool { return other.Identifier != "" && other.Identifier == target }) {
				return true
			}
		}
	}
	return false
}

// applyBatch applies entities of one blueprint and returns those that may do later.
func (a *applier) applyBatch(ctx context.Context, batch []*applied) (later []*applied, err error) {
	query := url.Values{"upsert": {"true"}, "merge": {strconv.FormatBool(!a.replace)}, "validation_only": {strconv.FormatBool(a.dryRun)}}
	query.Set("create_missing_related_entities", strconv.FormatBool(a.createMissing || a.pointsIntoFiles(batch[0])))
	bodies := make([]map[string]any, len(batch))
	for i, e := range batch {
		bodies[i] = e.body
	}
	var answer struct {
		Entities []struct {
			Index      int      `json:"index"`
			Identifier string   `json:"identifier"`
			Created    bool     `json:"created"`
			Unchanged  bool     `json:"unchanged"`
			Warnings   []string `json:"warnings"`
		} `json:"entities"`
		Errors []struct {
			Index      int    `json:"index"`
			StatusCode int    `json:"statusCode"`
			Error      string `json:"error"`
			Message    string `json:"message"`
		} `json:"errors"`
	}
	path := catalogPath("blueprints", batch[0].Blueprint, "entities", "bulk") + "?" + query.Encode()
	if err := a.c.do(ctx, http.MethodPost, path, map[string]any{"entities": bodies}, &answer); err != nil {
		if ends(err) {
			return nil, err
		}
		for _, e := range batch {
			e.fail(err)
		}
		return nil, nil
	}
	for _, done := range answer.Entities {
		if done.Index < 0 || done.Index >= len(batch) {
			continue
		}
		e := batch[done.Index]
		e.Identifier, e.Result, e.Error, e.Message, e.Warnings = done.Identifier, appliedUpdated, "", "", done.Warnings
		switch {
		case done.Created:
			e.Result = appliedCreated
		case done.Unchanged:
			e.Result = appliedUnchanged
		}
	}
	for _, failed := range answer.Errors {
		if failed.Index < 0 || failed.Index >= len(batch) {
			continue
		}
		e := batch[failed.Index]
		e.Result, e.Error, e.Message = appliedFailed, failed.Error, failed.Message
		if failed.StatusCode == http.StatusNotFound && !a.dryRun {
			later = append(later, e)
		}
	}
	return later, nil
}

func (a *applier) print(s *streams) error {
	all := append(slices.Clone(a.blueprints), a.entities...)
	rows := make([][]string, 0, len(all))
	failed := 0
	for _, x := range all {
		if x.Result == appliedFailed {
			failed++
		}
		rows = append(rows, []string{x.Result, x.Kind, x.Blueprint, or(x.Identifier), or(x.about())})
	}
	if err := s.print(orEmpty(all), []string{"RESULT", "KIND", "BLUEPRINT", "IDENTIFIER", "MESSAGE"}, rows); err != nil {
		return err
	}
	if failed > 0 {
		return &refusedError{status: http.StatusUnprocessableEntity, code: "invalid_request", message: fmt.Sprintf("%d of %d were not applied", failed, len(all))}
	}
	return nil
}
