package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

const pathReplays = "/v1/replays"

// replayPoll is how often a replay that is followed is looked at.
const replayPoll = 200 * time.Millisecond

// replay is what a table shows of a replay.
type replay struct {
	Name        string     `json:"name"`
	Region      string     `json:"region"`
	State       string     `json:"state"`
	StateReason *string    `json:"state_reason"`
	Archive     string     `json:"archive"`
	Bus         string     `json:"bus"`
	StartedAt   *time.Time `json:"started_at"`
	EndedAt     *time.Time `json:"ended_at"`
	Replayed    int64      `json:"replayed"`
	Total       int64      `json:"total"`
}

func (r *replay) over() bool {
	return r.State == "COMPLETED" || r.State == "CANCELLED" || r.State == "FAILED"
}

func newReplay(s *streams, c *client) *cobra.Command {
	cmd := group("replay", "See replays of archives and how far they are", newReplayList(s, c), newReplayShow(s, c))
	cmd.Long = `See replays of archives and how far they are. Archives and replays are made,
changed and cancelled with the AWS CLI: aws events create-archive, start-replay,
cancel-replay.`
	return cmd
}

func newReplayList(s *streams, c *client) *cobra.Command {
	var region, state string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List replays, those that ended in the last 90 days among them",
		Example: `  rialto replay list
  rialto replay list --state running -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if region != "" {
				q.Set("region", region)
			}
			if state != "" {
				q.Set("state", state)
			}
			path := pathReplays
			if len(q) > 0 {
				path += "?" + q.Encode()
			}
			list, err := listAll[shown[replay]](cmd.Context(), c, path)
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				r := v.row
				rows = append(rows, []string{
					r.Name, r.Region, r.State, r.Archive, r.Bus, count(r.Replayed), count(r.Total), when(r.StartedAt), when(r.EndedAt),
				})
			}
			return s.print(list, []string{"NAME", "REGION", "STATE", "ARCHIVE", "BUS", "REPLAYED", "TOTAL", "STARTED", "ENDED"}, rows)
		},
	}
	cmd.Flags().StringVar(&region, "region", "", "only replays of this region")
	cmd.Flags().StringVar(&state, "state", "", "only replays in this state: starting, running, cancelling, completed, cancelled or failed")
	return listing(remote(cmd, c), s)
}

func newReplayShow(s *streams, c *client) *cobra.Command {
	var region string
	var follow bool
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a replay, and with --follow its progress until it ends",
		Long: `Show a replay. With --follow wait until it ends, with a progress bar on a terminal,
and exit with 1 if it failed or was cancelled. Ending the command does not end the
replay.`,
		Example: `  rialto replay show again
  rialto replay show again --follow`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := pathReplays + "/" + pathSegment(args[0])
			if region != "" {
				path += "?region=" + url.QueryEscape(region)
			}
			var r shown[replay]
			if err := c.do(cmd.Context(), http.MethodGet, path, nil, &r); err != nil {
				return err
			}
			if follow {
				if err := followReplay(cmd.Context(), s, c, path, &r); err != nil {
					return err
				}
			}
			var fields map[string]any
			dec := json.NewDecoder(bytes.NewReader(r.raw))
			dec.UseNumber() // counts as they are written
			if err := dec.Decode(&fields); err != nil {
				return fmt.Errorf("read the replay: %w", err)
			}
			if err := s.print(r, []string{"FIELD", "VALUE"}, fieldRows("", fields)); err != nil {
				return err
			}
			return replayFailure(&r.row, follow)
		},
	}
	cmd.Flags().StringVar(&region, "region", "", "the region that the replay is in, where several have one of its name")
	cmd.Flags().BoolVar(&follow, "follow", false, "wait until the replay ends")
	return listing(remote(cmd, c), s)
}

// replayFailure is the error of a replay that was waited for in vain.
func replayFailure(r *replay, followed bool) error {
	if !followed || r.State == "COMPLETED" {
		return nil
	}
	if r.State == "CANCELLED" {
		return fmt.Errorf("replay %s was cancelled after %d of %d events", r.Name, r.Replayed, r.Total)
	}
	return fmt.Errorf("replay %s failed after %d of %d events: %s", r.Name, r.Replayed, r.Total, text(r.StateReason))
}

// followReplay waits for the replay to end, with a progress bar on a terminal.
func followReplay(ctx context.Context, s *streams, c *client, path string, r *shown[replay]) error {
	var bar *progressbar.ProgressBar
	if f, ok := s.err.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(r.row.Name),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"), progressbar.OptionClearOnFinish())
		defer bar.Finish() //nolint:errcheck // it only draws
	}
	tick := time.NewTicker(replayPoll)
	defer tick.Stop()
	for !r.row.over() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("replay %s goes on on the server; 'aws events cancel-replay --replay-name %s' ends it: %w", r.row.Name, r.row.Name, ctx.Err())
		case <-tick.C:
		}
		if err := c.do(ctx, http.MethodGet, path, nil, r); err != nil {
			return err
		}
		if bar != nil && r.row.Total > 0 {
			bar.ChangeMax64(r.row.Total)
			_ = bar.Set64(r.row.Replayed)
		}
	}
	return nil
}
