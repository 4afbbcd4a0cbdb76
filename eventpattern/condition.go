package eventpattern

import (
	"net/netip"
	"slices"
)

type operator uint8

const (
	opText        operator = iota // one of texts
	opNumber                      // one of numbers
	opNumberText                  // a number written like texts[0]: for literals too long to compare
	opLiteral                     // true, false or null
	opIP                          // the address block, written in any way
	opPrefix                      // begins with one of texts
	opSuffix                      // ends in one of texts
	opFolded                      // one of folded in any case
	opFoldedStart                 // begins with one of folded
	opFoldedEnd                   // ends in one of folded
	opWildcard                    // one of wildcards
	opRange                       // a number within bounds
	opCIDR                        // an address in block
	opExists                      // anything
)

// condition is one alternative of a field's list, or several of one kind merged into one.
type condition struct {
	operator  operator
	negated   bool // anything-but
	literal   valueKind
	texts     []string
	textSet   map[string]struct{} // the same as texts, if there are many
	numbers   []float64
	folded    []foldedText
	wildcards []wildcard
	low, high bound
	block     netip.Prefix
}

// bound is one end of a numeric range.
type bound struct {
	value     float64
	set, open bool
}

// manyTexts is from how many texts on a set is faster than a list.
const manyTexts = 8

// matches reports whether a value that an event has satisfies the condition.
func (c *condition) matches(v *value) bool { return c.accepts(v) != c.negated }

func (c *condition) accepts(v *value) bool {
	switch c.operator {
	case opExists:
		return true
	case opLiteral:
		return v.kind == c.literal
	case opNumber, opRange, opNumberText:
		return v.kind == kindNumber && c.acceptsNumber(v)
	}
	return v.kind == kindString && c.acceptsText(v.text)
}

func (c *condition) acceptsNumber(v *value) bool {
	if c.operator == opNumberText {
		return isWhole(v.text) && string(v.text) == c.texts[0]
	}
	n, ok := v.number()
	if !ok {
		return false
	}
	if c.operator == opNumber {
		return slices.Contains(c.numbers, n)
	}
	if c.low.set && (n < c.low.value || c.low.open && n == c.low.value) {
		return false
	}
	return !c.high.set || n < c.high.value || !c.high.open && n == c.high.value
}

func (c *condition) acceptsText(text []byte) bool {
	switch c.operator {
	case opText:
		return c.hasText(text)
	case opPrefix:
		return slices.ContainsFunc(c.texts, func(prefix string) bool { return hasPrefix(text, prefix) })
	case opSuffix:
		return slices.ContainsFunc(c.texts, func(suffix string) bool { return hasSuffix(text, suffix) })
	case opFolded:
		return slices.ContainsFunc(c.folded, func(f foldedText) bool { return f.equals(text) })
	case opFoldedStart:
		return slices.ContainsFunc(c.folded, func(f foldedText) bool { _, ok := f.prefixLength(text); return ok })
	case opFoldedEnd:
		return slices.ContainsFunc(c.folded, func(f foldedText) bool { return f.endsIn(text) })
	case opWildcard:
		return slices.ContainsFunc(c.wildcards, func(w wildcard) bool { return w.matches(text) })
	case opIP, opCIDR:
		addr, _, ok := parseIP(text)
		return ok && c.block.Contains(addr)
	}
	return false
}

func (c *condition) hasText(text []byte) bool {
	if c.textSet != nil {
		_, ok := c.textSet[string(text)]
		return ok
	}
	for _, t := range c.texts { //nolint:modernize // slices.Contains would allocate the string
		if t == string(text) {
			return true
		}
	}
	return false
}

// leaf is one field of a pattern with its list of alternatives.
type leaf struct {
	path       int32 // number of the field's path within the pattern
	name       string
	conditions []condition
	absent     bool   // a missing field is accepted
	text       string // the list as the pattern writes it
}

// accepts reports whether a value that the field has in an event satisfies one of the alternatives.
func (l *leaf) accepts(v *value) bool {
	for i := range l.conditions {
		if l.conditions[i].matches(v) {
			return true
		}
	}
	return false
}

// add adds an alternative, merging exact texts and exact numbers into one condition each.
func (l *leaf) add(c condition) {
	if !c.negated && (c.operator == opText || c.operator == opNumber) {
		for i := range l.conditions {
			if same := &l.conditions[i]; same.operator == c.operator && !same.negated {
				same.texts = append(same.texts, c.texts...)
				same.numbers = append(same.numbers, c.numbers...)
				return
			}
		}
	}
	l.conditions = append(l.conditions, c)
}

// finish prepares long lists for fast lookup.
func (l *leaf) finish() {
	for i := range l.conditions {
		c := &l.conditions[i]
		if c.operator != opText || len(c.texts) <= manyTexts {
			continue
		}
		c.textSet = make(map[string]struct{}, len(c.texts))
		for _, t := range c.texts {
			c.textSet[t] = struct{}{}
		}
	}
}

// exactTexts returns the strings one of which a matching event must have in this field, if that is all it asks for.
func (l *leaf) exactTexts() ([]string, bool) {
	if l.absent || len(l.conditions) != 1 || l.conditions[0].operator != opText || l.conditions[0].negated {
		return nil, false
	}
	return l.conditions[0].texts, true
}
