package exporter

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	pathRuns     = pathExporter + "/sync_runs"
	pathRun      = pathRuns + "/{run}"
	pathSettings = pathExporter + "/sync_settings"
)

// registerSync adds the routes of full syncs, drift and freshness.
func (x *Exporter) registerSync(rest register) {
	rest("GET "+pathRuns, auth.Read, x.serveRuns)
	rest("POST "+pathRuns, auth.Write, x.serveRunSync)
	rest("GET "+pathRun, auth.Read, x.serveRun)
	rest("POST "+pathRun+"/confirm", auth.Write, x.serveConfirm)
	rest("POST "+pathRun+"/cancel", auth.Write, x.serveCancel)
	rest("GET "+pathRun+"/scopes", auth.Read, x.serveScopes)
	rest("GET "+pathRun+"/changes", auth.Read, x.serveChanges)
	rest("GET "+pathSettings, auth.Read, x.serveSettings)
	rest("PUT "+pathSettings, auth.Write, x.servePutSettings)
	rest("GET "+pathExporter+"/drift", auth.Read, x.serveDrift)
	rest("GET "+pathExporter+"/freshness", auth.Read, x.serveFreshness)
}

// countsJSON are the counts of a run, a kind or a scope.
type countsJSON struct {
	Expected  int64 `json:"expected"`
	Listed    int64 `json:"listed"`
	Unchanged int64 `json:"unchanged"`
	Created   int64 `json:"created"`
	Updated   int64 `json:"updated"`
	Removed   int64 `json:"removed"`
	Failed    int64 `json:"failed"`
	Missing   int64 `json:"missing"`
	Unread    int64 `json:"unread"`
	Held      int64 `json:"held"`
}

func toCountsJSON(t *SyncTotals) countsJSON {
	return countsJSON{t.Expected, t.Listed, t.Unchanged, t.Created, t.Updated, t.Removed, t.Failed, t.Missing, t.Unread, t.Held}
}

// totalsJSON are counts over scopes.
type totalsJSON struct {
	Scopes        int64 `json:"scopes"`
	ScopesDone    int64 `json:"scopes_done"`
	ScopesFailed  int64 `json:"scopes_failed"`
	ScopesHeld    int64 `json:"scopes_held"`
	ScopesSkipped int64 `json:"scopes_skipped"`
	countsJSON
	Drift        int64 `json:"drift"`
	DriftPending int64 `json:"drift_pending"`
}

func toTotalsJSON(t *SyncTotals) totalsJSON {
	return totalsJSON{t.Scopes, t.ScopesDone, t.ScopesFailed, t.ScopesHeld, t.ScopesSkipped, toCountsJSON(t), t.Drift, t.DriftPending}
}

// runJSON is a run as the API shows it.
type runJSON struct {
	ID             string     `json:"id"`
	Trigger        string     `json:"trigger"`
	Confirms       *string    `json:"confirms"`
	DryRun         bool       `json:"dry_run"`
	GraceSeconds   float64    `json:"grace_seconds"`
	Selection      Selection  `json:"selection"`
	Status         SyncStatus `json:"status"`
	CreatedBy      *string    `json:"created_by"`
	ConfigRevision int64      `json:"config_revision"`
	CreatedAt      *time.Time `json:"created_at"`
	StartedAt      *time.Time `json:"started_at"`
	FinishedAt     *time.Time `json:"finished_at"`
	Error          *string    `json:"error"`
	totalsJSON
	// ByKind is there where one run is shown.
	ByKind []kindJSON `json:"kinds,omitempty"`
}

type kindJSON struct {
	Kind string `json:"kind"`
	totalsJSON
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Error      *string    `json:"error"`
}

func toRunJSON(r *SyncRun) runJSON {
	return runJSON{
		ID: r.ID, Trigger: r.Trigger, Confirms: orNull(r.Confirms), DryRun: r.DryRun, GraceSeconds: r.Grace.Seconds(),
		Selection: r.Selection, Status: r.Status, CreatedBy: orNull(r.CreatedBy),
		ConfigRevision: r.ConfigRevision, CreatedAt: timeOrNull(r.CreatedAt), StartedAt: timeOrNull(r.StartedAt), FinishedAt: timeOrNull(r.FinishedAt),
		Error: orNull(r.Error), totalsJSON: toTotalsJSON(&r.Totals),
	}
}

