package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

func (p *Pool) processDir() string { return filepath.Join(p.opt.Dir, "processes") }
func (p *Pool) clientDir() string  { return filepath.Join(p.opt.Dir, "clients") }

// takeDir makes the directory the pool's own: what an earlier run left is ended and
// deleted. The function it returns gives the directory free.
func (p *Pool) takeDir(ctx context.Context) (free func(), err error) {
	dir, err := filepath.Abs(p.opt.Dir)
	if err != nil {
		return nil, err
	}
	p.opt.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is used by another server: %w", dir, err)
	}
	closeFilesOnExec()
	err = errors.Join(p.endLeftovers(ctx), p.writeClients())
	if err != nil {
		lock.Close()
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// endLeftovers ends processes whose directories are still there, and deletes these.
func (p *Pool) endLeftovers(ctx context.Context) error {
	entries, err := os.ReadDir(p.processDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, e := range entries {
		ids[e.Name()] = true
	}
	if n := killStrays(ids, p.opt.Logger); n > 0 {
		p.opt.Logger.Warn("processes of functions were left by an earlier server and are ended", "processes", n)
	}
	for id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := removeAll(filepath.Join(p.processDir(), id)); err != nil {
			return err
		}
	}
	return nil
}

// writeClients puts the clients of Node and Python where these can read them.
func (p *Pool) writeClients() error {
	if err := os.MkdirAll(p.clientDir(), 0o700); err != nil {
		return err
	}
	for _, f := range []*family{node, python} {
		text, err := clients.ReadFile("client/" + f.client)
		if err != nil {
			return err
		}
		name := filepath.Join(p.clientDir(), f.client)
		if err := errors.Join(os.WriteFile(name+".new", text, 0o600), os.Rename(name+".new", name)); err != nil {
			return err
		}
	}
	return nil
}

// removeAll deletes a directory, also where a function took its own rights away.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // a directory, and what does not work fails below
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// closeFilesOnExec has no file be inherited that whoever started the server left open
// in it. Those that Go opens are not in any case.
func closeFilesOnExec() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // a system without it
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
