package runtime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// meeting are invocations that run at once: each waits for the others at a file.
type meeting struct {
	t    *testing.T
	r    *rig
	file string
	done chan outcome
}

type outcome struct {
	Result
	err error
}

func newMeeting(t *testing.T, r *rig) *meeting {
	return &meeting{t: t, r: r, file: filepath.Join(t.TempDir(), "file"), done: make(chan outcome, 100)}
}

func (m *meeting) call(ctx context.Context, fn Function) {
	payload, _ := json.Marshal(map[string]string{"do": "meet", "url": m.file})
	go func() {
		out, err := m.r.Invoke(ctx, fn, call1(string(payload)))
		m.done <- outcome{out, err}
	}()
}

// await returns when so many wait.
func (m *meeting) await(n int) {
	m.t.Helper()
	timeout := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		here, _ := filepath.Glob(m.file + ".*")
		if len(here) >= n {
			return
		}
		select {
		case <-tick.C:
		case out := <-m.done:
			m.t.Fatalf("one ended: %s %s %v", out.FunctionError, out.Payload, out.err)
		case <-timeout:
			m.t.Fatalf("only %d of %d came", len(here), n)
		}
	}
}

func (m *meeting) open() {
	if err := os.WriteFile(m.file, nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *meeting) pids(n int) []string {
	m.t.Helper()
	var pids []string
	for range n {
		out := <-m.done
		if out.err != nil || out.FunctionError != "" {
			m.t.Fatalf("%v %s %s", out.err, out.FunctionError, out.Payload)
		}
		pids = append(pids, string(out.Payload))
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

func TestInvocationsAtOnceHaveProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	m := newMeeting(t, r)
	const n = 5
	for range n {
		m.call(t.Context(), fn)
	}
	m.await(n)
	if got := r.Stats().Processes; got != n {
		t.Errorf("%d processes", got)
	}
	m.open()
	first := m.pids(n)
	if len(first) != n {
		t.Errorf("processes %v", first)
	}
	var again who
	r.answer(t, fn, `{"do":"who"}`, &again)
	if !slices.Contains(first, itoa(again.PID)) || r.Stats().ProcessesStarted != n {
		t.Errorf("%d is not one of %v, %+v", again.PID, first, r.Stats())
	}
}

func TestConcurrencyOfAFunctionIsLimited(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	fn.Concurrency = 2
	m := newMeeting(t, r)
	m.call(t.Context(), fn)
	m.call(t.Context(), fn)
	m.await(2)
	_, err := r.Invoke(t.Context(), fn, call1(`{"do":"who"}`))
	var throttled *Throttled
	if !errors.Is(err, ErrTooManyRequests) || !errors.As(err, &throttled) || throttled.Reason != "ReservedFunctionConcurrentInvocationLimitExceeded" {
		t.Errorf("a third: %v", err)
	}
	r.answer(t, func() Function { other := compiled(t); other.ARN += "-other"; return other }(), `{"do":"who"}`, &who{})
	m.open()
	m.pids(2)
	r.answer(t, fn, `{"do":"who"}`, &who{})
	if got := r.Stats(); got.Throttled != 1 {
		t.Errorf("%+v", got)
	}
}

func TestProcessesOfAllFunctionsAreLimited(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.MaxProcesses = 2 })
	a, b, c := compiled(t), compiled(t), compiled(t)
	a.ARN, b.ARN, c.ARN = a.ARN+"a", b.ARN+"b", c.ARN+"c"
	var old, kept who
	r.answer(t, a, `{"do":"who"}`, &old)
	r.answer(t, b, `{"do":"who"}`, &kept)
	r.answer(t, c, `{"do":"who"}`, &who{}) // takes the place of a's, which is idle the longest
	awaitGone(t, old.PID)
	var again who
	if r.answer(t, b, `{"do":"who"}`, &again); again.PID != kept.PID {
		t.Errorf("b's process was %d and is %d", kept.PID, again.PID)
	}
	m := newMeeting(t, r)
	m.call(t.Context(), a)
	m.call(t.Context(), b)
	m.await(2)
	_, err := r.Invoke(t.Context(), c, call1(`{"do":"who"}`))
	var throttled *Throttled
	if !errors.As(err, &throttled) || throttled.Reason != "ConcurrentInvocationLimitExceeded" || throttled.Limit != 2 {
		t.Errorf("no process is idle: %v", err)
	}
	m.open()
	m.pids(2)
}

