package jq

import (
	"regexp/syntax"
	"strings"

	"github.com/itchyny/gojq"
)

const (
	maxRegexp      = 2000 // instructions of a regular expression that runs here
	maxRegexpText  = 500  // and bytes of its text: reading it takes long, too
	maxRegexpTexts = 4000 // and of all that are read when a program is compiled
	matchSize      = 600  // a match or capture, without its text
)

// matching is for the functions that take a regular expression, which must be
// literal: a large one takes time and memory to compile.
func (a *analysis) matching(f *gojq.Func, id call, in bound) bound {
	at, known := flagsAt[id]
	flags := ""
	if known && at > 0 {
		flags, known = literalText(f.Args[at])
	}
	if !known {
		a.work = inf
		return unbounded
	}
	text, ok := literalText(f.Args[0])
	if !ok {
		a.work = inf
		return unbounded
	}
	a.regexps += len(text)
	length, captures := regexpSize(text)
	if length > maxRegexp || a.regexps > maxRegexpTexts {
		a.work = inf
		return unbounded
	}
	r := regexpCost{length: float64(length), captures: float64(captures + 1), match: matchSize + float64(len(text))}
	a.work += 2000 * r.length // compiled once
	global := strings.Contains(flags, "g") || f.Name == "gsub" || f.Name == "scan" || f.Name == "split" || f.Name == "splits"
	return a.matches(f, r, global, in)
}

// regexpCost is how many instructions a regular expression has, how many texts a
// match of it gives, and how large what describes one of these is.
type regexpCost struct{ length, captures, match float64 }

func (a *analysis) matches(f *gojq.Func, r regexpCost, global bool, in bound) bound {
	work := 10 * r.length * in.total
	found := bound{n: in.n, max: r.captures * (in.max + r.match), each: 1}
	found.total = r.captures * (in.total + in.n*r.match)
	if global {
		work *= max(1, in.max) // each match may look at all that follows it, and is counted in characters
		found.n, found.each = in.total+in.n, in.max+1
		found.total = r.captures * r.match * (in.total + in.n)
	}
	a.did(work, found)
	switch f.Name {
	case "test":
		return a.did(0, fixed(in, nodeSize))
	case "split":
		return a.did(0, in.once().grown(60, mapSize))
	case "sub", "gsub":
		with := a.query(f.Args[1], found.once())
		if with.each > 1 { // several replacements make several texts
			a.work = inf
			return unbounded
		}
		out := bound{n: in.n, max: in.max + found.each*with.max, total: in.total + with.total, each: 1}
		return a.did(10*out.total+20*step*found.n, out)
	}
	return found
}

// regexpSize is how many instructions a regular expression compiles to, at most,
// and how many groups it captures. What does not parse fails when it is used.
func regexpSize(text string) (length, captures int) {
	if len(text) > maxRegexpText {
		return maxRegexp + 1, 0
	}
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0, 0
	}
	return instructions(re), re.MaxCap()
}

func instructions(re *syntax.Regexp) int {
	n := 2 + len(re.Rune)
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min, re.Max) + 1
	}
	return min(n, maxRegexp+1)
}
