package stack

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// odd has things whose creation goes as a test says.
type odd struct {
	*cloud
	create func(ctx context.Context, r resource.Request) (resource.Model, error)
}

func (o odd) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	return o.create(ctx, r)
}

// oddProcess has the type Test::Unit::Odd, too.
func oddProcess(t *testing.T, create func(ctx context.Context, c *cloud, r resource.Request) (resource.Model, error)) *process {
	t.Helper()
	c := newCloud()
	p := newProcess(t, storetest.SQLite(t), c)
	schema, err := resource.ParseSchema([]byte(strings.Replace(thingSchema, "Test::Unit::Thing", "Test::Unit::Odd", 1)))
	if err != nil {
		t.Fatal(err)
	}
	p.registry.Add(resource.Type{Name: "Test::Unit::Odd", Schema: schema, Handler: odd{c, func(ctx context.Context, r resource.Request) (resource.Model, error) {
		return create(ctx, c, r)
	}}})
	return p
}

// oddThings is a template of them.
func oddThings(lines ...string) string {
	return strings.ReplaceAll(things(lines...), "Test::Unit::Thing", "Test::Unit::Odd")
}

func TestWhatDidNotBecomeStableIsNotThere(t *testing.T) {
	p := oddProcess(t, func(context.Context, *cloud, resource.Request) (resource.Model, error) {
		return nil, resource.Errorf(resource.NotStabilized, "the endpoint answered 401")
	})
	id := p.begin("shop", oddThings("A Value: a"))
	p.drive(id)
	p.is(id, RollbackComplete)
}

func TestWhatMayHaveBeenMadeIsFoundAndDeleted(t *testing.T) {
	p := oddProcess(t, func(ctx context.Context, c *cloud, r resource.Request) (resource.Model, error) {
		m, err := c.Create(ctx, r)
		if r.Again || err != nil {
			return m, err
		}
		return nil, resource.Errorf(resource.ServiceInternalError, "lost")
	})
	id := p.begin("shop", oddThings("A Value: a"))
	p.drive(id)
	p.is(id, RollbackComplete)
	p.exist()
}

func TestAnUpdateFindsOutWhatAFailedCreationLeft(t *testing.T) {
	for name, tc := range map[string]struct {
		made, known bool
		want        Status
		exist       []string
	}{
		"it was made":     {made: true, known: true, want: UpdateComplete, exist: []string{"b"}},
		"it was not made": {known: true, want: UpdateComplete, exist: []string{"b"}},
		"nobody knows":    {made: true, want: UpdateRollbackComplete, exist: []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			failing := true
			p := oddProcess(t, func(ctx context.Context, c *cloud, r resource.Request) (resource.Model, error) {
				switch {
				case r.Desired["Value"] == "b" || r.Again && tc.known && tc.made:
					return c.Create(ctx, r)
				case r.Again && tc.known:
					return nil, resource.Errorf(resource.InvalidRequest, "no")
				}
				if tc.made && !r.Again {
					if _, err := c.Create(ctx, r); err != nil {
						return nil, err
					}
				}
				if !failing {
					return c.Create(ctx, r)
				}
				return nil, resource.Errorf(resource.ServiceInternalError, "lost")
			})
			id := p.begin("shop", oddThings("A Value: a"), func(in *createInput) { in.DisableRollback = new(true) })
			p.drive(id)
			p.is(id, CreateFailed)
			p.change("shop", oddThings("A Value: b"))
			p.drive(id)
			p.is(id, tc.want)
			p.exist(tc.exist...)
			// Whatever it was, a deletion leaves nothing.
			failing = false
			p.drop("shop")
			p.drive(id)
			p.is(id, DeleteComplete)
			p.exist()
		})
	}
}

func TestAReplacementBringsItsPolicyAlong(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	id := p.begin("shop", things("A Value: a", "B UpdateReplacePolicy: Retain,|Value: b"))
	p.drive(id)
	p.change("shop", things("A UpdateReplacePolicy: Retain,|Value: a, Fixed: x", "B Value: b, Fixed: x"))
	p.drive(id)
	p.is(id, UpdateComplete)
	p.exist("a", "a", "b")
}

// What a repeat finds may be another's that is alike: it stays that one's.
func TestARepeatedCreationTakesNothingFromOtherStacks(t *testing.T) {
	p := oddProcess(t, func(ctx context.Context, c *cloud, r resource.Request) (resource.Model, error) {
		if have, ok := c.things[r.Desired["Name"].(string)]; ok && r.Again {
			return maps.Clone(have.model), nil
		}
		return c.Create(ctx, r)
	})
	first := p.begin("first", oddThings("A Name: one, Value: a"))
	p.drive(first)
	second := p.begin("second", oddThings("A Name: one, Value: a"))
	for n := 1; ; n++ {
		p.killAt(n)
		if !p.drive(second) {
			break
		}
		p = p.again()
	}
	p.is(second, RollbackComplete)
	p.exist("a")
	if _, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: &second}); err != nil {
		t.Fatal(err)
	}
	p.drive(second)
	p.exist("a")
}

func TestReasonsShowNothingOfSecrets(t *testing.T) {
	p := oddProcess(t, func(_ context.Context, _ *cloud, r resource.Request) (resource.Model, error) {
		return nil, resource.Errorf(resource.InvalidRequest, "%s is no value", r.Desired["Value"])
	})
	id := p.begin("shop", "Parameters: {Secret: {Type: String, NoEcho: true, Default: hunter2}}\n"+oddThings("A Value: !Ref Secret"))
	p.drive(id)
	got := strings.Join(p.told(id), "\n")
	if strings.Contains(got, "hunter2") || !strings.Contains(got, `"**** is no value"`) {
		t.Error(got)
	}
}

func TestWhatCouldNotBeChangedNeedsNoRollback(t *testing.T) {
	for name, spoil := range map[string]func(*cloud){
		"its caller may not change it": func(c *cloud) { c.denied = true },
		"it was deleted by others":     func(c *cloud) { clear(c.things) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud()
			p := newProcess(t, storetest.SQLite(t), c)
			id := p.begin("shop", things("A Value: a"))
			p.drive(id)
			spoil(c)
			p.change("shop", things("A Value: b"))
			for n := 1; ; n++ {
				p.killAt(n)
				if !p.drive(id) {
					break
				}
				p = p.again()
			}
			p = p.again()
			p.is(id, UpdateRollbackComplete)
			c.denied = false
			p.change("shop", things("B Value: b"))
			p.drive(id)
			p.is(id, UpdateComplete)
			p.exist("b")
		})
	}
}
