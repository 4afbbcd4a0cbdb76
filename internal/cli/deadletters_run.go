package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// runPoll is how often a run that is waited for is looked at.
const runPoll = 200 * time.Millisecond

// letterRun is what a table shows of a run over dead letters.
type letterRun struct {
	ID        string     `json:"id"`
	Action    string     `json:"action"`
	Rate      float64    `json:"rate"`
	Status    string     `json:"status"`
	Total     int64      `json:"total"`
	Done      int64      `json:"done"`
	Refused   int64      `json:"refused"`
	CreatedAt *time.Time `json:"created_at"`
	Refusals  []struct {
		RuleARN  string `json:"rule_arn"`
		TargetID string `json:"target_id"`
		Letters  int64  `json:"letters"`
	} `json:"refusals"`
}

func printLetterRuns(s *streams, v any, list ...shown[letterRun]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		r := v.row
		rows = append(rows, []string{
			r.ID, when(r.CreatedAt), r.Action, r.Status, count(r.Total), count(r.Done), count(r.Refused), strconv.FormatFloat(r.Rate, 'g', -1, 64) + "/s",
		})
	}
	return s.print(v, []string{"RUN", "AT", "ACTION", "STATUS", "TOTAL", "DONE", "REFUSED", "RATE"}, rows)
}

func newDeadLetterRedrive(s *streams, c *client) *cobra.Command {
	var filter letterFilter
	var rate float64
	var noWait bool
	cmd := &cobra.Command{
		Use:   "redrive [ID…]",
		Short: "Put the events of dead letters on their way to the same targets again",
		Long: `Put events on their way again, each to the target of the rule that it failed at,
as that is now, and to no other. Attempts and age begin anew; an event that is
given up again becomes a dead letter again. Named by id, by a filter, or --all.

Several are redriven by a run on the server, which goes on when this command ends
and after a restart. Exits with 1 if one is no dead letter any more, or stays
since its rule or target was deleted.`,
		Example: `  rialto dead-letters redrive 4711
  rialto dead-letters redrive --rule orders --code TIMEOUT --rate 20`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && !cmd.Flags().Changed("rate") && !filter.all && !filter.given() {
				return redriveOne(cmd.Context(), s, c, args[0])
			}
			in, err := filter.request(args)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("rate") {
				in["rate"] = rate
			}
			var run shown[letterRun]
			if err := c.do(cmd.Context(), http.MethodPost, pathDeadLetters+"/redrive", in, &run); err != nil {
				return err
			}
			return followRun(cmd.Context(), s, c, &run, noWait, len(args))
		},
		Args: cobra.ArbitraryArgs,
	}
	filter.flags(cmd)
	cmd.Flags().BoolVar(&filter.all, "all", false, "all dead letters of the account")
	cmd.Flags().Float64Var(&rate, "rate", 0, "so many a second at most (default 500)")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return once the run is under way")
	return listing(remote(cmd, c), s)
}

// redriveOne fails as a run does: an event that cannot be redriven is no refusal of the call.
func redriveOne(ctx context.Context, s *streams, c *client, id string) error {
	err := c.do(ctx, http.MethodPost, pathDeadLetters+"/"+pathSegment(id)+"/redrive", nil, nil)
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusNotFound {
		return fmt.Errorf("dead letter %s was not redriven: %s", id, refused.message)
	}
	if err != nil || s.format != "table" {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Dead letter %s is redriven: its event is on its way again\n", id)
	return err
}

// chosen refuses a command line that does not say which letters are meant, or does so
// in two ways.
func (f *letterFilter) chosen(ids []string) error {
	filtered := f.given()
	switch {
	case len(ids) > 0 && (filtered || f.all):
		return usagef("dead letters are named by their ids or by a filter, not by both")
	case filtered && f.all:
		return usagef("--all and a filter contradict each other")
	case len(ids) == 0 && !filtered && !f.all:
		return usagef("say which dead letters: their ids, a filter such as --rule, or --all")
	}
	return nil
}

// request is the body that asks for a run.
func (f *letterFilter) request(ids []string) (map[string]any, error) {
	if err := f.chosen(ids); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		fields, err := f.fields(time.Now())
		return map[string]any{"filter": fields}, err
	}
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		var err error
		if numbers[i], err = strconv.ParseInt(id, 10, 64); err != nil {
			return nil, usagef("%q is not the id of a dead letter, which is a number", id)
		}
		if slices.Contains(numbers[:i], numbers[i]) {
			return nil, usagef("dead letter %s is named twice", id)
		}
	}
	return map[string]any{"ids": numbers}, nil
}

