package catalog

import (
	"context"
	"encoding/json"
	"iter"
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

func (c *column) len() int { return max(len(c.ints), len(c.texts)) }

// rowsOf returns rows as a statement has them after INSERT INTO t (…) or within IN (…), and their
// argument or arguments. It is always the same text, however many rows there are: databases keep what they
// compiled of it.
func rowsOf(d store.Dialect, columns []column) (source string, args []any) {
	if d == store.Postgres {
		return unnested(columns)
	}
	var b strings.Builder
	b.WriteString("SELECT ")
	for i := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("value ->> " + strconv.Itoa(i))
	}
	b.WriteString(" FROM json_each($1) WHERE true") // without a WHERE, ON CONFLICT would be of a join
	return b.String(), []any{jsonRows(columns)}
}

// jsonRows are rows as a list of lists.
func jsonRows(columns []column) string {
	b := []byte{'['}
	for i := range columns[0].len() {
		if i > 0 {
			b = append(b, ',')
		}
		sep := byte('[')
		for j := range columns {
			b = append(b, sep)
			sep = ','
			switch c := &columns[j]; {
			case c.texts == nil:
				b = strconv.AppendInt(b, c.ints[i], 10)
			case c.texts[i] == nil:
				b = append(b, "null"...)
			default:
				text, _ := json.Marshal(*c.texts[i]) // of a string it does not fail
				b = append(b, text...)
			}
		}
		b = append(b, ']')
	}
	return string(append(b, ']'))
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
	of := rowsOf
	if d == store.SQLite && columns[0].len() == 1 {
		of = oneRow
	}
	source, args := of(d, columns)
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") " + source, args
}

// oneRow is rowsOf with a single row, whose texts are arguments of their own.
func oneRow(_ store.Dialect, columns []column) (source string, args []any) {
	var a argList
	var b strings.Builder
	sep := "VALUES ("
	for i := range columns {
		b.WriteString(sep)
		sep = ", "
		if c := &columns[i]; c.texts != nil {
			b.WriteString(a.add(c.texts[0]))
		} else {
			b.WriteString(a.add(c.ints[0]))
		}
	}
	b.WriteString(")")
	return b.String(), a.args
}

// longRow is how many bytes of text a row has that SQLite takes by itself: out of a list it takes
// ten times as long.
const longRow = 4 << 10

// rowChunks are rows in the chunks that one statement inserts; size is about how many bytes of text one has.
func rowChunks[T any](d store.Dialect, rows []T, size func(T) int) iter.Seq[[]T] {
	alone := func(row T) bool { return d == store.SQLite && size(row) >= longRow }
	return func(yield func([]T) bool) {
		for len(rows) > 0 {
			n := 1
			for !alone(rows[0]) && n < min(len(rows), rowsAtOnce) && !alone(rows[n]) {
				n++
			}
			if !yield(rows[:n]) {
				return
			}
			rows = rows[n:]
		}
	}
}

// in returns the condition that an expression is one of the ids. The rest of the statement's arguments
// come before it.
func (a *argList) in(d store.Dialect, ids []int64) string {
	condition, arg := d.In("$"+strconv.Itoa(len(a.args)+1), ids)
	a.args = append(a.args, arg)
	return condition
}

// inTexts is in with texts.
func (a *argList) inTexts(d store.Dialect, list []string) string {
	if d == store.Postgres {
		return " = ANY(" + a.add(list) + "::text[])"
	}
	text, _ := json.Marshal(list) // of strings it does not fail
	return " IN (SELECT value FROM json_each(" + a.add(string(text)) + "))"
}

// rowsAtOnce is how many rows one statement takes.
const rowsAtOnce = 1000

// planForSize has PostgreSQL plan the transaction's statements for the tables as they are: a plan that
// it keeps may be of a time when they were empty, and read them from end to end.
func planForSize(ctx context.Context, tx *store.Tx) error {
	if tx.Dialect() != store.Postgres {
		return nil
	}
	_, err := tx.Exec(ctx, `SET LOCAL plan_cache_mode = force_custom_plan`)
	return err
}
