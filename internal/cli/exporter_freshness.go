package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// scopeFreshness is what a table shows of an account, region and kind.
type scopeFreshness struct {
	Account       string     `json:"account"`
	Region        string     `json:"region"`
	Kind          string     `json:"kind"`
	Status        string     `json:"status"`
	Ignored       int64      `json:"ignored"`
	Events        int64      `json:"events"`
	LastEventAt   *time.Time `json:"last_event_at"`
	LastStoredAt  *time.Time `json:"last_stored_at"`
	LagP50        *float64   `json:"lag_p50_seconds"`
	LagP99        *float64   `json:"lag_p99_seconds"`
	LastFailureAt *time.Time `json:"last_failure_at"`
	LastFailure   *string    `json:"last_failure"`
	LastSyncAt    *time.Time `json:"last_sync_at"`
	LastSyncError *string    `json:"last_sync_error"`
	Drift         int64      `json:"drift"`
	DriftSince    *time.Time `json:"drift_since"`
}

// why is all that is to be said of the status. A failure is over once a later change was stored, or a
// later full sync went through.
func (r *scopeFreshness) why() string {
	var parts []string
	if why := strings.TrimSpace(text(r.LastSyncError)); why != "" {
		parts = append(parts, why)
	}
	if at := r.LastFailureAt; at != nil && since(at, r.LastStoredAt) && since(at, r.LastSyncAt) {
		parts = append(parts, text(r.LastFailure))
	}
	if r.Status == "broken" {
		parts = append(parts, fmt.Sprintf("%s missed since %s", counted(r.Drift, "change"), when(r.DriftSince)))
	}
	if r.Ignored > 0 {
		parts = append(parts, fmt.Sprintf("records ignored: %d", r.Ignored))
	}
	return strings.Join(parts, "; ")
}

// since reports whether a time is after another, if there is another.
func since(t, other *time.Time) bool { return other == nil || t.After(*other) }

func newExporterFreshness(s *streams, c *client) *cobra.Command {
	seconds := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return time.Duration(*v * float64(time.Second)).Round(time.Millisecond).String()
	}
	f := filters{}
	cmd := &cobra.Command{
		Use:   "freshness",
		Short: "Show how fresh each account, region and kind is",
		Long: `Show how fresh each account, region and kind is:
  ok              events come, and the last full sync found nothing that they missed
  no_events       no event has ever come, and none was missed
  broken          the last full sync found changes of which no event told
  failing         the last full sync could not read it, or a record since could not be
                  followed: see 'rialto exporter records list'
  never_synced    no full sync has been through it
  not_configured  the configuration does not ask for it, or no longer

Event records of a kind that is not configured are given up; those of a region or
account are ignored, deletes aside. The next full sync of everything removes what there
is of it in the catalog, and then this row, until another record of it comes.
WHY has what went wrong last, and how many records were ignored.
The lag is that of the last 24 hours' events, from an event's time to its stored change.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[scopeFreshness]](cmd.Context(), c, exporterPath("freshness")+f.query())
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				r := v.row
				rows = append(rows, []string{
					r.Account, r.Region, r.Kind, r.Status, count(r.Events), when(r.LastEventAt), seconds(r.LagP50), seconds(r.LagP99), when(r.LastSyncAt), count(r.Drift), or(r.why()),
				})
			}
			return s.print(list, []string{"ACCOUNT", "REGION", "KIND", "STATUS", "EVENTS", "LAST EVENT", "LAG P50", "LAG P99", "LAST SYNC", "DRIFT", "WHY"}, rows)
		},
	}
	f.with(cmd, append(scopeFlags, [2]string{"status", "only those of this status"})...)
	return listing(remote(cmd, c), s)
}
