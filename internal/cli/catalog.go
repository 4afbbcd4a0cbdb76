package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newCatalog(s *streams, c *client) *cobra.Command {
	return group("catalog", "The software catalog: blueprints and their entities",
		newCatalogGet(s, c), newCatalogSearch(s, c), newCatalogHistory(s, c), newCatalogApply(s, c), newCatalogDelete(s, c))
}

// catalogPath is a path of the catalog's API, its parts escaped.
func catalogPath(parts ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, p := range parts {
		b.WriteString("/" + pathSegment(p))
	}
	return b.String()
}

// catalogEntity is what a table shows of an entity.
type catalogEntity struct {
	Blueprint  string     `json:"blueprint"`
	Identifier string     `json:"identifier"`
	Title      string     `json:"title"`
	Team       []string   `json:"team"`
	UpdatedAt  *time.Time `json:"updatedAt"`
	UpdatedBy  string     `json:"updatedBy"`
}

func newCatalogGet(s *streams, c *client) *cobra.Command {
	var limit int
	var definition bool
	cmd := &cobra.Command{
		Use:   "get [BLUEPRINT [IDENTIFIER]]",
		Short: "Show an entity, list a blueprint's entities, or list the blueprints",
		Long: `Show an entity with all its properties, computed ones too. Without an identifier
list the entities of the blueprint, without a blueprint the blueprints.`,
		Example: `  rialto catalog get
  rialto catalog get lambda
  rialto catalog get lambda --definition -o json
  rialto catalog get lambda arn:aws:lambda:eu-west-1:123456789012:function:orders`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if definition && len(args) != 1 {
				return usagef("--definition is of one blueprint: rialto catalog get BLUEPRINT --definition")
			}
			if limit < 0 {
				return usagef("--limit %d is not a number of entities", limit)
			}
			switch {
			case len(args) == 0:
				return listBlueprints(cmd.Context(), s, c)
			case definition:
				return showOne(cmd.Context(), s, c, catalogPath("blueprints", args[0]), "blueprint")
			case len(args) == 1:
				list, err := pagedEntities(cmd.Context(), c, args[0], nil, limit)
				if err != nil {
					return err
				}
				return printEntities(s, list)
			}
			return showOne(cmd.Context(), s, c, catalogPath("blueprints", args[0], "entities", args[1]), "entity")
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many entities; 0 lists all")
	cmd.Flags().BoolVar(&definition, "definition", false, "show the blueprint itself: its properties and relations")
	return listing(remote(cmd, c), s)
}

// showOne shows the member of an answer.
func showOne(ctx context.Context, s *streams, c *client, path, member string) error {
	var answer map[string]json.RawMessage
	if err := c.do(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return err
	}
	var v map[string]any
	if err := json.Unmarshal(answer[member], &v); err != nil {
		return err
	}
	return s.print(v, []string{"FIELD", "VALUE"}, fieldRows("", v))
}

func listBlueprints(ctx context.Context, s *streams, c *client) error {
	type blueprint struct {
		Identifier string `json:"identifier"`
		Title      string `json:"title"`
		Schema     struct {
			Properties map[string]any `json:"properties"`
		} `json:"schema"`
		Relations map[string]struct {
			Target string `json:"target"`
		} `json:"relations"`
		UpdatedAt *time.Time `json:"updatedAt"`
	}
	var answer struct {
		Blueprints []shown[blueprint] `json:"blueprints"`
	}
	if err := c.do(ctx, http.MethodGet, catalogPath("blueprints"), nil, &answer); err != nil {
		return err
	}
	rows := make([][]string, 0, len(answer.Blueprints))
	for _, v := range answer.Blueprints {
		b := v.row
		rows = append(rows, []string{b.Identifier, or(b.Title), strconv.Itoa(len(b.Schema.Properties)), strconv.Itoa(len(b.Relations)), when(b.UpdatedAt)})
	}
	return s.print(orEmpty(answer.Blueprints), []string{"BLUEPRINT", "TITLE", "PROPERTIES", "RELATIONS", "UPDATED"}, rows)
}

// orEmpty is a list that JSON and YAML show as one.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// entityPage is how many entities are asked for at once.
const entityPage = 1000

// pagedEntities lists entities of a blueprint that a query finds, nil for all; limit 0
// is no limit.
func pagedEntities(ctx context.Context, c *client, blueprint string, query any, limit int) ([]shown[catalogEntity], error) {
	all := []shown[catalogEntity]{}
	body := map[string]any{}
	if query != nil {
		body["query"] = query
	}
	for {
		body["limit"] = entityPage
		if limit > 0 {
			body["limit"] = min(entityPage, limit-len(all))
		}
		var page struct {
			Entities []shown[catalogEntity] `json:"entities"`
			Next     *string                `json:"next"`
		}
		if err := c.do(ctx, http.MethodPost, catalogPath("blueprints", blueprint, "entities", "search"), body, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Entities...)
		if page.Next == nil || limit > 0 && len(all) >= limit {
			return all, nil
		}
		body["from"] = *page.Next
	}
}

func printEntities(s *streams, list []shown[catalogEntity]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		e := v.row
		rows = append(rows, []string{e.Blueprint, e.Identifier, or(e.Title), or(strings.Join(e.Team, ",")), when(e.UpdatedAt), or(e.UpdatedBy)})
	}
	return s.print(list, []string{"BLUEPRINT", "IDENTIFIER", "TITLE", "TEAM", "UPDATED", "BY"}, rows)
}
