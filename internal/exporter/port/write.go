package port

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// maxUpserts and maxDeletes are how many entities a bulk call may name. Port: 20
	// and 100.
	maxUpserts = 20
	maxDeletes = 100
	// maxBody is how long a body may be. Port: 1 MiB.
	maxBody = 1 << 20
)

// Write makes the changes, in their order where it matters: what comes after another
// change of the same entity sees it. Each may fail alone, with a *catalog.Error in
// its result; one that names related entities which are not there is made again once
// the others are. commit, if not nil, is called after that with the results, one for
// each change in its order, and a nil transaction. The error says why Port could not
// be asked; some of the changes may have been made then.
func (s *Sink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange,
	commit func(ctx context.Context, tx *store.Tx, results []catalog.ChangeResult) error,
) error {
	agent, place := s.agent(w.Datasource)
	if len(changes) > 0 {
		s.register(ctx, agent, place)
	}
	results := make([]catalog.ChangeResult, len(changes))
	all := make([]int, len(changes))
	for i := range all {
		all[i] = i
	}
	b := &batch{s: s, agent: agent, changes: changes, results: results}
	if err := b.write(ctx, all); err != nil {
		return fmt.Errorf("write entities to port: %w", err)
	}
	if again := b.missingRelated(); len(again) > 0 && len(again) < len(changes) {
		if err := b.write(ctx, again); err != nil {
			return fmt.Errorf("write entities to port: %w", err)
		}
	}
	if commit == nil {
		return nil
	}
	return commit(ctx, nil, results)
}

// batch is the changes of one Write.
type batch struct {
	s       *Sink
	agent   string
	changes []catalog.EntityChange
	results []catalog.ChangeResult // of the change of the same place
	down    int                    // calls one after the other that Port failed
}

// maxDown is how many calls Port may fail one after the other before it is taken to be
// down, and no more are made.
const maxDown = 3

// write makes the changes at these places, in runs that one bulk call can make.
func (b *batch) write(ctx context.Context, places []int) error {
	for len(places) > 0 {
		n := b.run(places)
		if err := b.writeRun(ctx, places[:n]); err != nil {
			return err
		}
		places = places[n:]
	}
	return nil
}

// missingRelated are the upserts that failed since an entity is not there, unless a
// later change is of the same entity. Port: 404 and not_found.
func (b *batch) missingRelated() (places []int) {
	later := map[catalog.EntityRef]bool{}
	for i, r := range slices.Backward(b.results) {
		c := &b.changes[i]
		ref := catalog.EntityRef{Blueprint: c.Blueprint, Identifier: identifier(c)}
		e, ok := errors.AsType[*catalog.Error](r.Err)
		if ok && !c.Delete && !later[ref] && e.Status == http.StatusNotFound && e.Code == catalog.CodeNotFound {
			places = append(places, i)
		}
		later[ref] = true
	}
	slices.Reverse(places)
	return places
}

// run returns how many changes from the first on one call can make: of the same kind
// to different entities of one blueprint.
func (b *batch) run(places []int) int {
	first := &b.changes[places[0]]
	limit := maxDeletes
	switch {
	case !first.Delete && (!first.Upsert || renames(first)):
		return 1
	case !first.Delete:
		limit = maxUpserts
	}
	seen := map[string]bool{}
	for n, i := range places[:min(limit, len(places))] {
		c := &b.changes[i]
		id := identifier(c)
		same := c.Delete == first.Delete && c.Blueprint == first.Blueprint && c.Upsert == first.Upsert && c.Merge == first.Merge &&
			c.CreateMissingRelated == first.CreateMissingRelated && c.DeleteDependents == first.DeleteDependents
		if n > 0 && (!same || seen[id] || id == "" || renames(c)) {
			return n
		}
		if id == "" {
			return 1
		}
		seen[id] = true
	}
	return min(limit, len(places))
}

// identifier is that of the entity which a change is about; empty where Port is to
// make one.
func identifier(c *catalog.EntityChange) string {
	if c.Identifier != "" {
		return c.Identifier
	}
	id, _ := c.Entity.Identifier.Value.(string)
	return id
}

// renames says that a change gives an entity another identifier.
func renames(c *catalog.EntityChange) bool {
	id := c.Entity.Identifier
	return !c.Delete && c.Identifier != "" && id.Given && id.Value != c.Identifier
}

