package function

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/box/topic"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "eu-west-1"
	role    = "arn:aws:iam::111122223333:role/orders"
)

type noKeys struct{}

func (noKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, awsapi.ErrUnknownKey
}

// processes stand for the processes that functions run in: handle does what they would.
type processes struct {
	mu        sync.Mutex
	handle    func(ctx context.Context, fn runtime.Function, in runtime.Invocation) (runtime.Result, error)
	forgotten []string
}

func (p *processes) Invoke(ctx context.Context, fn runtime.Function, in runtime.Invocation) (runtime.Result, error) {
	p.mu.Lock()
	handle := p.handle
	p.mu.Unlock()
	if handle == nil {
		return runtime.Result{Payload: []byte("null")}, nil
	}
	return handle(ctx, fn, in)
}

func (p *processes) Available(name string) error {
	switch {
	case strings.HasPrefix(name, "provided"), strings.HasPrefix(name, "nodejs"):
		return nil
	case strings.HasPrefix(name, "python"):
		return fmt.Errorf("%w: python3 is not on this machine", runtime.ErrNoInterpreter)
	}
	return fmt.Errorf("%w: %s", runtime.ErrUnknownRuntime, name)
}

func (p *processes) Forget(arn string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgotten = append(p.forgotten, arn)
}

func (p *processes) set(handle func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handle = handle
}

// fixture is a set of functions beside queues and topics, called through a dispatcher as the server
// does. Its clock is ahead of the machine's as far as the test says.
type fixture struct {
	*Functions
	t       testing.TB
	db      *store.DB
	api     *awsapi.Handler
	runs    *processes
	queues  *queue.Queues
	topics  *topic.Topics
	jobs    *work.Runner
	off     atomic.Bool  // functions are switched off
	ahead   atomic.Int64 // nanoseconds
	trailed *awsapi.Trail
}

func newFixture(t testing.TB, db *store.DB, change ...func(*Options)) *fixture {
	t.Helper()
	keys, err := auth.Open(t.Context(), db, auth.Options{MasterKey: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, db: db, runs: &processes{}, jobs: work.New(db, "node", nil)}
	now := func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) }
	f.queues = queue.New(db, queue.Options{BaseURL: func() string { return "http://127.0.0.1:7425" }, Now: now})
	f.topics = topic.New(db, f.jobs, topic.Options{Queues: f.queues, Sealer: keys.Sealer(), BaseURL: func() string { return "http://127.0.0.1:7425" }, Now: now})
	o := Options{
		BaseDir: t.TempDir(), Enabled: func() bool { return !f.off.Load() }, URL: func() string { return "http://127.0.0.1:7425" },
		Runtime: f.runs, Sealer: keys.Sealer(), Queues: f.queues, Topics: f.topics, Jobs: f.jobs, OrgID: "o-a1b2c3d4e5", Now: now,
	}
	for _, c := range change {
		c(&o)
	}
	f.Functions = New(db, o)
	// Unpacked code is read-only, which t.TempDir's removal does not get past.
	t.Cleanup(func() {
		if err := removeTree(o.BaseDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	f.trailed = awsapi.NewTrail(awsapi.TrailOptions{DB: db, Now: now})
	f.api = awsapi.New(awsapi.Config{Keys: noKeys{}, Trail: f.trailed, Now: now})
	f.api.Register(lambda.Bind(f.Functions))
	return f
}

func newSQLite(t testing.TB, change ...func(*Options)) *fixture {
	t.Helper()
	return newFixture(t, storetest.SQLite(t), change...)
}

// admin is a caller who may do anything in the account.
func admin(account string) awsapi.Caller {
	return awsapi.Caller{AccessKeyID: "AKIAEXAMPLE", Account: account, Region: region, Role: awsapi.RoleAdmin}
}

// call makes a call as the account's admin.
func call[Out any](f *fixture, operation string, in any) (Out, error) {
	return callAs[Out](f, f.t.Context(), admin(account), operation, in)
}

func callAs[Out any](f *fixture, ctx context.Context, c awsapi.Caller, operation string, in any) (Out, error) {
	out, err := f.api.Invoke(ctx, c, "lambda", operation, in)
	if err != nil {
		var none Out
		return none, err
	}
	return out.(Out), nil
}

// must is call where the test cannot go on without.
func must[Out any](f *fixture, operation string, in any) Out {
	f.t.Helper()
	out, err := call[Out](f, operation, in)
	if err != nil {
		f.t.Fatalf("%s: %v", operation, err)
	}
	return out
}

// creation is a request for a function that runs here.
func creation(name string, change ...func(*lambda.CreateFunctionInput)) *lambda.CreateFunctionInput {
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: new("provided.al2023"), Handler: new("bootstrap"), Role: new(role),
		Code: &lambda.FunctionCode{ZipFile: zipOf(entry{name: "bootstrap", text: "#!/bin/sh\n", mode: 0o755})},
	}
	for _, c := range change {
		c(in)
	}
	return in
}

// create makes a function and returns its ARN.
func (f *fixture) newFunction(name string, change ...func(*lambda.CreateFunctionInput)) string {
	f.t.Helper()
	return *must[*lambda.CreateFunctionOutput](f, "CreateFunction", creation(name, change...)).FunctionArn
}

// entry is an entry of a zip.
type entry struct {
	name, text string
	mode       fs.FileMode
	method     uint16 // zip.Store if 0
}

func zipOf(entries ...entry) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: e.method}
		h.SetMode(e.mode)
		to, err := w.CreateHeader(h)
		if err == nil {
			_, err = to.Write([]byte(e.text))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}
