package eventpattern

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

const (
	tooManyWildcards = "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character"
	// maxComplexity is the highest complexity that AWS accepts.
	maxComplexity = 10
	// maxComplexityWork is how many situations are looked at before a pattern counts as too complex.
	maxComplexityWork = 50_000
)

// tooComplex reports whether some event could make AWS keep track of more than maxComplexity places in the wildcards of one field.
func (p *Pattern) tooComplex() bool {
	work := 0
	seen := map[string]bool{}
	for _, wildcards := range p.wildcardsByField() {
		key := fmt.Sprintf("%q", wildcards)
		if !seen[key] && tooComplex(wildcards, &work) {
			return true
		}
		seen[key] = true
	}
	return false
}

// wildcardsByField collects the wildcards that AWS matches side by side: those of one field,
// in all branches that ask for the same of the fields which sort before it. The keys stand for that field and all before it.
func (p *Pattern) wildcardsByField() map[uint64][]wildcard {
	fields := map[uint64][]wildcard{}
	hashes := make([]uint64, len(p.leaves))
	for i := range p.leaves {
		hashes[i] = maphash.String(hashSeed, p.leaves[i].name) ^ mixed(maphash.String(hashSeed, p.leaves[i].text))
	}
	for _, branch := range p.branches {
		if !slices.ContainsFunc(branch, func(i int32) bool { return len(p.leaves[i].wildcards()) > 0 }) {
			continue
		}
		sorted := slices.Clone(branch)
		slices.SortFunc(sorted, func(a, b int32) int { return strings.Compare(p.leaves[a].name, p.leaves[b].name) })
		before := uint64(0)
		for _, i := range sorted {
			leaf := &p.leaves[i]
			if wildcards := leaf.wildcards(); len(wildcards) > 0 {
				key := mixed(before ^ maphash.String(hashSeed, leaf.name))
				fields[key] = addWildcards(fields[key], wildcards)
			}
			before = mixed(before) + hashes[i]
		}
	}
	return fields
}

// wildcards returns the wildcards among a field's alternatives, those of anything-but too.
func (l *leaf) wildcards() []wildcard {
	var all []wildcard
	for i := range l.conditions {
		all = append(all, l.conditions[i].wildcards...)
	}
	return all
}

// addWildcards adds those that are not there yet, as long as they are not too many anyway; one without a star is an exact text.
func addWildcards(to, more []wildcard) []wildcard {
	for _, w := range more {
		if len(w) > 1 && len(to) <= maxComplexity && !slices.ContainsFunc(to, func(other wildcard) bool { return slices.Equal(w, other) }) {
			to = append(to, w)
		}
	}
	return to
}

// place is a state of the machine that AWS makes of wildcards, with a quote before and after each:
// one after every byte, and one in every star.
type place struct {
	star   bool
	next   byte // what leads on from here, unless this is the end
	end    bool
	onward int32 // where that leads
	loop   int32 // the star that may begin here, or none
}

// tooComplex walks through all situations, that is sets of places one can be at together after some text.
func tooComplex(wildcards []wildcard, work *int) bool {
	var places []place
	var start []int32
	for _, w := range wildcards {
		start = append(start, int32(len(places)))
		places = appendPlaces(places, w)
	}
	seen := map[string]bool{}
	situations := [][]int32{start}
	for len(situations) > 0 {
		now := situations[len(situations)-1]
		situations = situations[:len(situations)-1]
		if *work++; *work > maxComplexityWork || complexity(places, now) > maxComplexity {
			return true
		}
		for _, next := range following(places, now) {
			if key := situationKey(next); !seen[key] {
				seen[key] = true
				situations = append(situations, next)
			}
		}
	}
	return false
}

// appendPlaces appends a wildcard's places, beginning with the one after the opening quote.
func appendPlaces(places []place, w wildcard) []place {
	for i, part := range w {
		text := part
		if i == len(w)-1 {
			text += `"`
		}
		if i > 0 { // the star before this part: from it and from the place before it, the part may begin
			star := int32(len(places))
			places[star-1].loop = star
			places[star-1].next, places[star-1].onward = text[0], star+1
			places = append(places, place{star: true, next: text[0], onward: star + 1, loop: star})
			places = append(places, place{loop: none})
			text = text[1:]
		} else {
			places = append(places, place{loop: none})
		}
		for j := range len(text) {
			at := int32(len(places))
			places[at-1].next, places[at-1].onward = text[j], at
			places = append(places, place{loop: none})
		}
	}
	places[len(places)-1].end = true
	return places
}

// complexity counts the places of a situation, and the stars that may begin in it.
func complexity(places []place, situation []int32) int {
	n := len(situation)
	for _, at := range situation {
		if loop := places[at].loop; loop != none && !slices.Contains(situation, loop) {
			n++
		}
	}
	return n
}

// following returns the situations that one byte more can lead to.
func following(places []place, situation []int32) [][]int32 {
	var bytes []byte
	var loops []int32
	for _, at := range situation {
		if p := &places[at]; !p.end && !slices.Contains(bytes, p.next) {
			bytes = append(bytes, p.next)
		}
		if loop := places[at].loop; loop != none && !slices.Contains(loops, loop) {
			loops = append(loops, loop)
		}
	}
	var all [][]int32
	if len(loops) > 0 { // any other byte
		all = append(all, sortedPlaces(slices.Clone(loops)))
	}
	for _, b := range bytes {
		next := slices.Clone(loops)
		for _, at := range situation {
			if p := &places[at]; !p.end && p.next == b && !slices.Contains(next, p.onward) {
				next = append(next, p.onward)
			}
		}
		all = append(all, sortedPlaces(next))
	}
	return all
}

func sortedPlaces(places []int32) []int32 {
	slices.Sort(places)
	return places
}

func situationKey(situation []int32) string {
	key := make([]byte, 0, 4*len(situation))
	for _, at := range situation {
		key = append(key, byte(at), byte(at>>8), byte(at>>16), byte(at>>24))
	}
	return string(key)
}
