package catalog

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Limits of one search.
const (
	// MaxPage and DefaultPage are the most entities of a page. Port: its numbers.
	MaxPage     = 1_000
	DefaultPage = 200

	// maxScans is how many searches may read through whole blueprints at once.
	maxScans = 2
	// maxComputed is how many entities a search computes properties of by jq.
	maxComputed = 10_000
)

// searchPlan says how a search goes about it.
type searchPlan struct {
	// few is how many entities an index may name for them to be read right away, many how many
	// before a blueprint is read through instead. Indexes that name fewest are looked for first.
	fewest, few, many int
	// first is how many entities are read in order before an index that names many is asked.
	first int
	// inUpdate is how many are read within a transaction that changes entities.
	inUpdate int
	// time is how long a search may look for a page.
	time time.Duration
	// pageBytes ends a page once its entities have more; 0: never.
	pageBytes int
}

var defaultPlan = searchPlan{fewest: 100, few: 2_000, many: 200_000, first: 4_000, inUpdate: 2_000, time: 10 * time.Second, pageBytes: 16 << 20}

// SearchOptions are about one search.
type SearchOptions struct {
	// Blueprint is the only one whose entities are searched: a rule on what it does not have
	// is an error. Empty: all blueprints, and such a rule holds for no entity.
	Blueprint string
	// Limit is the most entities of a page; 0 stands for DefaultPage. There are fewer where they are large.
	Limit int
	// From is Next of the page before.
	From string
	// Partial answers with what was found when some blueprints could not be searched, and
	// names those.
	Partial bool
	// Caller is whom values such as {"context": "user"} are of.
	Caller Caller
}

// Caller is who searches.
type Caller struct {
	User  map[string]string // properties of the user: email, …
	Teams []string          // names
}

// SearchPage is one page of an answer, in the order of blueprints and of identifiers in them.
type SearchPage struct {
	// Entities are as stored, without computed properties.
	Entities []Entity
	// MatchingBlueprints are those with entities that the query may hold for, on every page
	// the same; FailedBlueprints those of this page that could not be searched, see
	// SearchOptions.Partial.
	MatchingBlueprints, FailedBlueprints []string
	// Next is where the next page begins; empty if there is none.
	Next string
}

// search is one search that is run.
type search struct {
	c       *Catalog
	q       store.Querier
	m       *model
	o       SearchOptions
	now     time.Time
	reached map[*rule]map[int64]map[int64]struct{} // what relatedTo rules reach, by blueprint
	writers []datasource                           // once they are read
	// scans bounds the entities that are read through; 0 for no bound.
	scans    int
	scanning bool // it has one of the catalog's places for long scans
	patient  bool // slow sources may be asked
	bytes    int  // of what was found
	room     int  // for how many bytes there is room; 0 for no bound
	computed int
}

func (c *Catalog) newSearch(q store.Querier, m *model, o SearchOptions) *search {
	return &search{c: c, q: q, m: m, o: o, now: c.o.Now().UTC(), reached: map[*rule]map[int64]map[int64]struct{}{}}
}

// Search returns a page of the entities that satisfy the query; nil stands for one that all
// satisfy. An *Error says what is wrong with the query, or that it would have to look at too
// much.
func (c *Catalog) Search(ctx context.Context, q *Query, o SearchOptions) (SearchPage, error) {
	if o.Limit == 0 {
		o.Limit = DefaultPage
	}
	if o.Limit < 1 || o.Limit > MaxPage {
		return SearchPage{}, invalid("limit is %d; it must be from 1 to %d.", o.Limit, MaxPage)
	}
	from, err := parseFrom(o.From)
	if err != nil {
		return SearchPage{}, err
	}
	m, err := c.model(ctx, c.db)
	if err != nil {
		return SearchPage{}, err
	}
	s := c.newSearch(c.db, m, o)
	var page SearchPage
	found, err := s.page(ctx, q, from, &page)
	if err == nil {
		page.Entities, err = s.whole(ctx, found)
	}
	if err != nil {
		return SearchPage{}, err
	}
	return page, nil
}

// page finds what is on the page, in the time for that.
func (s *search) page(ctx context.Context, q *Query, from cursor, page *SearchPage) ([]*candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.plan.time)
	defer cancel()
	s.room = s.c.plan.pageBytes
	defer s.release()
	parts, err := s.parts(ctx, q, page)
	if err != nil {
		return nil, s.c.outOfTime(ctx, err)
	}
	return s.fill(ctx, parts, from, page)
}

// cursor is where a page begins: after an entity.
type cursor struct{ blueprint, identifier string }

func parseFrom(s string) (cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	blueprint, identifier, ok := strings.Cut(string(raw), "\n")
	if s == "" || err == nil && ok && checkBlueprintIdentifier(blueprint) == "" && checkIdentifier(identifier) == "" {
		return cursor{blueprint, identifier}, nil
	}
	return cursor{}, invalid("from %q is not the next of another page.", shorten(s))
}

