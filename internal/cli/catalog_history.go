package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// catalogChange is what a table shows of an entry of the catalog's history.
type catalogChange struct {
	Action  string `json:"action"`
	Context struct {
		Blueprint string `json:"blueprint"`
		Entity    string `json:"entity"`
	} `json:"context"`
	Trigger struct {
		At     *time.Time `json:"at"`
		Origin string     `json:"origin"`
		By     struct {
			UserID string `json:"userId"`
		} `json:"by"`
	} `json:"trigger"`
	AdditionalData struct {
		Cause struct {
			EventID string `json:"event_id"`
			RunID   string `json:"run_id"`
			Record  string `json:"record"`
			Why     string `json:"why"`
		} `json:"cause"`
		Fields map[string]json.RawMessage `json:"fields"`
	} `json:"additionalData"`
}

func newCatalogHistory(s *streams, c *client) *cobra.Command {
	limit := 100
	cmd := &cobra.Command{
		Use:   "history [BLUEPRINT [IDENTIFIER]]",
		Short: "Show what changed in the catalog, and why: which event, sync run or caller",
		Long: `Show the changes of an entity, of a blueprint and its entities, or of the whole
catalog, the last first. CAUSE is the event, the full sync or the run that a change
came of; -o json has every field before and after, and the User-Agent of the writer
(datasource), which entities can be searched by as $datasource.`,
		Example: `  rialto catalog history lambda orders
  rialto catalog history --limit 20`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return usagef("--limit %d is not a number of changes", limit)
			}
			query := url.Values{}
			for i, name := range []string{"blueprint", "entity"} {
				if i < len(args) {
					query.Set(name, args[i])
				}
			}
			list, err := catalogChanges(cmd.Context(), c, query, limit)
			if err != nil {
				return err
			}
			if len(list) == 0 && len(args) > 0 {
				printNotes(s, []string{"the history has nothing of " + strings.Join(args, " ")})
			}
			return printChanges(s, list)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "show at most so many changes")
	return listing(remote(cmd, c), s)
}

// auditPage is how many changes are asked for at once.
const auditPage = 1000

func catalogChanges(ctx context.Context, c *client, query url.Values, limit int) ([]shown[catalogChange], error) {
	all := []shown[catalogChange]{}
	for {
		query.Set("limit", strconv.Itoa(min(auditPage, limit-len(all))))
		var page struct {
			Audits []shown[catalogChange] `json:"audits"`
			Next   *string                `json:"next"`
		}
		if err := c.do(ctx, http.MethodGet, "/v1/audit-log?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Audits...)
		if page.Next == nil || len(all) >= limit {
			return all, nil
		}
		query.Set("before", *page.Next)
	}
}

func printChanges(s *streams, list []shown[catalogChange]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		x := v.row
		cause := x.AdditionalData.Cause
		why := cause.EventID
		for _, s := range []string{cause.RunID, cause.Record, cause.Why} {
			if why == "" {
				why = s
			}
		}
		fields := make([]string, 0, len(x.AdditionalData.Fields))
		for name := range x.AdditionalData.Fields {
			fields = append(fields, name)
		}
		slices.Sort(fields)
		rows = append(rows, []string{
			when(x.Trigger.At), x.Action, x.Context.Blueprint, or(x.Context.Entity), x.Trigger.Origin, or(x.Trigger.By.UserID), or(why), or(summary(fields)),
		})
	}
	return s.print(list, []string{"AT", "ACTION", "BLUEPRINT", "ENTITY", "ORIGIN", "BY", "CAUSE", "FIELDS"}, rows)
}
