package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/jq"
)

const (
	// calculateAtOnce is how many entities of an answer are calculated at once.
	calculateAtOnce = 4
	// maxStrikes is how often a calculation may be stopped, in one answer, before it is
	// left out.
	maxStrikes = 2
	// maxCalculators is how many blueprints' programs are kept.
	maxCalculators = 1000
)

const outOfTimeToCompute = "calculations took more time than they have for one answer"

// calculator is the compiled calculation properties of a blueprint in one revision.
type calculator struct {
	revision int64
	programs map[string]*jq.Program
	failed   map[string]error // those that do not compile
}

// calculators keeps calculators by blueprint.
type calculators struct {
	mu   sync.Mutex
	byID map[int64]*calculator
}

// of is the calculator of a blueprint, as it is now.
func (k *calculators) of(b *Blueprint) *calculator {
	k.mu.Lock()
	known := k.byID[b.id]
	k.mu.Unlock()
	if known != nil && known.revision == b.Revision {
		return known
	}
	made := &calculator{revision: b.Revision, programs: map[string]*jq.Program{}, failed: map[string]error{}}
	for key, calc := range b.Calculations {
		p, err := jq.Compile(calc.Calculation)
		if err != nil {
			made.failed[key] = err
			continue
		}
		made.programs[key] = p
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil || len(k.byID) >= maxCalculators {
		k.byID = map[int64]*calculator{}
	}
	k.byID[b.id] = made
	return made
}

// calculations adds calculation properties, which are jq over the entity as an answer
// shows it, with its mirror and aggregation properties.
func (x *computing) calculations(ctx context.Context, b *Blueprint, list []*Entity, keys []string) error {
	k := x.c.calculators.of(b)
	work := make(chan *Entity)
	var running sync.WaitGroup
	for range min(calculateAtOnce, len(list)) {
		running.Go(func() {
			for e := range work {
				x.calculate(ctx, b, k, e, keys)
			}
		})
	}
	for _, e := range list {
		work <- e
	}
	close(work)
	running.Wait()
	return ctx.Err()
}

// calculate adds the calculation properties of one entity.
func (x *computing) calculate(ctx context.Context, b *Blueprint, k *calculator, e *Entity, keys []string) {
	var programs []*jq.Program
	var of []string
	for _, key := range keys {
		p := k.programs[key]
		var why string
		switch {
		case x.c.o.JQ == nil:
			why = "this server evaluates no jq"
		case p == nil:
			why = fmt.Sprintf("its calculation is no jq that can be run: %v", k.failed[key])
		case time.Now().After(x.until):
			why = outOfTimeToCompute
		case x.strikes.of(p) >= maxStrikes:
			why = "its calculation was stopped for other entities of this answer"
		default:
			programs, of = append(programs, p), append(of, key)
			continue
		}
		x.tellf(e, key, "%s", why)
	}
	values := make(map[string]any, len(keys))
	if len(programs) > 0 {
		ctx, cancel := context.WithDeadline(ctx, x.until.Add(100*time.Millisecond))
		defer cancel()
		for i, o := range x.c.o.JQ.Each(ctx, programs, entityJSON(e)) {
			values[of[i]] = x.calculated(e, programs[i], of[i], b.Calculations[of[i]], o)
		}
	}
	for _, key := range keys {
		e.Properties[key] = values[key]
	}
}

// strikes counts how often the programs of calculations were stopped.
type strikes struct {
	mu    sync.Mutex
	count map[string]int // by text
}

func (s *strikes) of(p *jq.Program) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[p.String()]
}

func (s *strikes) add(p *jq.Program) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil {
		s.count = map[string]int{}
	}
	s.count[p.String()]++
}

// out reports whether a calculation is left out by now.
func (s *strikes) out() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.count {
		if times >= maxStrikes {
			return true
		}
	}
	return false
}

// calculated is the value that an output is for a property, which is null where it is
// not what the blueprint says it is.
func (x *computing) calculated(e *Entity, p *jq.Program, key string, calc Calculation, o jq.Output) any {
	if errors.Is(o.Err, context.DeadlineExceeded) {
		x.tellf(e, key, outOfTimeToCompute)
		return nil
	}
	if o.Err != nil {
		if errors.Is(o.Err, jq.ErrTimeout) || errors.Is(o.Err, jq.ErrMemory) {
			x.strikes.add(p)
		}
		x.tellf(e, key, "%v", o.Err)
		return nil
	}
	if o.Value == nil {
		return nil
	}
	v, err := normalize(o.Value, 0)
	if err == nil {
		err = calc.check(v)
	}
	if err != nil {
		x.tellf(e, key, "what was calculated %v", err)
		return nil
	}
	return v
}

// kindOfType is how jsonKind names the values of a property's type.
var kindOfType = map[string]string{
	"string": "text", "number": "a number", "boolean": "a boolean", "object": "an object", "array": "an array",
}

// check says what is wrong with a value of a calculation property.
func (c Calculation) check(v any) error {
	if got := jsonKind(v); got != kindOfType[c.Type] {
		return fmt.Errorf("is %s, not %s", got, kindOfType[c.Type])
	}
	if check := formatChecks[c.Format]; check != nil {
		if err := check(v); err != nil {
			return fmt.Errorf("is not of format %s: %w", c.Format, err)
		}
	}
	return nil
}
