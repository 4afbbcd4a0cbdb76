package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// syncPoll is how often a run that is waited for is looked at.
const syncPoll = 200 * time.Millisecond

// syncRun is what a table shows of a full sync.
type syncRun struct {
	ID        string     `json:"id"`
	Trigger   string     `json:"trigger"`
	Status    string     `json:"status"`
	CreatedAt *time.Time `json:"created_at"`
	Added     int        `json:"added"`
	Updated   int        `json:"updated"`
	Removed   int        `json:"removed"`
	Held      int        `json:"held"`
	Drift     int        `json:"drift"`
	Error     *string    `json:"error"`
}

func (r *syncRun) over() bool { return r.Status != "waiting" && r.Status != "running" }

func printRuns(s *streams, v any, list ...shown[syncRun]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		r := v.row
		rows = append(rows, []string{
			r.ID, when(r.CreatedAt), r.Trigger, r.Status, strconv.Itoa(r.Added), strconv.Itoa(r.Updated), strconv.Itoa(r.Removed),
			strconv.Itoa(r.Held), strconv.Itoa(r.Drift), or(text(r.Error)),
		})
	}
	return s.print(v, []string{"RUN", "AT", "TRIGGER", "STATUS", "ADDED", "UPDATED", "REMOVED", "HELD", "DRIFT", "ERROR"}, rows)
}

func newSyncRun(s *streams, c *client) *cobra.Command {
	var projectName string
	var dryRun, noWait bool
	cmd := &cobra.Command{
		Use:   "run ACCOUNT",
		Short: "Compare the inventory with the cloud now, and wait for the result",
		Long: `Run a full sync of a cloud account and wait until it ends. Drift is what events
should have told and did not. A run that would remove too many servers is held:
look at it, then 'rialto inventory sync confirm'.

Exits with 1 if the run failed, or is held.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := teamPath("projects", projectName, "cloud_accounts", args[0], "sync_runs")
			var run shown[syncRun]
			if err := c.do(cmd.Context(), http.MethodPost, path, map[string]bool{"dry_run": dryRun}, &run); err != nil {
				return err
			}
			if !noWait {
				if err := awaitRun(cmd.Context(), s, c, path, &run); err != nil {
					return err
				}
			}
			if err := printRuns(s, run, run); err != nil {
				return err
			}
			return runFailure(&run.row)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return once the run is under way")
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func runFailure(run *syncRun) error {
	switch run.Status {
	case "failed":
		return fmt.Errorf("sync run %s failed: %s", run.ID, text(run.Error))
	case "held":
		return fmt.Errorf("sync run %s is held: it would remove %d servers; 'rialto inventory sync confirm' lets it", run.ID, run.Held)
	}
	return nil
}

// awaitRun waits for the run to end, with a spinner on a terminal.
func awaitRun(ctx context.Context, s *streams, c *client, path string, run *shown[syncRun]) error {
	var bar *progressbar.ProgressBar
	if f, ok := s.err.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("reading the account"), progressbar.OptionClearOnFinish())
		defer bar.Finish() //nolint:errcheck // it only draws
	}
	tick := time.NewTicker(syncPoll)
	defer tick.Stop()
	for !run.row.over() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if bar != nil {
			_ = bar.Add(1)
		}
		if err := c.do(ctx, http.MethodGet, path+"/"+run.row.ID, nil, run); err != nil {
			return err
		}
	}
	return nil
}

func newSyncRuns(s *streams, c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "runs ACCOUNT",
		Short: "List the latest full syncs",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := listAll[shown[syncRun]](cmd.Context(), c, teamPath("projects", projectName, "cloud_accounts", args[0], "sync_runs"))
			if err != nil {
				return err
			}
			return printRuns(s, list, list...)
		},
	}
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newSyncConfirm(s *streams, c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "confirm ACCOUNT RUN",
		Short: "Let a held run remove what it would, and wait for the result",
		Long: `Let a held run remove what it would, and wait until it ends. Exits with 1 if the
run failed.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var run shown[syncRun]
			path := teamPath("projects", projectName, "cloud_accounts", args[0], "sync_runs")
			if err := c.do(cmd.Context(), http.MethodPost, path+"/"+args[1]+"/confirm", nil, &run); err != nil {
				return err
			}
			if err := awaitRun(cmd.Context(), s, c, path, &run); err != nil {
				return err
			}
			if err := printRuns(s, run, run); err != nil {
				return err
			}
			return runFailure(&run.row)
		},
	}
	return listing(remote(inProject(cmd, &projectName), c), s)
}
