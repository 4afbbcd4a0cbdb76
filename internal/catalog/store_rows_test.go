package catalog

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestLongRowsAreWrittenByThemselvesOnSQLite(t *testing.T) {
	t.Parallel()
	const long = longRow
	for _, test := range []struct {
		name    string
		dialect store.Dialect
		in      []int
		want    [][]int
	}{
		{"none", store.SQLite, nil, nil},
		{"short ones together", store.SQLite, []int{1, 2, 3}, [][]int{{1, 2, 3}}},
		{"long ones alone, in order", store.SQLite, []int{long, 1, 2, long, long + 1, 3}, [][]int{{long}, {1, 2}, {long}, {long + 1}, {3}}},
		{"all together elsewhere", store.Postgres, []int{long, 1, long}, [][]int{{long, 1, long}}},
	} {
		got := slices.Collect(rowChunks(test.dialect, test.in, func(n int) int { return n }))
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	var sizes []int
	for chunk := range rowChunks(store.SQLite, make([]int, 2*rowsAtOnce+1), func(n int) int { return n }) {
		sizes = append(sizes, len(chunk))
	}
	if want := []int{rowsAtOnce, rowsAtOnce, 1}; !slices.Equal(sizes, want) {
		t.Errorf("chunks of %v rows, want %v", sizes, want)
	}
}

// Rows keep their texts and numbers, alone and in a list.
func TestRowsAreStoredAsTheyAre(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	texts := []string{"", "12", "true", "null", `{"a":"<&>"}`, "订单 😀\u2028", "1e5", strings.Repeat("长", longRow)}
	for _, n := range []int{1, len(texts)} {
		for from := range len(texts) - n + 1 {
			columns := []column{{name: "t"}, {name: "none"}, {name: "i"}}
			for i, text := range texts[from : from+n] {
				columns[0].texts, columns[1].texts = append(columns[0].texts, &text), append(columns[1].texts, nil)
				columns[2].ints = append(columns[2].ints, 1<<62-int64(i))
			}
			query, args := insertInto(db.Dialect(), "r", columns)
			var got []string
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.Exec(t.Context(), `CREATE TABLE r (t TEXT, none TEXT, i BIGINT)`); err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), query, args...); err != nil {
					return err
				}
				rows, err := tx.Query(t.Context(), `SELECT t FROM r WHERE none IS NULL AND typeof(t) = 'text' AND typeof(i) = 'integer' ORDER BY i DESC`)
				if got, err = store.All(rows, err, func(row store.Row) (s string, err error) { return s, row.Scan(&s) }); err != nil {
					return err
				}
				_, err = tx.Exec(t.Context(), `DROP TABLE r`)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, texts[from:from+n]) {
				t.Errorf("%d rows come back as %q", n, got)
			}
		}
	}
}
