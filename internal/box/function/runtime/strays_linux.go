package runtime

import (
	"bytes"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// strayEnds is how long a killed process may take to be gone.
	strayEnds = time.Second
	// strayRounds is how often strays are looked for at most: one may start another while
	// the list of processes is read.
	strayRounds = 10
)

// killStrays kills processes that functions' processes have left behind, and returns
// how many. They are known by the log stream in their environment, whose name ends in the id of
// the process that began it: 128 random bits that nobody else has.
func killStrays(ids map[string]bool, log *slog.Logger) int {
	if len(ids) == 0 {
		return 0
	}
	n := 0
	for range strayRounds {
		killed := killStraysOnce(ids, log)
		if n += killed; killed == 0 {
			break
		}
	}
	return n
}

// killStraysOnce returns how many of the strays that it saw are gone now.
func killStraysOnce(ids map[string]bool, log *slog.Logger) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		log.Warn("processes that functions left behind cannot be looked for", "error", err)
		return 0
	}
	n := 0
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() && killStray(pid, ids) {
			n++
		}
	}
	return n
}

// killStray kills a process that one of the ids began, and returns true when it is gone. The
// process is held by a descriptor first, so that its number is nobody else's when it is killed.
func killStray(pid int, ids map[string]bool) bool {
	if !ids[beganBy(pid)] {
		return false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false // it has ended
	}
	defer func() { _ = unix.Close(fd) }() // a descriptor that is only looked at
	if !ids[beganBy(pid)] || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return false
	}
	gone := awaitEnd(fd)
	// Where the server is the first process of a container, what is orphaned is its child.
	_ = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil) // ECHILD anywhere else
	return gone
}

// awaitEnd returns whether the process of a descriptor has ended, which it waits for.
func awaitEnd(fd int) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(strayEnds.Milliseconds()))
		if err != unix.EINTR {
			return n == 1
		}
	}
}

// beganBy returns the id at the end of the log stream in a process's environment, which
// can be read of the user's own processes only.
func beganBy(pid int) string {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := bytes.CutPrefix(v, []byte(streamVariable+"=")); ok {
			return string(value[max(0, len(value)-32):])
		}
	}
	return ""
}
