package runtime

import (
	"bytes"
	"os"
	"strconv"
)

// peakMemory returns the most memory that the process is known to have had, in bytes;
// 0 if it never said so. What the system tells of a process that has ended is not
// taken: it counts the server's own memory, from which the process was forked.
func (s *process) peakMemory() int64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(s.os.Pid) + "/status")
	if err != nil || s.hasExited() {
		return s.peak.Load()
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmHWM:"))
	line, _, _ := bytes.Cut(rest, []byte("kB"))
	if kb, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64); err == nil { // a process that ends has none
		s.peak.Store(kb << 10)
	}
	return s.peak.Load()
}
