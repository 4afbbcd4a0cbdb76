package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres returns the URL of an empty database: in the server of RIALTO_TEST_POSTGRES, or in one
// that is started on the disk that is measured, syncing as ever. Without either the URL is
// empty.
func (b *bench) postgres(ctx context.Context) (serverURL string, stop func() error, err error) {
	if given := os.Getenv("RIALTO_TEST_POSTGRES"); given != "" {
		return createDatabase(ctx, given)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		fmt.Fprintln(os.Stderr, "no PostgreSQL: neither RIALTO_TEST_POSTGRES is set nor is initdb installed")
		return "", func() error { return nil }, nil
	}
	bin := filepath.Dir(slices.Max(found))
	dir, err := os.MkdirTemp("/tmp", "rialto-bench-pg-") // a socket's path may only be some 100 bytes long
	if err != nil {
		return "", nil, err
	}
	attr, err := asNobody(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir, "-c", "listen_addresses=", "-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB")
	server.SysProcAttr, server.Dir = attr, dir
	if err := server.Start(); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop = func() error {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown; it may have ended already
		return errors.Join(server.Wait(), os.RemoveAll(dir))
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}
	if err := awaitPostgres(ctx, u.String()); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return u.String(), stop, nil
}

// asNobody gives the directory to a user that PostgreSQL runs as: it refuses root.
func asNobody(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		who, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(who.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, uid, gid)
}

func awaitPostgres(ctx context.Context, serverURL string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, serverURL)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("start PostgreSQL: %w", err)
		}
	}
}

// createDatabase makes a database in a server, and drops it in the end.
func createDatabase(ctx context.Context, serverURL string) (string, func() error, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return "", nil, err
	}
	name := fmt.Sprint("rialto_bench_", os.Getpid())
	run := func(ctx context.Context, stmt string) error {
		conn, err := pgx.Connect(ctx, serverURL)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, stmt)
		return errors.Join(err, conn.Close(ctx))
	}
	if err := run(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, err
	}
	u.Path = "/" + name
	return u.String(), func() error { return run(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)") }, nil
}

// analyze does what the autovacuum daemon would do a little later.
func (h *hosts) analyze(ctx context.Context, serverURL string) error {
	conn, err := pgx.Connect(ctx, serverURL)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "VACUUM ANALYZE")
	return errors.Join(err, conn.Close(ctx))
}
