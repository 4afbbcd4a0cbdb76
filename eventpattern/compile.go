package eventpattern

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const orKey = "$or"

// reservedInOr are the names that no field below $or may have (AWS).
var reservedInOr = []string{
	"exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr",
	"=", "<", "<=", ">", ">=",
	"regex", "not-wildcard", "not-equals-ignore-case",
	"date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range",
	"ip-address-in-range", "ip-address-not-in-range",
}

const (
	// maxBranches is into how many branches the $or lists of one pattern may multiply. AWS names no number; without one, a pattern of
	// a few hundred characters has more branches than memory has room for.
	maxBranches = 1000
	// maxBranchFields bounds the fields of all branches together, for patterns far above AWS's size limit.
	maxBranchFields = 200_000
)

// branch is one way to match: for every path, which leaf it asks for.
type branch map[string]int32

// compiler reads a pattern in the order of its text: AWS reports the first defect, and what is written later replaces what
// was written before, across $or too.
type compiler struct {
	*lexer
	steps    []string // names on the way to the current object
	leaves   []leaf
	branches []branch
	fields   int // of all branches, as far as they were copied
}

func (c *compiler) compile() *SyntaxError {
	kind, err := c.next()
	if err != nil {
		return err
	}
	if kind != tokenObjectStart {
		return c.fail("Filter is not an object")
	}
	return c.object(false)
}

// object reads an object's fields; its opening was read already.
func (c *compiler) object(inOr bool) *SyntaxError {
	empty := true
	for {
		kind, err := c.next()
		if err != nil {
			return err
		}
		if kind == tokenObjectEnd {
			break
		}
		empty = false
		if err := c.field(c.name, inOr); err != nil {
			return err
		}
	}
	if empty {
		return c.fail("Empty objects are not allowed")
	}
	return nil
}

func (c *compiler) field(name string, inOr bool) *SyntaxError {
	if name == orKey {
		return c.or()
	}
	if inOr && slices.Contains(reservedInOr, name) {
		return c.fail(name + " is Ruler reserved fieldName which cannot be used inside $or.")
	}
	kind, err := c.next()
	if err != nil {
		return err
	}
	switch kind {
	case tokenObjectStart:
		c.steps = append(c.steps, name)
		defer func() { c.steps = c.steps[:len(c.steps)-1] }()
		return c.object(inOr)
	case tokenArrayStart:
		return c.leaf(name)
	}
	return c.fail("\"" + name + "\" must be an object or an array")
}

// or reads a $or list: every branch so far goes on once for each of its objects.
func (c *compiler) or() *SyntaxError {
	kind, err := c.next()
	if err != nil {
		return err
	}
	if kind != tokenArrayStart {
		return c.fail("It must be an Array followed with $or.")
	}
	before := c.branches
	if len(before) == 0 {
		before = []branch{{}}
	}
	var after []branch
	objects := 0
	for {
		kind, err := c.next()
		if err != nil {
			return err
		}
		if kind == tokenArrayEnd {
			break
		}
		if kind != tokenObjectStart {
			return c.fail("Only JSON object is allowed in array of $or relationship.")
		}
		objects++
		if err := c.copyBranches(before); err != nil {
			return err
		}
		if err := c.object(true); err != nil {
			return err
		}
		after = append(after, c.branches...)
		if len(after) > maxBranches {
			return tooManyBranches()
		}
	}
	if objects < 2 {
		return c.fail("There must have at least 2 Objects in $or relationship.")
	}
	c.branches = after
	return nil
}

func (c *compiler) copyBranches(from []branch) *SyntaxError {
	c.branches = make([]branch, len(from))
	for i, b := range from {
		if c.fields += len(b) + 1; c.fields > maxBranchFields {
			return tooManyBranches()
		}
		c.branches[i] = make(branch, len(b)+1)
		maps.Copy(c.branches[i], b)
	}
	return nil
}

func tooManyBranches() *SyntaxError {
	reason := fmt.Sprintf("Rule is too complex - its $or lists multiply into more than %d branches, try using fewer $or lists", maxBranches)
	return &SyntaxError{Reason: reason, message: reason}
}

// leaf reads a field's list of alternatives; its opening was read already.
func (c *compiler) leaf(name string) *SyntaxError {
	from := c.tokenFrom
	path := strings.Join(append(c.steps, name), ".")
	leaf := leaf{name: path}
	empty := true
	for {
		kind, err := c.next()
		if err != nil {
			return err
		}
		if kind == tokenArrayEnd {
			break
		}
		empty = false
		if err := c.alternative(&leaf, kind); err != nil {
			return err
		}
	}
	if empty {
		return c.fail("Empty arrays are not allowed")
	}
	leaf.finish()
	leaf.text = c.source[from:c.pos]
	c.leaves = append(c.leaves, leaf)
	if len(c.branches) == 0 {
		c.branches = []branch{{}}
	}
	for _, b := range c.branches {
		b[path] = int32(len(c.leaves) - 1)
	}
	return nil
}

func (c *compiler) alternative(l *leaf, kind token) *SyntaxError {
	switch kind {
	case tokenObjectStart:
		return c.operator(l)
	case tokenString:
		text, err := c.readText()
		if err != nil {
			return err
		}
		l.add(exactText(text))
	case tokenNumber:
		l.add(exactNumber(c.text))
	case tokenTrue:
		l.add(condition{operator: opLiteral, literal: kindTrue})
	case tokenFalse:
		l.add(condition{operator: opLiteral, literal: kindFalse})
	case tokenNull:
		l.add(condition{operator: opLiteral, literal: kindNull})
	default:
		return c.fail("Match value must be String, number, true, false, or null")
	}
	return nil
}

// exactText is an exact string; one that is an IP address stands for every way to write that address (AWS).
func exactText(text string) condition {
	if addr, _, ok := parseIP(text); ok {
		return condition{operator: opIP, block: singleAddress(addr)}
	}
	return condition{operator: opText, texts: []string{text}}
}

func exactNumber(text string) condition {
	if n, ok := comparableNumber([]byte(text)); ok {
		return condition{operator: opNumber, numbers: []float64{n}}
	}
	return condition{operator: opNumberText, texts: []string{text}}
}
