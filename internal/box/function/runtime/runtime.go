// Package runtime runs functions: each in processes of this machine that speak
// the AWS Lambda Runtime API (version 2018-06-01), so that a program made for
// provided.al2023 runs unchanged, and Node and Python files by small clients of
// our own where the machine has the interpreter.
//
// It knows neither SQL nor AWS's APIs: whoever calls [Pool.Invoke] has stored the
// code, unpacked it and authorized the caller.
//
// It is no sandbox. A function runs as the server's own user and can read, write
// and reach what that user can: the files of the machine, its network, other
// processes. What is kept apart is kept apart for order and not for safety: each
// process has a clean environment, no file descriptor but its own three, a
// directory of its own for HOME and TMPDIR, a process group, and a Runtime API on
// a loopback port of its own, where it can take no other process's invocations.
// Memory is reported and not limited, but for the heap of Node; on Linux a process may
// open 1,024 files, as on Lambda. Of CPU, disk and processes a function may use what the user may.
//
// Where a process ends, its group is killed, and on Linux also what has left the
// group, found by the log stream's name in its environment. When the server itself is
// killed, Linux kills the functions' processes with it, and what they had started is
// found and killed at the next start. On other systems a killed server leaves its
// functions behind: they end by themselves once they see that their Runtime API is gone.
package runtime

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// AWS's limits of an invocation.
const (
	// MaxPayload is what an invocation may carry: 6 MiB.
	MaxPayload = 6 << 20
	// MaxResponse is what a function may answer. AWS: 6 MiB and 100 bytes.
	MaxResponse = 6<<20 + 100
	// MaxTimeout is how long a function may take at most.
	MaxTimeout = 15 * time.Minute
	// logTailBytes is what [Result.LogTail] holds at most.
	logTailBytes = 4 << 10
	// maxInit is how long a process may take until it asks for its first
	// invocation. One that takes longer is started once more, as a part of that.
	maxInit = 10 * time.Second
)

// Log formats, and the levels that JSON logs are filtered by: those of an
// application are all, those of the system DEBUG, INFO and WARN.
const (
	FormatText = "Text"
	FormatJSON = "JSON"
)

// Function is what a process is started from and an invocation is made with.
type Function struct {
	ARN, Name, Account, Region string
	// Version is "$LATEST".
	Version string
	// Revision changes with the code and the configuration. Processes of another
	// revision finish what they do and go.
	Revision string
	// Runtime is AWS's name of it: provided.al2023, nodejs20.x, python3.12.
	Runtime string
	Handler string
	// Dir is where the code is unpacked: an absolute path, only read. It must stay
	// until no process of this revision runs.
	Dir         string
	Environment map[string]string
	// Timeout is for one invocation; zero means AWS's 3 seconds.
	Timeout time.Duration
	// MemoryMB is told to the function; zero means AWS's 128.
	MemoryMB int
	// Concurrency is how many invocations may run at once; zero sets no limit but the pool's.
	Concurrency int
	// LogGroup is the name of the group; empty means /aws/lambda/NAME.
	LogGroup string
	// LogFormat is [FormatText] or [FormatJSON]; empty means Text.
	LogFormat string
	// ApplicationLogLevel and SystemLogLevel hold for JSON only; empty means INFO.
	ApplicationLogLevel, SystemLogLevel string
}

// Invocation is one call of a function.
type Invocation struct {
	// RequestID is a UUID, which also stands in the logs.
	RequestID string
	// Payload is what the function gets as its event, at most [MaxPayload].
	Payload []byte
	// ClientContext is JSON, already decoded from the base64 of the API; empty for none.
	ClientContext string
	// TraceHeader is the caller's X-Amzn-Trace-Id; empty means a new one.
	TraceHeader string
	// FunctionARN is as invoked, with the qualifier if the caller gave one; empty
	// means the function's own.
	FunctionARN string
	// Tail asks for [Result.LogTail].
	Tail bool
}

// Result is what came of an invocation that a function was asked to do.
type Result struct {
	// Payload is the function's answer as it gave it, or JSON that says what went wrong.
	Payload []byte
	// FunctionError is empty, or "Unhandled" where the function failed.
	FunctionError string
	// LogTail is the last 4 KB of the invocation's log, if it was asked for.
	LogTail []byte
	// Duration is the invocation's alone, Init what its process took to start; zero
	// when it was running already.
	Duration, Init time.Duration
}

// LogEvent is one line of a log.
type LogEvent struct {
	At time.Time
	// Message is valid UTF-8.
	Message string
}

// Logs is where logs go.
type Logs interface {
	// Put appends events, in order of time, to a stream, and makes the group and the
	// stream if they are not there. It gets at most 10,000 events and 1 MiB, each
	// counted with 26 bytes more, as PutLogEvents allows.
	Put(ctx context.Context, account, region, group, stream string, events []LogEvent) error
}

// Options configure a Pool.
type Options struct {
	// Dir is for the working directories of processes and for the clients of Node and
	// Python. It is the pool's alone: what an earlier run left there is killed and deleted.
	Dir string
	// Environment returns what else a function of the account and region gets, as
	// NAME=value: AWS_ENDPOINT_URL and credentials. Nil means nothing. The function's own variables go before.
	Environment func(account, region string) []string
	// Logs is required.
	Logs Logs
	// MaxProcesses is how many processes there are at most, of all functions; zero
	// means 64.
	MaxProcesses int
	// IdleTime is how long a process is kept without an invocation; zero means 5 minutes.
	IdleTime time.Duration
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock of logs; nil means time.Now.
	Now func() time.Time
}

var (
	// ErrTooManyRequests says that no process is free and no other may be started.
	// The error is a *[Throttled], which says why.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrUnknownRuntime says that there is no runtime of that name.
	ErrUnknownRuntime = errors.New("unknown runtime")
	// ErrNoInterpreter says that the machine lacks what the runtime needs.
	ErrNoInterpreter = errors.New("no interpreter")
	// ErrPayloadTooLarge says that an invocation's payload is larger than [MaxPayload].
	ErrPayloadTooLarge = errors.New("payload is too large")
	// ErrStopped says that the server is stopping: the function was not called, or
	// was cut off.
	ErrStopped = errors.New("functions are stopping")
)

// Throttled is why an invocation was refused. errors.Is(err, ErrTooManyRequests) holds.
type Throttled struct {
	// Reason is AWS's ThrottleReason: ReservedFunctionConcurrentInvocationLimitExceeded
	// for the function's own limit, ConcurrentInvocationLimitExceeded for the pool's.
	Reason string
	Limit  int
}

// Error is AWS's sentence.
func (e *Throttled) Error() string { return "Rate Exceeded." }

// Is makes it an [ErrTooManyRequests].
func (e *Throttled) Is(target error) bool { return target == ErrTooManyRequests }
