package eventpattern

import (
	"math/bits"
	"slices"
)

// consistency finds out whether the fields of a branch can all be satisfied by values of which no two lie in
// different elements of one array. It works on the tree of array elements, from the innermost out: for each
// element, which sets of fields can be satisfied together inside it.
type consistency struct {
	frames []frame
	fields int
	offers []offer
	spots  []spot
	groups []group
	sets   []mask
	others []mask

	round uint64   // counts the uses, to mark frames that have a spot
	words int      // of a mask
	masks []uint64 // where masks are kept
}

// offer says that a field is satisfied by a value in an element.
type offer struct {
	frame int32
	field int32
}

// spot is an element that has an offer in it, or further inside; the first spot is the event as a whole.
type spot struct {
	frame  int32
	group  int32 // the array that it is an element of, or none
	inside int32 // the first array inside it, or none
	last   int32
	own    mask // fields satisfied right here
	all    mask // fields satisfied here or further inside
}

// group is an array's elements that are spots.
type group struct {
	array  int32
	parent int32  // spot that it lies in
	next   int32  // the next array in that spot, or none
	all    mask   // fields satisfied in any element
	beside mask   // fields satisfied outside by values that are consistent with any element
	sets   []mask // sets of fields satisfied together in one element
}

// maxSets bounds the sets kept for one array. More than one is needed only for an event that spells one path in two ways, by
// a dotted key or the same key twice, so that two arrays lie at that path; past the bound such an event counts as not matching.
const maxSets = 32

func (c *consistency) start(frames []frame, fields int) {
	c.frames, c.fields, c.words = frames, fields, (fields+63)/64
	c.round++
	c.offers, c.spots, c.groups, c.masks = c.offers[:0], c.spots[:0], c.groups[:0], c.masks[:0]
}

func (c *consistency) offer(field int, at int32) {
	c.offers = append(c.offers, offer{frame: at, field: int32(field)})
}

// possible reports whether one value can be chosen for each field so that all are consistent.
func (c *consistency) possible() bool {
	c.placeSpots()
	c.groupSpots()
	c.markAll()
	c.markBeside()
	for i := len(c.spots) - 1; i > 0; i-- {
		c.solve(i)
		g := &c.groups[c.spots[i].group]
		for _, m := range c.sets {
			g.sets = addSet(g.sets, m)
		}
	}
	c.solve(0)
	return len(c.sets) > 0
}

// placeSpots makes a spot of every element with an offer in it and of all around these; those around come before those inside.
func (c *consistency) placeSpots() {
	slices.SortFunc(c.offers, func(a, b offer) int { return int(a.frame - b.frame) })
	for _, o := range c.offers {
		for at := o.frame; at != none && c.frames[at].round != c.round; at = c.frames[at].parent {
			c.frames[at].round = c.round
			c.spots = append(c.spots, spot{frame: at, group: none, inside: none, last: none})
		}
	}
	slices.SortFunc(c.spots, func(a, b spot) int { return int(a.frame - b.frame) })
	next := 0
	for i := range c.spots {
		s := &c.spots[i]
		s.own, s.all = c.newMask(), c.newMask()
		for ; next < len(c.offers) && c.offers[next].frame == s.frame; next++ {
			field := c.offers[next].field
			s.own[field/64] |= 1 << (field % 64)
		}
	}
}

// groupSpots finds each spot's array. An array is read to its end before the next one in the same element begins.
func (c *consistency) groupSpots() {
	for i := 1; i < len(c.spots); i++ {
		s := &c.spots[i]
		f := c.frames[s.frame]
		at, _ := slices.BinarySearchFunc(c.spots, f.parent, func(s spot, frame int32) int { return int(s.frame - frame) })
		around := &c.spots[at]
		if around.last == none || c.groups[around.last].array != f.array {
			c.addGroup(group{array: f.array, parent: int32(at), next: none, all: c.newMask(), beside: c.newMask()}, around)
		}
		s.group = around.last
	}
}

func (c *consistency) addGroup(g group, around *spot) {
	at := int32(len(c.groups))
	if cap(c.groups) > len(c.groups) {
		g.sets = c.groups[:at+1][at].sets[:0]
	}
	c.groups = append(c.groups, g)
	if around.last == none {
		around.inside = at
	} else {
		c.groups[around.last].next = at
	}
	around.last = at
}

func (c *consistency) markAll() {
	for i := len(c.spots) - 1; i >= 0; i-- {
		s := &c.spots[i]
		s.all.add(s.own)
		if s.group != none {
			g := &c.groups[s.group]
			g.all.add(s.all)
			c.spots[g.parent].all.add(s.all)
		}
	}
}

// markBeside works from the outside in. What is consistent with an array's elements is what is consistent with the element around the
// array, what lies in that element itself, and what lies in other arrays there.
func (c *consistency) markBeside() {
	once, twice := c.newMask(), c.newMask()
	for i := range c.spots {
		s := &c.spots[i]
		clear(once)
		clear(twice)
		for at := s.inside; at != none; at = c.groups[at].next {
			for w, fields := range c.groups[at].all {
				twice[w] |= once[w] & fields
				once[w] |= fields
			}
		}
		for at := s.inside; at != none; at = c.groups[at].next {
			g := &c.groups[at]
			if s.group != none {
				g.beside.add(c.groups[s.group].beside)
			}
			for w := range g.beside {
				g.beside[w] |= s.own[w] | twice[w] | once[w]&^g.all[w]
			}
		}
	}
}

// solve finds the sets of fields that can be satisfied together inside a spot, leaving out those that
// what lies beside it cannot make whole.
func (c *consistency) solve(at int) {
	s := &c.spots[at]
	c.sets = append(c.sets[:0], s.own)
	for inside := s.inside; inside != none; inside = c.groups[inside].next {
		c.others = append(c.others[:0], c.sets...)
		c.sets = c.sets[:0]
		for _, a := range c.others {
			for _, b := range c.groups[inside].sets {
				both := c.newMask()
				both.add(a)
				both.add(b)
				c.sets = addSet(c.sets, both)
			}
		}
	}
	c.sets = slices.DeleteFunc(c.sets, func(m mask) bool { return !c.whole(m, s.group) })
}

// whole reports whether a set, together with all that lies beside the array it is for, holds every field.
func (c *consistency) whole(m mask, group int32) bool {
	n := 0
	for w := range m {
		fields := m[w]
		if group != none {
			fields |= c.groups[group].beside[w]
		}
		n += bits.OnesCount64(fields)
	}
	return n == c.fields
}

func addSet(sets []mask, m mask) []mask {
	if len(sets) >= maxSets || slices.ContainsFunc(sets, func(other mask) bool { return slices.Equal(m, other) }) {
		return sets
	}
	return append(sets, m)
}

// mask is a set of fields.
type mask []uint64

func (m mask) add(other mask) {
	for w := range m {
		m[w] |= other[w]
	}
}

func (c *consistency) newMask() mask {
	if len(c.masks)+c.words > cap(c.masks) {
		c.masks = make([]uint64, 0, max(64, 2*cap(c.masks), c.words)) // masks made before keep the old memory
	}
	from := len(c.masks)
	c.masks = c.masks[:from+c.words]
	m := c.masks[from:len(c.masks):len(c.masks)]
	clear(m)
	return m
}
