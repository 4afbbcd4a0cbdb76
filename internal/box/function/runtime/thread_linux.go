package runtime

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes have a process be the leader of its own group, and end with us.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// startProcesses starts processes until it is told to end. Linux kills a process when
// the thread that started it ends, so there is one thread for all of them, which
// nothing else uses and which ends last.
func (p *Pool) startProcesses(end <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case st := <-p.starts:
			st.done <- startOne(st)
		case <-end:
			return
		}
	}
}

// reap waits for the end of the process and kills its group while the number is still
// its own.
func (s *process) reap() (*os.ProcessState, error) {
	for unix.Waitid(unix.P_PID, s.os.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	s.endGroup()
	return s.os.Wait()
}

// limit has a process leave no core dumps in its code's directory, and open no more
// files than on Lambda. AWS: 1,024.
func limit(pid int) {
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil) // it may have ended
	_ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: maxFiles, Max: maxFiles}, nil)
}

const maxFiles = 1024
