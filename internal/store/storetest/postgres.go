package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// PostgresURL returns the URL of a fresh migrated database that is dropped when
// the test ends, or skips the test. A test of several nodes opens it
// several times.
func PostgresURL(t testing.TB) string {
	t.Helper()
	srv, err := server()
	if err != nil {
		t.Fatal(err)
	}
	if srv.missing != "" {
		t.Skip("no PostgreSQL: " + srv.missing)
	}
	name := "rialto_test_" + strings.ToLower(rand.Text())
	if err := srv.exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+srv.template+srv.strategy); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return srv.database(name)
}

type postgresServer struct {
	// missing says why there is no server on this machine.
	missing  string
	url      *url.URL
	template string
	// strategy ends CREATE DATABASE: the way of copying that is fastest for small ones.
	strategy string
}

// server starts or finds the server of this test process, once.
var server = sync.OnceValues(func() (*postgresServer, error) {
	srv := &postgresServer{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	raw := os.Getenv("RIALTO_TEST_POSTGRES")
	if raw == "" {
		var err error
		if raw, srv.missing, err = startCluster(ctx); err != nil || srv.missing != "" {
			return srv, err
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("RIALTO_TEST_POSTGRES: %w", err)
	}
	srv.url = u
	return srv, srv.makeTemplate(ctx)
})

func (s *postgresServer) database(name string) string {
	u := *s.url
	u.Path = "/" + name
	return u.String()
}

func (s *postgresServer) exec(ctx context.Context, stmt string) error {
	db, err := sql.Open("pgx", s.url.String())
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, stmt); err != nil {
		return fmt.Errorf("%s: %w", stmt, err)
	}
	return nil
}

// makeTemplate migrates one database that the others are copied from. Its name
// is made of the migrations, so that on a server that stays it is made once.
func (s *postgresServer) makeTemplate(ctx context.Context) error {
	db, err := sql.Open("pgx", s.url.String())
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to the PostgreSQL for tests: %w", err)
	}
	defer conn.Close()
	var version int
	if err := conn.QueryRowContext(ctx, `SELECT CAST(current_setting('server_version_num') AS INTEGER)`).Scan(&version); err != nil {
		return err
	}
	if version >= 150000 {
		s.strategy = " STRATEGY FILE_COPY"
	}
	s.template = "rialto_test_template_" + store.SchemaHash(store.Postgres)
	// Test processes run side by side; the lock ends with the connection.
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock(7425)`); err != nil {
		return err
	}
	var n int
	if err := conn.QueryRowContext(ctx, `SELECT count(*) FROM pg_database WHERE datname = $1`, s.template).Scan(&n); err != nil || n > 0 {
		return err
	}
	making := s.template + "_making"
	for _, stmt := range []string{
		"DROP DATABASE IF EXISTS " + making + " WITH (FORCE)",
		"CREATE DATABASE " + making + " TEMPLATE template0 ENCODING 'UTF8'",
	} {
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("%s: %w", stmt, err)
		}
	}
	migrated, err := store.Open(ctx, store.Options{URL: s.database(making)})
	if err != nil {
		return err
	}
	if err := migrated.Close(); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "ALTER DATABASE "+making+" RENAME TO "+s.template)
	return err
}
