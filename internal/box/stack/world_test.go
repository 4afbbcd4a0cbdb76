package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	region  = "eu-west-1"
)

// thingSchema is a type whose things are named by who asks for them, or else by the stack.
const thingSchema = `{
"typeName": "Test::Unit::Thing", "description": "A thing.", "additionalProperties": false,
"properties": {
  "Name": {"type": "string", "maxLength": 100}, "Value": {"type": "string"}, "Size": {"type": "integer"}, "Fixed": {"type": "string"},
  "Sometimes": {"type": "string"}, "Needs": {"type": "array", "items": {"type": "string"}}, "Arn": {"type": "string"}, "Echo": {"type": "string"},
  "Tags": {"type": "array", "items": {"type": "object", "properties": {"Key": {"type": "string"}, "Value": {"type": "string"}}, "required": ["Key", "Value"]}}},
"primaryIdentifier": ["/properties/Name"], "readOnlyProperties": ["/properties/Arn", "/properties/Echo"],
"createOnlyProperties": ["/properties/Name", "/properties/Fixed"], "conditionalCreateOnlyProperties": ["/properties/Sometimes"],
"tagging": {"taggable": true, "tagProperty": "/properties/Tags"},
"handlers": {"create": {"permissions": []}, "read": {"permissions": []}, "update": {"permissions": []}, "delete": {"permissions": []}, "list": {"permissions": []}}}`

// cloud is the account that resources are made in: it outlives the processes that make them.
type cloud struct {
	mu     sync.Mutex
	things map[string]thing // by name
	// fails says which values of things fail how: "create", "update", "delete" -> value.
	fails map[string]string
	bad   bool // values that end in bad fail
	// denied: nothing may be changed.
	denied bool
	calls  []string
}

type thing struct {
	model resource.Model
	token string
}

func newCloud() *cloud { return &cloud{things: map[string]thing{}, fails: map[string]string{}} }

// have lists what there is: the values of things.
func (c *cloud) have() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var values []string
	for _, th := range c.things {
		values = append(values, fmt.Sprint(th.model["Value"]))
	}
	slices.Sort(values)
	return values
}

func (c *cloud) valuesAndFixed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var values []string
	for _, th := range c.things {
		values = append(values, fmt.Sprint(th.model["Value"], th.model["Fixed"]))
	}
	slices.Sort(values)
	return values
}

func (c *cloud) fail(action, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails[action] = value
}

func (c *cloud) failing(action string, m resource.Model) error {
	if c.bad && action != "delete" && strings.HasSuffix(fmt.Sprint(m["Value"]), "bad") {
		return resource.Errorf(resource.InvalidRequest, "a bad value")
	}
	if v := c.fails[action]; v != "" && v == m["Value"] {
		return resource.Errorf(resource.InvalidRequest, "%s refused", v)
	}
	return nil
}

func shown(m resource.Model, name string) resource.Model {
	m = maps.Clone(m)
	m["Name"], m["Arn"], m["Echo"] = name, "arn:test:"+name, fmt.Sprint(m["Value"])
	return m
}

func (c *cloud) Create(_ context.Context, r resource.Request) (resource.Model, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := fmt.Sprint(r.Desired["Name"])
	c.calls = append(c.calls, "create "+name)
	if have, ok := c.things[name]; ok {
		if r.Again && have.token == r.Token {
			return have.model, nil
		}
		return nil, resource.Errorf(resource.AlreadyExists, "%s exists", name)
	}
	for _, needed := range needs(r.Desired) {
		if _, ok := c.things[needed]; !ok {
			return nil, resource.Errorf(resource.InvalidRequest, "%s needs %s, which does not exist", name, needed)
		}
	}
	if err := c.failing("create", r.Desired); err != nil {
		return nil, err
	}
	m := shown(r.Desired, name)
	c.things[name] = thing{m, r.Token}
	return m, nil
}

func needs(m resource.Model) (names []string) {
	list, _ := m["Needs"].([]any)
	for _, v := range list {
		names = append(names, fmt.Sprint(v))
	}
	return names
}

func (c *cloud) Read(_ context.Context, r resource.Request) (resource.Model, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if th, ok := c.things[r.Identifier]; ok {
		return th.model, nil
	}
	return nil, resource.Errorf(resource.NotFound, "%s does not exist", r.Identifier)
}

func (c *cloud) Update(_ context.Context, r resource.Request) (resource.Model, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "update "+r.Identifier)
	th, ok := c.things[r.Identifier]
	if !ok {
		return nil, resource.Errorf(resource.NotFound, "%s does not exist", r.Identifier)
	}
	if c.denied {
		return nil, resource.Errorf(resource.AccessDenied, "not allowed")
	}
	if s := r.Desired["Sometimes"]; s != nil && s != r.Previous["Sometimes"] && strings.HasPrefix(fmt.Sprint(s), "never") {
		return nil, resource.Errorf(resource.NotUpdatable, "not in place")
	}
	if err := c.failing("update", r.Desired); err != nil {
		// A handler that fails halfway has changed something.
		half := maps.Clone(th.model)
		half["Size"] = json.Number("-1")
		c.things[r.Identifier] = thing{half, th.token}
		return nil, err
	}
	th.model = shown(r.Desired, r.Identifier)
	c.things[r.Identifier] = th
	return th.model, nil
}

func (c *cloud) Delete(_ context.Context, r resource.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "delete "+r.Identifier)
	th, ok := c.things[r.Identifier]
	if !ok {
		return resource.Errorf(resource.NotFound, "%s does not exist", r.Identifier)
	}
	for name, other := range c.things {
		if slices.Contains(needs(other.model), r.Identifier) {
			return resource.Errorf(resource.ResourceConflict, "%s is needed by %s", r.Identifier, name)
		}
	}
	if err := c.failing("delete", th.model); err != nil {
		return err
	}
	delete(c.things, r.Identifier)
	return nil
}

