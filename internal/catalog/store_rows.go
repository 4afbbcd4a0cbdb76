package catalog

import (
	"context"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/store"
)

// column is a column of rows that a statement takes: of texts, of which nil is NULL, or of numbers.
type column struct {
	name  string
	texts []*string
	ints  []int64
}

// rowsOf returns rows as a statement has them after INSERT INTO t (…) or within IN (…), and their
// arguments. On PostgreSQL it is always the same text, which is planned once; there the
// columns are arrays. SQLite takes the longer for each argument the more there are, so
// numbers stand in the text, and texts that come twice are one argument.
func rowsOf(d store.Dialect, columns []column) (source string, args []any) {
	if d == store.Postgres {
		return unnested(columns)
	}
	n := max(len(columns[0].ints), len(columns[0].texts))
	var a argList
	b := make([]byte, 0, 24*n*len(columns))
	b = append(b, "VALUES "...)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		for j := range columns {
			sep := byte(',')
			if j == 0 {
				sep = '('
			}
			b = append(b, sep)
			if c := &columns[j]; c.texts != nil {
				b = append(b, a.optional(c.texts[i])...)
			} else {
				b = strconv.AppendInt(b, c.ints[i], 10)
			}
		}
		b = append(b, ')')
	}
	return string(b), a.args
}

func unnested(columns []column) (source string, args []any) {
	var b strings.Builder
	b.WriteString("SELECT * FROM unnest(")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(i+1))
		if c.texts != nil {
			b.WriteString("::text[]")
			args = append(args, c.texts)
			continue
		}
		b.WriteString("::bigint[]")
		args = append(args, c.ints)
	}
	b.WriteString(")")
	return b.String(), args
}

// insertInto returns INSERT INTO table (…) with the rows.
func insertInto(d store.Dialect, table string, columns []column) (query string, args []any) {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	source, args := rowsOf(d, columns)
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") " + source, args
}

// in returns the condition that an expression is one of the ids. The rest of the statement's arguments
// come before it.
func (a *argList) in(d store.Dialect, ids []int64) string {
	if d == store.Postgres {
		return " = ANY(" + a.add(ids) + "::bigint[])"
	}
	return " IN (" + store.IDList(ids) + ")"
}

// inTexts is in with texts.
func (a *argList) inTexts(d store.Dialect, list []string) string {
	if d == store.Postgres {
		return " = ANY(" + a.add(list) + "::text[])"
	}
	return " IN (" + a.texts(list) + ")"
}

// rowsAtOnce is how many rows one statement takes: as many as are given for SQLite, where the time
// for a statement grows faster than they do.
func rowsAtOnce(d store.Dialect, sqlite int) int {
	if d == store.Postgres {
		return max(sqlite, 1000)
	}
	return sqlite
}

// planForSize has PostgreSQL plan the transaction's statements for the tables as they are: a plan that
// it keeps may be of a time when they were empty, and read them from end to end.
func planForSize(ctx context.Context, tx *store.Tx) error {
	if tx.Dialect() != store.Postgres {
		return nil
	}
	_, err := tx.Exec(ctx, `SET LOCAL plan_cache_mode = force_custom_plan`)
	return err
}
