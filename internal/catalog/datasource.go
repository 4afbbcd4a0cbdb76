package catalog

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// MaxDatasourcePage is the most entities of a page of DatasourceEntities. Port: Ocean asks for
// so many.
const MaxDatasourcePage = 5_000

// datasourcePlace is where a page of DatasourceEntities begins: after an entity of a writer and a
// blueprint.
type datasourcePlace struct{ writer, blueprint, entity int64 }

func parseDatasourcePlace(s string) (p datasourcePlace, err error) {
	if s == "" {
		return p, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		_, err = fmt.Sscanf(string(raw), "%d.%d.%d", &p.writer, &p.blueprint, &p.entity)
	}
	if err != nil {
		return p, invalid("from %q is not the next of another page.", shorten(s))
	}
	return p, nil
}

// String returns the place as next of a page.
func (p datasourcePlace) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d.%d", p.writer, p.blueprint, p.entity))
}

// DatasourceEntities returns entities, of all blueprints, whose last writer's User-Agent begins
// and ends with the given, and that were last changed before a time, if that is not zero. They
// come in pages of limit at most; from is next of the page before, and empty for the first.
//
// A page has what it found at its time: an entity that is changed between two pages is in
// one, in both or in none, but not lost to those who ask for what is older than that change.
func (c *Catalog) DatasourceEntities(ctx context.Context, prefix, suffix string, before time.Time, from string, limit int) (entities []Entity, next string, err error) {
	if limit < 1 || limit > MaxDatasourcePage {
		return nil, "", invalid("limit is %d; it must be from 1 to %d.", limit, MaxDatasourcePage)
	}
	at, err := parseDatasourcePlace(from)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, c.plan.time)
	defer cancel()
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, "", c.outOfTime(ctx, err)
	}
	places, err := c.placesOfWriters(ctx, prefix, suffix, before, at, limit+1)
	if err != nil {
		return nil, "", c.outOfTime(ctx, err)
	}
	if len(places) > limit {
		places = places[:limit]
		next = places[limit-1].String()
	}
	ids := make([]int64, 0, len(places))
	for _, p := range places {
		ids = append(ids, p.entity)
	}
	entities, err = c.entities(ctx, c.db, m, ids)
	return entities, next, c.outOfTime(ctx, err)
}

// placesOfWriters are those of entities after a place, at most limit.
func (c *Catalog) placesOfWriters(ctx context.Context, prefix, suffix string, before time.Time, after datasourcePlace, limit int) ([]datasourcePlace, error) {
	writers, err := datasources(ctx, c.db)
	if err != nil {
		return nil, err
	}
	var places []datasourcePlace
	for _, w := range writers { // in the order of their ids
		if w.id < after.writer || !strings.HasPrefix(w.name, prefix) || !strings.HasSuffix(w.name, suffix) || len(prefix)+len(suffix) > len(w.name) {
			continue
		}
		if w.id > after.writer {
			after = datasourcePlace{writer: w.id}
		}
		more, err := entitiesOfWriter(ctx, c.db, after, before, limit-len(places))
		if err != nil {
			return nil, err
		}
		if places = append(places, more...); len(places) == limit {
			break
		}
	}
	return places, nil
}

// Count returns how many entities a blueprint has.
func (c *Catalog) Count(ctx context.Context, blueprint string) (int, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return 0, err
	}
	b, err := m.blueprint(blueprint)
	if err != nil {
		return 0, err
	}
	n, err := countEntities(ctx, c.db, b.id)
	if err != nil {
		return 0, fmt.Errorf("count the entities of blueprint %s: %w", blueprint, err)
	}
	return n, nil
}
