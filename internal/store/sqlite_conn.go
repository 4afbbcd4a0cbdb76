package store

import (
	"container/list"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"hash/maphash"
	"io"

	_ "modernc.org/sqlite"
)

// SQLite compiles a statement each time it runs unless it is kept, which takes longer than
// running most of ours. So each connection keeps the latest ones.
const (
	keptStatements = 128
	maxSeen        = 1024
)

// sqliteConnector opens connections that keep their statements.
type sqliteConnector struct {
	dsn    string
	driver driver.Driver
}

func openSQLitePool(dsn string) (*sql.DB, error) {
	// The driver is registered under a name and is not to be had otherwise.
	registered, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	d := registered.Driver()
	if err := registered.Close(); err != nil {
		return nil, err
	}
	return sql.OpenDB(&sqliteConnector{dsn: dsn, driver: d}), nil
}

// Driver returns SQLite's.
func (c *sqliteConnector) Driver() driver.Driver { return c.driver }

// Connect opens a connection and sets it up.
func (c *sqliteConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := c.driver.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(sqliteDriverConn)
	if !ok {
		return nil, errors.Join(errors.New("the SQLite driver lacks what the store needs of it"), conn.Close())
	}
	return &sqliteConn{sqliteDriverConn: inner, kept: map[string]*list.Element{}, seen: map[uint64]struct{}{}}, nil
}

// sqliteDriverConn is what the driver's connections can do.
type sqliteDriverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteConn struct {
	sqliteDriverConn
	kept map[string]*list.Element // idle statements by their text
	lru  list.List                // of *keptStmt, latest first
	// seen holds hashes of texts that ran. One is kept when it comes again: those with lists
	// of ids in them never do, and would only push out the others.
	seen map[uint64]struct{}
	// openRows counts the results that were not closed yet.
	openRows int
}

type keptStmt struct {
	query string
	stmt  driver.Stmt
	again bool // its text has come twice
}

var textSeed = maphash.MakeSeed()

// Close closes the kept statements, and the connection.
func (c *sqliteConn) Close() error {
	var errs []error
	for e := c.lru.Front(); e != nil; e = e.Next() {
		errs = append(errs, e.Value.(*keptStmt).stmt.Close())
	}
	c.lru.Init()
	clear(c.kept)
	return errors.Join(append(errs, c.sqliteDriverConn.Close())...)
}

// ExecContext runs a statement that returns no rows.
func (c *sqliteConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	res, err := s.stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if kept := c.keep(s); err == nil {
		err = kept
	}
	return res, err
}

// QueryContext runs a statement that returns rows.
func (c *sqliteConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		_ = s.stmt.Close() // which says no more than err
		return nil, err
	}
	c.openRows++
	return &sqliteRows{Rows: rows, conn: c, stmt: s}, nil
}

// take returns the statement, which is the caller's alone until keep: two
// results of one text may be read at once.
func (c *sqliteConn) take(ctx context.Context, query string) (*keptStmt, error) {
	if e, ok := c.kept[query]; ok {
		delete(c.kept, query)
		return c.lru.Remove(e).(*keptStmt), nil
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &keptStmt{query: query, stmt: stmt}, nil
}

func (c *sqliteConn) keep(s *keptStmt) error {
	if _, twice := c.kept[s.query]; twice || !c.again(s) {
		return s.stmt.Close()
	}
	c.kept[s.query] = c.lru.PushFront(s)
	if c.lru.Len() <= keptStatements {
		return nil
	}
	old := c.lru.Remove(c.lru.Back()).(*keptStmt)
	delete(c.kept, old.query)
	return old.stmt.Close()
}

// again says whether a statement's text ran before.
func (c *sqliteConn) again(s *keptStmt) bool {
	if s.again {
		return true
	}
	hash := maphash.String(textSeed, s.query)
	if _, s.again = c.seen[hash]; s.again {
		delete(c.seen, hash)
		return true
	}
	if len(c.seen) >= maxSeen {
		clear(c.seen)
	}
	c.seen[hash] = struct{}{}
	return false
}

// sqliteRows gives its statement back when it is closed.
type sqliteRows struct {
	driver.Rows
	conn *sqliteConn
	stmt *keptStmt
}

// Close may be called again.
func (r *sqliteRows) Close() error {
	if r.stmt == nil {
		return nil
	}
	r.conn.openRows--
	err := r.Rows.Close()
	if kept := r.conn.keep(r.stmt); err == nil {
		err = kept
	}
	r.stmt = nil
	return err
}

// Next reads a row; io.EOF ends the result.
func (r *sqliteRows) Next(dest []driver.Value) error {
	if r.stmt == nil {
		return io.EOF
	}
	return r.Rows.Next(dest)
}

// ColumnTypeDatabaseTypeName returns a column's declared type.
func (r *sqliteRows) ColumnTypeDatabaseTypeName(i int) string {
	if t, ok := r.Rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return t.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}
