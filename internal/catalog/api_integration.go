package catalog

import (
	"encoding/json"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
)

func (c *Catalog) registerIntegrations(add register) {
	const all, one = "/v1/integration", "/v1/integration/{id}"
	of := func(pattern string, p auth.Permission, h integrationHandler) { add(pattern, p, c.ofIntegration(h)) }
	add("POST "+all, auth.Write, c.servePutIntegration)
	add("GET "+all, auth.Read, c.serveListIntegrations)
	add("GET "+all+"/"+provisionEnabled, auth.Read, func(w http.ResponseWriter, _ *http.Request) error {
		return answer(w, http.StatusOK, map[string]any{"integrations": []string{}})
	})
	add("GET "+one, auth.Read, c.serveIntegration)
	of("PATCH "+one, auth.Write, c.servePatchIntegration)
	of("DELETE "+one, auth.Write, c.serveDeleteIntegration)
	of("PATCH "+one+"/config", auth.Write, c.servePatchConfig)
	of("PATCH "+one+"/resync-state", auth.Write, c.serveResyncState)
	of("GET "+one+"/resync-request", auth.Read, c.serveResyncRequest)
	of("GET "+one+"/kinds", auth.Read, c.serveKinds)
	of("POST "+one+"/kinds/{kind}/examples", auth.Write, c.serveExamples)
	of("GET "+one+"/cursor", auth.Read, c.serveCursor)
	of("PUT "+one+"/cursor", auth.Write, c.serveSetCursor)
	of("POST "+one+"/cursor", auth.Write, c.serveSetCursor)
	of("POST "+one+"/logs", auth.Write, c.serveAddLogs)
	of("GET "+one+"/logs", auth.Read, c.serveLogs)
	of("POST "+one+"/metrics/syncMetrics", auth.Write, c.serveAddMetrics)
	of("PUT "+one+"/metrics/syncMetrics/resync/{event}/kind/{kind}", auth.Write, c.servePutMetrics)
	of("POST "+one+"/metrics/heartbeat", auth.Write, c.serveHeartbeat)
	of("POST "+one+"/ingest/heartbeat", auth.Write, c.serveHeartbeat)
	of("GET "+one+"/syncMetrics", auth.Read, c.serveMetrics)
	of("GET "+one+"/syncsMetadata", auth.Read, c.serveSyncs)
}