func (x *Exporter) serveRuns(w http.ResponseWriter, r *http.Request) error {
	if err := checkQuery(r); err != nil {
		return err
	}
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	if page.Offset != "" || page.Prev || page.Descending {
		return httpapi.Invalid("The last %d runs are kept, and listed at once, the last first; leave offset, prev and descending out.", keepRuns)
	}
	list, err := x.SyncRuns(r.Context(), page.Count)
	if err != nil {
		return err
	}
	writeList(w, list, toRunJSON)
	return nil
}

func (x *Exporter) serveRun(w http.ResponseWriter, r *http.Request) error {
	run, err := x.SyncRun(r.Context(), r.PathValue("run"))
	if err != nil {
		return err
	}
	kinds, err := x.SyncKinds(r.Context(), run.ID)
	if err != nil {
		return err
	}
	out := toRunJSON(&run)
	for i := range kinds {
		k := &kinds[i]
		out.ByKind = append(out.ByKind, kindJSON{k.Kind, toTotalsJSON(&k.SyncTotals), timeOrNull(k.StartedAt), timeOrNull(k.FinishedAt), orNull(k.Error)})
	}
	httpapi.JSON(w, http.StatusOK, out)
	return nil
}

func (x *Exporter) serveRunSync(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Accounts     []string `json:"accounts"`
		Regions      []string `json:"regions"`
		Kinds        []string `json:"kinds"`
		DryRun       bool     `json:"dry_run"`
		GraceSeconds *float64 `json:"grace_seconds"`
	}
	if r.ContentLength != 0 { // all fields are optional: no body stands for an empty object
		if err := httpapi.Decode(w, r, &in, 0); err != nil {
			return err
		}
	}
	n := NewSync{Selection: Selection{in.Accounts, in.Regions, in.Kinds}, DryRun: in.DryRun, By: keyID(r)}
	if in.GraceSeconds != nil {
		if *in.GraceSeconds < 0 || *in.GraceSeconds > maxGrace.Seconds() {
			return graceRange()
		}
		grace := time.Duration(*in.GraceSeconds * float64(time.Second))
		n.Grace = &grace
	}
	run, err := x.RunSync(r.Context(), n)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusAccepted, toRunJSON(&run))
	return nil
}

func (x *Exporter) serveConfirm(w http.ResponseWriter, r *http.Request) error {
	run, err := x.ConfirmSync(r.Context(), r.PathValue("run"), keyID(r))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusAccepted, toRunJSON(&run))
	return nil
}

