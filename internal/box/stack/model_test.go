package stack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// wanted is a random template of things: each may need those before it.
type wantedThing struct {
	value, fixed string
	needs        []string
}

func drawTemplate(t *rapid.T) map[string]wantedThing {
	ids := []string{"A", "B", "C", "D"}
	want := map[string]wantedThing{}
	for i, id := range ids {
		if !rapid.Bool().Draw(t, "has "+id) {
			continue
		}
		w := wantedThing{value: id + rapid.SampledFrom([]string{"1", "2", "bad"}).Draw(t, id+" value"), fixed: rapid.SampledFrom([]string{"x", "y"}).Draw(t, id+" fixed")}
		for _, other := range ids[:i] {
			if _, there := want[other]; there && rapid.Bool().Draw(t, id+" needs "+other) {
				w.needs = append(w.needs, other)
			}
		}
		want[id] = w
	}
	if len(want) == 0 {
		want["A"] = wantedThing{value: "A1", fixed: "x"}
	}
	return want
}

func write(want map[string]wantedThing) string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(want)) {
		w := want[id]
		refs := make([]string, len(w.needs))
		for i, n := range w.needs {
			refs[i] = "!Ref " + n
		}
		lines = append(lines, fmt.Sprintf("%s Value: %s, Fixed: %s, Needs: [%s]", id, w.value, w.fixed, strings.Join(refs, ", ")))
	}
	return things(lines...)
}

// values are what the account is to have; ok is false when the template has a thing that cannot be made.
func values(want map[string]wantedThing) (list []string, ok bool) {
	ok = true
	for _, w := range want {
		list = append(list, w.value+w.fixed)
		ok = ok && !strings.HasSuffix(w.value, "bad")
	}
	slices.Sort(list)
	return list, ok
}

// Whatever is asked of a stack, and wherever its processes are killed, the account has what the last template that
// succeeded says, and nothing else.
func TestTheAccountIsAsTheTemplateSays(t *testing.T) {
	first := newProcess(t, storetest.SQLite(t), newCloud())
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := fmt.Sprint("stack-", n)
		c := first.cloud
		clear(c.things)
		c.bad = true
		p := first.again()
		id := ""
		var have map[string]wantedThing // nil: no stack
		// finish carries out the operation, with kills on the way.
		finish := func() Status {
			for {
				p.killAt(rapid.IntRange(0, 30).Draw(rt, "killed at"))
				if !p.drive(id) {
					break
				}
				p = p.again()
			}
			p = p.again()
			st, err := p.found(p.ctx, &id)
			if err != nil {
				rt.Fatal(err)
			}
			return st.Status
		}
		expect := func(want map[string]wantedThing) {
			list, _ := values(want)
			if got := c.valuesAndFixed(); !slices.Equal(got, list) {
				rt.Fatalf("there are %v, want %v\n%s", got, list, strings.Join(p.told(id), "\n"))
			}
		}
		actions := map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				want := drawTemplate(rt)
				out, err := p.CreateStack(p.ctx, &createInput{StackName: &name, TemplateBody: new(write(want))})
				if err != nil {
					rt.Fatal(err)
				}
				id = *out.StackId
				status := finish()
				if _, ok := values(want); ok {
					have = want
					if status != CreateComplete {
						rt.Fatalf("it is %s", status)
					}
					return
				}
				have = map[string]wantedThing{} // a stack that can only be deleted
				if status != RollbackComplete {
					rt.Fatalf("it is %s", status)
				}
			},
			"update": func(rt *rapid.T) {
				want := drawTemplate(rt)
				_, err := p.UpdateStack(p.ctx, &cloudformation.UpdateStackInput{StackName: &name, TemplateBody: new(write(want))})
				if err != nil && strings.Contains(err.Error(), "No updates are to be performed.") {
					if write(want) != write(have) {
						rt.Fatalf("no updates from\n%s to\n%s", write(have), write(want))
					}
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				status := finish()
				if _, ok := values(want); ok {
					have = want
					if status != UpdateComplete {
						rt.Fatalf("it is %s", status)
					}
				} else if status != UpdateRollbackComplete {
					rt.Fatalf("it is %s", status)
				}
			},
			"delete": func(rt *rapid.T) {
				if _, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
					rt.Fatal(err)
				}
				if status := finish(); status != DeleteComplete {
					rt.Fatalf("it is %s", status)
				}
				have = nil
			},
		}
		for range rapid.IntRange(1, 5).Draw(rt, "steps") {
			action := rapid.SampledFrom([]string{"update", "update", "delete"}).Draw(rt, "action")
			switch {
			case have == nil:
				action = "create"
			case len(have) == 0:
				action = "delete"
			}
			actions[action](rt)
			expect(have)
		}
	})
}
