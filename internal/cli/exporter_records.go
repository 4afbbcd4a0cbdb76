package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	pathExporterRecords   = "/v1/exporter/records"
	pathExporterResources = "/v1/exporter/resources"
)

// deadRecord is what a table shows of a dead record.
type deadRecord struct {
	ID         string     `json:"id"`
	Queue      string     `json:"queue"`
	Source     string     `json:"source"`
	Reason     string     `json:"reason"`
	Kind       *string    `json:"kind"`
	Region     *string    `json:"region"`
	Identifier *string    `json:"identifier"`
	Attempts   int        `json:"attempts"`
	SentAt     *time.Time `json:"sent_at"`
	DeadAt     *time.Time `json:"dead_at"`
	Body       *string    `json:"body"`
}

func newExporterRecords(s *streams, c *client) *cobra.Command {
	redrive := newRecordsEach(s, c, "redrive", "Put dead records back on the queues that they came from", http.MethodPost, "/redrive")
	redrive.Long = `Put dead records back on the queues that they came from. They are dealt with like new
ones: a record that fails again is kept under a new id. 'rialto exporter records list'
shows what came of them.`
	cmd := group("records", "Event records that were given up: look, redrive, delete",
		newRecordsList(s, c), newRecordsGet(s, c),
		redrive,
		newRecordsEach(s, c, "delete", "Forget dead records; they are nowhere else", http.MethodDelete, ""))
	cmd.Long = `Event records that were given up: they could not be read, or what they tell of could
not be read or stored for a day. They were taken off their queue; what the queue's
own dead-letter queue gets is kept here too. A record that is put back is dealt
with like a new one: the resource is read as it is then.`
	return cmd
}

// recordFilter are the flags that say which dead records are meant.
type recordFilter struct{ queue, account, region, kind, identifier string }

func (f *recordFilter) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.queue, "queue", "", "only those of this queue, by ARN")
	flags.StringVar(&f.account, "account", "", "only those of this cloud account")
	flags.StringVar(&f.region, "region", "", "only those of this region")
	flags.StringVar(&f.kind, "kind", "", "only those of this kind, such as AWS::Lambda::Function")
	flags.StringVar(&f.identifier, "identifier", "", "only those of this resource")
	_ = cmd.RegisterFlagCompletionFunc("kind", completeKinds)
}

// fields are the filter as the API has it.
func (f *recordFilter) fields() map[string]string {
	fields := map[string]string{"queue": f.queue, "account": f.account, "region": f.region, "kind": f.kind, "identifier": f.identifier}
	for name, value := range fields {
		if value == "" {
			delete(fields, name)
		}
	}
	return fields
}

func recordPath(id string) string { return pathExporterRecords + "/" + pathSegment(id) }

func orDash(s *string) string {
	if s == nil || *s == "" {
		return "-"
	}
	return *s
}

func newRecordsList(s *streams, c *client) *cobra.Command {
	var filter recordFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead records, the oldest first; -o json shows them whole",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[deadRecord]](cmd.Context(), c, query(pathExporterRecords, filter.fields()))
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, r := range list {
				rows = append(rows, []string{r.row.ID, when(r.row.DeadAt), orDash(r.row.Kind), orDash(r.row.Identifier), strconv.Itoa(r.row.Attempts), r.row.Reason})
			}
			return s.print(list, []string{"RECORD", "DEAD SINCE", "KIND", "IDENTIFIER", "ATTEMPTS", "REASON"}, rows)
		},
	}
	filter.flags(cmd)
	return listing(remote(cmd, c), s)
}

func newRecordsGet(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "get RECORD",
		Short: "Show a dead record and why it was given up",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r shown[deadRecord]
			if err := c.do(cmd.Context(), http.MethodGet, recordPath(args[0]), nil, &r); err != nil {
				return err
			}
			return printDeadRecord(s, r)
		},
	}, c), s)
}

// printDeadRecord shows one record. A body of several lines, as input templates make
// them, stands below the table as it is.
func printDeadRecord(s *streams, v shown[deadRecord]) error {
	r := v.row
	body := orDash(r.Body)
	below := s.format == "table" && strings.Contains(body, "\n")
	rows := [][]string{
		{"record", r.ID}, {"queue", r.Queue}, {"source", r.Source}, {"reason", r.Reason}, {"kind", orDash(r.Kind)},
		{"region", orDash(r.Region)}, {"identifier", orDash(r.Identifier)}, {"attempts", strconv.Itoa(r.Attempts)},
		{"sent", when(r.SentAt)}, {"dead since", when(r.DeadAt)},
	}
	if !below {
		return s.print(v, []string{"FIELD", "VALUE"}, append(rows, []string{"body", body}))
	}
	if err := s.print(v, []string{"FIELD", "VALUE"}, append(rows, []string{"body", "below"})); err != nil {
		return err
	}
	_, err := fmt.Fprintf(s.out, "\n%s\n", strings.TrimRight(plainLines(body), "\n"))
	return err
}

