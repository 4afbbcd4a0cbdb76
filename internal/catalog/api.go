package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	// maxBody is the size limit of a request's body in bytes. Port: 1 MiB.
	maxBody = 1 << 20
	// maxAgent bounds the User-Agent, which is kept with every entity it writes.
	maxAgent = 500
	// cliAgent is how the User-Agent of our own command line begins.
	cliAgent = "rialto-cli/"
)

// Paths are the paths, some with what is below them, under which the API that
// Register adds is served: patterns for a mux, to be put behind
// auth.PortMiddleware. Not all of Port's API is served; the rest is refused by
// name.
func Paths() []string {
	paths := []string{}
	for _, p := range served {
		paths = append(paths, p, p+"/")
	}
	for _, u := range unserved {
		paths = append(paths, u.paths...)
	}
	return paths
}

// served are the roots of the API's routes.
var served = []string{
	"/v1/blueprints", "/v1/entities", "/v1/integration", "/v1/organization", "/v1/migrations", "/v1/audit-log",
}

// unserved are parts of Port's API that are not served, by what they are called there.
// /v1/teams and /v1/webhooks below their roots are other APIs of this server.
var unserved = []struct {
	what  string
	paths []string
}{
	{"Scorecards", []string{"/v1/scorecards", "/v1/scorecards/"}},
	{"Actions and automations", []string{"/v1/actions", "/v1/actions/", "/v1/workflows", "/v1/workflows/"}},
	{"Pages and sidebars", []string{"/v1/pages", "/v1/pages/", "/v1/sidebars", "/v1/sidebars/"}},
	{"Webhooks", []string{"/v1/webhooks"}},
	{"Teams, users and roles", []string{"/v1/teams", "/v1/users", "/v1/users/", "/v1/roles", "/v1/roles/"}},
	{"Apps", []string{"/v1/apps", "/v1/apps/"}},
	{"Kafka credentials", []string{"/v1/kafka-credentials"}},
	{"Data sources", []string{"/v1/data-sources", "/v1/data-sources/"}},
}

