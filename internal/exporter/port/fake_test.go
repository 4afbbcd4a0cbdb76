package port

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is Port's API as far as it is documented for what the sink calls. What breaks
// its rules fails the test.
type api struct {
	t testing.TB
	// before, if not nil, may answer a call in the API's stead: true for answered.
	before func(w http.ResponseWriter, r *http.Request, body map[string]any) bool
	noBulk bool
	life   float64 // of tokens, in seconds

	mu       sync.Mutex
	calls    []string // METHOD path
	agents   []string
	logins   int
	tokens   map[string]bool
	entities map[catalog.EntityRef]map[string]any
	agentOf  map[catalog.EntityRef]string
	updated  map[catalog.EntityRef]time.Time
}

func newAPI(t testing.TB) *api {
	return &api{
		t: t, life: 10800, tokens: map[string]bool{}, entities: map[catalog.EntityRef]map[string]any{},
		agentOf: map[catalog.EntityRef]string{}, updated: map[catalog.EntityRef]time.Time{},
	}
}

// RoundTrip answers without a network, so that time may be a bubble's.
func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Result(), nil
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"ok": false, "error": code, "message": message})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	body["ok"] = true
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Errorf("read the body of %s: %v", r.URL, err)
	}
	path := r.URL.EscapedPath()
	a.calls = append(a.calls, r.Method+" "+path)
	a.agents = append(a.agents, r.Header.Get("User-Agent"))
	if r.Method != http.MethodDelete && r.Method != http.MethodGet && r.Header.Get("Content-Type") != "application/json" {
		a.t.Errorf("%s %s has the content type %q", r.Method, path, r.Header.Get("Content-Type"))
	}
	if len(text) > 1<<20 {
		refuse(w, http.StatusRequestEntityTooLarge, "payload_too_large", "too large")
		return
	}
	var body map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &body); err != nil {
			a.t.Errorf("%s %s: %v", r.Method, path, err)
		}
	}
	if a.before != nil && a.before(w, r, body) {
		return
	}
	if path == "/v1/auth/access_token" {
		a.login(w, body)
		return
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !a.tokens[token] {
		refuse(w, http.StatusUnauthorized, "unauthorized", "no such token")
		return
	}
	a.route(w, r, body)
}

func (a *api) login(w http.ResponseWriter, body map[string]any) {
	if body["clientId"] != "id" || body["clientSecret"] != "secret" {
		refuse(w, http.StatusUnauthorized, "invalid_credentials", "wrong")
		return
	}
	a.logins++
	token := fmt.Sprintf("token-%d", a.logins)
	a.tokens[token] = true
	answer(w, http.StatusOK, map[string]any{"accessToken": token, "expiresIn": a.life, "tokenType": "Bearer"})
}

func (a *api) route(w http.ResponseWriter, r *http.Request, body map[string]any) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/v1")
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range parts {
		plain, err := url.PathUnescape(parts[i])
		if err != nil {
			a.t.Errorf("path %s: %v", path, err)
		}
		parts[i] = plain
	}
	switch {
	case r.Method == http.MethodPost && path == "/integration":
		for _, name := range []string{"installationId", "installationAppType", "version"} {
			if body[name] == "" || body[name] == nil {
				a.t.Errorf("the integration has no %s", name)
			}
		}
		answer(w, http.StatusOK, map[string]any{"integration": body})
	case r.Method == http.MethodPost && path == "/entities/search":
		a.search(w, r, body)
	case len(parts) == 3 && parts[2] == "entities" && r.Method == http.MethodPost:
		made, e := a.put(r, parts[1], "", body)
		a.one(w, made, body, e)
	case len(parts) == 4 && parts[2] == "entities" && parts[3] == "bulk" && r.Method == http.MethodPost && !a.noBulk:
		a.bulk(w, r, parts[1], body)
	case len(parts) == 5 && parts[2] == "bulk" && parts[4] == "delete" && !a.noBulk:
		a.bulkDelete(w, r, parts[1], body)
	case len(parts) == 4 && parts[2] == "entities" && r.Method == http.MethodDelete:
		ref := catalog.EntityRef{Blueprint: parts[1], Identifier: parts[3]}
		if e := a.delete(r, ref); e != nil {
			refuse(w, e.Status, e.Code, e.Message)
			return
		}
		answer(w, http.StatusOK, map[string]any{})
	case len(parts) == 4 && parts[2] == "entities" && (r.Method == http.MethodPut || r.Method == http.MethodPatch):
		made, e := a.put(r, parts[1], parts[3], body)
		a.one(w, made, body, e)
	default:
		refuse(w, http.StatusNotFound, "route_not_found", "no route "+r.Method+" "+path)
	}
}

func (a *api) one(w http.ResponseWriter, made bool, body map[string]any, e *catalog.Error) {
	switch {
	case e != nil:
		refuse(w, e.Status, e.Code, e.Message)
	case made:
		answer(w, http.StatusCreated, map[string]any{"entity": body})
	default:
		answer(w, http.StatusOK, map[string]any{"entity": body})
	}
}

var entityForm = regexp.MustCompile(`^[\p{L}0-9@_.+:\\/=-]+$`)