func (c *cloud) List(context.Context, resource.Request) ([]resource.Model, string, error) {
	return nil, "", nil
}

// plain seals nothing.
type plain struct{}

func (plain) Seal(_ string, b []byte) []byte          { return b }
func (plain) Open(_ string, b []byte) ([]byte, error) { return b, nil }

// process is a server that carries out operations when the test says so, and can be killed at any step.
type process struct {
	*Stacks
	t     testing.TB
	ctx   context.Context
	cloud *cloud
	now   *time.Time

	registry *resource.Registry
}

func newProcess(t testing.TB, db *store.DB, c *cloud) *process {
	t.Helper()
	schema, err := resource.ParseSchema([]byte(thingSchema))
	if err != nil {
		t.Fatal(err)
	}
	g := resource.New(db, work.New(db, "test", nil), resource.Options{})
	g.Add(resource.Type{Name: "Test::Unit::Thing", Schema: schema, Handler: c})
	now := time.Now().UTC().Truncate(time.Millisecond)
	p := &process{t: t, cloud: c, now: &now, registry: g}
	p.ctx = awsapi.WithCaller(t.Context(), awsapi.Caller{Account: account, Region: region, Role: awsapi.RoleAdmin, AccessKeyID: "AKIA"})
	p.Stacks = New(db, work.New(db, "test", nil), p.options())
	return p
}

func (p *process) options() Options {
	return Options{Registry: p.registry, Types: p.registry, Sealer: plain{}, Now: func() time.Time { return *p.now }}
}

// again is the next process, after this one was killed.
func (p *process) again() *process {
	next := *p
	next.Stacks = New(p.db, work.New(p.db, "test", nil), p.options())
	return &next
}

// killAt has the process die at the nth step from now on, counted from 1.
func (p *process) killAt(n int) (steps *int) {
	steps = new(int)
	var mu sync.Mutex
	p.step = func(string) error {
		mu.Lock()
		defer mu.Unlock()
		*steps++
		if n > 0 && *steps >= n {
			return errKilled
		}
		return nil
	}
	return steps
}

// drive carries out the operation on a stack, as its job would, and says whether the process was killed on the way.
func (p *process) drive(id string) (killed bool) {
	p.t.Helper()
	st, err := p.find(p.ctx, p.db, awsapi.CallerFrom(p.ctx), id)
	if err != nil {
		p.t.Fatalf("stack %s: %v", id, err)
	}
	r, err := p.takeUp(p.ctx, st.id)
	if err == nil && r != nil {
		err = r.goOn(p.ctx)
	}
	if errors.Is(err, errKilled) {
		return true
	}
	if err != nil && !errors.Is(err, errSuperseded) {
		p.t.Fatalf("operation on %s: %v", id, err)
	}
	return false
}

// template makes a template of things: "A", "B: !Ref A" and so on, one a line of YAML properties.
func things(lines ...string) string {
	var b strings.Builder
	b.WriteString("Resources:\n")
	for _, line := range lines {
		id, rest, _ := strings.Cut(line, " ")
		attributes, properties, ok := strings.Cut(rest, "|")
		if !ok {
			attributes, properties = "", rest
		}
		fmt.Fprintf(&b, "  %s: {Type: 'Test::Unit::Thing', %s Properties: {%s}}\n", id, attributes, properties)
	}
	return b.String()
}

func (p *process) begin(name, body string, opts ...func(*cloudformation.CreateStackInput)) string {
	p.t.Helper()
	in := &cloudformation.CreateStackInput{StackName: &name, TemplateBody: &body}
	for _, o := range opts {
		o(in)
	}
	out, err := p.CreateStack(p.ctx, in)
	if err != nil {
		p.t.Fatalf("create %s: %v", name, err)
	}
	return *out.StackId
}

func (p *process) change(name, body string) {
	p.t.Helper()
	if _, err := p.UpdateStack(p.ctx, &cloudformation.UpdateStackInput{StackName: &name, TemplateBody: &body}); err != nil {
		p.t.Fatalf("update %s: %v", name, err)
	}
}

func (p *process) drop(name string) {
	p.t.Helper()
	if _, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
		p.t.Fatalf("delete %s: %v", name, err)
	}
}

func (p *process) is(id string, want Status) {
	p.t.Helper()
	out, err := p.DescribeStacks(p.ctx, &cloudformation.DescribeStacksInput{StackName: &id})
	if err != nil {
		p.t.Fatalf("describe %s: %v", id, err)
	}
	if got := *out.Stacks[0].StackStatus; got != string(want) {
		p.t.Fatalf("stack %s is %s (%s), want %s\n%s", id, got, text(out.Stacks[0].StackStatusReason), want, strings.Join(p.told(id), "\n"))
	}
}

// told are the stack's events, oldest first.
func (p *process) told(id string) (lines []string) {
	p.t.Helper()
	out, err := p.DescribeStackEvents(p.ctx, &cloudformation.DescribeStackEventsInput{StackName: &id})
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range slices.Backward(out.StackEvents) {
		line := *e.LogicalResourceId + " " + *e.ResourceStatus
		if e.ResourceStatusReason != nil {
			line += ": " + *e.ResourceStatusReason
		}
		lines = append(lines, line)
	}
	return lines
}

func (p *process) exist(want ...string) {
	p.t.Helper()
	slices.Sort(want)
	if got := p.cloud.have(); !slices.Equal(got, want) {
		p.t.Fatalf("there are %v, want %v", got, want)
	}
}
