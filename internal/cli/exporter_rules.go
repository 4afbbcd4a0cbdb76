package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
)

// completeKinds completes names of the kinds that rules are known of.
func completeKinds(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return kind.Names(kind.All()), cobra.ShellCompDirectiveNoFileComp
}

// findKinds are the kinds of names; one that is not known is told with what may have been meant.
func findKinds(names []string) ([]*kind.Kind, error) {
	kinds := make([]*kind.Kind, 0, len(names))
	for _, name := range names {
		k, ok := kind.Find(name)
		if !ok {
			return nil, unknownKind(name)
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

func unknownKind(name string) error {
	if near := kind.Near(name); len(near) > 0 {
		return usagef("there is no kind %q; did you mean %s?", name, strings.Join(near, " or "))
	}
	return usagef("nothing is known of the kind %q; 'rialto exporter kinds' lists those that are. Others can be synced all the same, with a configuration, blueprint and event rule of your own", name)
}

// readConfigFile reads a config.json.
func readConfigFile(s *streams, name string) (*config.Config, []byte, error) {
	text, err := readConfigText(s, name)
	if err != nil {
		return nil, nil, err
	}
	conf, err := parseConfigText(text)
	if err != nil {
		return nil, text, fmt.Errorf("%s:\n%w", name, err)
	}
	return conf, text, nil
}

// parseConfigText parses a config.json; its warnings also tell of kinds that are misspelt.
func parseConfigText(text []byte) (*config.Config, error) {
	conf, err := config.Parse(text)
	if err != nil {
		return nil, err
	}
	conf.Warnings = append(conf.Warnings, kind.CheckNames(conf)...)
	return conf, nil
}

// configInForce is the server's configuration.
func configInForce(ctx context.Context, c *client) (*config.Config, error) {
	var v exporterConfig
	if err := c.do(ctx, http.MethodGet, exporterPath("config"), nil, &v); err != nil {
		return nil, err
	}
	return v.parsed()
}

func newExporterKinds(s *streams) *cobra.Command {
	return listing(&cobra.Command{
		Use:   "kinds",
		Short: "List the kinds that there are event rules, a blueprint and a mapping for",
		RunE: func(*cobra.Command, []string) error {
			type row struct {
				Kind      string   `json:"kind"`
				Blueprint string   `json:"blueprint"`
				Region    string   `json:"region,omitempty"`
				Rules     []string `json:"rules"`
			}
			list, rows := []row{}, [][]string{}
			for _, k := range kind.All() {
				r := row{Kind: k.Name, Blueprint: k.Entity.Blueprint, Region: k.Region}
				for i := range k.Rules {
					r.Rules = append(r.Rules, k.Rules[i].FullName())
				}
				list = append(list, r)
				rows = append(rows, []string{r.Kind, r.Blueprint, or(r.Region), strings.Join(r.Rules, ",")})
			}
			return s.print(list, []string{"KIND", "BLUEPRINT", "EVENTS IN", "RULES"}, rows)
		},
	}, s)
}

func newExporterRules(s *streams, c *client) *cobra.Command {
	var format, file string
	var set kind.RuleSet
	cmd := &cobra.Command{
		Use:   "rules [KIND…]",
		Short: "Print event rules that put records of changes on the exporter's queue",
		Long: `Print the event rules of kinds, as a CloudFormation template or a Terraform
configuration: those named, those of a configuration (--config), or those of the
server's configuration. The rules send to the queue that a stack exports, which
'rialto exporter install' deploys; they are deployed to each region that has one.

Calls that failed match no rule. A record carries what the event says in keys of
its own, and jq that reads them: text of an event is never taken for a program.`,
		Example: `  rialto exporter rules AWS::Lambda::Function AWS::SQS::Queue > rules.yaml
  rialto stack deploy rules.yaml --stack-name exporter-rules
  rialto exporter rules --config config.json --format terraform > rules.tf`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeKinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(kind.Formats(), format) {
				return usagef("%q is none of %s", format, strings.Join(kind.Formats(), " and "))
			}
			kinds, err := ruleKinds(cmd.Context(), s, c, file, args)
			if err != nil {
				return err
			}
			set.Kinds = kinds
			text, err := set.Render(kind.Format(format))
			if err != nil {
				return usageError{err}
			}
			noteRules(s, set, kind.Format(format), len(text))
			_, err = s.out.Write(text)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", string(kind.CloudFormation), "what is printed: "+strings.Join(kind.Formats(), " or "))
	f.StringVar(&file, "config", "", "the kinds of this configuration, a file or - (default: that of the server)")
	f.StringVar(&set.StackName, "stack-name", kind.QueueStack, "the stack that exports the queue's ARN")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(kind.Formats(), cobra.ShellCompDirectiveNoFileComp))
	return remote(cmd, c)
}

// ruleKinds are the kinds that rules are wanted of.
func ruleKinds(ctx context.Context, s *streams, c *client, file string, args []string) ([]*kind.Kind, error) {
	if len(args) > 0 {
		if file != "" {
			return nil, usagef("name kinds or give --config, not both")
		}
		return findKinds(args)
	}
	var conf *config.Config
	var err error
	if file != "" {
		conf, _, err = readConfigFile(s, file)
	} else {
		conf, err = configInForce(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	var kinds []*kind.Kind
	for _, name := range conf.Kinds() {
		if k, ok := kind.Find(name); ok {
			kinds = append(kinds, k)
			continue
		}
		note := fmt.Sprintf("no event rules are known for %s: it is synced, and needs a rule of your own", name)
		if near := kind.Misspelt(name); len(near) > 0 {
			note += "; or did you mean " + strings.Join(near, " or ") + "?"
		}
		printNotes(s, []string{note})
	}
	if len(kinds) == 0 {
		return nil, usagef("the configuration has no kind that event rules are known for; 'rialto exporter kinds' lists those")
	}
	return kinds, nil
}

// noteRules says what must be known to deploy rules.
func noteRules(s *streams, set kind.RuleSet, f kind.Format, size int) {
	var notes []string
	global := map[string][]string{}
	for name, region := range set.GlobalRegions() {
		global[region] = append(global[region], name)
	}
	for _, region := range slices.Sorted(maps.Keys(global)) {
		slices.Sort(global[region])
		notes = append(notes, fmt.Sprintf("events of %s come in %s alone (in the partition aws): deploy the queue and the rules there too", strings.Join(global[region], ", "), region))
	}
	if f == kind.CloudFormation && size > kind.MaxTemplate {
		notes = append(notes, fmt.Sprintf("the template has %d bytes, and CloudFormation takes %d in a call: deploy it by way of S3 (aws cloudformation deploy --s3-bucket), or print fewer kinds at a time", size, kind.MaxTemplate))
	}
	printNotes(s, notes)
}

// exporterPath is a path of the exporter's API, its parts escaped.
func exporterPath(parts ...string) string {
	escaped := []string{"/v1/exporter"}
	for _, p := range parts {
		escaped = append(escaped, pathSegment(p))
	}
	return strings.Join(escaped, "/")
}

// exporterConfig is the server's configuration.
type exporterConfig struct {
	Revision int64            `json:"revision"`
	Config   json.RawMessage  `json:"config"`
	Warnings []config.Problem `json:"warnings"`
	Dropped  []droppedScope   `json:"dropped"`
}

// droppedScope is what a configuration selects no longer.
type droppedScope struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	Kind    string `json:"kind"`
}
