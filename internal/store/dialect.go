package store

import (
	"strconv"
	"time"
)

// Dialect is the kind of database. Its methods give the few pieces of SQL that
// differ between the two.
type Dialect int

const (
	// SQLite is the database in the data directory.
	SQLite Dialect = iota + 1
	// Postgres is a PostgreSQL server, shared by all nodes.
	Postgres
)

// String returns "sqlite" or "postgres".
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "sqlite"
	case Postgres:
		return "postgres"
	}
	return "unknown"
}

// SkipLocked ends a SELECT that takes rows for this transaction and passes
// over those that another one holds.
func (d Dialect) SkipLocked() string {
	if d == Postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// ForUpdate ends a SELECT whose rows must not change until the transaction ends.
func (d Dialect) ForUpdate() string {
	if d == Postgres {
		return " FOR UPDATE"
	}
	return ""
}

// clock is an expression for the time in unix milliseconds that leases and the like go by,
// and the argument for its placeholder. On PostgreSQL it's the server's clock, one for all
// nodes; on SQLite it's this process's.
func (d Dialect) clock(placeholder string) (expr string, arg any) {
	if d == Postgres {
		return "COALESCE(CAST(" + placeholder + " AS BIGINT), CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT))", nil
	}
	return placeholder, time.Now().UnixMilli()
}

// In returns the condition that what stands before it is one of the numbers, and the argument
// for its placeholder. The text is the same however many there are: databases keep what they
// compiled of it.
func (d Dialect) In(placeholder string, ids []int64) (condition string, arg any) {
	if d == Postgres {
		return " = ANY(" + placeholder + "::bigint[])", ids
	}
	return " IN (SELECT value FROM json_each(" + placeholder + "))", "[" + IDList(ids) + "]"
}

// IDList returns the numbers as the list of SQL's IN. They are ours, never a user's
// text; where SQL wants one at least, there must be.
func IDList(ids []int64) string {
	b := make([]byte, 0, 12*len(ids))
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(b)
}

// PrefixEnd returns the least string that is greater than every string with
// the prefix: name >= prefix AND name < PrefixEnd(prefix) selects them by
// index. An empty prefix gives a string above all valid text.
func PrefixEnd(prefix string) string {
	return prefix + "\U0010FFFF"
}
