package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const pathDeadLetters = "/v1/dead-letters"

func newDeadLetters(s *streams, c *client) *cobra.Command {
	cmd := group("dead-letters", "Events that were given up: look, redrive, discard",
		newDeadLetterList(s, c), newDeadLetterShow(s, c), newDeadLetterRedrive(s, c), newDeadLetterDiscard(s, c),
		newDeadLetterRuns(s, c), newDeadLetterCancel(s, c))
	cmd.Long = `Events that were given up and that no dead-letter queue took: their target has
none, or it could not be written. They are kept for two weeks or until they take
too much room, see --dead-letter-age and --dead-letter-bytes of 'rialto serve'.`
	return cmd
}

// deadLetter is what a table shows of a dead letter.
type deadLetter struct {
	ID         int64      `json:"id"`
	DeadAt     *time.Time `json:"dead_at"`
	Rule       string     `json:"rule"`
	TargetID   string     `json:"target_id"`
	EventID    string     `json:"event_id"`
	Source     string     `json:"source"`
	DetailType string     `json:"detail_type"`
	Code       string     `json:"code"`
	Attempts   int        `json:"attempts"`
	Redriven   int        `json:"redriven"`
}

// letterFilter are the flags that say which dead letters are meant.
type letterFilter struct {
	region, bus, rule, target, code, event, since, until string
	all                                                  bool
}

func (f *letterFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.rule, "rule", "", "only those of this rule, by name or ARN")
	flags.StringVar(&f.target, "target", "", "only those of this target, by id or ARN")
	flags.StringVar(&f.code, "code", "", "only those with this error code, such as ERROR_FROM_TARGET")
	flags.StringVar(&f.event, "event", "", "only those of this event, by id")
	flags.StringVar(&f.bus, "bus", "", "only those of rules of this event bus, by name")
	flags.StringVar(&f.region, "region", "", "only those of rules of this region")
	flags.StringVar(&f.since, "since", "", "only those given up since: a time, or how long ago, such as 2h or 3d")
	flags.StringVar(&f.until, "until", "", "only those given up before: a time, or how long ago")
}

// given reports whether the command line has a filter.
func (f letterFilter) given() bool {
	f.all = false
	return f != letterFilter{}
}

// fields are the filter as the API has it.
func (f *letterFilter) fields(now time.Time) (map[string]string, error) {
	fields := map[string]string{
		"region": f.region, "bus": f.bus, "rule": f.rule, "target": f.target, "code": f.code, "event_id": f.event, "since": f.since, "until": f.until,
	}
	for name, value := range fields {
		if value == "" {
			delete(fields, name)
		}
	}
	for _, name := range []string{"since", "until"} {
		if text := fields[name]; text != "" {
			t, err := timeOrAgo(text, now)
			if err != nil {
				return nil, usagef("--%s: %w", name, err)
			}
			fields[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	return fields, nil
}

// timeOrAgo reads a time, or how long ago it was.
func timeOrAgo(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	ago, err := time.ParseDuration(text)
	if err != nil || ago < 0 {
		return now, fmt.Errorf("%q is neither a time such as 2026-01-15T21:29:54Z nor how long ago, such as 2h or 3d", text)
	}
	return now.Add(-ago), nil
}

func query(path string, fields map[string]string) string {
	if len(fields) == 0 {
		return path
	}
	q := url.Values{}
	for name, value := range fields {
		q.Set(name, value)
	}
	return path + "?" + q.Encode()
}

func newDeadLetterList(s *streams, c *client) *cobra.Command {
	var filter letterFilter
	var limit int
	var summary, dropped bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest first, and what was dropped of them",
		Long: `List dead letters, the newest first. What was dropped since it was too old or
took too much room is said below them; -o json has that with --dropped.`,
		Example: `  rialto dead-letters list --rule orders --since 2h
  rialto dead-letters list --summary`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit %d is negative; 0 means all", limit)
			}
			fields, err := filter.fields(time.Now())
			if err != nil {
				return err
			}
			if (summary || dropped) && len(fields) > 0 {
				return usagef("--summary and --dropped take no filter")
			}
			switch {
			case summary && dropped:
				return usagef("--summary and --dropped are two lists; choose one")
			case summary:
				return printLetterTotals(cmd, s, c)
			case dropped:
				sum, err := letterSummary(cmd, c)
				if err != nil {
					return err
				}
				return printDropped(s, sum)
			}
			return printLetters(cmd, s, c, fields, limit)
		},
	}
	filter.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "list so many at most; 0 for all")
	cmd.Flags().BoolVar(&summary, "summary", false, "how many there are of each rule and target")
	cmd.Flags().BoolVar(&dropped, "dropped", false, "what was dropped since it was too old or took too much room")
	return listing(remote(cmd, c), s)
}

