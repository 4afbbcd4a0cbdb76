package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// termGrace is how long a process may take to end once it is asked to.
	termGrace = 2 * time.Second
	// lastRequests is how long requests that a process made before it ended may take
	// to be read.
	lastRequests = time.Second
)

// process is one operating system process that runs a function, with what it starts.
type process struct {
	pool *Pool
	fn   *Function
	id   string
	dir  string // HOME and TMPDIR are in it
	out  *stream
	pipe *pipe

	os       *os.Process
	listener net.Listener
	server   *http.Server
	calls    chan *call    // what is handed to the process when it asks; nil does nothing
	asked    chan struct{} // closed when it asks for the first time
	gaveUp   chan struct{} // closed when it says that it cannot initialize
	exited   chan struct{} // closed when it, its group and its directory are gone
	askedYet sync.Once

	peak atomic.Int64 // memory, in bytes, when it was last looked at

	mu        sync.Mutex
	current   *call    // what it works on
	last      *call    // what it worked on before
	initError *failure // what it said of itself before it ended
	reaped    bool     // its number may be another's

	// Set before exited is closed.
	state *os.ProcessState

	// The pool's, under its lock.
	left      bool // no longer counted
	idleSince time.Time
}

// newID returns 32 hexadecimal digits. They name a process's directory and end its log
// stream's name, by which what it leaves behind is found.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// start starts a process of the function that logs to out.
func (p *Pool) start(fn *Function, out *stream) (*process, *failure) {
	cmd, failed := p.command(fn)
	if failed != nil {
		return nil, failed
	}
	s := &process{
		pool: p, fn: fn, id: out.id, dir: filepath.Join(p.processDir(), out.id), out: out,
		calls: make(chan *call), asked: make(chan struct{}), gaveUp: make(chan struct{}), exited: make(chan struct{}),
	}
	if err := s.prepare(); err != nil {
		s.cleanUp()
		return nil, ownFault(err)
	}
	out.initStart(cmd.version)
	if failed := s.spawn(cmd); failed != nil {
		s.cleanUp()
		return nil, failed
	}
	p.counts.started.Add(1)
	p.wg.Go(s.supervise)
	return s, nil
}

// prepare makes the process's directory, the pipe for its output and its Runtime API.
func (s *process) prepare() (err error) {
	for _, dir := range []string{s.home(), s.temp()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if s.pipe, err = openPipe(filepath.Join(s.dir, "output"), s.out, s.fn.managed()); err != nil {
		return err
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	s.server = s.newServer()
	s.pool.wg.Go(func() {
		_ = s.server.Serve(s.listener) // ErrServerClosed, by shutDown
	})
	return nil
}

func (s *process) home() string { return filepath.Join(s.dir, "home") }
func (s *process) temp() string { return filepath.Join(s.dir, "tmp") }

// spawn starts the operating system's process.
func (s *process) spawn(cmd *command) *failure {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return ownFault(err)
	}
	defer null.Close()
	defer s.pipe.childEnd.Close()
	s.os, err = s.pool.startProcess(cmd.path, cmd.args, &os.ProcAttr{
		Dir: s.fn.Dir, Env: s.environment(cmd), Files: []*os.File{null, s.pipe.childEnd, s.pipe.childEnd}, Sys: attributes(),
	})
	switch {
	case errors.Is(err, ErrStopped):
		return ownFault(err)
	case err != nil:
		return &failure{kind: "Runtime.InvalidEntrypoint", message: err.Error()}
	}
	limit(s.os.Pid)
	return nil
}

// supervise waits for the end of the process and clears up after it.
func (s *process) supervise() {
	state, err := s.reap()
	if err != nil {
		s.pool.opt.Logger.Error("the end of a function's process could not be seen", "function", s.fn.ARN, "error", err)
	}
	s.state = state
	killStrays(map[string]bool{s.id: true}, s.pool.opt.Logger)
	s.cleanUp()
	s.pool.hasEnded(s)
	close(s.exited)
}

// cleanUp closes and deletes what prepare made, as far as it came.
func (s *process) cleanUp() {
	if s.pipe != nil {
		s.pipe.finish()
	}
	if s.server != nil {
		s.shutDown()
	}
	if err := removeAll(s.dir); err != nil {
		s.pool.opt.Logger.Warn("the directory of a function's process could not be deleted", "directory", s.dir, "error", err)
	}
}

// shutDown ends the Runtime API when what the process has sent is read.
func (s *process) shutDown() {
	ctx, cancel := context.WithTimeout(context.Background(), lastRequests)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close() // the listener's error; the process is gone
	}
}

