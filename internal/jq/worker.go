package jq

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

const (
	// memoryVariable in its environment makes a process a worker, and says how many
	// bytes its heap may have.
	memoryVariable = "RIALTO_JQ_WORKER_MEMORY"
	// workerArgument is what a worker is called with, for those who list processes.
	workerArgument = "jq-worker"
	// outOfMemory is a worker's exit code when it ends because of its heap.
	outOfMemory = 41
	// kept is how many compiled programs a worker keeps.
	kept = 200
	// idleTime is how long a worker waits for a request before it ends; when there
	// is one again, another is started.
	idleTime = 5 * time.Minute
)

// Main makes a worker of a process that New started as one, and then never
// returns; in any other process it does nothing. It must be the first call of
// main, and of TestMain in packages that evaluate.
func Main() {
	memory, err := strconv.ParseInt(os.Getenv(memoryVariable), 10, 64)
	if err != nil || memory <= 0 {
		return
	}
	// What stops the server is not for its workers: they end when it closes its end.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	debug.SetMaxStack(int(memory / 4))
	debug.SetMemoryLimit(memory / 4 * 3)
	limitData(memory)
	if err := work(memory); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// work answers requests until the server goes.
func work(memory int64) error {
	go watchHeap(memory)
	if err := writeFrame(os.Stdout, ready); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	requests := make(chan request)
	go func() {
		for {
			var r request
			if err := readFrame(os.Stdin, &r); err != nil {
				os.Exit(0) // the server has gone, in the middle of an evaluation too
			}
			requests <- r
		}
	}()
	programs := map[string]*Program{}
	for {
		select {
		case <-time.After(idleTime):
			return nil
		case r := <-requests:
			if err := serve(r, programs); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
		}
		tidy(memory, programs)
	}
}

// watchHeap ends the process when its heap is too large. It notices what grows
// step by step; what does so in one step is for the limit of the system.
func watchHeap(memory int64) {
	for range time.Tick(5 * time.Millisecond) {
		if heap() > uint64(memory) {
			os.Exit(outOfMemory)
		}
	}
}

// heap is how many bytes values and stacks take.
func heap() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() + samples[1].Value.Uint64()
}

func serve(r request, programs map[string]*Program) error {
	decoder := json.NewDecoder(bytes.NewReader(r.Input))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return err
	}
	input, _, err := normalize(v)
	if err != nil {
		return err
	}
	for _, text := range r.Programs {
		o := serveProgram(text, programs, input, r)
		if err := writeFrame(os.Stdout, toAnswer(o)); err != nil {
			return err
		}
	}
	return nil
}

func serveProgram(text string, programs map[string]*Program, input any, r request) Output {
	p := programs[text]
	if p == nil {
		var err error
		if p, err = Compile(text); err != nil {
			return Output{Err: err}
		}
		if len(programs) >= kept {
			clear(programs)
		}
		programs[text] = p
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.TimeoutMS)*time.Millisecond)
	defer cancel()
	left := r.MaxOutput
	return first(ctx, p, input, &left)
}

// tidy gives memory back that a request left behind: one that was large, or the
// regular expressions that programs made and that are kept with them.
func tidy(memory int64, programs map[string]*Program) {
	if heap() < uint64(memory)/4 {
		return
	}
	clear(programs)
	debug.FreeOSMemory()
}
