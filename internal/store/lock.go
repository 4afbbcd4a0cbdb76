package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockDataDir creates the directory if needed and takes it for this process.
// The file stays behind when the lock is released: removing it would let two
// processes hold locks on two files of the same name.
func lockDataDir(dir string) (io.Closer, error) {
	if err := makeDataDir(dir); err != nil {
		return nil, fmt.Errorf("create data directory %s: %w", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	ok, err := tryLock(f)
	if err == nil && !ok {
		err = fmt.Errorf("data directory %s is in use by %s; stop it or choose another --data-dir", dir, lockHolder(f))
	} else if err != nil {
		err = fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := writeHolder(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory %s: %w", dir, err), f.Close())
	}
	return &dirLock{f}, nil
}

// dirLock is the lock of a data directory.
type dirLock struct{ file *os.File }

// Close lets go of the lock before it closes the file: a process that is being
// forked right now has the file open too, until it runs its program.
func (l *dirLock) Close() error { return errors.Join(unlock(l.file), l.file.Close()) }

func lockHolder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}

func writeHolder(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// makeDataDir creates dir, and syncs its parent so that a power cut does not
// lose the directory with all that was committed inside it.
func makeDataDir(dir string) error {
	if fi, err := os.Stat(dir); err == nil {
		if !fi.IsDir() {
			return errors.New("it is a file")
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := parent.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}
