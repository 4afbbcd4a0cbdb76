package exporter

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

// driftJSON is what an event missed, as the API shows it.
type driftJSON struct {
	Run        string     `json:"run"`
	Account    string     `json:"account"`
	Region     string     `json:"region"`
	Kind       string     `json:"kind"`
	Identifier string     `json:"identifier"`
	Missed     Missed     `json:"missed"`
	Since      *time.Time `json:"since"`
	FoundAt    *time.Time `json:"found_at"`
	Pending    bool       `json:"pending"`
}

func toDriftJSON(d *Drift) driftJSON {
	return driftJSON{d.RunID, d.Account, d.Region, d.Kind, d.Identifier, d.Missed, timeOrNull(d.Since), timeOrNull(d.FoundAt), d.Pending}
}

func (x *Exporter) serveDrift(w http.ResponseWriter, r *http.Request) error {
	var after DriftAfter
	count, err := forwardPage(r, &after, "run", "account", "region", "kind", "missed", "pending")
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := DriftFilter{RunID: q.Get("run"), Account: q.Get("account"), Region: q.Get("region"), Kind: q.Get("kind"), Missed: Missed(q.Get("missed"))}
	if f.Missed != "" && !slices.Contains([]Missed{MissedCreate, MissedUpdate, MissedDelete}, f.Missed) {
		return httpapi.Invalid("Query parameter missed must be create, update or delete, not %q.", f.Missed)
	}
	if s := q.Get("pending"); s != "" {
		if f.Pending, err = strconv.ParseBool(s); err != nil {
			return httpapi.Invalid("Query parameter pending must be true or false, not %q.", s)
		}
	}
	list, err := x.Drift(r.Context(), f, after, count+1)
	if err != nil {
		return err
	}
	return writePage(w, r, list, count, func(d *Drift) any { return DriftAfter{d.FoundAt, d.RunID, d.Key} }, toDriftJSON)
}

// freshnessJSON is the freshness of a scope as the API shows it. Lags are in seconds.
type freshnessJSON struct {
	Account        string          `json:"account"`
	Region         string          `json:"region"`
	Kind           string          `json:"kind"`
	Status         FreshnessStatus `json:"status"`
	Configured     bool            `json:"configured"`
	Events         int64           `json:"events"`
	Ignored        int64           `json:"ignored"`
	LastEventAt    *time.Time      `json:"last_event_at"`
	LastReceivedAt *time.Time      `json:"last_received_at"`
	LastStoredAt   *time.Time      `json:"last_stored_at"`
	LagEvents      int64           `json:"lag_events"`
	LagP50         *float64        `json:"lag_p50_seconds"`
	LagP99         *float64        `json:"lag_p99_seconds"`
	LastFailureAt  *time.Time      `json:"last_failure_at"`
	LastFailure    *string         `json:"last_failure"`
	LastSyncAt     *time.Time      `json:"last_sync_at"`
	LastSyncRun    *string         `json:"last_sync_run"`
	LastSyncError  *string         `json:"last_sync_error"`
	Drift          int64           `json:"drift"`
	DriftSince     *time.Time      `json:"drift_since"`
	LastDriftAt    *time.Time      `json:"last_drift_at"`
}

func toFreshnessJSON(f *Freshness) freshnessJSON {
	j := freshnessJSON{
		Account: f.Account, Region: f.Region, Kind: f.Kind, Status: f.Status, Configured: f.Configured, Events: f.Events, Ignored: f.Ignored,
		LastEventAt: timeOrNull(f.LastEventAt), LastReceivedAt: timeOrNull(f.LastReceivedAt), LastStoredAt: timeOrNull(f.LastStoredAt), LagEvents: f.Lag.Count,
		LastFailureAt: timeOrNull(f.LastFailureAt), LastFailure: orNull(f.LastFailure), LastSyncAt: timeOrNull(f.LastSyncAt),
		LastSyncRun: orNull(f.LastSyncRun), LastSyncError: orNull(f.LastSyncError), Drift: f.Drift,
		DriftSince: timeOrNull(f.DriftSince), LastDriftAt: timeOrNull(f.LastDriftAt),
	}
	if f.Lag.Count > 0 {
		p50, p99 := f.Lag.P50.Seconds(), f.Lag.P99.Seconds()
		j.LagP50, j.LagP99 = &p50, &p99
	}
	return j
}

var freshnessStatuses = []FreshnessStatus{FreshOK, FreshNoEvents, FreshBroken, FreshFailing, FreshNeverSynced, FreshNotConfigured}

func (x *Exporter) serveFreshness(w http.ResponseWriter, r *http.Request) error {
	var after ScopeKey
	count, err := forwardPage(r, &after, "account", "region", "kind", "status")
	if err != nil {
		return err
	}
	q := r.URL.Query()
	f := FreshnessFilter{Account: q.Get("account"), Region: q.Get("region"), Kind: q.Get("kind"), Status: FreshnessStatus(q.Get("status"))}
	if f.Status != "" && !slices.Contains(freshnessStatuses, f.Status) {
		return httpapi.Invalid("Query parameter status must be ok, no_events, broken, failing, never_synced or not_configured, not %q.", f.Status)
	}
	list, err := x.Freshness(r.Context(), f, after, count+1)
	if err != nil {
		return err
	}
	return writePage(w, r, list, count, func(f *Freshness) any { return f.ScopeKey }, toFreshnessJSON)
}
