package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// tracePoll is how often --follow asks.
	tracePoll = 500 * time.Millisecond
	// traceAppear is how long --follow waits for an event that is not known yet, and
	// for what became of one on the bus that it was forwarded to.
	traceAppear = 5 * time.Second
)

func newTrace(s *streams, c *client) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "trace EVENT_ID",
		Short: "Tell where an event went: rules, attempts, retries, dead letters, other buses",
		Long: `Tell where an event entered, which rules matched it, which nearly did and why
not, every attempt to deliver it and how each delivery ended or what it waits
for. An event that went on to other buses is followed there; all events with the
id are shown.

--follow waits until all deliveries have ended and tells each step meanwhile.

It ends with 0 if all deliveries reached their targets, with 1 if one waits, was
dead-lettered, dropped or cancelled, or if no rule matched the event, and with 4
if nothing is known of it.`,
		Example: `  rialto trace 7bf73129-1428-4cd3-a780-95db273d1602
  rialto trace order-1 --follow && echo delivered
  rialto trace order-1 -o json | jq -r .status`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t := &tracing{s: s, c: c, id: args[0]}
			last, err := t.read(cmd.Context(), follow)
			if err != nil {
				return err
			}
			switch s.format {
			case "json":
				err = s.printJSON(last)
			case "yaml":
				err = s.printYAML(last)
			default:
				err = printTrace(s.out, &last.row)
			}
			if err != nil {
				return err
			}
			return last.row.verdict()
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait until all deliveries have ended")
	return listing(remote(cmd, c), s)
}

// traced is a trace as the server tells it.
type traced struct {
	ID     string        `json:"id"`
	Status string        `json:"status"`
	Events []tracedEvent `json:"events"`
	Notes  []string      `json:"notes"`
}

type tracedEvent struct {
	ID         string     `json:"id"`
	Bus        string     `json:"bus"`
	Sequence   uint64     `json:"sequence"`
	Index      int        `json:"index"`
	AcceptedAt *time.Time `json:"accepted_at"`
	RoutedAt   *time.Time `json:"routed_at"`
	Node       string     `json:"node"`
	Origin     struct {
		Kind    string `json:"kind"`
		Name    string `json:"name"`
		EventID string `json:"event_id"`
	} `json:"origin"`
	FromEvent      *int             `json:"from_event"`
	ReplayRules    []string         `json:"replay_rules"`
	Deliveries     []tracedDelivery `json:"deliveries"`
	MoreDeliveries int              `json:"more_deliveries"`
	NotMatched     []tracedRule     `json:"not_matched"`
	MoreNotMatched int              `json:"more_not_matched"`
	RulesUnread    int              `json:"rules_unread"`
	Event          *struct {
		Source     string `json:"source"`
		DetailType string `json:"detail-type"`
	} `json:"event"`
}

type tracedDelivery struct {
	Rule          string     `json:"rule"`
	RuleARN       string     `json:"rule_arn"`
	TargetID      string     `json:"target_id"`
	TargetARN     string     `json:"target_arn"`
	TargetKind    string     `json:"target_kind"`
	Status        string     `json:"status"`
	DueAt         *time.Time `json:"due_at"`
	InLog         bool       `json:"in_log"`
	BatchesBehind uint64     `json:"batches_behind"`
	DeadLetter    struct {
		Queue string `json:"queue"`
		ID    string `json:"id"`
	} `json:"dead_letter"`
	ForwardedTo *int         `json:"forwarded_to"`
	Steps       []tracedStep `json:"steps"`
}

type tracedStep struct {
	Step       string     `json:"step"`
	At         time.Time  `json:"at"`
	Node       string     `json:"node"`
	Attempt    int        `json:"attempt"`
	StartedAt  *time.Time `json:"started_at"`
	DurationMS float64    `json:"duration_ms"`
	Delivered  bool       `json:"delivered"`
	HTTPStatus int        `json:"http_status"`
	Code       string     `json:"code"`
	Message    string     `json:"message"`
	Exhausted  string     `json:"exhausted"`
	Until      *time.Time `json:"until"`
	To         string     `json:"to"`
}

type tracedRule struct {
	Rule           string `json:"rule"`
	State          string `json:"state"`
	PatternMatches bool   `json:"pattern_matches"`
	Why            string `json:"why"`
	Failing        int    `json:"failing"`
	Conditions     []struct {
		Path      string `json:"path"`
		Satisfied bool   `json:"satisfied"`
		Reason    string `json:"reason"`
	} `json:"conditions"`
	DifferentElements bool `json:"different_elements"`
	ChangedSince      bool `json:"changed_since"`
}

// tracing is one run of the command.
type tracing struct {
	s    *streams
	c    *client
	id   string
	told map[toldKey]int // steps of each delivery that were told
}

// toldKey is one delivery: several events may have one id.
type toldKey struct {
	sequence       uint64
	index          int
	rule, targetID string
}

// read returns the trace: with follow, once all deliveries have ended.
func (t *tracing) read(ctx context.Context, follow bool) (*shown[traced], error) {
	began := time.Now()
	tick := time.NewTicker(tracePoll)
	defer tick.Stop()
	for {
		var last shown[traced]
		err := t.c.do(ctx, http.MethodGet, "/v1/events/"+pathSegment(t.id)+"/trace", nil, &last)
		var refused *refusedError
		switch {
		case !follow:
			return &last, err
		case err != nil && ctx.Err() != nil:
			return nil, errInterrupted
		case errors.As(err, &refused) && refused.status == http.StatusNotFound && time.Since(began) < traceAppear:
		case err != nil:
			return nil, err
		default:
			t.tell(&last.row)
			if last.row.ended(time.Since(began)) {
				return &last, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, errInterrupted
		case <-tick.C:
		}
	}
}

// ended reports whether nothing more is to come.
func (t *traced) ended(waited time.Duration) bool {
	if t.Status == "waiting" {
		return false
	}
	for _, e := range t.Events {
		for _, d := range e.Deliveries {
			if d.TargetKind == "event bus" && d.Status == "delivered" && d.ForwardedTo == nil && waited < traceAppear {
				return false
			}
		}
	}
	return true
}

// tell prints the steps that are new, beside what is printed in the end.
func (t *tracing) tell(trace *traced) {
	if t.told == nil {
		t.told = map[toldKey]int{}
	}
	for _, e := range trace.Events {
		for i := range e.Deliveries {
			d := &e.Deliveries[i]
			key := toldKey{e.Sequence, e.Index, d.RuleARN, d.TargetID}
			for _, step := range d.Steps[min(t.told[key], len(d.Steps)):] {
				fmt.Fprintln(t.s.err, plain(fmt.Sprintf("%s  %s → %s: %s", step.At.UTC().Format(stampFormat), d.Rule, d.TargetID, step.words(step.At))))
			}
			t.told[key] = len(d.Steps)
		}
	}
}

// verdict is the error with which the command ends unless all was delivered.
func (t *traced) verdict() error {
	if t.Status == "delivered" {
		return nil
	}
	if t.Status == "unmatched" {
		return fmt.Errorf("no rule matched event %s", t.ID)
	}
	counts := map[string]int{}
	for _, e := range t.Events {
		for _, d := range e.Deliveries {
			counts[d.Status]++
		}
	}
	var parts []string
	for _, status := range []string{"under_way", "waiting", "dead_lettered", "dropped", "cancelled", "unknown"} {
		if n := counts[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, statusWords[status]))
		}
	}
	return fmt.Errorf("event %s has not reached all targets: of its deliveries %s", t.ID, strings.Join(parts, ", "))
}
