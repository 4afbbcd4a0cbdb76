//go:build unix && !linux

package runtime

// peakMemory is not told by these systems while a process runs.
func (s *process) peakMemory() int64 { return 0 }