// errEnough ends the reading of a list that goes on.
var errEnough = errors.New("enough was read")

func printLetters(cmd *cobra.Command, s *streams, c *client, fields map[string]string, limit int) error {
	list, more := []shown[deadLetter]{}, false
	err := c.pages(cmd.Context(), query(pathDeadLetters, fields), func(page json.RawMessage) error {
		var items []shown[deadLetter]
		if err := json.Unmarshal(page, &items); err != nil {
			return fmt.Errorf("read the list of dead letters: %w", err)
		}
		list = append(list, items...)
		if more = limit > 0 && len(list) > limit; more {
			list = list[:limit]
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		l := v.row
		rows = append(rows, []string{
			strconv.FormatInt(l.ID, 10), when(l.DeadAt), l.Rule, l.TargetID, l.Code, strconv.Itoa(l.Attempts), strconv.Itoa(l.Redriven), l.EventID, l.Source, l.DetailType,
		})
	}
	if err := s.print(list, []string{"ID", "AT", "RULE", "TARGET", "CODE", "ATTEMPTS", "REDRIVEN", "EVENT", "SOURCE", "DETAIL-TYPE"}, rows); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(s.err, "There are more than %d; --limit 0 lists all, --summary counts them.\n", limit)
	}
	return tellDropped(cmd, s, c)
}

// tellDropped says what was dropped, below a table or beside JSON and YAML.
func tellDropped(cmd *cobra.Command, s *streams, c *client) error {
	sum, err := letterSummary(cmd, c)
	if err != nil || len(sum.Dropped) == 0 {
		return err
	}
	if s.format != "table" {
		fmt.Fprintln(s.err, "Some dead letters were dropped; --dropped says which.")
		return nil
	}
	fmt.Fprint(s.out, "\nDropped, since they were too old or took too much room:\n\n")
	return printDropped(s, sum)
}

// droppedLetters is what a table shows of what was dropped.
type droppedLetters struct {
	RuleARN       string     `json:"rule_arn"`
	TargetID      string     `json:"target_id"`
	Reason        string     `json:"reason"`
	Count         int64      `json:"count"`
	Bytes         int64      `json:"bytes"`
	OldestAt      *time.Time `json:"oldest_at"`
	NewestAt      *time.Time `json:"newest_at"`
	LastDroppedAt *time.Time `json:"last_dropped_at"`
}

// letterTotal is what a table shows of the dead letters of one rule and target.
type letterTotal struct {
	Region   string     `json:"region"`
	Bus      string     `json:"bus"`
	Rule     string     `json:"rule"`
	TargetID string     `json:"target_id"`
	Count    int64      `json:"count"`
	Bytes    int64      `json:"bytes"`
	OldestAt *time.Time `json:"oldest_at"`
	NewestAt *time.Time `json:"newest_at"`
}

type letterSums struct {
	List        []shown[letterTotal]    `json:"list"`
	Dropped     []shown[droppedLetters] `json:"dropped"`
	ListMore    bool                    `json:"list_more"`
	DroppedMore bool                    `json:"dropped_more"`
}

// tellMore says that a list of the server is not all.
func tellMore(s *streams, listed int, more bool) {
	if more {
		fmt.Fprintf(s.err, "There are more rules and targets than the %d listed.\n", listed)
	}
}

func letterSummary(cmd *cobra.Command, c *client) (sum letterSums, err error) {
	return sum, c.do(cmd.Context(), http.MethodGet, pathDeadLetters+"/summary", nil, &sum)
}

func printDropped(s *streams, sum letterSums) error {
	tellMore(s, len(sum.Dropped), sum.DroppedMore)
	rows := make([][]string, 0, len(sum.Dropped))
	for _, v := range sum.Dropped {
		d := v.row
		rows = append(rows, []string{d.RuleARN, d.TargetID, d.Reason, count(d.Count), count(d.Bytes), when(d.OldestAt), when(d.NewestAt), when(d.LastDroppedAt)})
	}
	return s.print(sum.Dropped, []string{"RULE", "TARGET", "REASON", "COUNT", "BYTES", "OLDEST", "NEWEST", "DROPPED"}, rows)
}

func printLetterTotals(cmd *cobra.Command, s *streams, c *client) error {
	sum, err := letterSummary(cmd, c)
	if err != nil {
		return err
	}
	tellMore(s, len(sum.List), sum.ListMore)
	rows := make([][]string, 0, len(sum.List))
	for _, v := range sum.List {
		t := v.row
		rows = append(rows, []string{t.Region, t.Bus, t.Rule, t.TargetID, count(t.Count), count(t.Bytes), when(t.OldestAt), when(t.NewestAt)})
	}
	return s.print(sum.List, []string{"REGION", "BUS", "RULE", "TARGET", "COUNT", "BYTES", "OLDEST", "NEWEST"}, rows)
}

func newDeadLetterShow(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "show ID",
		Short: "Show all that is known of a dead letter: attempts, event and body",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var l shown[map[string]any]
			if err := c.do(cmd.Context(), http.MethodGet, pathDeadLetters+"/"+pathSegment(args[0]), nil, &l); err != nil {
				return err
			}
			if s.format != "table" {
				return s.print(l, nil, nil)
			}
			return printLetter(s, l.raw)
		},
	}, c), s)
}