// Register adds the catalog's API to mux: Port's, with its paths, bodies, status
// codes and errors {"ok":false,"error","message"[,"details"]}. The mux must be behind
// auth.PortMiddleware, at Paths. Callers are keys of auth.HomeAccount; R marks what a
// reader may call, others take an operator. Answers have "ok":true beside what is
// listed. Query parameters and members of bodies that are not known are passed over,
// as Port does.
//
//	POST   /v1/blueprints                                         ?validation_only; 201 {blueprint}
//	GET    /v1/blueprints                                     R   {blueprints}
//	GET    /v1/blueprints/{bp}                                R   {blueprint}
//	PUT    /v1/blueprints/{bp}                                    ?validation_only; {blueprint}; replaces
//	PATCH  /v1/blueprints/{bp}                                    {blueprint}; merges top-level members
//	DELETE /v1/blueprints/{bp}                                    409 has_dependents while it is used
//	DELETE /v1/blueprints/{bp}/all-entities                       ?delete_blueprint; {migrationId}
//	GET    /v1/migrations/{id}                                R   {migration}
//
//	POST   /v1/blueprints/{bp}/entities                           ?upsert&merge&create_missing_related_entities&validation_only&run_id;
//	                                                              201, or 200 where it was there: {entity}
//	GET    /v1/blueprints/{bp}/entities                       R   ?include&exclude&exclude_calculated_properties; {entities}
//	GET    /v1/blueprints/{bp}/entities-count                 R   {count}
//	GET    /v1/blueprints/{bp}/entities/{id}                  R   ?include&exclude&exclude_calculated_properties; {entity}
//	PUT    /v1/blueprints/{bp}/entities/{id}                      {entity}; replaces; a new identifier renames
//	PATCH  /v1/blueprints/{bp}/entities/{id}                      {entity}; merges
//	DELETE /v1/blueprints/{bp}/entities/{id}                      ?delete_dependents
//	POST   /v1/blueprints/{bp}/entities/bulk                      {entities} of 1 to 20; 200 or 207: {entities, errors}
//	POST   /v1/blueprints/{bp}/bulk/entities/delete               {entities} of 1 to 100 identifiers; {deletedEntities}
//	POST   /v1/blueprints/{bp}/entities/search                R   {query, include, exclude, limit, from}; {entities, next}
//	POST   /v1/entities/search                                R   a query; {entities, matchingBlueprints}, without pages
//	POST   /v1/blueprints/entities/datasource-entities        R   {datasource_prefix, datasource_suffix, limit, from, before}; {entities, next}
//	GET    /v1/audit-log                                      R   ?blueprint&entity&identifier&run_id&resources&action&origin&from&to&limit&before;
//	                                                              {audits, next}
//
//	POST   /v1/integration                                        ?upsert; {integration}
//	GET    /v1/integration                                    R   {integrations}
//	GET    /v1/integration/provision-enabled                  R   {integrations}: none
//	GET    /v1/integration/{id}                               R   ?byField=installationId|logIngestId; {integration}
//	PATCH  /v1/integration/{id}                                   {integration}; who polls it takes that for a request to sync
//	PATCH  /v1/integration/{id}/config                            {config}; {integration}
//	DELETE /v1/integration/{id}
//	PATCH  /v1/integration/{id}/resync-state                      {integration}
//	GET    /v1/integration/{id}/resync-request                R   {request}
//	GET    /v1/integration/{id}/kinds                         R   {data}: examples by kind
//	POST   /v1/integration/{id}/kinds/{kind}/examples             {examples}
//	GET    /v1/integration/{id}/cursor                        R   ?kind&index; {cursor}
//	PUT    /v1/integration/{id}/cursor                            ?kind&index; {cursor}; POST does the same
//	POST   /v1/integration/{id}/logs                              {logs}: what an integration logs
//	GET    /v1/integration/{id}/logs                          R   ?limit&timestamp&log_id&direction&eventId&level; {logs}
//	POST   /v1/integration/{id}/metrics/syncMetrics               {syncKindsMetrics}: what came of a full sync
//	PUT    /v1/integration/{id}/metrics/syncMetrics/resync/{event}/kind/{kind}   {syncKindMetrics}
//	POST   /v1/integration/{id}/metrics/heartbeat                 no body is needed; also at …/ingest/heartbeat
//	GET    /v1/integration/{id}/syncMetrics                   R   ?resyncId; {syncMetrics}
//	GET    /v1/integration/{id}/syncsMetadata                 R   {syncsMetadata}
//
//	GET    /v1/organization                                   R   {organization}, without feature flags
func (c *Catalog) Register(mux *http.ServeMux) {
	add := func(pattern string, p auth.Permission, h handler) { mux.HandleFunc(pattern, serve(p, h)) }
	c.registerBlueprints(add)
	c.registerEntities(add)
	c.registerSearch(add)
	c.registerIntegrations(add)
	add("GET /v1/organization", auth.Read, serveOrganization)
	add("GET /v1/audit-log", auth.Read, c.serveAudits)
	for _, p := range served {
		mux.HandleFunc(p, refuseRoute)
		mux.HandleFunc(p+"/", refuseRoute)
	}
	for _, u := range unserved {
		for _, p := range u.paths {
			mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) {
				writeError(w, r, notServed("%s are not served by this catalog (%s %s).", u.what, r.Method, r.URL.Path))
			})
		}
	}
}

// register adds one route.
type register func(pattern string, p auth.Permission, h handler)

// handler answers a request, or returns an error that serve answers with.
type handler func(w http.ResponseWriter, r *http.Request) error

// serve lets callers with the permission through to h.
func serve(p auth.Permission, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := auth.Check(r.Context(), p)
		if err == nil {
			err = auth.CheckAccount(r.Context(), auth.HomeAccount)
		}
		if err == nil {
			err = h(w, r)
		}
		if err != nil {
			writeError(w, r, err)
		}
	}
}

// writeError answers with err in Port's shape.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		httpapi.WritePortError(w, r, err)
		return
	}
	httpapi.JSON(w, e.Status, httpapi.PortError{Error: e.Code, Message: e.Message, Details: e.Details})
}

// refuseRoute answers for what has no route under the API's roots.
func refuseRoute(w http.ResponseWriter, r *http.Request) {
	writeError(w, r, notServed("%s %s is not served by this catalog.", r.Method, r.URL.Path))
}