func (x *Exporter) serveCancel(w http.ResponseWriter, r *http.Request) error {
	run, err := x.CancelSync(r.Context(), r.PathValue("run"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusAccepted, toRunJSON(&run))
	return nil
}

// scopeJSON is a scope of a run as the API shows it.
type scopeJSON struct {
	Account *string `json:"account"`
	Region  *string `json:"region"`
	Kind    *string `json:"kind"`
	Source  string  `json:"source"`
	Stage   string  `json:"stage"`
	Status  *string `json:"status"`
	countsJSON
	Error      *string    `json:"error"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

func toScopeJSON(s *SyncScope) scopeJSON {
	return scopeJSON{
		orNull(s.Account), orNull(s.Region), orNull(s.Kind), s.Source, s.Stage, orNull(s.Status), toCountsJSON(&s.Counts), orNull(s.Error),
		timeOrNull(s.StartedAt), timeOrNull(s.FinishedAt),
	}
}

// forwardPage reads what page of a list is asked for that is paged forwards only, and
// the place that its cursor is of.
func forwardPage(r *http.Request, after any, known ...string) (count int, err error) {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return 0, err
	}
	if err := checkQuery(r, known...); err != nil {
		return 0, err
	}
	if page.Prev || page.Descending {
		return 0, httpapi.Invalid("This list is paged forwards and in one order only; leave prev and descending out.")
	}
	if page.Offset == "" {
		return page.Count, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(page.Offset)
	if err == nil {
		err = json.Unmarshal(raw, after)
	}
	if err != nil {
		return 0, httpapi.Invalid("Query parameter offset is none that this server gives out; follow the Link header.")
	}
	return page.Count, nil
}

// writePage answers with at most count items of a list that was read with one more,
// and the link to the page after it.
func writePage[F, T any](w http.ResponseWriter, r *http.Request, list []F, count int, place func(*F) any, convert func(*F) T) error {
	if len(list) > count {
		list = list[:count]
		cursor, err := json.Marshal(place(&list[count-1]))
		if err != nil {
			return err
		}
		httpapi.SetLinks(w, r, base64.RawURLEncoding.EncodeToString(cursor), "")
	}
	writeList(w, list, convert)
	return nil
}

// checkChoice refuses a query parameter that is none of those there are.
func checkChoice(name, value string, known ...string) error {
	if value == "" || slices.Contains(known, value) {
		return nil
	}
	last := len(known) - 1
	return httpapi.Invalid("Query parameter %s must be %s or %s, not %q.", name, strings.Join(known[:last], ", "), known[last], value)
}

func (x *Exporter) serveScopes(w http.ResponseWriter, r *http.Request) error {
	var after ScopeKey
	count, err := forwardPage(r, &after, "account", "region", "kind", "status")
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := ScopeFilter{q.Get("account"), q.Get("region"), q.Get("kind"), q.Get("status")}
	if err := checkChoice("status", f.Status, scopeComplete, scopeFailed, scopeHeld, scopeSkipped); err != nil {
		return err
	}
	list, err := x.SyncScopes(r.Context(), r.PathValue("run"), f, after, count+1)
	if err != nil {
		return err
	}
	return writePage(w, r, list, count, func(s *SyncScope) any { return s.ScopeKey }, toScopeJSON)
}

type syncChangeJSON struct {
	Account    *string    `json:"account"`
	Region     *string    `json:"region"`
	Kind       *string    `json:"kind"`
	Identifier string     `json:"identifier"`
	Change     string     `json:"change"`
	Why        string     `json:"why"`
	At         *time.Time `json:"at"`
}

func (x *Exporter) serveChanges(w http.ResponseWriter, r *http.Request) error {
	var after Key
	count, err := forwardPage(r, &after, "account", "region", "kind", "change")
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := ScopeFilter{q.Get("account"), q.Get("region"), q.Get("kind"), q.Get("change")}
	if err := checkChoice("change", f.Status, "created", "updated", "removed", "held", "failed"); err != nil {
		return err
	}
	list, err := x.SyncChanges(r.Context(), r.PathValue("run"), f, after, count+1)
	if err != nil {
		return err
	}
	return writePage(w, r, list, count, func(c *SyncChange) any { return c.Key }, func(c *SyncChange) syncChangeJSON {
		return syncChangeJSON{orNull(c.Account), orNull(c.Region), orNull(c.Kind), c.Identifier, c.Change, c.Why, timeOrNull(c.At)}
	})
}

// settingsJSON are the settings of full syncs. interval is a length of time such as
// "6h", "0s" for full syncs on demand only.
type settingsJSON struct {
	Interval       string     `json:"interval"`
	RemovalCount   int        `json:"removal_count"`
	RemovalPercent int        `json:"removal_percent"`
	UpdatedAt      *time.Time `json:"updated_at,omitempty"`
}

func toSettingsJSON(s SyncSettings) settingsJSON {
	return settingsJSON{s.Interval.String(), s.RemovalCount, s.RemovalPercent, timeOrNull(s.UpdatedAt)}
}

func (x *Exporter) serveSettings(w http.ResponseWriter, r *http.Request) error {
	s, err := x.SyncSettings(r.Context())
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toSettingsJSON(s))
	return nil
}

// servePutSettings changes those settings that are given.
func (x *Exporter) servePutSettings(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Interval       *string    `json:"interval"`
		RemovalCount   *int       `json:"removal_count"`
		RemovalPercent *int       `json:"removal_percent"`
		UpdatedAt      *time.Time `json:"updated_at"` // as it was read: what was shown may be sent back
	}
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	s, err := x.SyncSettings(r.Context())
	if err != nil {
		return err
	}
	if in.Interval != nil {
		if s.Interval, err = time.ParseDuration(*in.Interval); err != nil {
			return httpapi.Invalid(`Field interval must be a length of time such as "6h" or "30m", not %q.`, *in.Interval)
		}
	}
	if in.RemovalCount != nil {
		s.RemovalCount = *in.RemovalCount
	}
	if in.RemovalPercent != nil {
		s.RemovalPercent = *in.RemovalPercent
	}
	if s, err = x.SetSyncSettings(r.Context(), s); err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toSettingsJSON(s))
	return nil
}
