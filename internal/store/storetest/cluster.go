//go:build linux || darwin

package storetest

import (
	"context"
	"database/sql"
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

	_ "github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"
)

// guard runs the server and ends it, files and all, once its standard input
// closes: which it does when the test process ends, however it ends.
const guard = `"$1"/postgres -D "$2"/data -k "$2" -c listen_addresses= \
	-c fsync=off -c full_page_writes=off -c max_connections=400 -c shared_buffers=64MB -c autovacuum=off &
pid=$!
read -r _
kill -QUIT $pid
wait $pid
rm -rf "$2"`

// startCluster makes and starts a PostgreSQL server on a Unix socket. Missing
// says what there is to install.
func startCluster(ctx context.Context) (serverURL, missing string, err error) {
	bin := findPostgres()
	if bin == "" {
		return "", "neither RIALTO_TEST_POSTGRES is set nor are initdb and postgres installed", nil
	}
	who, err := unprivileged()
	if err != nil {
		return "", err.Error(), nil //nolint:nilerr // what is missing is told, not failed on
	}
	dir, err := os.MkdirTemp(clusterParent(), "rialto-pg-")
	if err != nil {
		return "", "", err
	}
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			return "", "", err
		}
	}
	attr := &syscall.SysProcAttr{Credential: who}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := runGuard(bin, dir, attr); err != nil {
		os.RemoveAll(dir)
		return "", "", err
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}
	if err := waitForServer(ctx, u.String()); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return "", "", fmt.Errorf("start PostgreSQL: %w\n%s", err, log)
	}
	return u.String(), "", nil
}

// clusterParent is where the server's files go. Not a test's own directory: a socket's path
// may only be some 100 bytes long, and another user must get there. In memory, where
// there's room, a database is made in 10 ms instead of 150.
func clusterParent() string {
	const memory, enough = "/dev/shm", 2 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err == nil && uint64(fs.Bavail)*uint64(fs.Bsize) >= enough { //nolint:unconvert // other types elsewhere than on Linux
		return memory
	}
	return "/tmp"
}

// lifeline is held open until the process ends.
var lifeline *os.File //nolint:unused // it is only held

func runGuard(bin, dir string, attr *syscall.SysProcAttr) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	// A file, for a pipe would keep "go test" waiting.
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", "-c", guard, "guard", bin, dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, log, log
	cmd.SysProcAttr, cmd.Dir = attr, dir
	// A terminal's interrupt must not reach the server before the tests end.
	cmd.SysProcAttr.Setpgid = true
	lifeline = w
	return cmd.Start()
}

func waitForServer(ctx context.Context, serverURL string) error {
	db, err := sql.Open("pgx", serverURL)
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// findPostgres returns the directory of the server programs.
func findPostgres() string {
	var dirs []string
	if p, err := exec.LookPath("initdb"); err == nil {
		// A link may lead to a directory that has all of them.
		if real, err := filepath.EvalSymlinks(p); err == nil {
			p = real
		}
		dirs = append(dirs, filepath.Dir(p))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Reverse(debian)
	for _, dir := range append(dirs, debian...) {
		if isProgram(filepath.Join(dir, "initdb")) && isProgram(filepath.Join(dir, "postgres")) {
			return dir
		}
	}
	return ""
}

func isProgram(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// unprivileged returns whom to run the server as: PostgreSQL refuses root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
}
