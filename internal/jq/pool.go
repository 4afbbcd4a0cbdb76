package jq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// startTime is how long a worker may take to say that it is one.
	startTime = 20 * time.Second
	// grace is how much longer than its timeout a program may take, before the
	// worker that should have stopped it is killed.
	grace = 300 * time.Millisecond
	// remembered is how long a program that was stopped, or took half of what it may,
	// has to wait for others.
	remembered = time.Minute
	// most is how many of those are remembered.
	most = 1000
	// callTimeouts is how many timeouts the programs of one call may take together.
	callTimeouts = 5
)

// pool is the worker processes of an Evaluator. Each is with one caller at a time.
type pool struct {
	o Options
	// idle holds a worker, or nil for one that is not started, for each that may be
	// taken.
	idle chan *worker
	// lane is held by those who evaluate programs that were stopped of late, or nearly,
	// so that these never take all workers.
	lane   chan struct{}
	closed chan struct{}

	mu   sync.Mutex
	slow map[string]time.Time // text of a program → when it was stopped, or took long
	busy map[*worker]bool
}

func newPool(o Options) *pool {
	p := &pool{
		o: o, idle: make(chan *worker, o.Workers), lane: make(chan struct{}, max(1, o.Workers/2)),
		closed: make(chan struct{}), slow: map[string]time.Time{}, busy: map[*worker]bool{},
	}
	for range o.Workers {
		p.idle <- nil
	}
	return p
}

// close kills the workers and waits until all of them have gone.
func (p *pool) close() {
	p.mu.Lock()
	select {
	case <-p.closed:
		p.mu.Unlock()
		return
	default:
	}
	close(p.closed)
	for w := range p.busy {
		w.kill()
	}
	p.mu.Unlock()
	for range p.o.Workers {
		if w := <-p.idle; w != nil {
			w.end()
		}
	}
}

// evaluate puts the outputs of the programs at places which into out. together is
// how many bytes of JSON they may have.
func (p *pool) evaluate(ctx context.Context, ps []*Program, which []int, input any, together int, out []Output) {
	encoded, err := json.Marshal(input)
	if err != nil {
		for _, i := range which {
			out[i] = Output{Err: fmt.Errorf("%w: %w", ErrInput, err)}
		}
		return
	}
	c := &pooled{pool: p, ps: ps, input: encoded, left: together, out: out, time: callTimeouts * p.o.Timeout}
	good, bad := p.split(ps, which)
	c.run(ctx, good)
	if len(bad) == 0 {
		return
	}
	select {
	case p.lane <- struct{}{}:
		defer func() { <-p.lane }()
		c.run(ctx, bad)
	case <-ctx.Done():
		c.fail(bad, context.Cause(ctx))
	case <-p.closed:
		c.fail(bad, ErrClosed)
	}
}

// split tells programs that were stopped of late, or took long, from others.
func (p *pool) split(ps []*Program, which []int) (good, bad []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range which {
		if at, ok := p.slow[ps[i].text]; ok && time.Since(at) < remembered {
			bad = append(bad, i)
		} else {
			good = append(good, i)
		}
	}
	return good, bad
}

// remember notes that a program was stopped, or took long.
func (p *pool) remember(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.slow) >= most {
		for text, at := range p.slow {
			if time.Since(at) >= remembered {
				delete(p.slow, text)
			}
		}
	}
	if len(p.slow) < most {
		p.slow[text] = time.Now()
	}
}

