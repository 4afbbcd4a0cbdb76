// Package jq evaluates jq programs that users wrote, over values that clouds
// sent, without letting one stall or exhaust the server.
//
// A jq program can do an unbounded amount of work in one step (multiply a
// string, double one by adding it to itself, write a value that shares its
// parts as JSON, set an element far beyond an array's end), and no check
// between steps helps against that. So there are two ways. A program whose
// syntax tree bounds what it can cost for an input of the given size runs in
// this process; anything else runs in one of a few worker processes, this same
// executable started again, whose memory is bounded and which are killed when
// they take too long. Which way a program goes changes what it costs, not what
// it answers.
//
// main, and TestMain of each package whose tests evaluate programs, must call
// Main before anything else: a worker becomes one there.
//
//	func TestMain(m *testing.M) {
//		jq.Main()
//		goleak.VerifyTestMain(m)
//	}
//
// The language is jq as gojq implements it, with what jq 1.6 does where that
// matters to a mapping; compat.go says what is evened out and what remains.
//
// The package knows nothing of entities, mappings or records.
package jq

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

// The limits of an Evaluator whose Options leave them out.
const (
	DefaultTimeout   = time.Second
	DefaultMaxMemory = 256 << 20
	DefaultMaxOutput = 1 << 20
)

// hereAtOnce is for how many calls programs run in this process at once, for each
// processor.
const hereAtOnce = 4

// callOutputs is how many of the largest outputs those of one call may be together.
const callOutputs = 16

// The reasons for which a program is stopped. They are wrapped in the Err of an
// Output: what a program itself raises is a *RuntimeError instead.
var (
	ErrTimeout = errors.New("the jq program took too long")
	ErrMemory  = errors.New("the jq program used too much memory")
	ErrOutput  = errors.New("the jq program's output is too large")
	ErrWorker  = errors.New("the process that evaluated the jq program ended")
	ErrClosed  = errors.New("the jq evaluator is closed")
	ErrInput   = errors.New("the input cannot be given to a jq program")
)

// RuntimeError is an error that a program raised: by error(…), or by asking
// for what its input does not have. Message is as jq words it, its beginning and end where
// it is long.
type RuntimeError struct{ Message string }

// Error returns the message.
func (e *RuntimeError) Error() string { return e.Message }

// Options says how programs are bounded. The zero value is usable.
type Options struct {
	// Workers is how many worker processes there may be at once; 0 means a
	// number that suits the machine. They are started when first needed.
	Workers int
	// Timeout is how long one program may take over one input.
	Timeout time.Duration
	// MaxMemory is how many bytes of data a worker process may have.
	MaxMemory int64
	// MaxOutput is how long an output may be, in bytes of JSON. Those of one call
	// may be 16 times as long together.
	MaxOutput int
}

// Output is what a program answered first.
type Output struct {
	// Value is a JSON value: nil, bool, int or float64 (int where the number
	// is whole and below 2^53), string, []any or map[string]any. It shares nothing
	// with the input.
	Value any
	// OK is false where there was no output: jq's empty, or an error.
	OK bool
	// Err says why there is no output, and is nil where there just is none.
	Err error
}

// Evaluator evaluates programs. It is safe for concurrent use.
type Evaluator struct {
	o    Options
	pool *pool
	// here holds an element for each call whose programs run in this process: what
	// they cost is little for one, not for a thousand at once.
	here chan struct{}
}

// New makes an Evaluator. Close ends it.
func New(o Options) *Evaluator {
	if o.Workers <= 0 {
		o.Workers = max(2, min(4, runtime.GOMAXPROCS(0)))
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = DefaultMaxMemory
	}
	if o.MaxOutput <= 0 {
		o.MaxOutput = DefaultMaxOutput
	}
	return &Evaluator{o: o, pool: newPool(o), here: make(chan struct{}, hereAtOnce*runtime.GOMAXPROCS(0))}
}