// newRecordsEach is a command for the dead records named, or for all of a filter.
func newRecordsEach(s *streams, c *client, use, short, method, suffix string) *cobra.Command {
	var filter recordFilter
	var all bool
	cmd := &cobra.Command{
		Use:   use + " [RECORD…]",
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := all || len(filter.fields()) > 0
			if chosen == (len(args) > 0) {
				return usagef("name the records, or say which by --queue, --account, --region, --kind or --identifier, or give --all; 'rialto exporter records list' lists them")
			}
			if chosen {
				n, err := recordsOf(cmd.Context(), c, use, filter.fields())
				if n > 0 || err == nil {
					fmt.Fprintln(s.out, counted(n, "record"))
				}
				return err
			}
			var failed []error
			for _, id := range args {
				if err := c.do(cmd.Context(), method, recordPath(id)+suffix, nil, nil); err != nil {
					failed = append(failed, fmt.Errorf("record %s: %w", id, err))
				}
			}
			fmt.Fprintf(s.out, "%d of %s\n", len(args)-len(failed), counted(len(args), "record"))
			return errors.Join(failed...)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all dead records")
	filter.flags(cmd)
	return remote(cmd, c)
}

// recordsOf does something with all dead records of a filter that there are now, and
// returns with how many.
func recordsOf(ctx context.Context, c *client, use string, fields map[string]string) (total int, err error) {
	failed, why := 0, ""
	for {
		var out struct {
			Done   int     `json:"done"`
			Failed int     `json:"failed"`
			Error  *string `json:"error"`
			After  string  `json:"after"`
			Until  string  `json:"until"`
		}
		if err := c.do(ctx, http.MethodPost, pathExporterRecords+"/"+use, fields, &out); err != nil {
			return total, err
		}
		total, failed = total+out.Done, failed+out.Failed
		if out.Error != nil && why == "" {
			why = *out.Error
		}
		switch {
		case out.After != "":
			fields["after"], fields["until"] = out.After, out.Until // what is given up meanwhile is not meant
		case failed > 0:
			return total, fmt.Errorf("not done: %s; the first because: %s", counted(failed, "record"), why)
		default:
			return total, nil
		}
	}
}

// exported is what a table shows of a resource.
type exported struct {
	Account    string `json:"account"`
	Region     string `json:"region"`
	Kind       string `json:"kind"`
	Identifier string `json:"identifier"`
	Present    bool   `json:"present"`
	Entities   []struct {
		Blueprint  string `json:"blueprint"`
		Identifier string `json:"identifier"`
	} `json:"entities"`
	Cause struct {
		Origin  string `json:"origin"`
		EventID string `json:"event_id"`
		RunID   string `json:"run_id"`
	} `json:"cause"`
	ReadAt    *time.Time `json:"read_at"`
	ChangedAt *time.Time `json:"changed_at"`
	Error     *string    `json:"error"`
}

// because says what changed the resource last.
func (r *exported) because() string {
	switch {
	case r.Cause.EventID != "":
		return r.Cause.Origin + " " + r.Cause.EventID
	case r.Cause.RunID != "":
		return r.Cause.Origin + " " + r.Cause.RunID
	}
	return r.Cause.Origin
}

func newExporterResources(s *streams, c *client) *cobra.Command {
	filter := map[string]*string{}
	var failed, gone bool
	cmd := &cobra.Command{
		Use:   "resources",
		Short: "What is known of the resources: their entities, when each was read, and what changed it last",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fields := map[string]string{}
			for name, value := range filter {
				if *value != "" {
					fields[name] = *value
				}
			}
			if failed {
				fields["failed"] = "true"
			}
			if gone {
				fields["gone"] = "true"
			}
			list, err := listAll[shown[exported]](cmd.Context(), c, query(pathExporterResources, fields))
			if err != nil {
				return err
			}
			if len(list) == 0 && fields["identifier"] != "" && !failed && !gone {
				printNotes(s, []string{"there is no such resource, or it is gone: --gone lists those too"})
			}
			rows := make([][]string, 0, len(list))
			for _, r := range list {
				rows = append(rows, r.row.cells())
			}
			return s.print(list, []string{"KIND", "IDENTIFIER", "ACCOUNT", "REGION", "ENTITIES", "READ", "CHANGED", "BECAUSE OF", "ERROR"}, rows)
		},
	}
	for name, about := range map[string]string{
		"account": "only those of this cloud account", "region": "only those of this region", "kind": "only those of this kind",
		"identifier": "only the one with this identifier", "blueprint": "with --entity, only those that an entity of this blueprint is made of",
		"entity": "with --blueprint, only those that this entity is made of",
	} {
		filter[name] = cmd.Flags().String(name, "", about)
	}
	cmd.Flags().BoolVar(&failed, "failed", false, "only those that could not be mapped or stored")
	cmd.Flags().BoolVar(&gone, "gone", false, "also those that do not exist any more")
	_ = cmd.RegisterFlagCompletionFunc("kind", completeKinds)
	return listing(remote(cmd, c), s)
}

func (r *exported) cells() []string {
	entities := ""
	for i, e := range r.Entities {
		if i > 0 {
			entities += ", "
		}
		if i == 3 {
			entities += fmt.Sprintf("and %d more", len(r.Entities)-i)
			break
		}
		entities += e.Blueprint + " " + e.Identifier
	}
	if !r.Present {
		entities = "(gone)"
	}
	if entities == "" {
		entities = "-"
	}
	return []string{r.Kind, r.Identifier, r.Account, r.Region, entities, when(r.ReadAt), when(r.ChangedAt), r.because(), orDash(r.Error)}
}
