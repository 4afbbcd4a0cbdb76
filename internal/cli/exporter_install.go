package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/examples/exporter"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
)

// An installation that is waited for is looked at soon, and then less and less often.
const (
	firstInstallPoll = 100 * time.Millisecond
	lastInstallPoll  = 2 * time.Second
)

// installation is what a table shows of an installation.
type installation struct {
	Account   string  `json:"account"`
	Region    string  `json:"region"`
	StackName *string `json:"stack_name"`
	StackID   *string `json:"stack_id"`
	State     string  `json:"state"`
	Status    *string `json:"stack_status"`
	Why       *string `json:"why"`
	QueueARN  *string `json:"queue_arn"`
	Export    *string `json:"export"`
}

// installFlags say where an installation is.
type installFlags struct {
	account, stack, queue string
	regions               []string
	noWait                bool
}

func (f *installFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.account, "account", demoAccount, "cloud account, 12 digits: a real one that the server reaches, or one of the box")
	fl.StringSliceVar(&f.regions, "region", []string{envOr("AWS_REGION", envOr("AWS_DEFAULT_REGION", "us-east-1"))}, "region of the queue; may be repeated, each has one of its own (AWS_REGION, AWS_DEFAULT_REGION)")
	fl.StringVar(&f.stack, "stack-name", kind.QueueStack, "name of the stack")
	fl.BoolVar(&f.noWait, "no-wait", false, "return once it has begun")
}

