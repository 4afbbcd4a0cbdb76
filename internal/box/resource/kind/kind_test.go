package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	boxfunction "github.com/rialto-bus/rialto/internal/box/function"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	boxinstance "github.com/rialto-bus/rialto/internal/box/instance"
	"github.com/rialto-bus/rialto/internal/box/loggroup"
	boxqueue "github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/box/resource"
	boxtopic "github.com/rialto-bus/rialto/internal/box/topic"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	region  = "eu-west-1"
	baseURL = "http://127.0.0.1:7425"
)

// patience bounds an operation in a test that is to succeed.
const patience = 20 * time.Second

// fixture is the types over services of one process.
type fixture struct {
	t     testing.TB
	aws   *awsapi.Handler
	types map[string]resource.Type
	// registry has the types, as Cloud Control and stacks have them.
	registry *resource.Registry
	caller   awsapi.Caller
	tokens   atomic.Int64
	// accounts counts those that nextAccount has gone through.
	accounts int
	// deny is the reason with which tokens of OAuth are refused; empty: they are given.
	deny atomic.Value
	// cut interferes with calls, if it is set.
	cut *cut
}

// Authorize asks for no token and notes the outcome that the test wants.
type authorizer struct {
	buses *bus.Buses
	x     *fixture
}

func (a authorizer) Authorize(ctx context.Context, c bus.Credentials) error {
	if reason, _ := a.x.deny.Load().(string); reason != "" {
		return a.buses.ConnectionFailed(ctx, c.ConnectionARN, c.Version, reason, true)
	}
	return a.buses.ConnectionAuthorized(ctx, c.ConnectionARN, c.Version)
}

// discard is an event log that nothing is read from.
type discard struct{}

func (discard) Append(context.Context, [][]byte) error { return nil }

// web reaches nothing.
type web struct{}

func (web) Do(*http.Request) (*http.Response, error) { return nil, errors.New("there is no web") }
func (web) CheckURL(string) error                    { return nil }

// idle is a runner that runs nothing.
type idle struct{}

func (idle) Invoke(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
	return runtime.Result{}, errors.New("nothing runs here")
}
func (idle) Available(name string) error {
	if strings.HasPrefix(name, "ruby") {
		return runtime.ErrNoInterpreter
	}
	return nil
}
func (idle) Forget(string) {}

func onBoth(t *testing.T, f func(t *testing.T, x *fixture)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newFixture(t, db)) })
}

