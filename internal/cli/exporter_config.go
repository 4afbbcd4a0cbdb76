package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

func newExporterConfig(s *streams, c *client) *cobra.Command {
	return group("config", "The configuration: which resources become which entities",
		newExporterConfigGet(s, c), newExporterConfigSet(s, c), newExporterConfigCheck(s))
}

func newExporterConfigGet(s *streams, c *client) *cobra.Command {
	var revision int64
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Print the configuration in force, or an earlier one",
		Long: `Print the configuration, ready to edit and to set again. With
-o json or yaml, print its revision, who put it in force and when besides;
'config set' takes that JSON too.`,
		Example: `  rialto exporter config get > config.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := exporterPath("config")
			if cmd.Flags().Changed("revision") {
				path = exporterPath("config", "revisions", fmt.Sprint(revision))
			}
			var v shown[exporterConfig]
			if err := c.do(cmd.Context(), http.MethodGet, path, nil, &v); err != nil {
				return err
			}
			if s.format != "table" {
				return s.print(v, nil, nil)
			}
			if v.row.empty() {
				return errNoExporterConfig
			}
			var text bytes.Buffer
			if err := json.Indent(&text, v.row.Config, "", "  "); err != nil {
				return fmt.Errorf("read the server's configuration: %w", err)
			}
			_, err := fmt.Fprintln(s.out, strings.TrimSpace(text.String()))
			return err
		},
	}
	cmd.Flags().Int64Var(&revision, "revision", 0, "print the configuration of this revision")
	return listing(remote(cmd, c), s)
}

func newExporterConfigSet(s *streams, c *client) *cobra.Command {
	var base int64
	cmd := &cobra.Command{
		Use:   "set FILE",
		Short: "Put a configuration in force",
		Long: `Put a configuration in force, from a file or - for standard input: as it is, or as
'config get -o json' prints it. With --base REVISION it is refused if another than
that one is in force by now.

What is no longer exported stays in the catalog until a full sync removes it, which
it does within its limits. What is in the catalog already is mapped anew by the next
full sync, or when an event tells of it.`,
		Example: `  rialto exporter config set config.json
  rialto exporter config get | jq '.resources |= map(select(.kind != "AWS::SNS::Topic"))' | rialto exporter config set -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, text, err := readConfigFile(s, args[0])
			if err != nil {
				return err
			}
			for _, w := range conf.Warnings {
				fmt.Fprintf(s.err, "Warning: %s\n", plainLines(w.String()))
			}
			in := struct {
				Config exporterText `json:"config"`
				Base   *int64       `json:"base_revision,omitempty"`
			}{Config: text}
			if cmd.Flags().Changed("base") {
				in.Base = &base
			}
			var before, v shown[exporterConfig]
			if err := c.do(cmd.Context(), http.MethodGet, exporterPath("config"), nil, &before); err != nil {
				return err
			}
			if err := c.do(cmd.Context(), http.MethodPut, exporterPath("config"), in, &v); err != nil {
				return err
			}
			for _, w := range v.row.Warnings {
				told := func(t config.Problem) bool { return t.Path == w.Path && t.Message == w.Message }
				if !slices.ContainsFunc(conf.Warnings, told) {
					fmt.Fprintf(s.err, "Warning: %s\n", plainLines(w.String()))
				}
			}
			noteDropped(s, &before.row, conf, v.row.Dropped)
			if s.format != "table" {
				return s.print(v, nil, nil)
			}
			if v.row.Revision > 1 {
				fmt.Fprintln(s.err, "Note: the next full sync brings what is in the catalog already into line: 'rialto exporter sync run'")
			}
			_, err = fmt.Fprintf(s.out, "Revision %d is in force: %s\n", v.row.Revision, counted(len(conf.Kinds()), "kind"))
			return err
		},
	}
	cmd.Flags().Int64Var(&base, "base", 0, "refuse if another revision than this one is in force now")
	return listing(remote(cmd, c), s)
}

