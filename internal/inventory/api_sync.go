package inventory

import (
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

// runJSON is a sync run as the API shows it.
type runJSON struct {
	ID             string         `json:"id"`
	CloudAccountID string         `json:"cloud_account_id"`
	Trigger        string         `json:"trigger"`
	DryRun         bool           `json:"dry_run"`
	Confirmed      bool           `json:"confirmed"`
	Status         SyncStatus     `json:"status"`
	CreatedAt      *time.Time     `json:"created_at"`
	StartedAt      *time.Time     `json:"started_at"`
	FinishedAt     *time.Time     `json:"finished_at"`
	Added          int            `json:"added"`
	Updated        int            `json:"updated"`
	Removed        int            `json:"removed"`
	Held           int            `json:"held"`
	Drift          int            `json:"drift"`
	Error          *string        `json:"error"`
	Regions        []RegionResult `json:"regions"`
}

func toRunJSON(r *SyncRun) runJSON {
	return runJSON{
		ID: r.ID, CloudAccountID: r.CloudAccountID, Trigger: r.Trigger, DryRun: r.DryRun, Confirmed: r.Confirmed, Status: r.Status,
		CreatedAt: timeOrNull(r.CreatedAt), StartedAt: timeOrNull(r.StartedAt), FinishedAt: timeOrNull(r.FinishedAt),
		Added: r.Added, Updated: r.Updated, Removed: r.Removed, Held: r.Held, Drift: r.Drift, Error: orNull(r.Error),
		Regions: append([]RegionResult{}, r.Regions...),
	}
}

// healthJSON is the health of a cloud account's event path.
type healthJSON struct {
	List       []regionJSON    `json:"list"`
	Rejections []rejectionJSON `json:"rejections"`
	UnreadAt   *time.Time      `json:"unread_at"`
	UnreadWhy  *string         `json:"unread_why"`
}

type regionJSON struct {
	Region         string       `json:"region"`
	Status         RegionStatus `json:"status"`
	InScope        bool         `json:"in_scope"`
	Events         int64        `json:"events"`
	LastEventAt    *time.Time   `json:"last_event_at"`
	LastReceivedAt *time.Time   `json:"last_received_at"`
	LastSyncAt     *time.Time   `json:"last_sync_at"`
	LastSyncError  *string      `json:"last_sync_error"`
	Drift          int          `json:"drift"`
	LastDriftAt    *time.Time   `json:"last_drift_at"`
}

type rejectionJSON struct {
	Reason  string     `json:"reason"`
	Subject string     `json:"subject,omitempty"`
	Count   int64      `json:"count"`
	LastAt  *time.Time `json:"last_at"`
	Message string     `json:"message"`
}

func (v *Inventory) serveHealth(w http.ResponseWriter, r *http.Request) error {
	h, err := v.Health(r.Context(), r.PathValue("project"), r.PathValue("account"))
	if err != nil {
		return err
	}
	out := healthJSON{List: []regionJSON{}, Rejections: []rejectionJSON{}, UnreadAt: timeOrNull(h.UnreadAt), UnreadWhy: orNull(h.UnreadWhy)}
	for _, x := range h.Regions {
		out.List = append(out.List, regionJSON{x.Region, x.Status, x.InScope, x.Events, timeOrNull(x.LastEventAt), timeOrNull(x.LastReceivedAt),
			timeOrNull(x.LastSyncAt), orNull(x.LastSyncError), x.Drift, timeOrNull(x.LastDriftAt)})
	}
	for _, x := range h.Rejections {
		out.Rejections = append(out.Rejections, rejectionJSON{x.Reason, x.Subject, x.Count, timeOrNull(x.LastAt), x.Message})
	}
	httpapi.JSON(w, http.StatusOK, out)
	return nil
}

func (v *Inventory) serveRuns(w http.ResponseWriter, r *http.Request) error {
	list, err := v.SyncRuns(r.Context(), r.PathValue("project"), r.PathValue("account"))
	if err != nil {
		return err
	}
	writeList(w, list, toRunJSON)
	return nil
}

func (v *Inventory) serveRun(w http.ResponseWriter, r *http.Request) error {
	run, err := v.SyncRun(r.Context(), r.PathValue("project"), r.PathValue("account"), r.PathValue("run"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusOK, toRunJSON(&run))
	return nil
}

func (v *Inventory) serveRunSync(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		DryRun bool `json:"dry_run"`
	}
	if err := decodeOptional(w, r, &in); err != nil {
		return err
	}
	run, err := v.RunSync(r.Context(), r.PathValue("project"), r.PathValue("account"), in.DryRun)
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusAccepted, toRunJSON(&run))
	return nil
}

func (v *Inventory) serveConfirm(w http.ResponseWriter, r *http.Request) error {
	run, err := v.ConfirmSync(r.Context(), r.PathValue("project"), r.PathValue("account"), r.PathValue("run"))
	if err != nil {
		return err
	}
	httpapi.JSON(w, http.StatusAccepted, toRunJSON(&run))
	return nil
}