// baseURL is what the caller is to call us by: the public URL where it reached us by
// that name, or through a proxy, and else the name by which it did.
func (c *Catalog) baseURL(r *http.Request) string {
	public := strings.TrimRight(c.o.PublicURL, "/")
	_, name, _ := strings.Cut(public, "://")
	proxied := r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("X-Forwarded-Host") != "" || r.Header.Get("Forwarded") != ""
	if public != "" && (proxied || strings.EqualFold(name, r.Host)) {
		return public
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// integrationJSON is an integration as the API shows it: what it says of itself, and
// where it is to send its logs and metrics.
func (c *Catalog) integrationJSON(r *http.Request, in *Integration) map[string]any {
	out := map[string]any{"title": nil, "version": nil, "config": map[string]any{}, "changelogDestination": map[string]any{}, actionsProcessing: false}
	maps.Copy(out, in.Body)
	base := c.baseURL(r) + "/v1/integration/" + in.ID
	maps.Copy(out, map[string]any{
		"_id": in.ID, "_orgId": organizationID, "installationId": in.InstallationID, "resyncState": in.ResyncState,
		"logAttributes":    map[string]any{"ingestId": in.LogIngestID, "ingestUrl": base + "/logs"},
		"metricAttributes": map[string]any{"ingestUrl": base + "/metrics"},
		"ingestAttributes": map[string]any{"ingestUrl": base + "/ingest"},
		"createdAt":        stamp(in.CreatedAt), "createdBy": in.CreatedBy, "updatedAt": stamp(in.UpdatedAt), "updatedBy": in.UpdatedBy,
		"heartbeatAt": stamp(in.HeartbeatAt),
	})
	return out
}

func (c *Catalog) answerIntegration(w http.ResponseWriter, r *http.Request, status int, in *Integration, warnings []string) error {
	return answer(w, status, warned(map[string]any{"integration": c.integrationJSON(r, in)}, warnings))
}

func (c *Catalog) servePutIntegration(w http.ResponseWriter, r *http.Request) error {
	upsert, err := flag(r.URL.Query(), "upsert")
	if err != nil {
		return err
	}
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	in, created, warnings, err := c.PutIntegration(r.Context(), by, body, upsert)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return c.answerIntegration(w, r, status, &in, warnings)
}

// serveListIntegrations answers with all integrations, some at a time: together they
// can be a gigabyte.
func (c *Catalog) serveListIntegrations(w http.ResponseWriter, r *http.Request) error {
	out := listStream{w: w, control: http.NewResponseController(w), member: "integrations"}
	for after := ""; ; {
		list, err := c.Integrations(r.Context(), after)
		if err != nil {
			return out.fail(r, c.log, err)
		}
		shown := make([]map[string]any, 0, len(list))
		for i := range list {
			shown = append(shown, c.integrationJSON(r, &list[i]))
		}
		if !out.page(shown) {
			return nil // the caller hung up
		}
		if len(list) < integrationPage {
			out.end(nil)
			return nil
		}
		after = list[len(list)-1].InstallationID
	}
}

// integrationOf finds the integration of the path; one of the clients writes spaces
// as '+' there.
func (c *Catalog) integrationOf(r *http.Request) (Integration, error) {
	id := r.PathValue("id")
	in, err := c.Integration(r.Context(), id, false)
	if plus := segment(r, 2); plus != id && notThere(err) {
		if other, otherErr := c.Integration(r.Context(), plus, false); otherErr == nil {
			return other, nil
		}
	}
	return in, err
}

// integrationHandler is a handler that is given the integration of the path.
type integrationHandler func(w http.ResponseWriter, r *http.Request, in *Integration) error

func (c *Catalog) ofIntegration(h integrationHandler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		in, err := c.integrationOf(r)
		if err != nil {
			return err
		}
		return h(w, r, &in)
	}
}

// done answers that something was done, or returns why it was not.
func done(w http.ResponseWriter, err error) error {
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, nil)
}

func notThere(err error) bool {
	e, ok := errorOf(err)
	return ok && e.Status == http.StatusNotFound
}

func (c *Catalog) serveIntegration(w http.ResponseWriter, r *http.Request) error {
	var in Integration
	var err error
	switch field := r.URL.Query().Get("byField"); field {
	case "", integrationID:
		in, err = c.integrationOf(r)
	case "logIngestId":
		in, err = c.Integration(r.Context(), r.PathValue("id"), true)
	default:
		err = invalid("Query parameter byField must be installationId or logIngestId, not %q.", shorten(field))
	}
	if err != nil {
		return err
	}
	return c.answerIntegration(w, r, http.StatusOK, &in, nil)
}

func (c *Catalog) servePatchIntegration(w http.ResponseWriter, r *http.Request, in *Integration) error {
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	return c.patchIntegration(w, r, in, body)
}

func (c *Catalog) servePatchConfig(w http.ResponseWriter, r *http.Request, in *Integration) error {
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	config, ok := body["config"].(map[string]any)
	if !ok {
		return invalid("config must be an object.")
	}
	return c.patchIntegration(w, r, in, map[string]any{"config": config})
}

// patchIntegration changes the given members of an integration, and answers with it.
func (c *Catalog) patchIntegration(w http.ResponseWriter, r *http.Request, in *Integration, members map[string]any) error {
	by, err := c.writer(r)
	if err != nil {
		return err
	}
	patched, warnings, err := c.PatchIntegration(r.Context(), by, in.InstallationID, members)
	if err != nil {
		return err
	}
	return c.answerIntegration(w, r, http.StatusOK, &patched, warnings)
}

