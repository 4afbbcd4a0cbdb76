//go:build unix

package jq

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestWorkersThatAreKilledAreReplaced(t *testing.T) {
	e := evaluator(t, Options{Workers: 1, Timeout: 20 * time.Second})
	slow := compile(t, `reduce range(300000) as $i (0; . + $i)`)
	// while it works: the evaluation is tried again, and no one sees it
	result := make(chan Output)
	go func() { result <- e.First(context.Background(), slow, nil) }()
	waitFor(t, "a worker", func() bool { return len(workers(e)) == 1 })
	if err := syscall.Kill(workers(e)[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if o := <-result; o.Err != nil || o.Value != 44999850000 {
		t.Errorf("killed at work: %v, %v", o.Value, o.Err)
	}
	// while it waits
	w := <-e.pool.idle
	if err := syscall.Kill(w.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.pool.idle <- w
	if o := e.First(t.Context(), slow, nil); o.Err != nil {
		t.Errorf("killed while it waited: %v", o.Err)
	}
}

func TestWorkersIgnoreWhatStopsTheServer(t *testing.T) {
	e := evaluator(t, Options{Workers: 1})
	p := compile(t, `reduce .[] as $x (0; . + $x)`)
	if o := e.First(t.Context(), p, []any{1}); o.Err != nil {
		t.Fatal(o.Err)
	}
	w := <-e.pool.idle
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(w.cmd.Process.Pid, s); err != nil {
			t.Fatal(err)
		}
	}
	e.pool.idle <- w
	if o := e.First(t.Context(), p, []any{1}); o.Err != nil {
		t.Fatal(o.Err)
	}
	if again := <-e.pool.idle; again != w {
		t.Error("it is another worker")
		e.pool.idle <- again
	} else {
		e.pool.idle <- w
	}
}

func TestClosing(t *testing.T) {
	e := New(Options{Workers: 2, Timeout: time.Minute})
	endless := compile(t, `until(false; .)`)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if o := e.First(context.Background(), endless, nil); !errors.Is(o.Err, ErrClosed) {
				t.Errorf("got %v", o.Err)
			}
		})
	}
	waitFor(t, "two workers", func() bool { return len(workers(e)) == 2 })
	pids := workers(e)
	e.Close()
	all.Wait()
	e.Close()
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d is there", pid)
		}
	}
	if o := e.First(context.Background(), endless, nil); !errors.Is(o.Err, ErrClosed) {
		t.Errorf("afterwards: %v", o.Err)
	}
}

// A server that dies takes its workers with it, also those at work.
func TestWorkersEndWithTheServer(t *testing.T) {
	w, err := startWorker(DefaultMaxMemory)
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	r := request{Programs: []string{`until(false; .)`}, TimeoutMS: time.Hour.Milliseconds(), MaxOutput: 1000, Input: []byte(`null`)}
	if err := w.send(r, time.Minute); err != nil {
		t.Fatal(err)
	}
	w.in.Close() // as the system does when a process ends
	var a answer
	if err := w.receive(&a, time.Minute); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, %v", a, err)
	}
}