// take waits for a worker that nobody has, and starts it where it is not.
func (p *pool) take(ctx context.Context) (*worker, error) {
	var w *worker
	select {
	case <-p.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case w = <-p.idle:
	}
	if w == nil {
		var err error
		if w, err = startWorker(p.o.MaxMemory); err != nil {
			p.idle <- nil
			return nil, fmt.Errorf("%w: %w", ErrWorker, err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy[w] = true
	select {
	case <-p.closed:
		w.kill()
	default:
	}
	return w, nil
}

// give puts a worker back, or the place of one that has ended.
func (p *pool) give(w *worker, ended bool) {
	p.mu.Lock()
	delete(p.busy, w)
	p.mu.Unlock()
	if ended {
		w = nil
	}
	p.idle <- w
}

// pooled is the evaluation of several programs over one input.
type pooled struct {
	pool  *pool
	ps    []*Program
	input json.RawMessage
	left  int // bytes of outputs
	out   []Output
	time  time.Duration // that programs may still take
}

func (c *pooled) fail(which []int, err error) {
	for _, i := range which {
		c.out[i] = Output{Err: err}
	}
}

// run evaluates until all programs have their outputs. A worker that ends is
// replaced for those that are left.
func (c *pooled) run(ctx context.Context, which []int) {
	again := true // a worker that ended by itself, or was killed by others, is not the program's fault yet
	for len(which) > 0 {
		if c.time <= 0 {
			c.fail(which, fmt.Errorf("%w: those before it took all the time", ErrTimeout))
			return
		}
		w, err := c.pool.take(ctx)
		if err != nil {
			c.fail(which, err)
			return
		}
		done, err := c.ask(ctx, w, which)
		if err == nil {
			c.pool.give(w, false)
			return
		}
		err = w.reasonOf(err)
		c.pool.give(w, true)
		which = which[done:]
		switch {
		case ctx.Err() != nil:
			c.fail(which, context.Cause(ctx))
			return
		case c.pool.isClosed():
			c.fail(which, ErrClosed)
			return
		case errors.Is(err, errNoTime):
			continue
		case errors.Is(err, ErrWorker) && again:
			again = false
			continue
		}
		c.out[which[0]] = Output{Err: err}
		c.pool.remember(c.ps[which[0]].text)
		which, again = which[1:], true
	}
}

func (p *pool) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

// ask sends the programs to a worker and takes the answers, and returns how many
// there were. The error says that the worker is of no more use.
func (c *pooled) ask(ctx context.Context, w *worker, which []int) (int, error) {
	stop := context.AfterFunc(ctx, w.kill)
	defer stop()
	timeout := c.pool.o.Timeout
	r := request{TimeoutMS: timeout.Milliseconds(), MaxOutput: c.pool.o.MaxOutput, Input: c.input}
	for _, i := range which {
		r.Programs = append(r.Programs, c.ps[i].text)
	}
	if err := w.send(r, timeout+grace); err != nil {
		return 0, err
	}
	for n, i := range which {
		var a answer
		began := time.Now()
		err := w.receive(&a, timeout+grace)
		took := time.Since(began)
		c.time -= took
		if err != nil {
			return n, err
		}
		if c.left -= len(a.Value); c.left < 0 {
			a = answer{Reason: reasonOutput}
		}
		c.out[i] = a.output()
		if a.Reason == reasonTimeout || took > timeout/2 {
			c.pool.remember(c.ps[i].text)
		}
		if c.time <= 0 && n+1 < len(which) { // the worker goes on with the next: it is ended
			return n + 1, errNoTime
		}
	}
	if !stop() {
		return len(which), context.Cause(ctx)
	}
	return len(which), nil
}

// errNoTime says that the programs of a call took all the time they have together.
var errNoTime = errors.New("no time is left")

// worker is a process that evaluates.
type worker struct {
	cmd    *exec.Cmd
	in     *os.File // its standard input
	out    *os.File // its standard output
	errors tail
}

// startWorker starts this program again. Nothing of our environment is for it.
func startWorker(memory int64) (*worker, error) {
	if os.Getenv(memoryVariable) != "" {
		return nil, errors.New("this process was started as a jq worker and is none: its main must call jq.Main first")
	}
	path, err := executable()
	if err != nil {
		return nil, fmt.Errorf("find the program to start as a jq worker: %w", err)
	}
	w := &worker{cmd: exec.Command(path, workerArgument)} //nolint:gosec // it is this program
	w.cmd.Args[0] = "rialto"
	w.cmd.Env = []string{memoryVariable + "=" + strconv.FormatInt(memory, 10), "TZ=UTC", "GOMAXPROCS=2", "GOTRACEBACK=none"}
	w.cmd.Stderr = &w.errors
	apart(w.cmd)
	if err := w.start(); err != nil {
		return nil, fmt.Errorf("start a jq worker: %w", err)
	}
	standBack(w.cmd.Process.Pid)
	var hello string
	err = w.receive(&hello, startTime)
	if err == nil && hello != ready {
		err = errors.New("it said something else")
	}
	if err != nil {
		w.end()
		return nil, fmt.Errorf("a jq worker did not start (must main call jq.Main first?): %w%s", err, w.errors.quoted())
	}
	return w, nil
}

func (w *worker) start() error {
	theirIn, ourIn, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirIn.Close()
	ourOut, theirOut, err := os.Pipe()
	if err != nil {
		ourIn.Close()
		return err
	}
	defer theirOut.Close()
	w.cmd.Stdin, w.cmd.Stdout, w.in, w.out = theirIn, theirOut, ourIn, ourOut
	if err := w.cmd.Start(); err != nil {
		ourIn.Close()
		ourOut.Close()
		return err
	}
	return nil
}

func (w *worker) send(v any, within time.Duration) error {
	if err := w.in.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return writeFrame(w.in, v)
}

func (w *worker) receive(v any, within time.Duration) error {
	if err := w.out.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return readFrame(w.out, v)
}

// kill ends the process; who has the worker then finds it gone.
func (w *worker) kill() { _ = w.cmd.Process.Kill() }

// end kills the process and waits for it.
func (w *worker) end() {
	w.kill()
	_ = w.cmd.Wait()
	w.in.Close()
	w.out.Close()
}

// reasonOf ends a worker that did not answer, and tells why it did not.
func (w *worker) reasonOf(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.end()
		return ErrTimeout
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // it is ending: let it say why
		_ = w.cmd.Wait()
	}
	w.end()
	said := w.errors.String()
	switch {
	case w.cmd.ProcessState != nil && w.cmd.ProcessState.ExitCode() == outOfMemory,
		strings.Contains(said, "out of memory"), strings.Contains(said, "cannot allocate memory"),
		strings.Contains(said, "failed to allocate"), strings.Contains(said, "stack exceeds"):
		return ErrMemory
	}
	return fmt.Errorf("%w: %w%s", ErrWorker, err, w.errors.quoted())
}

// tail keeps the beginning of what a worker writes to its standard error, where
// a runtime says why it ends.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write takes what still has room and forgets the rest.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[:min(len(b), 2048-len(t.text))]...)
	return len(b), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

func (t *tail) quoted() string {
	line, _, _ := strings.Cut(strings.TrimSpace(t.String()), "\n")
	if line == "" {
		return ""
	}
	return " (" + valid(line) + ")"
}