func (c *Catalog) serveDeleteIntegration(w http.ResponseWriter, r *http.Request, in *Integration) error {
	return done(w, c.DeleteIntegration(r.Context(), in.InstallationID))
}

// serveResyncState takes {resyncState: {…}} as well as the state itself.
func (c *Catalog) serveResyncState(w http.ResponseWriter, r *http.Request, found *Integration) error {
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	state := body
	if inner, ok := body["resyncState"]; ok {
		if state, ok = inner.(map[string]any); !ok {
			return invalid("resyncState must be an object.")
		}
	}
	in, err := c.SetResyncState(r.Context(), found.InstallationID, state)
	if err != nil {
		return err
	}
	return c.answerIntegration(w, r, http.StatusOK, &in, nil)
}

func (c *Catalog) serveResyncRequest(w http.ResponseWriter, r *http.Request, in *Integration) error {
	return answer(w, http.StatusOK, map[string]any{"request": map[string]any{"updatedAt": stamp(in.UpdatedAt)}})
}

func (c *Catalog) serveKinds(w http.ResponseWriter, r *http.Request, in *Integration) error {
	list, err := c.IntegrationKinds(r.Context(), in.InstallationID)
	if err != nil {
		return err
	}
	kinds := map[string]any{}
	for _, k := range list {
		var examples []json.RawMessage
		if err := json.Unmarshal(k.Examples, &examples); err != nil {
			return err
		}
		shown := make([]any, 0, len(examples))
		for i, example := range examples {
			shown = append(shown, map[string]any{"_id": strconv.Itoa(i), "data": example})
		}
		kinds[k.Kind] = map[string]any{"examples": shown, "updatedAt": stamp(k.UpdatedAt)}
	}
	return answer(w, http.StatusOK, map[string]any{"data": kinds})
}

func (c *Catalog) serveExamples(w http.ResponseWriter, r *http.Request, in *Integration) error {
	examples, err := readList(w, r, "examples", 0, maxBody)
	if err != nil {
		return err
	}
	return done(w, c.PutKindExamples(r.Context(), in.InstallationID, segment(r, 4), examples))
}

func (c *Catalog) serveCursor(w http.ResponseWriter, r *http.Request, in *Integration) error {
	q := r.URL.Query()
	cursor, err := c.Cursor(r.Context(), in.InstallationID, q.Get("kind"), q.Get("index"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"cursor": cursor})
}

func (c *Catalog) serveSetCursor(w http.ResponseWriter, r *http.Request, in *Integration) error {
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	cursor, ok := body["cursor"]
	if !ok {
		return invalid("cursor is missing; null clears it.")
	}
	q := r.URL.Query()
	if err := c.SetCursor(r.Context(), in.InstallationID, q.Get("kind"), q.Get("index"), cursor); err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"cursor": cursor})
}

func (c *Catalog) serveHeartbeat(w http.ResponseWriter, r *http.Request, in *Integration) error {
	return done(w, c.Heartbeat(r.Context(), in.InstallationID))
}

func (c *Catalog) serveAddLogs(w http.ResponseWriter, r *http.Request, in *Integration) error {
	lines, err := readList(w, r, "logs", 0, maxLogBatch)
	if err != nil {
		return err
	}
	return done(w, c.AddLogs(r.Context(), in.InstallationID, lines))
}