func newExporterInstall(s *streams, c *client) *cobra.Command {
	var f installFlags
	var printed bool
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Deploy the queue of event records to an account, and have it read",
		Long: `Deploy the exporter's queue, its dead-letter queue, and the policy that lets event
rules send to it, as a CloudFormation stack that exports the queue's ARN as
NAME-EventsQueueARN; then follow the account and read the queue.

Run again it goes on where it was, and does nothing where all is done; a stack of
an earlier version is brought up to date. A stack of that name that is not the
exporter's is left alone. With --queue nothing is deployed, and a queue that is
there already is read.

The event rules that fill the queue are printed by 'rialto exporter rules'.`,
		Example: `  rialto exporter install
  rialto exporter install --account 111122223333 --region eu-west-1 --region us-east-1
  rialto exporter install --account 111122223333 --queue arn:aws:sqs:eu-west-1:111122223333:records
  rialto exporter install --print > queue.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if printed {
				_, err := fmt.Fprint(s.out, exporter.Queue())
				return err
			}
			warnRegions(s, f.regions)
			if f.queue != "" {
				return f.read(cmd, s, c)
			}
			err := f.each(s, []string{"installed", "deploying"}, func(region string) (shown[installation], error) { return f.install(cmd.Context(), s, c, region) })
			f.noteBox(cmd.Context(), s, c)
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.queue, "queue", "", "deploy nothing and read this queue: its ARN, or its URL at AWS")
	cmd.Flags().BoolVar(&printed, "print", false, "print the stack's template, and do nothing")
	return listing(remote(cmd, c), s)
}

// warnRegions warns of what has the form of a region and is none.
func warnRegions(s *streams, regions []string) {
	for _, r := range regions {
		if doubt := config.DoubtRegion(r); doubt != "" {
			fmt.Fprintf(s.err, "Warning: %s\n", plainLines(doubt))
		}
	}
}

// read has a queue read that is there already.
func (f *installFlags) read(cmd *cobra.Command, s *streams, c *client) error {
	in := map[string]string{"queue": f.queue}
	for _, name := range []string{"stack-name", "no-wait"} {
		if cmd.Flags().Changed(name) {
			return usagef("--queue deploys nothing: leave --%s out", name)
		}
	}
	if cmd.Flags().Changed("region") {
		if len(f.regions) != 1 {
			return usagef("--queue is one queue: name at most one --region, the account's home")
		}
		in["region"] = f.regions[0]
	}
	var v shown[installation]
	if err := c.do(cmd.Context(), http.MethodPost, exporterPath("accounts", f.account, "install"), in, &v); err != nil {
		return err
	}
	f.noteBox(cmd.Context(), s, c)
	return printInstallations(s, []shown[installation]{v})
}

// noteBox says so where an account that may be meant as a real one is followed in the box.
func (f *installFlags) noteBox(ctx context.Context, s *streams, c *client) {
	if f.account == demoAccount {
		return
	}
	var a shown[followedAccount]
	if err := c.do(ctx, http.MethodGet, exporterPath("accounts", f.account), nil, &a); err != nil || a.row.Real {
		return
	}
	fmt.Fprintf(s.err, "Note: account %s is not configured as a real AWS account: all of this is in the account in the box. "+
		"'rialto inventory account add' with --role-arn, --profile or a key says how the real one is reached\n", f.account)
}

// each does what is asked in each region; those that fail do not keep the others back. A
// state that is none of the wanted ones is a failure.
func (f *installFlags) each(s *streams, wanted []string, do func(region string) (shown[installation], error)) error {
	if len(f.regions) == 0 {
		return usagef("--region is empty: name the region of the queue")
	}
	var list []shown[installation]
	var failures []error
	for _, region := range f.regions {
		v, err := do(region)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		list = append(list, v)
		if !slices.Contains(wanted, v.row.State) {
			why := ""
			if v.row.Why != nil {
				why = ": " + *v.row.Why
			}
			failures = append(failures, fmt.Errorf("stack %s in %s is %s%s", text(v.row.StackName), v.row.Region, or(text(v.row.Status)), why))
		}
	}
	if len(list) > 0 {
		if err := printInstallations(s, list); err != nil {
			return err
		}
	}
	return errors.Join(failures...)
}

func printInstallations(s *streams, list []shown[installation]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		r := v.row
		rows = append(rows, []string{r.Account, r.Region, or(text(r.StackName)), r.State, or(text(r.Status)), or(text(r.QueueARN))})
	}
	return s.print(list, []string{"ACCOUNT", "REGION", "STACK", "STATE", "STATUS", "QUEUE"}, rows)
}

func (f *installFlags) install(ctx context.Context, s *streams, c *client, region string) (shown[installation], error) {
	return f.follow(ctx, s, "deploying "+f.stack+" to "+region, "deploying", func(id string) (v shown[installation], err error) {
		in := map[string]string{"region": region, "stack_name": f.stack, "stack_id": id}
		err = c.do(ctx, http.MethodPost, exporterPath("accounts", f.account, "install"), in, &v)
		return v, err
	})
}

// follow takes steps, each going on with the stack of the one before, until the state is
// no longer the one while it lasts.
func (f *installFlags) follow(ctx context.Context, s *streams, what, while string, step func(stackID string) (shown[installation], error)) (shown[installation], error) {
	v, err := step("")
	if err != nil || f.noWait || v.row.State != while {
		return v, err
	}
	var bar *progressbar.ProgressBar
	if out, ok := s.err.(*os.File); ok && isatty.IsTerminal(out.Fd()) {
		bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish())
		defer bar.Finish() //nolint:errcheck // it only draws
	}
	for pause := firstInstallPoll; v.row.State == while; pause = min(lastInstallPoll, pause*3/2) {
		if bar != nil {
			_ = bar.Add(1)
		}
		select {
		case <-ctx.Done():
			return v, errInterrupted
		case <-time.After(pause):
		}
		if v, err = step(text(v.row.StackID)); err != nil {
			return v, err
		}
	}
	return v, nil
}

func newExporterUninstall(s *streams, c *client) *cobra.Command {
	var f installFlags
	var discard bool
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Stop reading the queue of event records, and delete its stack",
		Long: `Stop reading the queue that 'rialto exporter install' deployed, and delete its
stack. It is refused while rules of other stacks send to the queue, and while the
queue holds records. The catalog keeps what was exported, and the account stays
followed by full syncs: 'rialto exporter accounts delete' ends that.`,
		Example: `  rialto exporter uninstall --account 111122223333 --region eu-west-1`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.each(s, []string{"absent", "removing"}, func(region string) (shown[installation], error) {
				return f.follow(cmd.Context(), s, "deleting "+f.stack+" in "+region, "removing", func(id string) (v shown[installation], err error) {
					q := url.Values{"region": {region}, "stack_name": {f.stack}}
					if id != "" {
						q.Set("stack_id", id)
					}
					if discard {
						q.Set("discard", "true")
					}
					err = c.do(cmd.Context(), http.MethodDelete, exporterPath("accounts", f.account, "install")+"?"+q.Encode(), nil, &v)
					return v, err
				})
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&discard, "discard", false, "also delete a queue that holds records")
	return listing(remote(cmd, c), s)
}

// followedAccount is what a table shows of an account that the exporter follows.
type followedAccount struct {
	Account     string `json:"account"`
	Description string `json:"description"`
	HomeRegion  string `json:"home_region"`
	Enabled     bool   `json:"enabled"`
	Real        bool   `json:"real"`
	Queues      []struct {
		ARN       string     `json:"arn"`
		PolledAt  *time.Time `json:"polled_at"`
		Waiting   int64      `json:"waiting"`
		Received  int64      `json:"received"`
		FailedWhy *string    `json:"failed_why"`
	} `json:"queues"`
}

func newExporterAccounts(s *streams, c *client) *cobra.Command {
	cmd := listing(remote(&cobra.Command{
		Use:   "accounts",
		Short: "List the cloud accounts that are followed, and how their queues fare",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[followedAccount]](cmd.Context(), c, exporterPath("accounts"))
			if err != nil {
				return err
			}
			rows := [][]string{}
			for _, v := range list {
				a := v.row
				where := "box"
				if a.Real {
					where = "AWS"
				}
				if !a.Enabled {
					where += ", disabled"
				}
				if len(a.Queues) == 0 {
					rows = append(rows, []string{a.Account, where, a.HomeRegion, "-", "-", "-", "-", "-"})
				}
				for _, q := range a.Queues {
					rows = append(rows, []string{a.Account, where, a.HomeRegion, q.ARN, count(q.Waiting), count(q.Received), when(q.PolledAt), or(strings.ReplaceAll(text(q.FailedWhy), "\n", " "))})
				}
			}
			return s.print(list, []string{"ACCOUNT", "WHERE", "HOME REGION", "QUEUE", "WAITING", "RECEIVED", "READ", "ERROR"}, rows)
		},
	}, c), s)
	cmd.AddCommand(newExporterAccountsDelete(s, c))
	return cmd
}

func newExporterAccountsDelete(s *streams, c *client) *cobra.Command {
	return remote(&cobra.Command{
		Use:   "delete ACCOUNT",
		Short: "Follow a cloud account no longer: neither its queues nor full syncs",
		Long: `Follow a cloud account no longer: its queues are not read, and full syncs leave it out.
Stacks that 'rialto exporter install' deployed stay: 'rialto exporter uninstall' removes
them. The next full sync of everything removes what was exported of the account.`,
		Example: "  rialto exporter accounts delete 111122223333",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.do(cmd.Context(), http.MethodDelete, exporterPath("accounts", args[0]), nil, nil); err != nil {
				return err
			}
			printNotes(s, []string{"the next full sync removes what was exported of account " + args[0] + ", as much as 'rialto exporter sync settings' lets go unasked"})
			return nil
		},
	}, c)
}