func (b *batch) writeRun(ctx context.Context, places []int) error {
	for _, i := range places {
		c := &b.changes[i]
		b.results[i] = catalog.ChangeResult{Blueprint: c.Blueprint, Identifier: identifier(c)}
	}
	switch {
	case len(places) == 1:
		return b.single(ctx, places[0], 0)
	case b.changes[places[0]].Delete:
		return b.bulkDelete(ctx, places)
	}
	return b.bulkUpsert(ctx, places)
}

// refuse puts what Port answered about a change into its result, and returns any
// other error.
func (b *batch) refuse(i int, err error) error {
	e, ok := answerOf(err)
	if !ok {
		return err
	}
	if !passing[e.Status] {
		b.down = 0
	} else if b.down++; b.down >= maxDown {
		return err
	}
	b.results[i].Err = e
	return nil
}

// answerOf returns what Port answered about the entities of a call, if that is what
// an error says: not that we may not call, or not so often.
func answerOf(err error) (*catalog.Error, bool) {
	e, ok := errors.AsType[*catalog.Error](err)
	return e, ok && e.Status != http.StatusUnauthorized && e.Status != http.StatusTooManyRequests
}

// body is an entity as Port takes it. Port's exporter: with properties always, and
// with what is null where it was given.
func body(c *catalog.EntityChange) map[string]any {
	e := map[string]any{"properties": map[string]any{}}
	for name, v := range map[string]catalog.Optional{
		"identifier": c.Entity.Identifier, "title": c.Entity.Title, "icon": c.Entity.Icon, "team": c.Entity.Team,
	} {
		if v.Given {
			e[name] = v.Value
		}
	}
	if _, given := e["identifier"]; !given && c.Identifier != "" {
		e["identifier"] = c.Identifier
	}
	if c.Entity.Properties != nil {
		e["properties"] = c.Entity.Properties
	}
	if c.Entity.Relations != nil {
		e["relations"] = c.Entity.Relations
	}
	return e
}

func flags(c *catalog.EntityChange) string {
	q := url.Values{}
	if c.Upsert {
		q.Set("upsert", "true")
		q.Set("merge", strconv.FormatBool(c.Merge))
	}
	q.Set("create_missing_related_entities", strconv.FormatBool(c.CreateMissingRelated))
	return "?" + q.Encode()
}

// single makes one change.
func (b *batch) single(ctx context.Context, i, tries int) error {
	c := &b.changes[i]
	if c.Delete {
		return b.delete(ctx, i, tries)
	}
	r := request{method: http.MethodPost, tries: tries, path: "/blueprints/" + escape(c.Blueprint) + "/entities" + flags(c), agent: b.agent, body: body(c)}
	if c.Identifier != "" && (!c.Upsert || renames(c)) { // an entity that is there
		r.method, r.path = http.MethodPut, "/blueprints/"+escape(c.Blueprint)+"/entities/"+escape(c.Identifier)+flags(c)
		if c.Merge {
			r.method = http.MethodPatch
		}
	}
	if size(r.body) > maxBody {
		b.results[i].Err = tooLarge()
		return nil
	}
	var out struct {
		Entity struct {
			Identifier string `json:"identifier"`
		} `json:"entity"`
	}
	got := answered{body: &out}
	if err := b.s.call(ctx, r, &got); err != nil {
		return b.refuse(i, err)
	}
	b.down = 0
	if out.Entity.Identifier != "" {
		b.results[i].Identifier = out.Entity.Identifier
	}
	b.results[i].Created = got.status == http.StatusCreated
	return nil
}

func size(v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		return 0 // the call says so
	}
	return len(text)
}

func tooLarge() *catalog.Error {
	return &catalog.Error{
		Status: http.StatusRequestEntityTooLarge, Code: catalog.CodeTooLarge, Message: fmt.Sprintf("The entity is longer than the %d bytes that Port takes.", maxBody),
	}
}

func (b *batch) delete(ctx context.Context, i, tries int) error {
	c := &b.changes[i]
	path := "/blueprints/" + escape(c.Blueprint) + "/entities/" + escape(identifier(c)) + "?delete_dependents=" + strconv.FormatBool(c.DeleteDependents)
	if err := b.s.call(ctx, request{method: http.MethodDelete, path: path, agent: b.agent, tries: tries}, nil); err != nil {
		return b.refuse(i, err)
	}
	b.down, b.results[i].Deleted = 0, true
	return nil
}

