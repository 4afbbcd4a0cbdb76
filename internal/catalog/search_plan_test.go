package catalog

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// TestSourcesUseIndexes asks SQLite how it goes about the statements that find entities.
func TestSourcesUseIndexes(t *testing.T) {
	t.Parallel()
	w := newSearchWorld(t, storetest.SQLite(t))
	ctx := context.Background()
	m, err := w.model(ctx, w.db)
	if err != nil {
		t.Fatal(err)
	}
	b := m.byIdentifier["service"]
	for name, rules := range map[string]string{
		"text":            `{"property": "tier", "operator": "=", "value": "gold"}`,
		"one of several":  `{"property": "tier", "operator": "in", "value": ["gold", "silver"]}`,
		"beginning":       `{"property": "language", "operator": "beginsWith", "value": "G"}`,
		"range":           `{"property": "replicas", "operator": ">", "value": 2}, {"property": "replicas", "operator": "<", "value": 9}`,
		"times":           `{"property": "launched", "operator": "between", "value": {"preset": "last12Months"}}`,
		"title":           `{"property": "$title", "operator": "=", "value": "Billing"}`,
		"identifier":      `{"property": "$identifier", "operator": "in", "value": ["api", "web"]}`,
		"identifiers":     `{"property": "$identifier", "operator": "beginsWith", "value": "a"}`,
		"created":         `{"property": "$createdAt", "operator": ">", "value": "2026-11-01"}`,
		"updated":         `{"property": "$updatedAt", "operator": "<=", "value": "2026-11-01"}`,
		"datasource":      `{"property": "$datasource", "operator": "contains", "value": "port-aws-exporter"}`,
		"relation":        `{"relation": "team", "operator": "=", "value": "core"}`,
		"part of a text":  `{"property": "language", "operator": "contains", "value": "o"}`,
		"end of a text":   `{"property": "language", "operator": "endsWith", "value": "o"}`,
		"mirror property": `{"property": "teamMail", "operator": "=", "value": "core@example.com"}`,
	} {
		t.Run(name, func(t *testing.T) {
			rules = strings.ReplaceAll(rules, "last12Months", "last12Months")
			q, err := ParseQuery([]byte(`{"combinator": "and", "rules": [` + rules + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			asked := &statements{Querier: w.db}
			s := w.newSearch(asked, m, SearchOptions{Blueprint: "service"})
			s.patient = true
			cond, err := s.conditionFor(ctx, q.root, b)
			if err != nil {
				t.Fatal(err)
			}
			sources, err := s.sources(ctx, cond, b, 100)
			if err != nil || len(sources) == 0 {
				t.Fatalf("%d sources: %v", len(sources), err)
			}
			if _, err := s.pick(ctx, b, cond, sources, "a", 10); err != nil {
				t.Fatal(err)
			}
			w.explain(t, asked)
		})
	}
}

// statements notes what is asked.
type statements struct {
	store.Querier
	texts []string
	args  [][]any
}

// Query notes a statement.
func (s *statements) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s.note(query, args)
	return s.Querier.Query(ctx, query, args...)
}

// QueryRow notes a statement.
func (s *statements) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	s.note(query, args)
	return s.Querier.QueryRow(ctx, query, args...)
}

func (s *statements) note(query string, args []any) {
	s.texts, s.args = append(s.texts, query), append(s.args, args)
}

func (w *searchWorld) explain(t *testing.T, asked *statements) {
	t.Helper()
	for i, text := range asked.texts {
		rows, err := w.db.Query(context.Background(), `EXPLAIN QUERY PLAN `+text, asked.args[i]...)
		steps, err := store.All(rows, err, func(row store.Row) (string, error) {
			var id, parent, none int
			var step string
			err := row.Scan(&id, &parent, &none, &step)
			return step, err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "json_each") && !strings.Contains(step, "found") && !strings.Contains(step, "catalog_datasources") ||
				strings.Contains(text, "e.id IN") && strings.Contains(step, "SEARCH e ") && !strings.Contains(step, "INTEGER PRIMARY KEY") {
				t.Errorf("%s\n%s", text, strings.Join(steps, "\n"))
			}
		}
	}
}