func newDeadLetterDiscard(s *streams, c *client) *cobra.Command {
	var filter letterFilter
	var expected int64
	cmd := &cobra.Command{
		Use:   "discard [ID…]",
		Short: "Delete dead letters for good",
		Long: `Delete dead letters for good: named by id, by a filter, or --all. A filter and
--all need --count with the number of dead letters that they mean: without it the
command says how many there are and deletes none.`,
		Example: `  rialto dead-letters discard 4711
  rialto dead-letters discard --rule orders --until 7d --count 1204`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := filter.chosen(args); err != nil {
				return err
			}
			for _, id := range args {
				if err := c.do(cmd.Context(), http.MethodDelete, pathDeadLetters+"/"+pathSegment(id), nil, nil); err != nil {
					return fmt.Errorf("discard %s: %w", id, err)
				}
			}
			if len(args) > 0 {
				return nil
			}
			fields, err := filter.fields(time.Now())
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("count") {
				return tellCount(cmd.Context(), s, c, fields)
			}
			fields["count"] = strconv.FormatInt(expected, 10)
			var run shown[letterRun]
			if err := c.do(cmd.Context(), http.MethodDelete, query(pathDeadLetters, fields), nil, &run); err != nil {
				return err
			}
			return followRun(cmd.Context(), s, c, &run, false, 0)
		},
	}
	filter.flags(cmd)
	cmd.Flags().BoolVar(&filter.all, "all", false, "all dead letters of the account")
	cmd.Flags().Int64Var(&expected, "count", 0, "how many dead letters the filter means; refused if it is another number")
	return listing(remote(cmd, c), s)
}

// tellCount says how many dead letters would be discarded.
func tellCount(ctx context.Context, s *streams, c *client, fields map[string]string) error {
	var answer struct {
		Count int64 `json:"count"`
	}
	if err := c.do(ctx, http.MethodGet, query(pathDeadLetters+"/count", fields), nil, &answer); err != nil {
		return err
	}
	if answer.Count == 0 {
		_, err := fmt.Fprintln(s.err, "Nothing matches: there is no dead letter to delete")
		return err
	}
	return usagef("dead letters that would be deleted for good: %d; add --count %d to delete them", answer.Count, answer.Count)
}

// followRun waits for the run to end unless told not to, prints it, and reports what
// stays. Named is how many letters were named by their ids, 0 for a filter.
func followRun(ctx context.Context, s *streams, c *client, run *shown[letterRun], noWait bool, named int) error {
	if !noWait {
		if err := awaitLetterRun(ctx, s, c, run); err != nil {
			return err
		}
	}
	if err := printLetterRuns(s, run, *run); err != nil {
		return err
	}
	return letterRunFailure(&run.row, named)
}

func letterRunFailure(r *letterRun, named int) error {
	if r.Status == "cancelled" {
		return fmt.Errorf("run %s was cancelled", r.ID)
	}
	var stay []string
	for _, x := range r.Refusals {
		stay = append(stay, fmt.Sprintf("%d of rule %s, target %s", x.Letters, x.RuleARN, x.TargetID))
	}
	if r.Refused > 0 {
		return fmt.Errorf("%d dead letters stay since their rule or target was deleted: %s", r.Refused, strings.Join(stay, "; "))
	}
	if missing := int64(named) - r.Total; missing > 0 {
		return fmt.Errorf("%d of the ids are no dead letters, or no more", missing)
	}
	return nil
}

// awaitLetterRun waits for the run to end, with a progress bar on a terminal.
func awaitLetterRun(ctx context.Context, s *streams, c *client, run *shown[letterRun]) error {
	var bar *progressbar.ProgressBar
	if f, ok := s.err.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		bar = progressbar.NewOptions64(run.row.Total, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(run.row.Action),
			progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
		defer bar.Finish() //nolint:errcheck // it only draws
	}
	id := run.row.ID
	tick := time.NewTicker(runPoll)
	defer tick.Stop()
	for run.row.Status == "running" {
		select {
		case <-ctx.Done():
			return fmt.Errorf("run %s goes on on the server; 'rialto dead-letters cancel %s' ends it: %w", id, id, ctx.Err())
		case <-tick.C:
		}
		err := c.do(ctx, http.MethodGet, pathDeadLetters+"/runs/"+id, nil, run)
		if err != nil && ctx.Err() == nil {
			return errors.Join(err, fmt.Errorf("whether run %s has ended is not known; 'rialto dead-letters runs' tells", id))
		}
		if bar != nil {
			_ = bar.Set64(run.row.Done + run.row.Refused)
		}
	}
	return nil
}

func newDeadLetterRuns(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "runs",
		Short: "List the latest runs that redrove or discarded dead letters",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[letterRun]](cmd.Context(), c, pathDeadLetters+"/runs")
			if err != nil {
				return err
			}
			return printLetterRuns(s, list, list...)
		},
	}, c), s)
}

func newDeadLetterCancel(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "cancel RUN",
		Short: "End a run over dead letters; what it has done stays done",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var run shown[letterRun]
			if err := c.do(cmd.Context(), http.MethodPost, pathDeadLetters+"/runs/"+pathSegment(args[0])+"/cancel", nil, &run); err != nil {
				return err
			}
			return printLetterRuns(s, run, run)
		},
	}, c), s)
}
