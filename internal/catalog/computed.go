package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Limits of the properties that are computed for one answer, or one page of a long one.
const (
	// computeTime is how long calculation properties may take together.
	computeTime = 5 * time.Second
	// maxRelated is how many relations mirror properties may follow together.
	maxRelated = 20_000
	// maxMirrored is how large the values of mirror properties may be together, about:
	// where they are read, and again wherever they are shown.
	maxMirrored = 64 << 20
	// maxComputeDepth is how often a computed property may show another one.
	maxComputeDepth = 3
	// maxComputeProblems are told.
	maxComputeProblems = 100
)

// compute adds the mirror, calculation and aggregation properties to entities, which
// were read whole. What cannot be computed is null; only the database's trouble is an
// error. The entities' maps of properties are replaced, not changed.
func (c *Catalog) compute(ctx context.Context, entities []Entity) error {
	_, err := c.computeTelling(ctx, entities, &strikes{})
	return err
}

// computeTelling is compute, and tells why properties are null that could not be
// computed: the path of a Problem is the blueprint, the entity and the property. The
// parts of one answer share s.
func (c *Catalog) computeTelling(ctx context.Context, entities []Entity, s *strikes) ([]Problem, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, err
	}
	x := c.newComputing(m, s)
	pointers := make([]*Entity, len(entities))
	for i := range entities {
		pointers[i] = &entities[i]
	}
	if err := x.all(ctx, pointers, nil, 0); err != nil {
		return nil, fmt.Errorf("compute properties: %w", err)
	}
	return x.problems, nil
}

// computing is the computing of properties for one answer.
type computing struct {
	c       *Catalog
	m       *model
	q       store.Querier
	until   time.Time // when there is no more time for calculations
	related int       // relations that may still be followed
	room    int       // bytes that mirror properties may still have
	strikes *strikes

	mu       sync.Mutex // guards problems, while calculations run
	problems []Problem
}

func (c *Catalog) newComputing(m *model, s *strikes) *computing {
	return &computing{c: c, m: m, q: c.db, until: time.Now().Add(computeTime), related: maxRelated, room: maxMirrored, strikes: s}
}

// tellf notes why a property of an entity is null.
func (x *computing) tellf(e *Entity, property, format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.problems) < maxComputeProblems {
		path := e.Blueprint + "/" + e.Identifier + ".properties." + property
		x.problems = append(x.problems, Problem{Path: path, Message: "is null: " + fmt.Sprintf(format, args...)})
	}
}

// all computes the properties of only, or all where that is nil.
func (x *computing) all(ctx context.Context, entities []*Entity, only map[string]bool, depth int) error {
	byBlueprint := map[*Blueprint][]*Entity{}
	for _, e := range entities {
		if b := x.m.byIdentifier[e.Blueprint]; b != nil && b.computes() {
			byBlueprint[b] = append(byBlueprint[b], e)
		}
	}
	for _, b := range x.m.sorted() {
		list := byBlueprint[b]
		if len(list) == 0 {
			continue
		}
		for _, e := range list {
			properties := make(map[string]any, len(e.Properties)+len(b.Mirrors)+len(b.Calculations)+len(b.Aggregations))
			maps.Copy(properties, e.Properties)
			e.Properties = properties
		}
		if err := x.blueprint(ctx, b, list, only, depth); err != nil {
			return err
		}
	}
	return nil
}

// computes reports whether the blueprint has properties that are computed.
func (b *Blueprint) computes() bool {
	return len(b.Mirrors) > 0 || len(b.Calculations) > 0 || len(b.Aggregations) > 0
}

// blueprint computes properties of entities of one blueprint. A calculation may use
// the other kinds, so it wants all of them.
func (x *computing) blueprint(ctx context.Context, b *Blueprint, list []*Entity, only map[string]bool, depth int) error {
	calculations := wanted(b.Calculations, only)
	if len(calculations) > 0 {
		only = nil
	}
	if len(wanted(b.Aggregations, only)) > 0 {
		if err := x.aggregations(ctx, b, list); err != nil {
			return err
		}
	}
	if mirrors := wanted(b.Mirrors, only); len(mirrors) > 0 {
		if err := x.mirrors(ctx, b, list, mirrors, depth); err != nil {
			return err
		}
	}
	if len(calculations) > 0 {
		return x.calculations(ctx, b, list, calculations)
	}
	return nil
}

// wanted are the keys that are in only, or all where that is nil, in order.
func wanted[V any](properties map[string]V, only map[string]bool) []string {
	keys := sortedKeys(properties)
	if only == nil {
		return keys
	}
	return slices.DeleteFunc(keys, func(key string) bool { return !only[key] })
}

// aggregations adds what was last computed of them; null stands for not yet.
func (x *computing) aggregations(ctx context.Context, b *Blueprint, list []*Entity) error {
	ids := make([]int64, len(list))
	for i, e := range list {
		ids[i] = e.id
	}
	values, err := x.c.newSearch(x.q, x.m, SearchOptions{}).aggregates(ctx, b, ids)
	if err != nil {
		return err
	}
	for _, e := range list {
		for key := range b.Aggregations {
			e.Properties[key] = values[e.id][key]
		}
	}
	return nil
}