// String returns the cursor as Next of a page.
func (c cursor) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(c.blueprint + "\n" + c.identifier))
}

// part is a blueprint that is searched.
type part struct {
	b    *Blueprint
	cond *condition
}

// parts makes the query's conditions for the blueprints that it may hold for.
func (s *search) parts(ctx context.Context, q *Query, page *SearchPage) ([]part, error) {
	root := &rule{combinator: combineAnd}
	if q != nil {
		root = q.root
	}
	blueprints := s.m.sorted()
	if s.o.Blueprint != "" {
		b, err := s.m.blueprint(s.o.Blueprint)
		if err != nil {
			return nil, err
		}
		blueprints = []*Blueprint{b}
	}
	var parts []part
	for _, b := range blueprints {
		cond, err := s.conditionFor(ctx, root, b)
		if err != nil {
			return nil, err
		}
		if cond.fixed == nil || *cond.fixed != no {
			parts = append(parts, part{b, cond})
			page.MatchingBlueprints = append(page.MatchingBlueprints, b.Identifier)
		}
	}
	return parts, nil
}

// fill finds what comes after a place, for one page.
func (s *search) fill(ctx context.Context, parts []part, from cursor, page *SearchPage) ([]*candidate, error) {
	var found []*candidate
	for _, p := range parts {
		after := ""
		if c := strings.Compare(p.b.Identifier, from.blueprint); c < 0 {
			continue
		} else if c == 0 {
			after = from.identifier
		}
		more, err := s.find(ctx, p.b, p.cond, after, s.o.Limit+1-len(found))
		if err = s.c.outOfTime(ctx, err); err != nil {
			if e, ok := errors.AsType[*Error](err); !s.o.Partial || !ok || e.Code != CodeTooBroad {
				return nil, err
			}
			page.FailedBlueprints = append(page.FailedBlueprints, p.b.Identifier)
		}
		if found = append(found, more...); len(found) > s.o.Limit {
			found = found[:s.o.Limit]
			last := found[s.o.Limit-1]
			page.Next = cursor{last.Blueprint, last.Identifier}.String()
			break
		}
		if s.full() {
			last := found[len(found)-1]
			page.Next = cursor{last.Blueprint, last.Identifier}.String()
			break
		}
	}
	return found, nil
}

// full says whether there is no room for more of what is found.
func (s *search) full() bool { return s.room > 0 && s.bytes > s.room }

// weight is about how many bytes entities have.
func weight(list []*candidate) (n int) {
	for _, e := range list {
		n += 500 + len(e.row.properties) + len(e.row.team)
	}
	return n
}

// whole makes entities of candidates.
func (s *search) whole(ctx context.Context, found []*candidate) ([]Entity, error) {
	rows := make([]entityRow, 0, len(found))
	for _, e := range found {
		rows = append(rows, e.row)
	}
	b := s.c.newBatch(s.m, s.q, Writer{})
	if err := b.take(ctx, rows); err != nil {
		return nil, err
	}
	list := make([]Entity, 0, len(found))
	for _, e := range found {
		n := b.byID[e.id]
		list = append(list, *n.entity(n.after))
	}
	return list, nil
}

// outOfTime makes an error of the search's deadline one that its caller is told.
func (c *Catalog) outOfTime(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return tooMany("query", "took longer than %s; make it more selective: by = or in on a property, an identifier, a relation, a range of numbers or times, or the beginning of a text", c.plan.time)
	}
	return err
}

// find returns those of a blueprint's entities that satisfy the condition, in the order of
// their identifiers, from after one on, at most limit.
func (s *search) find(ctx context.Context, b *Blueprint, cond *condition, after string, limit int) ([]*candidate, error) {
	if cond.fixed != nil && *cond.fixed == no {
		return nil, nil
	}
	var sources []source
	var err error
	for _, most := range []int{s.c.plan.fewest, s.c.plan.few} {
		if sources, err = s.sources(ctx, cond, b, most); err != nil {
			return nil, err
		}
		if sources != nil {
			return s.pick(ctx, b, cond, sources, after, limit)
		}
	}
	found, after, whole, err := s.scan(ctx, b, cond, after, limit, s.c.plan.first)
	if err != nil || whole {
		return found, err
	}
	most := s.c.plan.many
	if len(found) > 0 {
		// Reading on may fill the page sooner.
		most = min(most, s.c.plan.first*limit/len(found))
	}
	s.patient = true
	sources, err = s.sources(ctx, cond, b, most)
	s.patient = false
	if err != nil {
		return nil, err
	}
	var rest []*candidate
	if sources != nil {
		rest, err = s.pick(ctx, b, cond, sources, after, limit-len(found))
	} else {
		rest, err = s.scanAll(ctx, b, cond, after, limit-len(found))
	}
	return append(found, rest...), err
}

