package eventpattern

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Set matches events against many patterns at once. Each pattern has an id, chosen by the caller.
//
// Any number of goroutines may use a Set. A Match sees all patterns as they were at one moment and never waits for Add or Remove,
// which wait only for each other and take about as long whatever the number of patterns.
// The zero Set is empty and ready to use; it must not be copied after first use.
type Set struct {
	seen atomic.Pointer[snapshot] // what readers see

	writing sync.Mutex
	paths   map[string]*pathUse // only for writers
	free    []int32             // numbers of paths no longer used
}

// snapshot is a Set at one moment. It never changes.
type snapshot struct {
	root    *pathNode
	size    int
	paths   int           // all paths are numbered below this
	members trie[*member] // by mixed id
	index   trie[*bucket] // by indexKey
	rest    trie[*member] // by mixed id: those that could match whatever strings an event has
}

// member is a pattern in a Set.
type member struct {
	id      uint64
	pattern *Pattern
	paths   []int32  // the numbers that the pattern's paths have in the Set
	indexed []int32  // the pattern's paths by which it is in the index
	keys    []uint64 // where it is in the index; none if it is in rest
}

// bucket holds the members that can match only events which have a certain string at a certain path.
type bucket struct {
	members trie[*member]
	size    int
}

// pathUse counts who asks for a path.
type pathUse struct {
	number  int32
	members int
	indexed int // members that are in the index by it
}

// NewSet returns an empty Set.
func NewSet() *Set { return new(Set) }

// indexKey stands for a string at a path. Two different ones with the same key only cost a needless comparison.
func indexKey(path int32, text []byte) uint64 {
	return mixed(maphash.Bytes(hashSeed, text) + uint64(path)*0x9e3779b97f4a7c15)
}

func (s *Set) snapshot() snapshot {
	if seen := s.seen.Load(); seen != nil {
		return *seen
	}
	return snapshot{root: newPathNode("")}
}

// Len returns the number of patterns.
func (s *Set) Len() int { return s.snapshot().size }

// Add adds a pattern under an id; a pattern that was there before under the same id is replaced, in one step for those who match.
func (s *Set) Add(id uint64, p *Pattern) {
	s.writing.Lock()
	defer s.writing.Unlock()
	next := s.snapshot()
	s.leave(&next, id)
	s.join(&next, id, p)
	s.seen.Store(&next)
}

// Remove removes the pattern with an id, if there is one.
func (s *Set) Remove(id uint64) {
	s.writing.Lock()
	defer s.writing.Unlock()
	next := s.snapshot()
	s.leave(&next, id)
	s.seen.Store(&next)
}

// Match appends to dst the ids of the patterns that an event, a JSON object, matches: each once, in ascending order.
// The error, an *EventError, says that the event cannot be read; dst is then returned as it was.
func (s *Set) Match(dst []uint64, event []byte) ([]uint64, error) {
	now := s.snapshot()
	r := takeReading()
	defer r.release()
	if err := r.read(event, now.root, now.paths); err != nil {
		return dst, err
	}
	from := len(dst)
	slices.Sort(r.keys)
	for _, key := range slices.Compact(r.keys) {
		if b, ok := now.index.get(key); ok {
			dst = r.matchEach(dst, b.members.root)
		}
	}
	dst = r.matchEach(dst, now.rest.root)
	found := dst[from:]
	slices.Sort(found)
	return dst[:from+len(slices.Compact(found))], nil
}

// matchEach appends the ids of those members below n that match.
func (r *reading) matchEach(dst []uint64, n *trieNode[*member]) []uint64 {
	if n == nil {
		return dst
	}
	for i := range n.slots {
		if below := n.slots[i].below; below != nil {
			dst = r.matchEach(dst, below)
			continue
		}
		if m := n.slots[i].value; r.matches(m.pattern, m.paths) {
			dst = append(dst, m.id)
		}
	}
	return dst
}

// join puts a pattern into the next snapshot.
func (s *Set) join(next *snapshot, id uint64, p *Pattern) {
	m := &member{id: id, pattern: p, paths: make([]int32, len(p.paths))}
	for i, path := range p.paths {
		m.paths[i] = s.usePath(next, path)
	}
	next.size++
	next.members = next.members.with(mixed(id), m)
	if !m.chooseKeys(next) {
		next.rest = next.rest.with(mixed(id), m)
		return
	}
	for _, key := range m.keys {
		b, _ := next.index.get(key)
		next.index = next.index.with(key, b.with(m))
	}
	for _, path := range m.indexed {
		s.indexPath(next, p.paths[path], 1)
	}
}

