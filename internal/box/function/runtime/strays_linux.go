package runtime

import (
	"bytes"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// strayEnds is how long a killed process may take to be gone.
const strayEnds = time.Second

// killStrays kills processes that functions' processes have left behind, and returns
// how many. They are known by the log stream in their environment, whose name ends in the id of
// the process that began it: 128 random bits that nobody else has.
func killStrays(ids map[string]bool, log *slog.Logger) int {
	if len(ids) == 0 {
		return 0
	}
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

// killStray kills a process that one of the ids began. The process is held by a
// descriptor first, so that its number is nobody else's when it is killed.
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
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(strayEnds.Milliseconds()))
	return true
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