func TestNewRevisionHasNewProcessesAndTheOldFinish(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	var old who
	r.answer(t, fn, `{"do":"who"}`, &old)
	m := newMeeting(t, r)
	m.call(t.Context(), fn)
	m.await(1)
	changed := fn
	changed.Revision = "2"
	var fresh, again who
	r.answer(t, changed, `{"do":"who"}`, &fresh)
	if fresh.PID == old.PID {
		t.Error("the new revision ran in a process of the old one")
	}
	m.open()
	if pids := m.pids(1); pids[0] != itoa(old.PID) {
		t.Errorf("the old invocation ran in %v, not in %d", pids, old.PID)
	}
	awaitGone(t, old.PID)
	if r.answer(t, changed, `{"do":"who"}`, &again); again.PID != fresh.PID {
		t.Errorf("%d, then %d", fresh.PID, again.PID)
	}
}

func TestForgottenFunctionEndsWhenItHasFinished(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	var idle who
	r.answer(t, fn, `{"do":"who"}`, &idle)
	m := newMeeting(t, r)
	m.call(t.Context(), fn)
	m.await(1)
	r.Forget(fn.ARN)
	r.Forget("arn:aws:lambda:eu-west-1:000000000000:function:unknown")
	m.open()
	m.pids(1)
	awaitGone(t, idle.PID)
	r.answer(t, fn, `{"do":"who"}`, &who{})
	r.Forget(fn.ARN)
	awaitNone(t, r)
}

// awaitNone returns when the pool has no process.
func awaitNone(t *testing.T, r *rig) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		left, err := os.ReadDir(filepath.Join(r.dir, "processes"))
		if r.Stats().Processes == 0 && err == nil && len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%+v, directories %v", r.Stats(), left)
		}
	}
}

func TestIdleProcessesEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.IdleTime = 20 * time.Millisecond })
	fn := compiled(t)
	var idle who
	r.answer(t, fn, `{"do":"who"}`, &idle)
	awaitGone(t, idle.PID)
	awaitNone(t, r)
	r.answer(t, fn, `{"do":"who"}`, &who{})
}

func TestIdleProcessThatIsKilledIsReplaced(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	var first, second who
	for range 20 {
		r.answer(t, fn, `{"do":"who"}`, &first)
		p, err := os.FindProcess(first.PID)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitNone(t, r)
		if r.answer(t, fn, `{"do":"who"}`, &second); second.PID == first.PID {
			t.Fatalf("%d is dead", first.PID)
		}
	}
}