// attemptSpell is what a table shows of attempts that failed alike.
type attemptSpell struct {
	Code     string     `json:"code"`
	Status   int        `json:"status"`
	Message  string     `json:"message"`
	Attempts int        `json:"attempts"`
	FirstAt  *time.Time `json:"first_at"`
	LastAt   *time.Time `json:"last_at"`
}

// printLetter prints one dead letter for people.
func printLetter(s *streams, raw json.RawMessage) error {
	var fields map[string]any
	var l struct {
		History []attemptSpell  `json:"history"`
		Event   json.RawMessage `json:"event"`
		Body    *string         `json:"body"`
	}
	if err := errors.Join(json.Unmarshal(raw, &fields), json.Unmarshal(raw, &l)); err != nil {
		return fmt.Errorf("read the dead letter: %w", err)
	}
	for _, name := range []string{"history", "event", "body"} {
		delete(fields, name)
	}
	if err := s.printTable([]string{"FIELD", "VALUE"}, fieldRows("", fields)); err != nil {
		return err
	}
	if len(l.History) > 0 {
		rows := make([][]string, 0, len(l.History))
		for _, a := range l.History {
			status := "-"
			if a.Status != 0 {
				status = strconv.Itoa(a.Status)
			}
			rows = append(rows, []string{strconv.Itoa(a.Attempts), when(a.FirstAt), when(a.LastAt), a.Code, status, a.Message})
		}
		fmt.Fprintln(s.out)
		if err := s.printTable([]string{"ATTEMPTS", "FIRST", "LAST", "CODE", "STATUS", "MESSAGE"}, rows); err != nil {
			return err
		}
	}
	var event bytes.Buffer
	if err := json.Indent(&event, l.Event, "", "  "); err != nil {
		return fmt.Errorf("read the event of the dead letter: %w", err)
	}
	fmt.Fprintf(s.out, "\nEvent:\n%s\n", plainLines(event.String()))
	if l.Body != nil {
		fmt.Fprintf(s.out, "\nBody:\n%s\n", plainLines(*l.Body))
	}
	return nil
}
