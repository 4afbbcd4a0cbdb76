// Package function is the box's Lambda: functions whose code really runs, as processes
// of this machine, with AWS's rules for who may call them and what becomes of a call.
//
// Functions implements the generated lambda.Service. Deployment packages are kept in SQL and
// unpacked on each node that needs them; package runtime runs them. This package knows
// nothing of events and rules: it is handed calls, and messages of the queues that its event
// source mappings poll.
//
// It is no sandbox: code runs as the server's own user, which is why it is refused unless
// [Options.Enabled] says otherwise.
//
// There is one version of a function, $LATEST, in one form, a zip. Layers, versions, aliases,
// images, VPCs, file systems, SnapStart, X-Ray, code signing, KMS keys and code in S3
// are refused by name. Where AWS leaves a choice, or its choice serves only its own scale,
// this package decides as follows:
//   - A function is Active, and an update Successful, when the call that made it returns.
//   - Without Architectures a function has that of this machine; another is refused.
//   - Memory and ephemeral storage are what a function asks for. It gets no less, and is
//     not kept from using more.
package function

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// latest is the one version that there is of a function.
const latest = "$LATEST"

// Ref names a function.
type Ref struct {
	Account, Region, Name string
}

// ARN returns the function's ARN. AWS: arn:aws:lambda:REGION:ACCOUNT:function:NAME.
func (r Ref) ARN() string {
	return "arn:" + event.Partition(r.Region) + ":lambda:" + r.Region + ":" + r.Account + ":function:" + r.Name
}

var (
	validName      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	validRegion    = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	validQualifier = regexp.MustCompile(`^(\$LATEST|[A-Za-z0-9_-]{1,128})$`)
)

// ParseARN reads a function's ARN. The qualifier is the version or alias that it ends with, such as
// $LATEST, or empty. ok is false for anything else.
func ParseARN(arn string) (r Ref, qualifier string, ok bool) {
	p := strings.Split(arn, ":")
	if len(p) < 7 || len(p) > 8 || p[5] != "function" {
		return Ref{}, "", false
	}
	r = Ref{Account: p[4], Region: p[3], Name: p[6]}
	if len(p) == 8 {
		qualifier = p[7]
		if !validQualifier.MatchString(qualifier) {
			return Ref{}, "", false
		}
	}
	if !r.valid() || r.ARN() != strings.Join(p[:7], ":") {
		return Ref{}, "", false
	}
	return r, qualifier, true
}

func (r Ref) valid() bool {
	return auth.IsAccount(r.Account) && validRegion.MatchString(r.Region) && validName.MatchString(r.Name)
}

// Runner runs functions: a *runtime.Pool.
type Runner interface {
	// Invoke runs a function whose code is unpacked. Its errors say that it was not run.
	Invoke(ctx context.Context, fn runtime.Function, in runtime.Invocation) (runtime.Result, error)
	// Available says why functions of a runtime cannot run here; nil if they can.
	Available(name string) error
	// Forget ends what waits of a function that is gone.
	Forget(arn string)
}

// Sealer encrypts what must be stored readable.
type Sealer interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Options configure Functions.
type Options struct {
	// BaseDir is for unpacked code. It is this process's alone.
	BaseDir string
	// Enabled says whether functions may be created and run. Nil means they may not.
	Enabled func() bool
	// URL is where this server is reached, for links to code.
	URL func() string
	// Runtime runs the functions. Required.
	Runtime Runner
	// Sealer encrypts environment variables. Required.
	Sealer Sealer
	// Queues and Topics take what asynchronous invocations could not be made of, and Queues is
	// polled for event source mappings. Required.
	Queues sqs.Service
	Topics sns.Service
	// Jobs carries asynchronous invocations and event source mappings. Required.
	Jobs *work.Runner
	// OrgID is the organization of all accounts here; empty: none.
	OrgID string
	// RetryWaits are the pauses after which an asynchronous invocation that the function failed
	// is tried again, one a try. Nil means AWS's: one minute, then two.
	RetryWaits []time.Duration
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Functions are all functions of this installation. Its methods are safe for
// concurrent use.
type Functions struct {
	lambda.Unimplemented

	db      *store.DB
	o       Options
	code    *codeDirs
	bells   bells
	waiting waitingCounts
	counts  counters
}

// New returns the functions kept in db. It registers its job queues with o.Jobs, whose Run
// must not have begun. Whoever calls it also runs [Functions.Run], and calls [Functions.Close] in the end.
func New(db *store.DB, o Options) *Functions {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Enabled == nil {
		o.Enabled = func() bool { return false }
	}
	if o.RetryWaits == nil {
		o.RetryWaits = defaultRetryWaits
	}
	f := &Functions{db: db, o: o, code: newCodeDirs(o.BaseDir, o.Now)}
	o.Jobs.Handle(asyncQueue, work.QueueOptions{Concurrency: maxLanes, BackoffCap: problemCap, When: o.Enabled}, f.runLane)
	o.Jobs.Handle(mappingQueue, work.QueueOptions{Concurrency: maxPolled, BackoffCap: problemCap}, f.runMapping)
	return f
}

// Run works in the background until ctx ends, and then returns ctx's error.
func (f *Functions) Run(ctx context.Context) error {
	if err := f.resumeMappings(ctx); err != nil {
		return err
	}
	return f.runSweeps(ctx)
}

// Close deletes the code that this process unpacked. It comes after Run and everything that
// invokes functions has ended.
func (f *Functions) Close() error { return f.code.dropAll() }

// now is the clock in unix milliseconds, as the tables hold times.
func (f *Functions) now() int64 { return f.o.Now().UnixMilli() }

// Function is a function as it was read. It is never changed.
type Function struct {
	Ref
	// Configuration is what UpdateFunctionConfiguration changes.
	Configuration Configuration
	// CodeSHA256 is of the deployment package, in hex, CodeSize its length in bytes.
	CodeSHA256 string
	CodeSize   int64
	Tags       map[string]string
	// Revision is a UUID that changes with code, configuration and policy.
	Revision string
	// Modified is when code or configuration last changed, in unix milliseconds.
	Modified int64

	id         int64 // of this function for as long as it lives
	policyText string
	policy     *auth.Policy // nil without one
}

func (fn *Function) timeout() time.Duration {
	return time.Duration(fn.Configuration.Timeout) * time.Second
}

// deadLetterARN is the queue or topic for asynchronous invocations that came to nothing; empty: none.
func (fn *Function) deadLetterARN() string { return fn.Configuration.DeadLetter }

// find returns the function; without one ResourceNotFoundException.
func (f *Functions) find(ctx context.Context, r Ref) (*Function, error) {
	return f.findIn(ctx, f.db, r)
}

func (f *Functions) findIn(ctx context.Context, db store.Querier, r Ref) (*Function, error) {
	fn, err := f.readFunction(ctx, db, r)
	if err != nil {
		return nil, err
	}
	if fn == nil {
		return nil, errNoFunction(r.ARN())
	}
	return fn, nil
}