func newFixture(t testing.TB, db *store.DB) *fixture {
	t.Helper()
	a, err := auth.Open(t.Context(), db, auth.Options{MasterKey: bytes.Repeat([]byte{7}, auth.MasterKeySize)})
	if err != nil {
		t.Fatal(err)
	}
	x := &fixture{t: t, types: map[string]resource.Type{}, caller: awsapi.Caller{Account: account, Region: region, Role: awsapi.RoleAdmin}}
	jobs := work.New(db, "test", nil)
	buses, err := bus.Open(t.Context(), bus.Options{DB: db, Log: discard{}, Secrets: a.Sealer(), Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	buses.HandleAuthorization(authorizer{buses, x})
	queues := boxqueue.New(db, boxqueue.Options{BaseURL: func() string { return baseURL }})
	topics := boxtopic.New(db, jobs, boxtopic.Options{BaseURL: func() string { return baseURL }, Queues: queues, HTTP: web{}, Sealer: a.Sealer()})
	groups := loggroup.New(db, loggroup.Options{})
	functions := boxfunction.New(db, boxfunction.Options{
		BaseDir: t.TempDir(), Enabled: func() bool { return true }, URL: func() string { return baseURL }, Runtime: idle{}, Sealer: a.Sealer(),
		Queues: queues, Topics: topics, Jobs: jobs,
	})
	x.aws = awsapi.New(awsapi.Config{Keys: a})
	x.aws.Register(
		events.Bind(buses.AWS()), sqs.Bind(queues), sns.Bind(topics), logs.Bind(groups), lambda.Bind(functions),
		ec2.Bind(boxinstance.New(db, jobs, boxinstance.Options{Transition: time.Millisecond})),
	)
	types, err := Types(x)
	if err != nil {
		t.Fatal(err)
	}
	x.registry = resource.New(db, jobs, resource.Options{Sealer: a.Sealer()})
	x.registry.Add(types...)
	for _, typ := range types {
		x.types[typ.Name] = typ
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = jobs.Run(ctx) })
	wg.Go(func() { _ = functions.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return x
}

// Invoke hands calls on to the services.
func (x *fixture) Invoke(ctx context.Context, c awsapi.Caller, service, operation string, in any) (any, error) {
	call := func() (any, error) { return x.aws.Invoke(ctx, c, service, operation, in) }
	if x.cut != nil {
		return x.cut.through(service, operation, call)
	}
	return call()
}

// request is one of a new operation.
func (x *fixture) request() resource.Request {
	return resource.Request{Caller: x.caller, Token: fmt.Sprintf("token-%d", x.tokens.Add(1))}
}

// nextAccount goes on in an account that has nothing.
func (x *fixture) nextAccount() {
	x.accounts++
	x.caller.Account = fmt.Sprintf("%012d", 500000000000+x.accounts)
}

// here is a text with the caller's account, region and partition in place of those that tests are written with.
func (x *fixture) here(text string) string {
	return strings.NewReplacer(account, x.caller.Account, region, x.caller.Region, "arn:aws:", "arn:"+event.Partition(x.caller.Region)+":").Replace(text)
}

func model(t testing.TB, text string) resource.Model {
	t.Helper()
	m, err := resource.ParseModel(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// desired is the model as a handler gets it.
func (x *fixture) desired(typeName, text string) resource.Model {
	x.t.Helper()
	schema := x.types[typeName].Schema
	m, err := schema.Coerce(model(x.t, x.here(text)))
	if err != nil {
		x.t.Fatal(err)
	}
	if err := schema.CheckDesired(m); err != nil {
		x.t.Fatalf("%s %s: %v", typeName, text, err)
	}
	return m
}

// plain is a model as JSON values.
func plain(t testing.TB, m resource.Model) resource.Model {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return model(t, string(text))
}

func (x *fixture) create(typeName, text string) (resource.Model, error) {
	x.t.Helper()
	r := x.request()
	r.Desired = x.desired(typeName, text)
	return x.createAs(typeName, r)
}

func (x *fixture) createAs(typeName string, r resource.Request) (resource.Model, error) {
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	return x.types[typeName].Handler.Create(ctx, r)
}

func (x *fixture) must(typeName, text string) resource.Model {
	x.t.Helper()
	m, err := x.create(typeName, text)
	if err != nil {
		x.t.Fatalf("create %s %s: %v", typeName, text, err)
	}
	return m
}

func (x *fixture) identifier(typeName string, m resource.Model) string {
	x.t.Helper()
	id, err := x.types[typeName].Schema.Identifier(m)
	if err != nil {
		x.t.Fatal(err)
	}
	return id
}

func (x *fixture) read(typeName, identifier string) (resource.Model, error) {
	r := x.request()
	r.Identifier = identifier
	return x.types[typeName].Handler.Read(x.t.Context(), r)
}

func (x *fixture) update(typeName, identifier, from, to string) (resource.Model, error) {
	x.t.Helper()
	r := x.request()
	r.Identifier, r.Previous, r.Desired = identifier, x.desired(typeName, from), x.desired(typeName, to)
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	return x.types[typeName].Handler.Update(ctx, r)
}

func (x *fixture) delete(typeName, identifier string, again bool) error {
	r := x.request()
	r.Identifier, r.Again = identifier, again
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	return x.types[typeName].Handler.Delete(ctx, r)
}

// list returns the identifiers of all resources, in pages of two.
func (x *fixture) list(typeName string) []string {
	x.t.Helper()
	var ids []string
	r := x.request()
	r.Max = 2
	for range 1000 {
		models, next, err := x.types[typeName].Handler.List(x.t.Context(), r)
		if err != nil {
			x.t.Fatalf("list %s: %v", typeName, err)
		}
		for _, m := range models {
			ids = append(ids, x.identifier(typeName, m))
		}
		if r.Next = next; next == "" {
			return ids
		}
	}
	x.t.Fatalf("the list of %s does not end", typeName)
	return nil
}

// call makes a call past the types.
func (x *fixture) call(service, operation string, in any) any {
	x.t.Helper()
	out, err := x.aws.Invoke(x.t.Context(), x.caller, service, operation, in)
	if err != nil {
		x.t.Fatalf("%s:%s: %v", service, operation, err)
	}
	return out
}

// cut interferes with one of the calls that are counted.
type cut struct {
	at int // the call from 1
	// answerLost says that the call is made and its answer lost; else it is not made.
	answerLost bool
	// refusal, if any, is the answer; else the process is gone: the operation's context ends.
	refusal error
	// mutating says that calls that only look are not counted.
	mutating bool
	gone     context.CancelFunc

	mu    sync.Mutex
	calls []string
	hit   bool
}

var errCut = errors.New("the process is gone")

func looks(operation string) bool {
	for _, prefix := range []string{"Describe", "Get", "List"} {
		if strings.HasPrefix(operation, prefix) {
			return true
		}
	}
	return false
}

func (c *cut) through(service, operation string, call func() (any, error)) (any, error) {
	c.mu.Lock()
	counted := !c.hit && (!c.mutating || !looks(operation))
	if counted {
		c.calls = append(c.calls, service+":"+operation)
	}
	now := counted && len(c.calls) == c.at
	c.hit = c.hit || now
	dead := c.hit && !now && c.refusal == nil
	c.mu.Unlock()
	switch {
	case dead:
		return nil, errCut
	case !now:
		return call()
	}
	if c.answerLost {
		_, _ = call()
	}
	if c.refusal != nil {
		return nil, c.refusal
	}
	c.gone()
	return nil, errCut
}

// cutOff runs an operation whose process goes at the n-th call, and says whether it came that far.
func (x *fixture) cutOff(n int, answerLost bool, operation func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	x.cut = &cut{at: n, answerLost: answerLost, gone: cancel}
	defer func() { x.cut = nil }()
	err := operation(ctx)
	if x.cut.hit && err == nil {
		x.t.Errorf("an operation that was cut off at call %d, %v, succeeded", n, x.cut.calls)
	}
	return x.cut.hit
}

// refused runs an operation whose n-th change is refused, and says whether it came that far.
func (x *fixture) refused(n int, operation func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()
	x.cut = &cut{at: n, mutating: true, refusal: awsapi.ValidationException("refused by the test")}
	defer func() { x.cut = nil }()
	err := operation(ctx)
	if x.cut.hit && (resource.CodeOf(err) != resource.InvalidRequest || !strings.Contains(err.Error(), "refused by the test")) {
		x.t.Errorf("call %d, %v, was refused: %v", n, x.cut.calls, err)
	}
	return x.cut.hit
}

// wants reports where a model lacks what is wanted: "" stands for no value at all.
func wants(x *fixture, have resource.Model, want map[string]any) {
	x.t.Helper()
	have = plain(x.t, have)
	for _, p := range slices.Sorted(maps.Keys(want)) {
		v := want[p]
		if text, ok := v.(string); ok {
			v = x.here(text)
		}
		if !same(have[p], v) {
			x.t.Errorf("%s is %s, not %s", p, document(have[p]), document(v))
		}
	}
}

// text says how a model is, for messages.
func shown(m resource.Model) string { return document(m) }

func newSQLite(t testing.TB) *fixture {
	t.Helper()
	return newFixture(t, storetest.SQLite(t))
}
