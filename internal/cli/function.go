package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

func newFunction(s *streams, c *client) *cobra.Command {
	a := &awsAPI{c: c}
	cmd := group("function", "Functions: what they are and what they log", newFunctionList(s, a), newFunctionLogs(s, a))
	cmd.Long = `Functions run on the server's machine. 'aws lambda' makes, changes, invokes and
deletes them; these commands show them and follow their logs.`
	return cmd
}

// functions is the server's Lambda, logGroups its CloudWatch Logs.
func (a *awsAPI) functions() *lambda.Client         { return lambda.NewFromConfig(a.config()) }
func (a *awsAPI) logGroups() *cloudwatchlogs.Client { return cloudwatchlogs.NewFromConfig(a.config()) }

// shownFunction is a function as the commands print it.
type shownFunction struct {
	Name           string `json:"name"`
	ARN            string `json:"arn"`
	Runtime        string `json:"runtime"`
	Handler        string `json:"handler"`
	MemoryMB       int32  `json:"memory_mb"`
	TimeoutSeconds int32  `json:"timeout_seconds"`
	CodeBytes      int64  `json:"code_bytes"`
	State          string `json:"state"`
	ModifiedAt     string `json:"modified_at"`
}

func newFunctionList(s *streams, a *awsAPI) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List functions",
		Example: `  rialto function list -o json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, rows := []shownFunction{}, [][]string{}
			for pages := lambda.NewListFunctionsPaginator(a.functions(), &lambda.ListFunctionsInput{}); pages.HasMorePages(); {
				page, err := pages.NextPage(cmd.Context())
				if err != nil {
					return a.fails(cmd.Context(), err)
				}
				for _, f := range page.Functions {
					v := newShownFunction(f)
					list = append(list, v)
					rows = append(rows, []string{v.Name, v.Runtime, or(v.Handler), fmt.Sprintf("%d s", v.TimeoutSeconds), v.State, v.ModifiedAt})
				}
			}
			return s.print(list, []string{"NAME", "RUNTIME", "HANDLER", "TIMEOUT", "STATE", "MODIFIED"}, rows)
		},
	}
	return listing(a.regional(cmd), s)
}

func newShownFunction(f types.FunctionConfiguration) shownFunction {
	v := shownFunction{
		Name: text(f.FunctionName), ARN: text(f.FunctionArn), Runtime: string(f.Runtime), Handler: text(f.Handler),
		CodeBytes: f.CodeSize, State: string(f.State), ModifiedAt: text(f.LastModified),
	}
	if f.MemorySize != nil {
		v.MemoryMB = *f.MemorySize
	}
	if f.Timeout != nil {
		v.TimeoutSeconds = *f.Timeout
	}
	return v
}

// shownLine is a line of a function's log as the commands print it.
type shownLine struct {
	At      time.Time `json:"at"`
	Stream  string    `json:"stream"`
	Message string    `json:"message"`
}

func newFunctionLogs(s *streams, a *awsAPI) *cobra.Command {
	w := logWatch{s: s, a: a}
	var follow bool
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Show what a function logs, and with --follow what it will",
		Long: `Show what a function has logged, oldest first, with Lambda's own lines about
