package store

import (
	"database/sql"
	"errors"
)

// Row is one row of a result: what *sql.Row and *sql.Rows have in common.
type Row interface{ Scan(dest ...any) error }

// All reads every row of a query with scan, and closes the result. It takes what
// Query returned, the error included.
func All[T any](rows *sql.Rows, err error, scan func(Row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// One reads the row of a query with scan; found is false if there is none.
func One[T any](row *sql.Row, scan func(Row) (T, error)) (t T, found bool, err error) {
	t, err = scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return t, false, nil
	}
	return t, err == nil, err
}
