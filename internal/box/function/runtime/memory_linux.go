package runtime

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// peakMemory returns the most memory that the process had so far, in bytes; 0 if the
// system does not tell.
func (s *process) peakMemory() int64 {
	if s.hasExited() {
		if usage, ok := s.state.SysUsage().(*syscall.Rusage); ok {
			return usage.Maxrss << 10
		}
		return 0
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(s.os.Pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	kb, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return kb << 10
}
