//go:build unix

package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes the file for this process alone; the kernel lets go of it when
// the process ends, however it ends.
func tryLock(f *os.File) (ok bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return false, nil
	}
	return err == nil, err
}

func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }
