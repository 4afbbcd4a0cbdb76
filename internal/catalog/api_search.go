package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	// streamTime is how long writing a page of an answer without pages may take.
	streamTime = time.Minute
	maxCursor  = 4096
)

func (c *Catalog) registerSearch(add register) {
	add("POST /v1/entities/search", auth.Read, c.serveSearch)
	add("POST /v1/blueprints/{bp}/entities/search", auth.Read, c.servePagedSearch)
	add("GET /v1/blueprints/{bp}/entities", auth.Read, c.serveEntities)
	add("GET /v1/blueprints/{bp}/entities-count", auth.Read, c.serveCount)
	add("POST /v1/blueprints/entities/datasource-entities", auth.Read, c.serveDatasourceEntities)
}

// show is how an answer shows entities: with computed properties, unless the view
// does without. It adds to the view's warnings why some of these are null.
func (c *Catalog) show(ctx context.Context, v *view, entities []Entity) ([]map[string]any, error) {
	if v.needsComputed() {
		problems, err := c.computeTelling(ctx, entities, v.strikes)
		if err != nil {
			return nil, err
		}
		for _, p := range problems {
			if len(v.warnings) < maxComputeProblems {
				v.warnings = append(v.warnings, p.Path+" "+p.Message)
			}
		}
	}
	if v.titles {
		if err := c.attachTitles(ctx, entities); err != nil {
			return nil, err
		}
	}
	shown := make([]map[string]any, len(entities))
	for i := range entities {
		shown[i] = v.of(&entities[i])
	}
	return shown, nil
}

// serveSearch answers with all that is found: the API has no pages here.
func (c *Catalog) serveSearch(w http.ResponseWriter, r *http.Request) error {
	body, _, err := readBody(w, r)
	if err != nil {
		return err
	}
	q, err := ParseQuery(body)
	if err != nil {
		return err
	}
	return c.stream(w, r, q, SearchOptions{Partial: hint(r.URL.Query(), "allow_partial_results"), Caller: searcher(r)})
}

// searcher is whom values such as {"context":"user"} are of: the access key.
func searcher(r *http.Request) Caller {
	who, _ := auth.PrincipalFrom(r.Context())
	return Caller{User: map[string]string{"identifier": who.KeyID, "email": who.KeyID}}
}

// serveEntities answers with all entities of a blueprint.
func (c *Catalog) serveEntities(w http.ResponseWriter, r *http.Request) error {
	return c.stream(w, r, nil, SearchOptions{Blueprint: r.PathValue("bp")})
}

// stream writes what is found page by page as it is read, so that the size of the
// answer is nobody's memory. What fails once the answer has begun cuts the
// connection off: an answer that is whole has an end.
func (c *Catalog) stream(w http.ResponseWriter, r *http.Request, q *Query, o SearchOptions) error {
	ctx := r.Context()
	v := viewOf(r.URL.Query())
	o.Limit = MaxPage
	out := listStream{w: w, control: http.NewResponseController(w), member: "entities"}
	var failed []string
	for {
		page, err := c.Search(ctx, q, o)
		var shown []map[string]any
		if err == nil {
			shown, err = c.show(ctx, &v, page.Entities)
		}
		if err != nil {
			return out.fail(r, c.log, err)
		}
		if !out.page(shown) {
			return nil // the caller hung up
		}
		for _, b := range page.FailedBlueprints {
			if !slices.Contains(failed, b) {
				failed = append(failed, b)
			}
		}
		if page.Next == "" {
			out.end(warned(map[string]any{
				"matchingBlueprints": append([]string{}, page.MatchingBlueprints...), "failedBlueprints": append([]string{}, failed...),
			}, v.warnings))
			return nil
		}
		o.From = page.Next
	}
}

// listStream writes {"ok":true,"<member>":[…], …} as the list is read.
type listStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	member  string
	begun   bool
	some    bool // an element has been written
}

func (s *listStream) begin() {
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	s.w.WriteHeader(http.StatusOK)
	_, _ = fmt.Fprintf(s.w, `{"ok":true,%q:[`, s.member)
}

// page writes elements; false if nobody reads them.
func (s *listStream) page(shown []map[string]any) bool {
	if !s.begun {
		s.begin()
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(streamTime)) // where it cannot be set, the server's holds
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, e := range shown {
		if s.some {
			b.WriteByte(',')
		}
		s.some = true
		if err := enc.Encode(e); err != nil {
			panic(http.ErrAbortHandler) // what was JSON in the database is JSON
		}
	}
	_, err := s.w.Write(b.Bytes())
	return err == nil
}

// fail returns an error that can still be answered with, and else cuts the connection
// off.
func (s *listStream) fail(r *http.Request, log *slog.Logger, err error) error {
	if !s.begun {
		return err
	}
	if ctx := r.Context(); ctx.Err() == nil {
		log.ErrorContext(ctx, "a list failed after its answer had begun", "path", r.URL.Path, "request_id", httpapi.RequestIDFrom(ctx), "error", err)
	}
	panic(http.ErrAbortHandler)
}