func notServed(format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: CodeTooLarge, Message: fmt.Sprintf(format, args...)}
}

// answer writes members with "ok":true.
func answer(w http.ResponseWriter, status int, members map[string]any) error {
	if members == nil {
		members = map[string]any{}
	}
	members["ok"] = true
	httpapi.JSON(w, status, members)
	return nil
}

// readBody reads a body of at most maxBody bytes that is one JSON object.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, map[string]any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, nil, tooLarge("The request body is larger than the %d bytes allowed.", maxBody)
	}
	if err != nil {
		return nil, nil, malformed("The request body could not be read: %v.", err)
	}
	if !utf8.Valid(body) {
		return nil, nil, malformed("The request body is not valid UTF-8.")
	}
	if err := httpapi.CheckJSON(body); err != nil {
		return nil, nil, malformed("The request body is not valid JSON: %v.", err)
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, nil, malformed("The request body is not valid JSON: %v.", err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, nil, invalid("The request body must be a JSON object.")
	}
	return body, object, nil
}

// malformed is a request that cannot be read at all.
func malformed(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidRequest, Message: fmt.Sprintf(format, args...)}
}

// readList reads a body whose member of that name is a list of min to max elements.
func readList(w http.ResponseWriter, r *http.Request, name string, least, most int) ([]any, error) {
	_, body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	list, ok := body[name].([]any)
	if !ok {
		return nil, invalid("%s must be a list.", name)
	}
	if len(list) < least || len(list) > most {
		return nil, invalid("%s must have %d to %d elements, not %d.", name, least, most, len(list))
	}
	return list, nil
}

// flag reads a parameter that decides what is written: true or false.
func flag(q url.Values, name string) (bool, error) {
	switch s := strings.ToLower(q.Get(name)); s {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		return false, invalid("Query parameter %s must be true or false, not %q.", name, shorten(s))
	}
}

// hint reads a parameter that only shapes an answer. Port's Terraform provider sends
// the address of a boolean in place of it: what is neither true nor false is false.
func hint(q url.Values, name string) bool {
	s := strings.ToLower(q.Get(name))
	return s == "true" || s == "1"
}

// paramList reads a parameter that clients repeat, and others join with commas.
func paramList(q url.Values, name string) []string {
	var list []string
	for _, v := range q[name] {
		for s := range strings.SplitSeq(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
	}
	return list
}

// segment is the n-th segment of the path as it was sent, 0 for the first, decoded as
// clients that write spaces as '+' mean it.
func segment(r *http.Request, n int) string {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if n >= len(parts) {
		return ""
	}
	s, err := url.QueryUnescape(parts[n])
	if err != nil {
		return parts[n]
	}
	return s
}

// writer is who the request writes as. An empty run_id is none.
func (c *Catalog) writer(r *http.Request) (Writer, error) {
	agent := r.Header.Get("User-Agent")
	if len(agent) > maxAgent {
		return Writer{}, invalid("The User-Agent has %d bytes; at most %d are kept as $datasource.", len(agent), maxAgent)
	}
	if err := checkPlain("The User-Agent", agent); err != nil {
		return Writer{}, err
	}
	run := r.URL.Query().Get("run_id")
	if len(run) > maxName {
		return Writer{}, invalid("Query parameter run_id has %d bytes; at most %d are taken.", len(run), maxName)
	}
	if err := checkPlain("Query parameter run_id", run); err != nil {
		return Writer{}, err
	}
	who, _ := auth.PrincipalFrom(r.Context())
	origin := "api"
	if strings.HasPrefix(agent, cliAgent) {
		origin = "cli"
	}
	datasource, err := c.datasourceOf(r.Context(), agent)
	return Writer{By: who.KeyID, Datasource: datasource, Cause: Cause{Origin: origin, RunID: run}}, err
}

// stamp is a time as the API writes it; null for none.
func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

func serveOrganization(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, http.StatusOK, map[string]any{"organization": map[string]any{
		"id": organizationID, "name": "Rialto", "featureFlags": []string{}, "settings": map[string]any{},
	}})
}

// organizationID is the one organization that an installation is.
const organizationID = "org_rialto"