// leave takes the pattern with an id out of the next snapshot.
func (s *Set) leave(next *snapshot, id uint64) {
	m, ok := next.members.get(mixed(id))
	if !ok {
		return
	}
	next.size--
	next.members = next.members.without(mixed(id))
	next.rest = next.rest.without(mixed(id))
	for _, key := range m.keys {
		if b, _ := next.index.get(key); b.size > 1 {
			next.index = next.index.with(key, b.without(m))
		} else {
			next.index = next.index.without(key)
		}
	}
	for _, path := range m.indexed {
		s.indexPath(next, m.pattern.paths[path], -1)
	}
	for _, path := range m.pattern.paths {
		s.dropPath(next, path)
	}
}

// usePath returns a path's number, giving it one if it has none.
func (s *Set) usePath(next *snapshot, path string) int32 {
	use := s.paths[path]
	if use == nil {
		use = &pathUse{number: s.freeNumber(next)}
		if s.paths == nil {
			s.paths = map[string]*pathUse{}
		}
		s.paths[path] = use
		next.root = next.root.with(path, func(n *pathNode) { n.path = use.number })
	}
	use.members++
	return use.number
}

func (s *Set) freeNumber(next *snapshot) int32 {
	if n := len(s.free); n > 0 {
		number := s.free[n-1]
		s.free = s.free[:n-1]
		return number
	}
	next.paths++
	return int32(next.paths - 1)
}

func (s *Set) dropPath(next *snapshot, path string) {
	use := s.paths[path]
	if use.members--; use.members > 0 {
		return
	}
	delete(s.paths, path)
	s.free = append(s.free, use.number)
	next.root = next.root.without(path)
}

// indexPath counts members that are in the index by a path, and marks it when there are any.
func (s *Set) indexPath(next *snapshot, path string, change int) {
	use := s.paths[path]
	before := use.indexed > 0
	use.indexed += change
	if after := use.indexed > 0; after != before {
		next.root = next.root.with(path, func(n *pathNode) { n.indexed = after })
	}
}

// maxKeys is up to how many alternatives a field may have to serve for the index.
const maxKeys = 64

// chooseKeys finds, for each branch of the pattern, the field by which fewest other patterns are in the index already.
// It returns false if a branch asks for no exact strings.
func (m *member) chooseKeys(now *snapshot) bool {
	for _, branch := range m.pattern.branches {
		best, bestSize := int32(none), 0
		for _, i := range branch {
			if size, ok := m.crowd(now, &m.pattern.leaves[i]); ok && (best == none || size < bestSize) {
				best, bestSize = i, size
			}
		}
		if best == none {
			m.keys, m.indexed = nil, nil
			return false
		}
		leaf := &m.pattern.leaves[best]
		texts, _ := leaf.exactTexts()
		for _, text := range texts {
			m.keys = append(m.keys, indexKey(m.paths[leaf.path], []byte(text)))
		}
		m.indexed = append(m.indexed, leaf.path)
	}
	slices.Sort(m.keys)
	m.keys = slices.Compact(m.keys)
	slices.Sort(m.indexed)
	m.indexed = slices.Compact(m.indexed)
	return true
}

// crowd returns how many members are in the index by a field's strings; false if the field cannot serve for the index.
func (m *member) crowd(now *snapshot, l *leaf) (int, bool) {
	texts, ok := l.exactTexts()
	if !ok || len(texts) > maxKeys {
		return 0, false
	}
	size := len(texts) - 1 // of two equal ones, the field with fewer strings
	for _, text := range texts {
		if b, ok := now.index.get(indexKey(m.paths[l.path], []byte(text))); ok {
			size += b.size
		}
	}
	return size, true
}

// with returns the bucket with a member added; the bucket may be nil.
func (b *bucket) with(m *member) *bucket {
	if b == nil {
		b = &bucket{}
	}
	return &bucket{b.members.with(mixed(m.id), m), b.size + 1}
}

func (b *bucket) without(m *member) *bucket {
	return &bucket{b.members.without(mixed(m.id)), b.size - 1}
}
