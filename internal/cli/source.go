package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newSource(s *streams, c *client) *cobra.Command {
	cmd := group("source", "Sources: events from real AWS, by an HTTPS endpoint or from an SQS queue",
		newSourceAdd(s, c), newSourceList(s, c), newSourceShow(s, c), newSourceUpdate(s, c),
		newSourceEnabled(s, c, "enable", "Take events of a source again", true),
		newSourceEnabled(s, c, "disable", "Take no events of a source; what AWS sends waits there", false),
		newSourceRemove(s, c), newSourceRotate(s, c), newSourceRevoke(c), newSourceTemplate(s, c),
		newSourceRefused(s, c))
	cmd.Long = `A source brings events of real AWS onto a bus, as they are: id, time, account,
region, resources and detail are kept. EventBridge sends them to an HTTPS
endpoint, as an API destination, or to an SQS queue that the server polls.
'rialto source template' prints the AWS side, ready to deploy.`
	return cmd
}

// source is what tables show of a source.
type source struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Kind         string   `json:"kind"`
	Enabled      bool     `json:"enabled"`
	Bus          string   `json:"bus"`
	Accounts     []string `json:"allow_accounts"`
	Regions      []string `json:"allow_regions"`
	Pattern      string   `json:"pattern"`
	QueueARN     *string  `json:"queue_arn"`
	EndpointURL  *string  `json:"endpoint_url"`
	TokenURL     *string  `json:"token_url"`
	ClientID     *string  `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Activity     struct {
		Accepted   int64      `json:"accepted"`
		Duplicates int64      `json:"duplicates"`
		Refused    int64      `json:"refused"`
		AcceptedAt *time.Time `json:"last_accepted_at"`
		Lag        float64    `json:"lag_seconds"`
		RefusedWhy *string    `json:"last_refused_why"`
		FailedWhy  *string    `json:"failing_why"`
		Waiting    *int64     `json:"waiting"`
	} `json:"activity"`
	Notes []string `json:"notes"`
}

// status says in a word or two how a source fares.
func (v *source) status() string {
	switch {
	case !v.Enabled:
		return "disabled"
	case v.Activity.FailedWhy != nil:
		return "failing"
	}
	return "enabled"
}

// sourceRequest is what add and update send; empty fields keep their values.
type sourceRequest struct {
	Name         string   `json:"name,omitempty"`
	Kind         string   `json:"kind,omitempty"`
	Queue        string   `json:"queue,omitempty"`
	Enabled      *bool    `json:"enabled,omitempty"`
	Description  *string  `json:"description,omitempty"`
	Bus          *string  `json:"bus,omitempty"`
	Accounts     []string `json:"allow_accounts,omitempty"`
	Regions      []string `json:"allow_regions,omitzero"`
	Pattern      *string  `json:"pattern,omitempty"`
	MaxPerSecond *int     `json:"max_events_per_second,omitempty"`
}

// sourcePath is a path of the API of sources, its parts escaped.
func sourcePath(parts ...string) string {
	escaped := []string{"/v1/sources"}
	for _, p := range parts {
		escaped = append(escaped, pathSegment(p))
	}
	return strings.Join(escaped, "/")
}

// sourceFlags are the settings that add and update share.
type sourceFlags struct {
	accounts, regions         []string
	description, bus, pattern string
	rate                      int
}

func (f *sourceFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringSliceVar(&f.accounts, "allow-account", nil, "account whose events are taken, 12 digits; may be repeated")
	fl.StringSliceVar(&f.regions, "allow-region", nil, "region whose events are taken; may be repeated (default: all)")
	fl.StringVar(&f.bus, "bus", "", "where the events go: the ARN of a bus, or the name of one in each event's account and region (default: the default bus there)")
	fl.StringVar(&f.pattern, "pattern", "", "event pattern that events must match, or a file that holds it (default: all)")
	fl.IntVar(&f.rate, "max-events-per-second", 0, "most events a second; more wait at AWS (0: no limit)")
	fl.StringVar(&f.description, "description", "", "what the source is")
}

// request holds the settings whose flags were given.
func (f *sourceFlags) request(cmd *cobra.Command, s *streams) (sourceRequest, error) {
	var in sourceRequest
	changed := cmd.Flags().Changed
	if changed("allow-account") {
		in.Accounts = f.accounts
	}
	if changed("allow-region") {
		in.Regions = append([]string{}, f.regions...)
	}
	if changed("bus") {
		in.Bus = &f.bus
	}
	if changed("description") {
		in.Description = &f.description
	}
	if changed("max-events-per-second") {
		in.MaxPerSecond = &f.rate
	}
	if changed("pattern") {
		pattern, err := patternOf(s, f.pattern)
		if err != nil {
			return in, err
		}
		in.Pattern = &pattern
	}
	return in, nil
}

// patternOf is an event pattern given as text or as a file.
func patternOf(s *streams, given string) (string, error) {
	if given == "" {
		return "", nil
	}
	b, err := textOrFile(s, given)
	return strings.TrimSpace(string(b)), err
}

func newSourceAdd(s *streams, c *client) *cobra.Command {
	var f sourceFlags
	var queue string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a source: an endpoint, or with --queue a queue that is polled",
		Long: `Make a source. Without --queue it is an HTTPS endpoint that an EventBridge API
