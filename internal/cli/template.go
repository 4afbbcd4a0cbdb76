package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/intake/template"
)

// templateFlags say what AWS side is to be printed.
type templateFlags struct {
	format    string
	central   string
	perRegion bool
	regions   []string
}

func (f *templateFlags) register(cmd *cobra.Command, formatFlag, formatDefault string) {
	fl := cmd.Flags()
	fl.StringVar(&f.format, formatFlag, formatDefault, "print the AWS side: "+strings.Join(template.Formats(), " or "))
	fl.StringVar(&f.central, "central", "", "the one region that sends events here; the others forward theirs to it")
	fl.BoolVar(&f.perRegion, "per-region", false, "each region sends its events by itself (the default)")
	fl.StringSliceVar(&f.regions, "region", nil, "Terraform: a region that forwards to --central, or sends by itself; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc(formatFlag, cobra.FixedCompletions(template.Formats(), cobra.ShellCompDirectiveNoFileComp))
}

func (f *templateFlags) layout() template.Layout {
	return template.Layout{Central: f.central, Regions: f.regions}
}

// print writes the AWS side. What cannot be written is the command line's fault.
func (f *templateFlags) print(s *streams, what interface {
	Render(template.Format) ([]byte, error)
}) error {
	if !slices.Contains(template.Formats(), f.format) {
		return usagef("%q is none of %s", f.format, strings.Join(template.Formats(), " and "))
	}
	if f.perRegion && f.central != "" {
		return usagef("--central and --per-region exclude each other")
	}
	out, err := what.Render(template.Format(f.format))
	if err != nil {
		return usageError{err}
	}
	_, err = s.out.Write(out)
	return err
}

func newSourceTemplate(s *streams, c *client) *cobra.Command {
	var f templateFlags
	var pattern string
	cmd := &cobra.Command{
		Use:   "template NAME",
		Short: "Print the AWS side of a source, ready to deploy",
		Long: `Print a CloudFormation template or a Terraform configuration of a source's AWS
side. For an endpoint: a connection, an API destination, a rule, a dead-letter
queue and the role that EventBridge needs. For a queue: the queue, its dead-letter
queue, a rule, and the policy that the server's role needs.

The client secret is a parameter of what is printed: it is not in it.`,
		Example: `  rialto source template aws > aws.yaml
  aws cloudformation deploy --template-file aws.yaml --stack-name rialto --capabilities CAPABILITY_IAM \
    --parameter-overrides ClientSecret=SECRET
  rialto source template aws --format terraform --central us-east-1 --region eu-west-1 --region ap-south-1 > rialto.tf`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := getSource(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			given, err := patternOf(s, pattern)
			if err != nil {
				return err
			}
			return printSourceTemplate(s, &f, v.row, given)
		},
	}
	f.register(cmd, "format", string(template.CloudFormation))
	cmd.Flags().StringVar(&pattern, "pattern", "", "event pattern of the rule, or a file that holds it (default: all that the source takes)")
	return remote(cmd, c)
}

func printSourceTemplate(s *streams, f *templateFlags, v source, pattern string) error {
	printNotes(s, v.Notes)
	if pattern == "" {
		pattern = v.Pattern
	}
	if pattern == "" {
		pattern = template.PatternOf(v.Accounts, v.Regions)
		printNotes(s, []string{"The rule sends all events of " + strings.Join(v.Accounts, ", ") + "; --pattern narrows it."})
	}
	name := template.ResourceName(v.Name)
	if v.QueueARN == nil {
		return f.print(s, template.Endpoint{
			Name: name, Description: "Sends events to Rialto, source " + v.Name, InvocationURL: text(v.EndpointURL), TokenURL: text(v.TokenURL),
			ClientID: text(v.ClientID), Pattern: pattern, Layout: f.layout(),
		})
	}
	arn := strings.SplitN(*v.QueueARN, ":", 6)
	if len(arn) != 6 {
		return fmt.Errorf("the server says that the queue is %s, which is no ARN", *v.QueueARN)
	}
	return f.print(s, template.Queue{
		Name: name, Description: "Collects events for Rialto, source " + v.Name, QueueName: arn[5], Region: arn[3], Pattern: pattern, Layout: f.layout(),
	})
}

// printMonitorTemplate prints the AWS side of a cloud account's real-time credential.
func printMonitorTemplate(cmd *cobra.Command, s *streams, c *client, f *templateFlags, projectName, accountID string) error {
	var m struct {
		monitor
		EventPattern json.RawMessage `json:"event_pattern"`
	}
	if err := c.do(cmd.Context(), http.MethodGet, teamPath("projects", projectName, "cloud_accounts", accountID, "monitor"), nil, &m); err != nil {
		return fmt.Errorf("%w\n'%s %s --project %s' without --template makes the real-time credential", err, cmd.CommandPath(), accountID, projectName)
	}
	printNotes(s, m.Notes)
	return f.print(s, template.Endpoint{
		Name: template.ResourceName(projectName + "-inventory"), Description: "Tells Rialto's inventory of instances of account " + m.AccountID,
		InvocationURL: m.WebhookURL, TokenURL: m.TokenURL, ClientID: m.ClientID, Pattern: string(m.EventPattern), Layout: f.layout(),
	})
}
