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

// datasourcePlace is where a page of DatasourceEntities begins: after an entity of a blueprint
// and a writer.
type datasourcePlace struct{ blueprint, writer, entity int64 }

func parseDatasourcePlace(s string) (p datasourcePlace, err error) {
	if s == "" {
		return p, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		_, err = fmt.Sscanf(string(raw), "%d.%d.%d", &p.blueprint, &p.writer, &p.entity)
	}
	if err != nil {
		return p, invalid("from %q is not the next of another page.", shorten(s))
	}
	return p, nil
}

func (p datasourcePlace) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d.%d.%d", p.blueprint, p.writer, p.entity))
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
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, "", err
	}
	writers, err := datasources(ctx, c.db)
	if err != nil {
		return nil, "", err
	}
	var ids []int64
	for _, blueprint := range sortedIDs(m.byID) {
		for _, w := range writers {
			if !strings.HasPrefix(w.name, prefix) || !strings.HasSuffix(w.name, suffix) || len(prefix)+len(suffix) > len(w.name) {
				continue
			}
			after, passed := at.within(blueprint, w.id)
			if passed {
				continue
			}
			more, err := entitiesOfWriter(ctx, c.db, blueprint, w.id, before, after, limit+1-len(ids))
			if err != nil {
				return nil, "", outOfTime(ctx, err)
			}
			if ids = append(ids, more...); len(ids) > limit {
				last := len(more) - 1 - (len(ids) - limit)
				ids = ids[:limit]
				place := datasourcePlace{blueprint, w.id, after}
				if last >= 0 {
					place.entity = more[last]
				}
				next = place.String()
				entities, err = c.entities(ctx, c.db, m, ids)
				return entities, next, outOfTime(ctx, err)
			}
		}
	}
	entities, err = c.entities(ctx, c.db, m, ids)
	return entities, "", outOfTime(ctx, err)
}

// within returns the entity after which to go on among those of a blueprint and a writer;
// passed says that they were before this place.
func (p datasourcePlace) within(blueprint, writer int64) (after int64, passed bool) {
	switch {
	case blueprint < p.blueprint || blueprint == p.blueprint && writer < p.writer:
		return 0, true
	case blueprint == p.blueprint && writer == p.writer:
		return p.entity, false
	}
	return 0, false
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