func (a *api) put(r *http.Request, blueprint, at string, body map[string]any) (bool, *catalog.Error) {
	if _, ok := body["properties"].(map[string]any); !ok {
		a.t.Errorf("an entity is written without properties: %v", body)
	}
	id, _ := body["identifier"].(string)
	if id == "" {
		id = at
	}
	if blueprint == "missing" {
		return false, &catalog.Error{Status: 404, Code: "not_found", Message: "no blueprint " + blueprint}
	}
	if !entityForm.MatchString(id) {
		return false, &catalog.Error{Status: 422, Code: "invalid_request", Message: "identifier " + id}
	}
	if r.URL.Query().Get("create_missing_related_entities") != "true" {
		relations, _ := body["relations"].(map[string]any)
		for _, target := range relations {
			if to, ok := target.(string); ok && a.entities[catalog.EntityRef{Blueprint: blueprint, Identifier: to}] == nil {
				return false, &catalog.Error{Status: 404, Code: "not_found", Message: "no entity " + to}
			}
		}
	}
	ref := catalog.EntityRef{Blueprint: blueprint, Identifier: id}
	if at != "" && at != id {
		delete(a.entities, catalog.EntityRef{Blueprint: blueprint, Identifier: at})
	}
	have := a.entities[ref]
	if have != nil && at == "" && r.URL.Query().Get("upsert") != "true" {
		return false, &catalog.Error{Status: 409, Code: "identifier_taken", Message: id + " is there"}
	}
	a.entities[ref], a.agentOf[ref], a.updated[ref] = body, r.Header.Get("User-Agent"), time.Now()
	return have == nil, nil
}

func (a *api) delete(r *http.Request, ref catalog.EntityRef) *catalog.Error {
	if r.URL.Query().Get("delete_dependents") == "" {
		a.t.Error("a delete does not say what of dependents")
	}
	if a.entities[ref] == nil {
		return &catalog.Error{Status: 404, Code: "not_found", Message: "no entity " + ref.Identifier}
	}
	if strings.HasPrefix(ref.Identifier, "needed") && r.URL.Query().Get("delete_dependents") != "true" {
		return &catalog.Error{Status: 409, Code: "has_dependents", Message: "has_dependents: " + ref.Identifier}
	}
	delete(a.entities, ref)
	return nil
}

func (a *api) bulk(w http.ResponseWriter, r *http.Request, blueprint string, body map[string]any) {
	list, _ := body["entities"].([]any)
	if len(list) < 1 || len(list) > 20 {
		a.t.Errorf("%d entities in one bulk call", len(list))
	}
	var made, failed []any
	for i, item := range list {
		entity := item.(map[string]any)
		created, e := a.put(r, blueprint, "", entity)
		if e != nil {
			failed = append(failed, map[string]any{"identifier": "unknown", "index": i, "statusCode": e.Status, "error": e.Code, "message": e.Message})
			continue
		}
		made = append(made, map[string]any{"identifier": entity["identifier"], "index": i, "created": created})
	}
	status := http.StatusOK
	if failed != nil {
		status = http.StatusMultiStatus
	}
	answer(w, status, map[string]any{"entities": made, "errors": failed})
}

func (a *api) bulkDelete(w http.ResponseWriter, r *http.Request, blueprint string, body map[string]any) {
	list, _ := body["entities"].([]any)
	if len(list) < 1 || len(list) > 100 {
		a.t.Errorf("%d entities in one bulk delete", len(list))
	}
	if r.URL.Query().Get("delete_dependents") != "true" && slices.ContainsFunc(list, func(id any) bool { return strings.HasPrefix(id.(string), "needed") }) {
		refuse(w, http.StatusConflict, "has_dependents", "has_dependents")
		return
	}
	gone := []any{}
	for _, id := range list {
		ref := catalog.EntityRef{Blueprint: blueprint, Identifier: id.(string)}
		if a.entities[ref] != nil {
			delete(a.entities, ref)
			gone = append(gone, id)
		}
	}
	answer(w, http.StatusOK, map[string]any{"deletedEntities": gone})
}

func (a *api) search(w http.ResponseWriter, r *http.Request, body map[string]any) {
	if got := r.URL.Query()["include"]; !slices.Equal(got, []string{"blueprint", "identifier"}) {
		a.t.Errorf("search includes %v", got)
	}
	if body["combinator"] != "and" {
		a.t.Errorf("search for %v", body)
	}
	list := []any{}
	for ref := range a.entities {
		matches := true
		for _, item := range body["rules"].([]any) {
			rule := item.(map[string]any)
			value := rule["value"].(string)
			switch rule["property"].(string) + " " + rule["operator"].(string) {
			case "$datasource contains":
				matches = matches && strings.Contains(a.agentOf[ref], value)
			case "$updatedAt <":
				before, err := time.Parse(time.RFC3339, value)
				if err != nil {
					a.t.Errorf("search before %s: %v", value, err)
				}
				matches = matches && a.updated[ref].Before(before)
			default:
				a.t.Errorf("search by %v", rule)
			}
		}
		if matches {
			list = append(list, map[string]any{"blueprint": ref.Blueprint, "identifier": ref.Identifier})
		}
	}
	answer(w, http.StatusOK, map[string]any{"matchingBlueprints": []string{"b"}, "entities": list})
}

// count returns how many calls there were whose METHOD path ends so.
func (a *api) count(call string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, c := range a.calls {
		if strings.HasSuffix(c, call) {
			n++
		}
	}
	return n
}

func (a *api) has(blueprint, id string) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.entities[catalog.EntityRef{Blueprint: blueprint, Identifier: id}]
}

const account = "123456789012"

func newSink(t testing.TB, a *api, edit func(*Options)) *Sink {
	t.Helper()
	o := Options{
		BaseURL: "http://port.example", ClientID: "id", ClientSecret: "secret", Place: Place{account, "eu-west-1"}, HTTP: &http.Client{Transport: a},
	}
	if edit != nil {
		edit(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