// end writes the members that follow the list.
func (s *listStream) end(members map[string]any) {
	rest, _ := json.Marshal(members) // strings always can
	text := "]}\n"
	if len(members) > 0 {
		text = "]," + string(rest[1:]) + "\n"
	}
	_, _ = s.w.Write([]byte(text))
}

// searchBody is what a search by pages asks for.
type searchBody struct {
	query            *Query
	include, exclude []string
	limit            int
	from             string
}

func readSearch(body map[string]any) (in searchBody, err error) {
	in.limit = DefaultPage
	if raw, ok := body["query"]; ok && raw != nil {
		text, err := json.Marshal(raw)
		if err != nil {
			return in, invalid("query cannot be read: %v.", err)
		}
		if in.query, err = ParseQuery(text); err != nil {
			return in, err
		}
	}
	for name, into := range map[string]*[]string{"include": &in.include, "exclude": &in.exclude} {
		if *into, err = stringList(body, name); err != nil {
			return in, err
		}
	}
	if in.limit, err = pageSize(body["limit"], DefaultPage, MaxPage); err != nil {
		return in, err
	}
	in.from, err = cursorOf(body["from"])
	return in, err
}

func stringList(body map[string]any, name string) ([]string, error) {
	v, ok := body[name]
	if !ok || v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, invalid("%s must be a list of strings, not %s.", name, jsonKind(v))
	}
	out := make([]string, 0, len(list))
	for i, x := range list {
		s, ok := x.(string)
		if !ok {
			return nil, invalid("%s[%d] must be a string, not %s.", name, i, jsonKind(x))
		}
		out = append(out, s)
	}
	return out, nil
}

func pageSize(v any, otherwise, most int) (int, error) {
	switch n := v.(type) {
	case nil:
		return otherwise, nil
	case float64:
		if n == float64(int(n)) && n >= 1 && n <= float64(most) {
			return int(n), nil
		}
	}
	return 0, invalid("limit must be a whole number from 1 to %d, not %s.", most, inBrief(v))
}

// cursorOf reads where a page begins: what the page before gave as next.
func cursorOf(v any) (string, error) {
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok || len(s) > maxCursor {
		return "", invalid("from must be the next of an earlier page.")
	}
	return s, nil
}

func (c *Catalog) servePagedSearch(w http.ResponseWriter, r *http.Request) error {
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	in, err := readSearch(body)
	if err != nil {
		return err
	}
	v := viewOf(r.URL.Query())
	v.include, v.exclude = append(v.include, in.include...), append(v.exclude, in.exclude...)
	page, err := c.Search(r.Context(), in.query, SearchOptions{
		Blueprint: r.PathValue("bp"), Limit: in.limit, From: in.from, Caller: searcher(r),
	})
	if err != nil {
		return err
	}
	shown, err := c.show(r.Context(), &v, page.Entities)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, warned(map[string]any{"entities": shown, "next": orNil(page.Next)}, v.warnings))
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (c *Catalog) serveCount(w http.ResponseWriter, r *http.Request) error {
	n, err := c.Count(r.Context(), r.PathValue("bp"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"count": n})
}

func (c *Catalog) serveDatasourceEntities(w http.ResponseWriter, r *http.Request) error {
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var in struct{ prefix, suffix string }
	for name, into := range map[string]*string{"datasource_prefix": &in.prefix, "datasource_suffix": &in.suffix} {
		v, ok := body[name].(string)
		if !ok && body[name] != nil {
			return invalid("%s must be a string, not %s.", name, jsonKind(body[name]))
		}
		*into = v
	}
	if in.prefix == "" && in.suffix == "" {
		return invalid("datasource_prefix is missing.")
	}
	var before time.Time
	if v := body["before"]; v != nil {
		s, _ := v.(string)
		if before, err = time.Parse(time.RFC3339, s); err != nil {
			return invalid("before must be a time such as 2026-11-21T09:30:00.000Z, not %s.", inBrief(v))
		}
	}
	limit, err := pageSize(body["limit"], MaxDatasourcePage, MaxDatasourcePage)
	if err != nil {
		return err
	}
	from, err := cursorOf(body["from"])
	if err != nil {
		return err
	}
	out := listStream{w: w, control: http.NewResponseController(w), member: "entities"}
	for left := limit; ; {
		n := min(left, datasourceChunk)
		entities, next, err := c.DatasourceEntities(r.Context(), in.prefix, in.suffix, before, from, n)
		var shown []map[string]any
		if err == nil {
			shown, err = c.show(r.Context(), &view{excludeComputed: true}, entities)
		}
		if err != nil {
			return out.fail(r, c.log, err)
		}
		if !out.page(shown) {
			return nil // the caller hung up
		}
		if left, from = left-n, next; left == 0 || next == "" {
			out.end(map[string]any{"next": orNil(next)})
			return nil
		}
	}
}

// datasourceChunk is how many entities of a page are read at once: each may be a
// mebibyte.
const datasourceChunk = 200
