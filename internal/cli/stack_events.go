package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// stackPoll is how often a stack that is followed is looked at.
const stackPoll = 200 * time.Millisecond

// shownEvent is a stack's event as the commands print it.
type shownEvent struct {
	At         *time.Time `json:"at"`
	Status     string     `json:"status"`
	LogicalID  string     `json:"logical_id"`
	PhysicalID string     `json:"physical_id,omitempty"`
	Type       string     `json:"type"`
	Reason     string     `json:"reason,omitempty"`
	ID         string     `json:"id"`
}

func newShownEvent(e types.StackEvent) shownEvent {
	return shownEvent{
		e.Timestamp, string(e.ResourceStatus), text(e.LogicalResourceId), text(e.PhysicalResourceId), text(e.ResourceType), text(e.ResourceStatusReason), text(e.EventId),
	}
}

func newStackEvents(s *streams, a *awsAPI) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "events NAME",
		Short: "Show what happened to a stack, oldest first, and with --follow what happens",
		Long: `Show a stack's events, oldest first. With --follow go on until the operation on
the stack, if there is one, has ended; each event is a line then, in JSON with
-o json. A deleted stack is named by its id, which 'rialto stack list --deleted -o
json' has.`,
		Example: `  rialto stack events shop
  rialto stack events shop --follow`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow && s.format == "yaml" {
				return usagef("--follow prints lines: -o table or json")
			}
			ctx := cmd.Context()
			st, err := a.describe(ctx, args[0])
			if err != nil {
				return err
			}
			w := newStackWatch(s, a, *st.StackId, 0)
			w.out, w.bar = s.out, nil
			if follow {
				_, err := w.follow(ctx)
				return err
			}
			events, err := w.news(ctx)
			if err != nil {
				return err
			}
			list := make([]shownEvent, 0, len(events))
			rows := make([][]string, 0, len(events))
			for _, e := range events {
				v := newShownEvent(e)
				list = append(list, v)
				rows = append(rows, []string{when(v.At), v.Status, v.LogicalID, v.Type, or(v.Reason)})
			}
			return s.print(list, []string{"TIME", "STATUS", "LOGICAL ID", "TYPE", "REASON"}, rows)
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on until the operation has ended")
	return listing(a.regional(cmd), s)
}

// stackWatch follows the events of one stack.
type stackWatch struct {
	s     *streams
	a     *awsAPI
	id    string
	last  string // the id of the newest event seen
	first string // why the first resource failed
	out   interface{ Write([]byte) (int, error) }
	bar   *progressbar.ProgressBar
}

// newStackWatch makes a watch that tells on standard error; total is how many resources change, 0 if
// that is not known.
func newStackWatch(s *streams, a *awsAPI, id string, total int) *stackWatch {
	w := &stackWatch{s: s, a: a, id: id, out: s.err}
	if f, ok := s.err.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		if total == 0 {
			total = -1
		}
		w.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(f), progressbar.OptionShowCount(), progressbar.OptionSetItsString("resources"),
			progressbar.OptionSetDescription("resources"), progressbar.OptionClearOnFinish())
	}
	return w
}

// skip passes over the events that there are.
func (w *stackWatch) skip(ctx context.Context) error {
	_, err := w.news(ctx)
	return err
}

// news returns the events since the last call, oldest first.
func (w *stackWatch) news(ctx context.Context) ([]types.StackEvent, error) {
	var events []types.StackEvent
	for pages := cloudformation.NewDescribeStackEventsPaginator(w.a.stacks(), &cloudformation.DescribeStackEventsInput{StackName: &w.id}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, w.a.fails(ctx, err)
		}
		i := slices.IndexFunc(page.StackEvents, func(e types.StackEvent) bool { return text(e.EventId) == w.last })
		if i >= 0 {
			events = append(events, page.StackEvents[:i]...)
			break
		}
		events = append(events, page.StackEvents...)
	}
	if len(events) > 0 {
		w.last = text(events[0].EventId)
	}
	slices.Reverse(events)
	return events, nil
}

// follow tells of events until no operation is carried out, and returns the stack as it is then.
func (w *stackWatch) follow(ctx context.Context) (types.Stack, error) {
	if w.bar != nil {
		defer w.bar.Finish() //nolint:errcheck // it only draws
	}
	tick := time.NewTicker(stackPoll)
	defer tick.Stop()
	for {
		// The status first: what happens after it is looked at is told the next time.
		st, err := w.a.describe(ctx, w.id)
		if err != nil {
			return st, w.goesOn(ctx, err)
		}
		events, err := w.news(ctx)
		if err != nil {
			return st, w.goesOn(ctx, err)
		}
		for _, e := range events {
			if err := w.tell(e); err != nil {
				return st, err
			}
		}
		if status := string(st.StackStatus); !strings.HasSuffix(status, "_IN_PROGRESS") || st.StackStatus == types.StackStatusReviewInProgress {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, w.goesOn(ctx, ctx.Err())
		case <-tick.C:
		}
	}
}

// goesOn says that interrupting the command does not end the operation.
func (w *stackWatch) goesOn(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	name := strings.Split(w.id, "/")[1]
	return fmt.Errorf("the operation on stack %s goes on on the server; 'rialto stack events %s --follow' shows it: %w", plain(name), plain(name), ctx.Err())
}

// tell prints an event: on a terminal the bar moves, and only failures are printed.
func (w *stackWatch) tell(e types.StackEvent) error {
	v := newShownEvent(e)
	failed := strings.HasSuffix(v.Status, "_FAILED")
	if failed && w.first == "" && v.PhysicalID != w.id {
		w.first = v.LogicalID + ": " + v.Reason
	}
	if w.bar != nil {
		if strings.HasSuffix(v.Status, "_COMPLETE") && v.PhysicalID != w.id {
			_ = w.bar.Add(1)
		}
		w.bar.Describe(plain(v.LogicalID + " " + v.Status))
		if !failed {
			return nil
		}
		_ = w.bar.Clear()
	}
	if w.s.format == "json" && w.out == w.s.out {
		return w.s.printJSON(v)
	}
	line := fmt.Sprintf("%s  %-18s  %s", v.At.Local().Format(time.TimeOnly), v.Status, v.LogicalID)
	if v.PhysicalID != w.id {
		line += "  " + v.Type
	}
	if v.Reason != "" {
		line += "  " + v.Reason
	}
	_, err := fmt.Fprintln(w.out, plain(line))
	return err
}

// failure says what became of an operation that did not succeed, and why.
func (w *stackWatch) failure(st types.Stack) error {
	why := w.first
	if why == "" {
		why = text(st.StackStatusReason)
	}
	if why == "" {
		why = "'rialto stack events' says why"
	}
	return fmt.Errorf("stack %s is %s: %s", plain(text(st.StackName)), st.StackStatus, strings.TrimSpace(plain(why)))
}
