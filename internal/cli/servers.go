package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// server is what a table shows of a server.
type server struct {
	ID              string          `json:"id"`
	ProjectName     string          `json:"project_name"`
	Hostname        string          `json:"hostname"`
	AccessAddress   *string         `json:"access_address"`
	State           string          `json:"state"`
	InstanceID      string          `json:"instance_id"`
	InstanceDetails instanceDetails `json:"instance_details"`
}

// instanceDetails are empty for a server that is no instance.
type instanceDetails struct {
	Region   string `json:"region"`
	EC2State string `json:"ec2_state"`
}

func newServers(s *streams, c *client) *cobra.Command {
	var projectName, selector, state, region string
	var unprotected bool
	cmd := &cobra.Command{
		Use:     "servers",
		Aliases: []string{"list-servers"},
		Short:   "List servers",
		Example: `  rialto inventory servers --project web
  rialto inventory servers -l 'aws.tag.team in (a, b),!aws.tag.legacy' -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range map[string]string{"selector": selector, "state": strings.ToUpper(state), "region": region} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if unprotected {
				query.Set("unprotected", "true")
			}
			path := teamPath("servers")
			if projectName != "" {
				path = teamPath("projects", projectName, "servers")
			}
			if len(query) > 0 {
				path += "?" + query.Encode()
			}
			return printServers(cmd, s, c, path)
		},
	}
	f := cmd.Flags()
	f.StringVar(&projectName, "project", "", "only this project's servers")
	f.StringVarP(&selector, "selector", "l", "", "only servers whose labels match, in Kubernetes syntax")
	f.StringVar(&state, "state", "", "only ACTIVE or INACTIVE servers")
	f.StringVar(&region, "region", "", "only servers of this region")
	f.BoolVar(&unprotected, "unprotected", false, "only running instances on which no agent has enrolled")
	return listing(remote(cmd, c), s)
}

func printServers(cmd *cobra.Command, s *streams, c *client, path string) error {
	list, err := listAll[shown[server]](cmd.Context(), c, path)
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		sv, d := v.row, v.row.InstanceDetails
		rows = append(rows, []string{or(sv.InstanceID), sv.State, or(d.EC2State), or(d.Region), sv.Hostname, or(text(sv.AccessAddress)), sv.ProjectName, sv.ID})
	}
	return s.print(list, []string{"INSTANCE", "STATE", "EC2", "REGION", "HOSTNAME", "ADDRESS", "PROJECT", "ID"}, rows)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func newServerShow(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "show SERVER",
		Short: "Show all that is known of a server, named by its id or instance id",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v map[string]any
			if err := c.do(cmd.Context(), http.MethodGet, teamPath("servers", args[0]), nil, &v); err != nil {
				return err
			}
			return s.print(v, []string{"FIELD", "VALUE"}, fieldRows("", v))
		},
	}, c), s)
}

// fieldRows lays an object out as rows, nested names joined by dots.
func fieldRows(prefix string, v map[string]any) [][]string {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	var rows [][]string
	for _, name := range names {
		switch value := v[name].(type) {
		case nil:
		case map[string]any:
			rows = append(rows, fieldRows(prefix+name+".", value)...)
		case []any:
			parts := make([]string, 0, len(value))
			for _, x := range value {
				parts = append(parts, fmt.Sprint(x))
			}
			if len(parts) > 0 {
				rows = append(rows, []string{prefix + name, strings.Join(parts, ", ")})
			}
		default:
			rows = append(rows, []string{prefix + name, fmt.Sprint(value)})
		}
	}
	return rows
}

// change is what a table shows of an entry of a server's history.
type change struct {
	At     *time.Time `json:"at"`
	Change string     `json:"change"`
	Cause  struct {
		Kind    string `json:"kind"`
		EventID string `json:"event_id"`
		RunID   string `json:"run_id"`
		AgentID string `json:"agent_id"`
		KeyID   string `json:"key_id"`
		Why     string `json:"why"`
	} `json:"cause"`
	Fields map[string]json.RawMessage `json:"fields"`
}

func newServerHistory(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "history SERVER",
		Short: "Show what changed a server, named by its id or instance id: which event, sync run, agent or caller",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := listAll[shown[change]](cmd.Context(), c, teamPath("servers", args[0], "history"))
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				x := v.row
				by := x.Cause.EventID + x.Cause.RunID + x.Cause.AgentID + x.Cause.KeyID
				fields := make([]string, 0, len(x.Fields))
				for name := range x.Fields {
					fields = append(fields, name)
				}
				slices.Sort(fields)
				rows = append(rows, []string{when(x.At), x.Change, x.Cause.Kind, or(by), or(x.Cause.Why), or(summary(fields))})
			}
			return s.print(list, []string{"AT", "CHANGE", "CAUSE", "BY", "WHY", "FIELDS"}, rows)
		},
	}, c), s)
}

// summary names the first fields of a change; -o json has them all.
func summary(fields []string) string {
	const shown = 4
	if len(fields) <= shown {
		return strings.Join(fields, ",")
	}
	return strings.Join(fields[:shown], ",") + fmt.Sprintf(" and %d more", len(fields)-shown)
}

func newServerLabel(c *client) *cobra.Command {
	return remote(&cobra.Command{
		Use:     "label ID [KEY=VALUE…]",
		Short:   "Replace the labels set by the API (api.…); other sources keep theirs",
		Example: "  rialto inventory server label 6f2c… team=payments tier=1",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			labels := map[string]string{}
			for _, pair := range args[1:] {
				key, value, ok := strings.Cut(pair, "=")
				if !ok || key == "" {
					return usagef("%q is not KEY=VALUE", pair)
				}
				labels[key] = value
			}
			return c.do(cmd.Context(), http.MethodPut, teamPath("servers", args[0]), map[string]any{"labels": labels}, nil)
		},
	}, c)
}

func newServerDelete(c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Remove a server from the inventory; its agent is turned away",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), http.MethodDelete, teamPath("projects", projectName, "servers", args[0]), nil, nil)
		},
	}
	return remote(inProject(cmd, &projectName), c)
}