// singles makes changes one by one, where a bulk call could not, which has had the
// patience.
func (b *batch) singles(ctx context.Context, places []int) error {
	for _, i := range places {
		if err := b.single(ctx, i, 2); err != nil {
			return err
		}
	}
	return nil
}

// bulkUpsert makes upserts in one call, or in several where they are too long for
// one.
func (b *batch) bulkUpsert(ctx context.Context, places []int) error {
	first := &b.changes[places[0]]
	entities := make([]map[string]any, len(places))
	for n, i := range places {
		entities[n] = body(&b.changes[i])
	}
	all := map[string]any{"entities": entities}
	if size(all) > maxBody {
		return b.halves(ctx, places)
	}
	var out struct {
		Entities []bulkItem `json:"entities"`
		Errors   []bulkItem `json:"errors"`
	}
	path := "/blueprints/" + escape(first.Blueprint) + "/entities/bulk" + flags(first)
	err := b.s.call(ctx, request{method: http.MethodPost, path: path, agent: b.agent, body: all}, &out)
	e, refused := answerOf(err)
	switch {
	case refused && e.Status == http.StatusRequestEntityTooLarge:
		return b.halves(ctx, places)
	case refused:
		return b.singles(ctx, places) // there is no such call, or one of the entities spoils it
	case err != nil:
		return err
	}
	return b.bulkResults(ctx, places, out.Entities, out.Errors)
}

// bulkItem is what a bulk call answers about one entity.
type bulkItem struct {
	Identifier string `json:"identifier"`
	Index      *int   `json:"index"`
	Created    bool   `json:"created"`
	StatusCode int    `json:"statusCode"`
	Error      string `json:"error"`
	Message    string `json:"message"`
}

// place returns the place of the change that an item is about, -1 for none.
func (b *batch) place(item bulkItem, places []int) int {
	if item.Index != nil {
		if *item.Index >= 0 && *item.Index < len(places) {
			return places[*item.Index]
		}
		return -1
	}
	for _, i := range places {
		if identifier(&b.changes[i]) == item.Identifier {
			return i
		}
	}
	return -1
}

// bulkResults reads the answer of a bulk call. What it says nothing of is written on
// its own.
func (b *batch) bulkResults(ctx context.Context, places []int, made, failed []bulkItem) error {
	told := map[int]bool{}
	if len(made) > 0 {
		b.down = 0
	}
	for _, item := range made {
		if i := b.place(item, places); i >= 0 {
			told[i] = true
			b.results[i].Created = item.Created
		}
	}
	for _, item := range failed {
		i := b.place(item, places)
		if i < 0 {
			continue
		}
		if passing[item.StatusCode] {
			delete(told, i) // once more, with the patience of a call of its own
			continue
		}
		told[i] = true
		b.results[i].Err = &catalog.Error{Status: item.StatusCode, Code: item.Error, Message: clip(item.Message)}
	}
	var rest []int
	for _, i := range places {
		if !told[i] {
			rest = append(rest, i)
		}
	}
	return b.singles(ctx, rest)
}

func (b *batch) halves(ctx context.Context, places []int) error {
	for _, half := range [][]int{places[:len(places)/2], places[len(places)/2:]} {
		if err := b.writeRun(ctx, half); err != nil {
			return err
		}
	}
	return nil
}

// bulkDelete deletes entities in one call. Port: it may delete some alone, and
// refuses all where one has dependents; what is left is deleted one by one.
func (b *batch) bulkDelete(ctx context.Context, places []int) error {
	first := &b.changes[places[0]]
	ids := make([]string, len(places))
	for n, i := range places {
		ids[n] = identifier(&b.changes[i])
	}
	var out struct {
		Deleted []string `json:"deletedEntities"`
	}
	path := "/blueprints/" + escape(first.Blueprint) + "/bulk/entities/delete?delete_dependents=" + strconv.FormatBool(first.DeleteDependents)
	err := b.s.call(ctx, request{method: http.MethodPost, path: path, agent: b.agent, body: map[string]any{"entities": ids}}, &out)
	if _, refused := answerOf(err); err != nil && !refused {
		return err
	}
	gone := map[string]bool{}
	for _, id := range out.Deleted {
		gone[id] = true
	}
	var rest []int
	for _, i := range places {
		if gone[identifier(&b.changes[i])] {
			b.results[i].Deleted = true
		} else {
			rest = append(rest, i)
		}
	}
	return b.singles(ctx, rest)
}