destination calls, and a client id and a client secret (shown this once) are made
for its connection. With --queue the server polls an SQS queue, in an account
that is configured as a real one or in the box.

Only events of the accounts given are taken. A source can bring service events,
so this needs an admin key.`,
		Example: `  rialto source add aws --allow-account 111122223333
  rialto source add aws --allow-account 111122223333 --bus arn:aws:events:us-east-1:000000000000:event-bus/default
  rialto source add orders --allow-account 111122223333 --queue arn:aws:sqs:eu-west-1:111122223333:rialto-events`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(f.accounts) == 0 {
				return usagef("--allow-account is missing: name the account, 12 digits, whose events the source takes")
			}
			in, err := f.request(cmd, s)
			if err != nil {
				return err
			}
			in.Name, in.Kind, in.Queue = args[0], "endpoint", queue
			if cmd.Flags().Changed("queue") {
				in.Kind = "queue"
			}
			var v shown[source]
			if err := c.do(cmd.Context(), http.MethodPost, sourcePath(), in, &v); err != nil {
				return err
			}
			return printSource(s, v)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&queue, "queue", "", "ARN of an SQS queue, or its URL at AWS, that is polled")
	return listing(remote(cmd, c), s)
}

// printSource shows a source and, where one was just made, its secret.
func printSource(s *streams, v shown[source]) error {
	printNotes(s, v.row.Notes)
	return s.print(v, []string{"SOURCE", v.row.Name}, sourceRows(v.row))
}

func printNotes(s *streams, notes []string) {
	for _, note := range notes {
		fmt.Fprintf(s.err, "Note: %s\n", note)
	}
}

func sourceRows(v source) [][]string {
	rows := [][]string{
		{"Id", v.ID}, {"Kind", v.Kind}, {"Status", v.status()},
		{"Accounts", strings.Join(v.Accounts, ",")}, {"Regions", or(strings.Join(v.Regions, ","))},
		{"Bus", busWords(v.Bus)}, {"Pattern", or(v.Pattern)},
	}
	if v.QueueARN != nil {
		rows = append(rows, []string{"Queue", *v.QueueARN}, []string{"Messages waiting", count(*v.Activity.Waiting)})
	}
	if v.ClientID != nil {
		rows = append(rows, []string{"Endpoint URL", text(v.EndpointURL)}, []string{"Token URL", text(v.TokenURL)}, []string{"Client id", *v.ClientID})
	}
	if v.ClientSecret != "" {
		rows = append(rows, []string{"Client secret (shown this once)", v.ClientSecret})
	}
	a := v.Activity
	rows = append(rows, []string{"Accepted", count(a.Accepted)}, []string{"Duplicates", count(a.Duplicates)}, []string{"Refused", count(a.Refused)})
	if a.AcceptedAt != nil {
		rows = append(rows, []string{"Last accepted", when(a.AcceptedAt)}, []string{"Lag", lag(a.Lag)})
	}
	if a.RefusedWhy != nil {
		rows = append(rows, []string{"Last refused", *a.RefusedWhy})
	}
	if a.FailedWhy != nil {
		rows = append(rows, []string{"Failing", *a.FailedWhy})
	}
	return rows
}

func busWords(bus string) string {
	switch {
	case bus == "":
		return "default, of each event's account and region"
	case strings.HasPrefix(bus, "arn:"):
		return bus
	}
	return bus + ", of each event's account and region"
}

func lag(seconds float64) string {
	return (time.Duration(seconds * float64(time.Second))).Round(time.Millisecond).String()
}

func newSourceList(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "list",
		Short: "List the sources, and what came of them",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[source]](cmd.Context(), c, sourcePath())
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				a := v.row.Activity
				waiting := "-"
				if a.Waiting != nil {
					waiting = count(*a.Waiting)
				}
				rows = append(rows, []string{v.row.Name, v.row.Kind, v.row.status(), count(a.Accepted), count(a.Duplicates), count(a.Refused),
					waiting, when(a.AcceptedAt), or(text(a.FailedWhy))})
			}
			return s.print(list, []string{"NAME", "KIND", "STATUS", "ACCEPTED", "DUPLICATES", "REFUSED", "WAITING", "LAST ACCEPTED", "ERROR"}, rows)
		},
	}, c), s)
}

func getSource(ctx context.Context, c *client, name string) (shown[source], error) {
	var v shown[source]
	err := c.do(ctx, http.MethodGet, sourcePath(name), nil, &v)
	return v, err
}

func newSourceShow(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "show NAME",
		Short: "Show a source, and what came of it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := getSource(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return printSource(s, v)
		},
	}, c), s)
}

func newSourceUpdate(s *streams, c *client) *cobra.Command {
	var f sourceFlags
	cmd := &cobra.Command{
		Use:     "update NAME",
		Short:   "Change which events a source takes, and where they go",
		Long:    "Change the settings whose flags are given. A list given replaces the one there was.",
		Example: `  rialto source update aws --allow-account 111122223333,444455556666 --pattern '{"source": [{"prefix": "aws."}]}'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := f.request(cmd, s)
			if err != nil {
				return err
			}
			var v shown[source]
			if err := c.do(cmd.Context(), http.MethodPut, sourcePath(args[0]), in, &v); err != nil {
				return err
			}
			return printSource(s, v)
		},
	}
	f.register(cmd)
	return listing(remote(cmd, c), s)
}

