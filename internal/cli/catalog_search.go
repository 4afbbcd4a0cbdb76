package cli

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// maxQueryFile bounds a query read from a file.
const maxQueryFile = 1 << 20

func newCatalogSearch(s *streams, c *client) *cobra.Command {
	var where []string
	var blueprint, file string
	var limit int
	cmd := &cobra.Command{
		Use:   "search [--blueprint BLUEPRINT] [--where CONDITION…] [--query FILE]",
		Short: "Search entities, by conditions or by a query in Port's rule language",
		Long: `Search entities. Each --where is a condition that must hold: PROPERTY=VALUE, with
!=, >, >=, <, <= or ~ (contains) in place of =, or an operator of the rule language
between spaces: 'tags containsAny ["red","blue"]', 'owner isEmpty'. A VALUE that is
JSON is taken as such, else it is text: port=443 is a number, port='"443"' is text.
Meta properties begin with $: $team=payments, $updatedAt>2026-11-01T00:00:00Z.

--query reads a query in the rule language, {combinator, rules}, from a JSON or YAML
file; "-" is standard input.`,
		Example: `  rialto catalog search --blueprint lambda --where 'memory>=512' --where 'runtime~python'
  rialto catalog search --where '$datasource~port-aws-exporter' -o json
  rialto catalog search --query related.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit %d is not a number of entities", limit)
			}
			query, err := searchQuery(s, where, file)
			if err != nil {
				return err
			}
			if query == nil && blueprint == "" {
				return usagef("there is nothing to search by: give --blueprint, --where or --query")
			}
			list, err := foundEntities(cmd, c, blueprint, query, limit)
			if err != nil {
				return err
			}
			return printEntities(s, list)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&where, "where", nil, "a condition, such as memory>=512; may be repeated")
	f.StringVar(&blueprint, "blueprint", "", "only entities of this blueprint")
	f.StringVar(&file, "query", "", `file with a query in the rule language, JSON or YAML; "-" is standard input`)
	f.IntVar(&limit, "limit", 0, "show at most so many entities; 0 shows all")
	return listing(remote(cmd, c), s)
}

func foundEntities(cmd *cobra.Command, c *client, blueprint string, query map[string]any, limit int) ([]shown[catalogEntity], error) {
	if blueprint != "" {
		var q any
		if query != nil {
			q = query
		}
		return pagedEntities(cmd.Context(), c, blueprint, q, limit)
	}
	var answer struct {
		Entities []shown[catalogEntity] `json:"entities"`
	}
	if err := c.do(cmd.Context(), http.MethodPost, catalogPath("entities", "search"), query, &answer); err != nil {
		return nil, err
	}
	list := orEmpty(answer.Entities)
	if limit > 0 {
		list = list[:min(limit, len(list))]
	}
	return list, nil
}

// searchQuery joins the conditions and the query of a file; nil if there are none.
func searchQuery(s *streams, where []string, file string) (map[string]any, error) {
	var rules []any
	for _, text := range where {
		rule, err := parseCondition(text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	if file != "" {
		text, err := readLimited(s, file, maxQueryFile)
		if err != nil {
			return nil, err
		}
		docs, err := yamlDocuments(text)
		if err != nil {
			return nil, usagef("%s: %w", file, err)
		}
		if len(docs) != 1 {
			return nil, usagef("%s has %d documents; a query is one object, {combinator, rules}", file, len(docs))
		}
		query, ok := docs[0].(map[string]any)
		if !ok {
			return nil, usagef("%s is not a query: an object with combinator and rules", file)
		}
		if len(rules) == 0 {
			return query, nil
		}
		rules = append(rules, query)
	}
	if len(rules) == 0 {
		return nil, nil //nolint:nilnil // no query finds all
	}
	return map[string]any{"combinator": "and", "rules": rules}, nil
}

// conditionSigns are the short forms of operators.
var conditionSigns = map[string]string{
	"=": "=", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<=", "~": "contains", "!~": "doesNotContains",
}

var (
	signCondition = regexp.MustCompile(`^\s*([^\s=!<>~]+)\s*(!=|>=|<=|!~|=|>|<|~)\s*(.*)$`)
	wordCondition = regexp.MustCompile(`^\s*(\S+)\s+([A-Za-z]+)(?:\s+(.*))?$`)
	// withoutValue are the operators that take none.
	withoutValue = []string{"isEmpty", "isNotEmpty", "isExpired", "isNotExpired"}
)

// parseCondition reads PROPERTY=VALUE, or PROPERTY OPERATOR VALUE.
func parseCondition(text string) (map[string]any, error) {
	if m := wordCondition.FindStringSubmatch(text); m != nil {
		rule := map[string]any{"property": m[1], "operator": m[2]}
		value := strings.TrimSpace(m[3])
		switch none := slices.Contains(withoutValue, m[2]); {
		case none && value != "":
			return nil, usagef("--where %q: %s takes no value", text, m[2])
		case !none && value == "":
			return nil, usagef("--where %q: %s needs a value", text, m[2])
		case !none:
			rule["value"] = conditionValue(value)
		}
		return rule, nil
	}
	m := signCondition.FindStringSubmatch(text)
	if m == nil {
		return nil, usagef("--where %q is not a condition such as memory>=512 or 'tags containsAny [\"red\"]'", text)
	}
	return map[string]any{"property": m[1], "operator": conditionSigns[m[2]], "value": conditionValue(strings.TrimSpace(m[3]))}, nil
}

// conditionValue is JSON, or else text.
func conditionValue(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err == nil {
		return v
	}
	return text
}