// logFilter reads which lines are asked for: direction is before, the newest first,
// or after.
func logFilter(r *http.Request) (LogFilter, error) {
	q := r.URL.Query()
	f := LogFilter{EventID: q.Get("eventId"), Level: q.Get("level"), Limit: 100}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLogPage {
			return f, invalid("Query parameter limit must be a whole number from 1 to %d, not %q.", maxLogPage, shorten(s))
		}
		f.Limit = n
	}
	if s := q.Get("timestamp"); s != "" {
		at, ok := parseLogTime(s)
		if !ok {
			return f, invalid("Query parameter timestamp must be a time such as 2026-11-21T09:30:00Z, not %q.", shorten(s))
		}
		f.At = at
	}
	if s := q.Get("log_id"); s != "" {
		id, err := strconv.ParseInt(s, 10, 64)
		if err != nil || id < 0 {
			return f, invalid("Query parameter log_id must be the id of a log line, not %q.", shorten(s))
		}
		f.ID = id
	}
	switch s := q.Get("direction"); s {
	case "", "before":
	case "after":
		f.After = true
	default:
		return f, invalid("Query parameter direction must be before or after, not %q.", shorten(s))
	}
	if plainString(f.EventID, maxName) != f.EventID || plainString(f.Level, maxName) != f.Level {
		return f, invalid("Query parameters eventId and level must be lines of text of at most %d bytes.", maxName)
	}
	return f, nil
}

func (c *Catalog) serveLogs(w http.ResponseWriter, r *http.Request, in *Integration) error {
	f, err := logFilter(r)
	if err != nil {
		return err
	}
	list, err := c.Logs(r.Context(), in.InstallationID, f)
	if err != nil {
		return err
	}
	shown := make([]map[string]any, 0, len(list))
	for _, l := range list {
		one := map[string]any{}
		if err := json.Unmarshal(l.Line, &one); err != nil {
			return err
		}
		maps.Copy(one, map[string]any{"_id": strconv.FormatInt(l.ID, 10), "timestamp": stamp(l.At), "level": l.Level, "eventId": l.EventID, "receivedAt": stamp(l.ReceivedAt)})
		shown = append(shown, one)
	}
	return answer(w, http.StatusOK, map[string]any{"logs": shown})
}

func (c *Catalog) serveAddMetrics(w http.ResponseWriter, r *http.Request, in *Integration) error {
	metrics, err := readList(w, r, "syncKindsMetrics", 0, maxMetricsBatch)
	if err != nil {
		return err
	}
	return done(w, c.PutSyncMetrics(r.Context(), in.InstallationID, metrics))
}

// servePutMetrics goes by the path's full sync and kind, whatever the body says.
func (c *Catalog) servePutMetrics(w http.ResponseWriter, r *http.Request, in *Integration) error {
	_, body, err := readBody(w, r)
	if err != nil {
		return err
	}
	metrics, ok := body["syncKindMetrics"].(map[string]any)
	if !ok {
		return invalid("syncKindMetrics must be an object.")
	}
	metrics["eventId"], metrics["kindIdentifier"] = segment(r, 6), segment(r, 8)
	return done(w, c.PutSyncMetrics(r.Context(), in.InstallationID, []any{metrics}))
}

func (c *Catalog) serveMetrics(w http.ResponseWriter, r *http.Request, in *Integration) error {
	list, err := c.SyncMetrics(r.Context(), in.InstallationID, r.URL.Query().Get("resyncId"))
	if err != nil {
		return err
	}
	shown := make([]map[string]any, 0, len(list))
	for _, m := range list {
		one := map[string]any{}
		if err := json.Unmarshal(m.Metrics, &one); err != nil {
			return err
		}
		maps.Copy(one, map[string]any{"eventId": m.EventID, "kindIdentifier": m.Kind, "createdAt": stamp(m.CreatedAt), "updatedAt": stamp(m.UpdatedAt)})
		shown = append(shown, one)
	}
	return answer(w, http.StatusOK, map[string]any{"syncMetrics": shown})
}

func (c *Catalog) serveSyncs(w http.ResponseWriter, r *http.Request, in *Integration) error {
	list, err := c.Syncs(r.Context(), in.InstallationID)
	if err != nil {
		return err
	}
	shown := make([]map[string]any, 0, len(list))
	for _, s := range list {
		shown = append(shown, map[string]any{"eventId": s.EventID, "kinds": s.Kinds, "createdAt": stamp(s.CreatedAt), "updatedAt": stamp(s.UpdatedAt)})
	}
	return answer(w, http.StatusOK, map[string]any{"syncsMetadata": shown})
}
