//go:build unix && !linux

package runtime

import (
	"os"
	"syscall"
)

// attributes have a process be the leader of its own group.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// startProcesses starts processes until it is told to end.
func (p *Pool) startProcesses(end <-chan struct{}) {
	for {
		select {
		case st := <-p.starts:
			st.done <- startOne(st)
		case <-end:
			return
		}
	}
}

// reap waits for the end of the process and kills its group.
func (s *process) reap() (*os.ProcessState, error) {
	state, err := s.os.Wait()
	s.endGroup()
	return state, err
}

// limit does nothing: these systems let a process limit itself only.
func limit(int) {}