// pick looks at the entities that sources name.
func (s *search) pick(ctx context.Context, b *Blueprint, cond *condition, sources []source, after string, limit int) ([]*candidate, error) {
	var ids []int64
	for i := range sources {
		list, err := sources[i].read(ctx, s.q)
		if err != nil {
			return nil, err
		}
		ids = append(ids, list...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) <= idsAtOnce {
		return s.look(ctx, b, cond, ids, after, limit)
	}
	names, err := identifiersByID(ctx, s.q, b.id, ids, after)
	if err != nil {
		return nil, fmt.Errorf("read identifiers: %w", err)
	}
	slices.SortFunc(names, func(a, b named) int { return strings.Compare(a.identifier, b.identifier) })
	var found []*candidate
	for chunk := range slices.Chunk(names, idsAtOnce) {
		ids = ids[:0]
		for _, n := range chunk {
			ids = append(ids, n.id)
		}
		list, err := s.look(ctx, b, cond, ids, after, limit-len(found))
		if err != nil {
			return nil, err
		}
		if found = append(found, list...); len(found) >= limit || s.full() {
			return found, nil
		}
	}
	return found, nil
}

// look reads entities and returns those that satisfy the condition, in order, at most limit.
func (s *search) look(ctx context.Context, b *Blueprint, cond *condition, ids []int64, after string, limit int) ([]*candidate, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := candidatesByID(ctx, s.q, b, ids, after)
	if err != nil {
		return nil, fmt.Errorf("read entities: %w", err)
	}
	slices.SortFunc(list, func(a, b *candidate) int { return strings.Compare(a.Identifier, b.Identifier) })
	if list, err = s.judge(ctx, b, cond, list); err != nil {
		return nil, err
	}
	list = list[:min(limit, len(list))]
	s.bytes += weight(list)
	return list, nil
}

// scan looks at entities in order, at most a number of them. whole says that there is nothing
// more to look for; last is the identifier of the last one looked at.
func (s *search) scan(ctx context.Context, b *Blueprint, cond *condition, after string, limit, most int) (found []*candidate, last string, whole bool, err error) {
	const smallest, largest = 250, 1000
	for size := min(smallest, max(limit, 1)); most > 0; size = min(2*size, largest) {
		if s.scans != 0 {
			if s.scans -= size; s.scans <= 0 {
				return nil, "", false, tooMany("query", "would have to read more than %d entities of blueprint %s; ask by = or in for an identifier, a property or a relation", s.c.plan.inUpdate, b.Identifier)
			}
		}
		list, err := candidatesAfter(ctx, s.q, b, after, size)
		if err != nil {
			return nil, "", false, fmt.Errorf("read entities of blueprint %s: %w", b.Identifier, err)
		}
		full := len(list) == size
		most -= size
		if full {
			after = list[size-1].Identifier
		}
		if s.room > 0 && weight(list) > s.room/2 {
			size = max(size/8, 1) // they are large
		}
		if list, err = s.judge(ctx, b, cond, list); err != nil {
			return nil, "", false, err
		}
		s.bytes += weight(list)
		if found = append(found, list...); len(found) >= limit || s.full() {
			return found[:min(limit, len(found))], after, true, nil
		}
		if !full {
			return found, after, true, nil
		}
	}
	return found, after, false, nil
}

// scanAll looks at all entities in order, when there is a place for it.
func (s *search) scanAll(ctx context.Context, b *Blueprint, cond *condition, after string, limit int) ([]*candidate, error) {
	if !s.scanning {
		select {
		case s.c.scans <- struct{}{}:
			s.scanning = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var found []*candidate
	for {
		list, last, whole, err := s.scan(ctx, b, cond, after, limit-len(found), s.c.plan.first)
		if err != nil {
			return nil, err
		}
		if found = append(found, list...); whole {
			return found, nil
		}
		after = last
	}
}

// release gives the place for a long scan back.
func (s *search) release() {
	if s.scanning {
		<-s.c.scans
		s.scanning = false
	}
}

// judge returns those that satisfy the condition. It reads and computes what they are asked
// for only of those that it depends on.
func (s *search) judge(ctx context.Context, b *Blueprint, cond *condition, list []*candidate) ([]*candidate, error) {
	verdicts := make(map[*candidate]verdict, len(list))
	pending := list
	for _, fill := range append([]filler{nil}, s.fills()...) {
		if fill != nil && len(pending) > 0 {
			if err := fill(ctx, b, cond, pending); err != nil {
				return nil, err
			}
		}
		var open []*candidate
		for _, e := range pending {
			v, err := cond.judge(e, s.now)
			if err != nil {
				return nil, err
			}
			if verdicts[e] = v; v == unread {
				open = append(open, e)
			}
		}
		pending = open
	}
	return slices.DeleteFunc(list, func(e *candidate) bool { return verdicts[e] != yes }), nil
}

// filler reads or computes what a condition compares of candidates.
type filler func(context.Context, *Blueprint, *condition, []*candidate) error

func (s *search) fills() []filler {
	return []filler{s.readRelated, s.readAggregates, s.compute}
}

// uses says whether a condition compares something of a kind.
func (c *condition) uses(kind subjectKind) bool {
	found := false
	c.subjectsUsed(func(s subject) { found = found || s.kind == kind })
	return found
}
