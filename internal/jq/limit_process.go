//go:build linux || darwin

package jq

import (
	"os/exec"
	"syscall"
)

// niceness is how far workers stand back behind the server.
const niceness = 10

// apart starts the process in a group of its own: what is typed at the server's
// terminal is not for it.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// standBack makes the process and its threads yield to the server.
func standBack(pid int) { _ = syscall.Setpriority(syscall.PRIO_PGRP, pid, niceness) }

// limitData bounds the data of this process: what it has now and twice memory,
// which leaves room for what the collector has not freed yet.
func limitData(memory int64) {
	limit := uint64(data() + 2*memory)
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: limit})
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
}