func TestCallersEndIsNotTheFunctions(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	m := newMeeting(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	m.call(ctx, fn)
	m.await(1)
	cancel()
	if out := <-m.done; !errors.Is(out.err, context.Canceled) {
		t.Fatal(out.err)
	}
	m.open()
	r.logs.wait(t, "REPORT RequestId: ")
	if text := r.logs.text(); strings.Contains(text, "Status:") {
		t.Errorf("it did not end well:\n%s", text)
	}
	var next who
	if r.answer(t, fn, `{"do":"who"}`, &next); next.Calls != 2 {
		t.Errorf("%+v", next)
	}
}

func TestProcessThatIsSlowToComeBackKeepsItsTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	mark := filepath.Join(t.TempDir(), "worked")
	fn := script(t, `curl -sS -o /dev/null "$api/invocation/$id/response" -d $$; if [ "$event" = 1 ]; then sleep 1; touch `+mark+`; fi`)
	first := r.run(t, fn, `1`)
	second := r.run(t, fn, `2`) // does not wait for it
	if string(first.Payload) == string(second.Payload) {
		t.Errorf("both ran in %s", first.Payload)
	}
	awaitFile(t, mark)
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s was never made", path)
		}
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	needsLinux(t)
	r := newRig(t)
	fn, busy := compiled(t), compiled(t)
	busy.ARN += "-busy"
	busy.Timeout = time.Minute
	var idle who
	var children []int
	r.answer(t, fn, `{"do":"who"}`, &idle)
	r.answer(t, busy, `{"do":"children"}`, &children)
	m := newMeeting(t, r)
	m.call(t.Context(), busy)
	m.await(1)
	here, _ := filepath.Glob(m.file + ".*")
	pid := atoi(t, strings.TrimPrefix(filepath.Ext(here[0]), "."))
	r.stop()
	if out := <-m.done; !errors.Is(out.err, ErrStopped) {
		t.Errorf("what ran: %s %v", out.Payload, out.err)
	}
	for _, pid := range []int{idle.PID, pid} {
		if !gone(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	for _, pid := range children { // killed; the system may take a moment
		awaitGone(t, pid)
	}
	if left, err := os.ReadDir(filepath.Join(r.dir, "processes")); err != nil || len(left) > 0 {
		t.Errorf("directories %v %v", left, err)
	}
	if _, err := r.Invoke(t.Context(), fn, call1(`1`)); !errors.Is(err, ErrStopped) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestWhatRunsMayFinishWhenTheServerStops(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	m := newMeeting(t, r)
	m.call(t.Context(), fn)
	m.await(1)
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	<-r.stopping
	m.open()
	m.pids(1)
	<-stopped
	if text := r.logs.text(); !strings.Contains(text, "REPORT") {
		t.Errorf("the log was not stored:\n%s", text)
	}
}

func TestStopEndsRun(t *testing.T) {
	t.Parallel()
	p := New(Options{Dir: t.TempDir(), Logs: &logs{}})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(context.Background()) }()
	<-p.opened
	p.Stop()
	p.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := p.Invoke(t.Context(), Function{Runtime: "provided"}, call1(`1`)); !errors.Is(err, ErrStopped) {
		t.Errorf("after the stop: %v", err)
	}
}

// TestEachCallerGetsItsOwnAnswer mixes everything that may happen to a process, with
// fewer of them than callers want.
func TestEachCallerGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.MaxProcesses, o.IdleTime = 6, 20*time.Millisecond })
	var functions []Function
	for i := range 3 {
		fn := compiled(t)
		fn.ARN, fn.Concurrency = fn.ARN+itoa(i), 3
		functions = append(functions, fn)
	}
	var wg sync.WaitGroup
	var answered, throttled atomic.Int64
	for caller := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 1))
			for n := range 60 {
				fn := functions[random.IntN(len(functions))]
				fn.Revision = itoa(random.IntN(2))
				kind := random.IntN(10)
				word := fmt.Sprintf("%d-%d 📦", caller, n)
				payload := `{"do":"echo","text":"` + word + `"}`
				want := payload
				switch kind {
				case 0:
					payload, want = `{"do":"exit","size":3}`, "exit status 3"
				case 1:
					payload, want = `{"do":"fail","text":"`+word+`"}`, word
				case 2:
					payload, want = `{"do":"panic","text":"`+word+`"}`, word
				}
				out, err := r.Invoke(t.Context(), fn, call1(payload))
				switch {
				case errors.Is(err, ErrTooManyRequests):
					throttled.Add(1)
				case err != nil:
					t.Error(err)
				case (out.FunctionError != "") != (kind < 3) || !strings.Contains(string(out.Payload), want):
					t.Errorf("%s: %s %s", payload, out.FunctionError, out.Payload)
				default:
					answered.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if answered.Load() == 0 {
		t.Error("nobody got an answer")
	}
	t.Logf("%d answered, %d throttled, %+v", answered.Load(), throttled.Load(), r.Stats())
	awaitNone(t, r)
}

// TestKilledServerLeavesNothing has another process of this test be the server.
func TestKilledServerLeavesNothing(t *testing.T) {
	if os.Getenv("BE_THE_SERVER") != "" {
		beTheServer(t)
		return
	}
	needsLinux(t)
	dir := t.TempDir()
	server := exec.Command(os.Args[0], "-test.run", "^TestKilledServerLeavesNothing$", "-test.v")
	server.Env = append(os.Environ(), "BE_THE_SERVER="+dir)
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill() }) // if it is not yet
	var pid, stays, leaves int
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "processes %d %d %d", &pid, &stays, &leaves)
	}
	if pid == 0 {
		t.Fatal("the server said nothing")
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // killed
	awaitGone(t, pid)
	r := newRig(t, func(o *Options) { o.Dir = dir })
	r.answer(t, compiled(t), `{"do":"who"}`, &who{})
	awaitGone(t, stays)
	awaitGone(t, leaves)
	if left, err := os.ReadDir(filepath.Join(dir, "processes")); err != nil || len(left) != 1 {
		t.Errorf("directories %v %v", left, err)
	}
}

func beTheServer(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Dir = os.Getenv("BE_THE_SERVER") })
	fn := compiled(t)
	var pids []int
	var self who
	r.answer(t, fn, `{"do":"children"}`, &pids)
	r.answer(t, fn, `{"do":"who"}`, &self)
	fmt.Println("processes", self.PID, pids[0], pids[1])
	<-t.Context().Done() // it is killed
}