func newSourceEnabled(s *streams, c *client, use, short string, enabled bool) *cobra.Command {
	return remote(&cobra.Command{
		Use:   use + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.do(cmd.Context(), http.MethodPut, sourcePath(args[0]), sourceRequest{Enabled: &enabled}, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "Source %s is %sd\n", args[0], use)
			return err
		},
	}, c)
}

func newSourceRemove(s *streams, c *client) *cobra.Command {
	return remote(&cobra.Command{
		Use:   "remove NAME",
		Short: "End a source and its credential; what AWS sends then is refused",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.do(cmd.Context(), http.MethodDelete, sourcePath(args[0]), nil, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "Source %s is removed\n", args[0])
			return err
		},
	}, c)
}

func newSourceRotate(s *streams, c *client) *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make a new client secret for an endpoint; older ones end after the overlap",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v shown[source]
			in := map[string]string{"overlap": overlap.String()}
			if err := c.do(cmd.Context(), http.MethodPost, sourcePath(args[0], "secrets"), in, &v); err != nil {
				return err
			}
			return printSource(s, v)
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 48*time.Hour, "how long older secrets stay valid")
	return listing(remote(cmd, c), s)
}

// secretPrefix is what client secrets begin with, and their ids do not.
const secretPrefix = "rls-"

func newSourceRevoke(c *client) *cobra.Command {
	return remote(&cobra.Command{
		Use:   "revoke NAME SECRET_ID",
		Short: "End a client secret, and the tokens made with it, now; 'show -o json' lists the ids",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[1], secretPrefix) {
				return usagef("what is given is a client secret itself; name it by its id, which 'rialto source show %s -o json' lists under secrets", args[0])
			}
			return c.do(cmd.Context(), http.MethodDelete, sourcePath(args[0], "secrets", args[1]), nil, nil)
		},
	}, c)
}
