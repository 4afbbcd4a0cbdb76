package kind

import (
	"context"
	"maps"
	"testing"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// TestResourcesLiveByWhatIsReadOfThem makes and changes resources as Cloud Control does: a model that is asked for
// is the one that was read, with some properties changed.
func TestResourcesLiveByWhatIsReadOfThem(t *testing.T) {
	x := newSQLite(t)
	x.each(t, func(t *testing.T, l life) {
		x.nextAccount()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		l = l.start(x)
		g := x.registry
		r := x.request()
		r.Desired = model(t, x.here(l.create))
		have, err := g.Create(ctx, l.typeName, r)
		if err != nil {
			t.Fatal(err)
		}
		id := x.identifier(l.typeName, have)
		schema := x.types[l.typeName].Schema
		for _, u := range l.updates {
			r := x.request()
			r.Identifier, r.Previous = id, resource.Without(have, schema.ReadOnly)
			r.Desired = maps.Clone(r.Previous)
			asked := model(t, x.here(u.to))
			for _, p := range schema.CreateOnly {
				delete(asked, p[0])
			}
			maps.Copy(r.Desired, asked)
			if have, err = g.Update(ctx, l.typeName, r); err != nil {
				t.Fatalf("update to %s: %v", shown(r.Desired), err)
			}
			for _, p := range l.hidden {
				delete(asked, p)
			}
			wants(x, have, asked)
		}
		if len(l.updates) > 0 {
			r := x.request()
			r.Identifier, r.Previous = id, resource.Without(have, schema.ReadOnly)
			r.Desired = maps.Clone(r.Previous)
			before := shown(have)
			if have, err = g.Update(ctx, l.typeName, r); err != nil || shown(have) != before {
				t.Errorf("an update that changes nothing made %s of %s: %v", shown(have), before, err)
			}
		}
		r = x.request()
		r.Identifier = id
		if err := g.Delete(ctx, l.typeName, r); err != nil {
			t.Fatal(err)
		}
		if have, err := g.Read(ctx, l.typeName, r); !is(err, resource.NotFound) {
			t.Errorf("read %s, %v", shown(have), err)
		}
	})
}