// signal sends a signal to the process's group, as long as its number is its own.
func (s *process) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reaped {
		_ = syscall.Kill(-s.os.Pid, sig) // it may have ended
	}
}

// endGroup kills what is left of the process's group, for the last time.
func (s *process) endGroup() {
	s.signal(syscall.SIGKILL)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reaped = true
}

// kill ends the process and its group at once.
func (s *process) kill() {
	if !s.hasExited() {
		s.peakMemory()  // while it can be seen
		_ = s.os.Kill() // through its handle, which is never another's
		s.signal(syscall.SIGKILL)
	}
}

// terminate asks the process to end, and ends it if it does not.
func (s *process) terminate() {
	if !s.hasExited() {
		s.signal(syscall.SIGTERM)
	}
	timer := time.NewTimer(termGrace)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		s.kill()
		<-s.exited
	}
}

func (s *process) hasExited() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// awaitReady waits until the process asks for its first invocation.
func (s *process) awaitReady(until time.Time, cutOff <-chan struct{}) *failure {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-s.asked:
		s.peakMemory()
		return nil
	case <-s.exited:
		return s.exitFailure()
	case <-s.gaveUp:
		timer.Reset(termGrace) // to end by itself
		select {
		case <-s.exited:
		case <-timer.C:
		}
		return s.exitFailure()
	case <-timer.C:
		return timedOut
	case <-cutOff:
		return ownFault(ErrStopped)
	}
}

// hand gives the call to the process, which has asked or will in that time. If it does
// not, or is gone, the call is still the caller's.
func (s *process) hand(c *call, within time.Duration) *failure {
	if !c.logged {
		c.began = time.Now()
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case s.calls <- c:
		return nil
	case <-s.exited:
		return s.exitFailure()
	case <-s.pool.cutOff:
		return ownFault(ErrStopped)
	case <-timer.C:
		return timedOut
	}
}

// asksUntil waits until the process asks for an invocation, and returns false if it does not.
func (s *process) asksUntil(until time.Time, stopping <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case s.calls <- nil:
		return true
	case <-s.exited:
	case <-stopping:
	case <-timer.C:
	}
	return false
}

// busyUntil is when the time of the process's last invocation is over.
func (s *process) busyUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return time.Now()
	}
	return s.last.deadline()
}

// exitFailure is what is wrong with a process that has ended.
func (s *process) exitFailure() *failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.initError != nil {
		return s.initError
	}
	if s.state == nil || s.state.Success() {
		return &failure{kind: kindExit, message: "Runtime exited without providing a reason"}
	}
	return &failure{kind: kindExit, message: "Runtime exited with error: " + s.state.String()}
}

// startProcess starts a process. A file that was just written may be held open for
// writing by another process that is between its fork and its exec; it is gone in a moment.
func (p *Pool) startProcess(path string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	for pause := time.Millisecond; ; pause *= 2 {
		process, err := p.startOnThread(start{path, args, attr, make(chan started, 1)})
		if !errors.Is(err, syscall.ETXTBSY) || pause > time.Second {
			return process, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-p.cutOff:
			timer.Stop()
			return nil, ErrStopped
		}
	}
}

// startOnThread has the process started by the thread that lives as long as the pool.
func (p *Pool) startOnThread(st start) (*os.Process, error) {
	select {
	case p.starts <- st:
	case <-p.cutOff:
		return nil, ErrStopped
	}
	out := <-st.done
	return out.process, out.err
}

type start struct {
	path string
	args []string
	attr *os.ProcAttr
	done chan started
}

type started struct {
	process *os.Process
	err     error
}

func startOne(st start) started {
	process, err := os.StartProcess(st.path, st.args, st.attr)
	return started{process, err}
}