// readConfigText reads a configuration, by itself or as 'exporter config get -o json' prints it.
func readConfigText(s *streams, name string) ([]byte, error) {
	text, err := readLimited(s, name, maxConfigFile)
	if err != nil {
		return nil, err
	}
	return configOf(text), nil
}

// maxConfigFile bounds a file with a configuration and what is around it.
const maxConfigFile = 2 * config.MaxText

// configOf is the configuration in what the server says of a revision. Other text is as it was. The
// lines before it stay as empty ones, so that errors name the lines of the file.
func configOf(text []byte) []byte {
	var v struct {
		Revision  *int64          `json:"revision"`
		Config    json.RawMessage `json:"config"`
		Resources json.RawMessage `json:"resources"`
	}
	if json.Unmarshal(text, &v) != nil || v.Revision == nil || v.Resources != nil || !bytes.HasPrefix(v.Config, []byte("{")) {
		return text
	}
	before, _, _ := bytes.Cut(text, v.Config)
	return append(bytes.Repeat([]byte("\n"), bytes.Count(before, []byte("\n"))), v.Config...)
}

// noteDropped says which kinds are no longer exported, and of the others which regions, since
// their entities go.
func noteDropped(s *streams, before *exporterConfig, conf *config.Config, dropped []droppedScope) {
	old, err := before.parsed()
	if err != nil {
		return // there was none
	}
	note := func(what, whose string) {
		if conf.SkipDelete {
			fmt.Fprintf(s.err, "Note: %s; skip_delete keeps %s\n", what, whose)
			return
		}
		fmt.Fprintf(s.err, "Note: %s: the next full sync removes %s, as many as 'rialto exporter sync settings' lets go unasked\n", what, whose)
	}
	kinds := conf.Kinds()
	for _, kind := range old.Kinds() {
		if !slices.Contains(kinds, kind) {
			note(kind+" is no longer configured", "its entities")
		}
	}
	for _, what := range droppedRegions(dropped) {
		note(what, "its entities of there")
	}
	if len(dropped) >= config.MaxDropped {
		printNotes(s, []string{fmt.Sprintf("these are the first %d accounts and regions that are no longer selected; there may be more", config.MaxDropped)})
	}
}

// droppedRegions says which regions are no longer selected for which kind, and of whom, each
// once.
func droppedRegions(dropped []droppedScope) []string {
	type place struct{ region, kind string }
	var places []place
	accounts := map[place][]string{}
	for _, d := range dropped {
		at := place{d.Region, d.Kind}
		if accounts[at] == nil {
			places = append(places, at)
		}
		accounts[at] = append(accounts[at], d.Account)
	}
	list := make([]string, 0, len(places))
	for _, at := range places {
		whose := "account " + accounts[at][0]
		if n := len(accounts[at]); n > 1 {
			whose = counted(n, "account")
		}
		list = append(list, fmt.Sprintf("%s is no longer selected for %s (%s)", at.region, at.kind, whose))
	}
	return list
}

func newExporterConfigCheck(s *streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "check FILE",
		Short:   "Check a configuration without putting it in force; 'exporter lint' tries it with samples besides",
		Example: `  rialto exporter config check config.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l := &exporterLint{config: args[0]}
			return l.run(cmd.Context(), s)
		},
	}
	return listing(cmd, s)
}

// errNoExporterConfig says that nothing was set.
var errNoExporterConfig = errors.New("the exporter has no configuration; 'rialto exporter init KIND…' writes one to begin with, 'rialto exporter config set FILE' puts it in force")

// exporterText is JSON that is sent as it is.
type exporterText []byte

// MarshalJSON returns the text.
func (t exporterText) MarshalJSON() ([]byte, error) { return t, nil }

// empty reports whether nothing was set.
func (v *exporterConfig) empty() bool { return len(v.Config) == 0 || string(v.Config) == "null" }

// parsed reads the configuration.
func (v *exporterConfig) parsed() (*config.Config, error) {
	if v.empty() {
		return nil, errNoExporterConfig
	}
	conf, err := config.Parse(v.Config)
	if err != nil {
		return nil, fmt.Errorf("the server's configuration:\n%w", err)
	}
	return conf, nil
}
