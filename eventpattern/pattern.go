package eventpattern

import (
	"maps"
	"slices"
	"strings"
)

// Pattern is a compiled event pattern. It never changes and any number of goroutines may use it.
type Pattern struct {
	source   string
	leaves   []leaf
	branches [][]int32 // each a list of leaves that must all be satisfied
	paths    []string  // by number
	numbers  []int32   // 0, 1, 2, …: the paths' numbers when the pattern is matched by itself
	root     *pathNode
}

// Compile reads an event pattern, a JSON object. What AWS would refuse is refused with a *SyntaxError that has AWS's own text.
// It sets no limit to the pattern's size; AWS takes at most 4,096 characters.
func Compile(pattern []byte) (*Pattern, error) {
	c := compiler{lexer: newLexer(strings.ToValidUTF8(string(pattern), "\uFFFD"))}
	if err := c.compile(); err != nil {
		return nil, err
	}
	p := &Pattern{source: string(pattern), leaves: c.leaves, root: newPathNode("")}
	p.number(c.branches)
	if p.tooComplex() {
		return nil, &SyntaxError{Reason: tooManyWildcards, message: tooManyWildcards}
	}
	return p, nil
}

// number gives every path that a branch still asks for a number, and puts the branches in their final form.
func (p *Pattern) number(branches []branch) {
	numbers := map[string]int32{}
	for _, b := range branches {
		leaves := slices.Sorted(maps.Values(b)) // the order of the text
		for _, i := range leaves {
			leaf := &p.leaves[i]
			number, ok := numbers[leaf.name]
			if !ok {
				number = int32(len(p.paths))
				numbers[leaf.name] = number
				p.numbers = append(p.numbers, number)
				p.paths = append(p.paths, leaf.name)
				p.root = p.root.with(leaf.name, func(n *pathNode) { n.path = number })
			}
			leaf.path = number
		}
		p.branches = append(p.branches, leaves)
	}
}

// String returns the pattern as it was given to Compile.
func (p *Pattern) String() string { return p.source }

// Match reports whether an event, a JSON object, matches the pattern. The error, an *EventError, says that the event cannot be read.
func (p *Pattern) Match(event []byte) (bool, error) {
	r := takeReading()
	defer r.release()
	if err := r.read(event, p.root, len(p.paths)); err != nil {
		return false, err
	}
	return r.matches(p, p.numbers), nil
}