// Close ends the worker processes and waits for them. Programs that run in one
// answer ErrClosed.
func (e *Evaluator) Close() error {
	e.pool.close()
	return nil
}

// First evaluates p over input and returns its first output; what the program
// would output or raise after it is never asked for.
func (e *Evaluator) First(ctx context.Context, p *Program, input any) Output {
	return e.Each(ctx, []*Program{p}, input)[0]
}

// Each evaluates several programs over one input. The outputs are in the order
// of the programs; one that fails or is stopped does so alone. The input is not
// changed, and must not be while Each runs. A canceled ctx is the Err of what was
// not evaluated yet.
func (e *Evaluator) Each(ctx context.Context, ps []*Program, input any) []Output {
	out := make([]Output, len(ps))
	v, size, err := normalize(input)
	if err != nil {
		for i := range out {
			out[i].Err = fmt.Errorf("%w: %w", ErrInput, err)
		}
		return out
	}
	together := callOutputs * e.o.MaxOutput
	elsewhere := e.inProcess(ctx, ps, v, size, &together, out)
	if len(elsewhere) > 0 {
		e.pool.evaluate(ctx, ps, elsewhere, v, together, out)
	}
	return out
}

// inProcess puts the outputs of the cheap programs into out, and returns the places of
// those that are for a worker. together is how many bytes of JSON outputs may have.
func (e *Evaluator) inProcess(ctx context.Context, ps []*Program, v any, size int, together *int, out []Output) (elsewhere []int) {
	select {
	case e.here <- struct{}{}:
		defer func() { <-e.here }()
	case <-ctx.Done():
		for i := range out {
			out[i].Err = context.Cause(ctx)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	for i, p := range ps {
		if !p.cheap(size) {
			elsewhere = append(elsewhere, i)
			continue
		}
		began := time.Now()
		left := min(e.o.MaxOutput, *together)
		before := left
		out[i] = first(ctx, p, v, &left)
		*together -= before - max(0, left)
		if !errors.Is(out[i].Err, ErrTimeout) {
			continue
		}
		elsewhere = append(elsewhere, i) // the machine is busy, or what was thought of its cost is wrong
		if time.Since(began) > e.o.Timeout/2 {
			p.costly.Store(true)
		}
	}
	return elsewhere
}

// first evaluates p over v in this process, until ctx ends. Its output may be as
// long as there are bytes left.
func first(ctx context.Context, p *Program, v any, left *int) (o Output) {
	defer func() {
		if r := recover(); r != nil {
			o = Output{Err: &RuntimeError{Message: fmt.Sprintf("the jq interpreter failed: %v", r)}}
		}
	}()
	got, ok := p.code.RunWithContext(ctx, v).Next()
	if !ok {
		return Output{}
	}
	if err, is := got.(error); is {
		return stopped(ctx, err)
	}
	w, err := outward(got, left)
	if err != nil {
		return Output{Err: err}
	}
	return Output{Value: w, OK: true}
}

// stopped is the Output of a program that ended with an error.
func stopped(ctx context.Context, err error) Output {
	var halt *gojq.HaltError
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
		return Output{Err: ErrTimeout}
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return Output{Err: context.Cause(ctx)}
	case errors.As(err, &halt) && halt.Value() == nil:
		return Output{} // halt ends a program as empty does
	}
	return Output{Err: &RuntimeError{Message: clip(err.Error())}}
}

// maxMessage is how much is kept, in bytes, of what an error says: a program may
// raise its whole input.
const maxMessage = 1000

// clip bounds the text of an error to how it begins and ends. It has no NUL, which
// not every database stores.
func clip(text string) string {
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	if len(text) <= maxMessage {
		return valid(text)
	}
	const end = maxMessage / 5
	return strings.ToValidUTF8(text[:maxMessage-end], "") + " … " + strings.ToValidUTF8(text[len(text)-end:], "")
}