each invocation. With --follow go on until interrupted; a function that has not
run yet is waited for. --filter takes CloudWatch's filter patterns.`,
		Example: `  rialto function logs orders --follow
  rialto function logs orders --since 1h --filter '?ERROR ?"Task timed out"'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if follow && s.format == "yaml" {
				return usagef("--follow prints lines: -o table or json")
			}
			if since <= 0 {
				return usagef("--since must be more than 0, such as 10m")
			}
			ctx := cmd.Context()
			if err := w.open(ctx, args[0], time.Now().Add(-since)); err != nil {
				return err
			}
			if follow {
				return w.follow(ctx)
			}
			return w.show(ctx)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is logged from now on")
	cmd.Flags().DurationVar(&since, "since", 10*time.Minute, "how far back to begin")
	cmd.Flags().StringVar(&w.pattern, "filter", "", "filter pattern that the lines must match")
	return listing(a.regional(cmd), s)
}

const (
	// logPoll is how often a log that is followed is read.
	logPoll = 300 * time.Millisecond
	// logLate is how long after its time a line may come in. Lines of the processes of one
	// function are written by each for itself.
	logLate = 15 * time.Second
)

// logWatch reads the log of one function.
type logWatch struct {
	s       *streams
	a       *awsAPI
	pattern string

	name, group string
	function    bool                 // there is a function, whatever of its log
	from        time.Time            // nothing older is wanted
	seen        map[string]time.Time // ids of events that were told, since logLate before the newest
}

// open finds a function's log group. A function that is gone may have left its log.
func (w *logWatch) open(ctx context.Context, name string, from time.Time) error {
	w.name, w.from, w.seen = name, from, map[string]time.Time{}
	w.group = "/aws/lambda/" + name[strings.LastIndexByte(name, ':')+1:]
	config, err := w.a.functions().GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
	if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
		if _, err := w.news(ctx); err != nil {
			return err
		}
		clear(w.seen)
		return nil
	}
	if err != nil {
		return w.a.fails(ctx, err)
	}
	w.function = true
	if config.LoggingConfig != nil && config.LoggingConfig.LogGroup != nil {
		w.group = *config.LoggingConfig.LogGroup
	}
	return nil
}

// news returns the lines that were not told yet, oldest first.
func (w *logWatch) news(ctx context.Context) ([]shownLine, error) {
	in := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &w.group, StartTime: new(w.from.UnixMilli())}
	if w.pattern != "" {
		in.FilterPattern = &w.pattern
	}
	var lines []shownLine
	for pages := cloudwatchlogs.NewFilterLogEventsPaginator(w.a.logGroups(), in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if _, missing := errors.AsType[*logtypes.ResourceNotFoundException](err); missing {
			return nil, w.silent()
		}
		if err != nil {
			return nil, w.a.fails(ctx, err)
		}
		for _, e := range page.Events {
			at := time.UnixMilli(*e.Timestamp)
			if _, told := w.seen[text(e.EventId)]; !told {
				w.seen[text(e.EventId)] = at
				lines = append(lines, shownLine{At: at.UTC(), Stream: text(e.LogStreamName), Message: strings.TrimRight(text(e.Message), "\r\n")})
			}
		}
	}
	w.forget(lines)
	return lines, nil
}

// silent is what it means that there is no log group: a function that has not run
// yet has none.
func (w *logWatch) silent() error {
	if w.function {
		return nil
	}
	return &refusedError{status: 404, code: "ResourceNotFoundException", message: fmt.Sprintf("there is neither a function %s nor a log group %s", w.name, w.group)}
}

// forget moves on to where late lines may still come in.
func (w *logWatch) forget(lines []shownLine) {
	for _, l := range lines {
		if late := l.At.Add(-logLate); late.After(w.from) {
			w.from = late
		}
	}
	for id, at := range w.seen {
		if at.Before(w.from) {
			delete(w.seen, id)
		}
	}
}

// show prints what was logged.
func (w *logWatch) show(ctx context.Context) error {
	lines, err := w.news(ctx)
	if err != nil {
		return err
	}
	if w.s.format != "table" {
		return w.s.print(append([]shownLine{}, lines...), nil, nil)
	}
	if len(lines) == 0 {
		fmt.Fprintf(w.s.err, "Function %s has logged nothing in that time; --since goes further back.\n", plain(w.name))
	}
	return w.tell(lines)
}

// follow prints lines as they come, until ctx ends.
func (w *logWatch) follow(ctx context.Context) error {
	tick := time.NewTicker(logPoll)
	defer tick.Stop()
	for {
		lines, err := w.news(ctx)
		if err == nil {
			err = w.tell(lines)
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-tick.C:
		}
	}
}

func (w *logWatch) tell(lines []shownLine) error {
	for _, l := range lines {
		if w.s.format == "json" {
			if err := w.s.printJSON(l); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintln(w.s.out, l.At.Local().Format("15:04:05.000")+"  "+plainLines(l.Message)); err != nil {
			return err
		}
	}
	return nil
}
