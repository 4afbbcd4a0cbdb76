package jq

import (
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/itchyny/gojq"
)

// maxNesting is how deep the parts of a program may be nested, so that walking
// and compiling it stays within a stack that nobody notices. A chain of pipes,
// commas or operators is as deep as it is long.
const maxNesting = 2000

// maxParts is how many values a text may have in it, and how many ? may follow a
// term. Compiling them takes the square of their number.
const maxParts = 1000

// refused are the names that reach beyond the input, and why.
var refused = map[string]string{
	"$ENV":              "the environment of the server is not for programs",
	"env":               "the environment of the server is not for programs",
	"input":             "there is one input, and the program starts with it",
	"inputs":            "there is one input, and the program starts with it",
	"input_filename":    "the input is no file",
	"input_line_number": "the input is no file",
	"debug":             "there is nowhere to write to",
	"stderr":            "there is nowhere to write to",
	"modulemeta":        "there are no modules",
	"get_search_list":   "there are no modules",
	"$__prog_args":      "there are no arguments",
	"$__loc__":          "it is not supported",
}

// check goes through a program before it is compiled: it refuses what Compile
// says it refuses, and puts what jq 1.6 does in the place of what gojq does.
func check(q *gojq.Query) error {
	c := &checker{defined: map[string]bool{}, used: map[string]bool{}}
	if err := c.query(q, 0); err != nil {
		return err
	}
	if err := c.regexps(); err != nil {
		return err
	}
	return c.evenOut(q)
}

// checker walks a syntax tree.
type checker struct {
	defined map[string]bool // functions, and parameters of functions, by name
	used    map[string]bool // functions that are called, by name
	calls   []*gojq.Func
}

func (c *checker) query(q *gojq.Query, depth int) error {
	if q == nil {
		return nil
	}
	if depth > maxNesting {
		return fmt.Errorf("it is nested, or chained, more than %d deep", maxNesting)
	}
	if len(q.Imports) > 0 || q.Meta != nil {
		return fmt.Errorf("import, include and module cannot be used: there are no modules")
	}
	for _, f := range q.FuncDefs {
		c.defined[f.Name] = true
		for _, arg := range f.Args {
			c.defined[arg] = true
		}
		if err := c.query(f.Body, depth+1); err != nil {
			return err
		}
	}
	if err := c.alternatives(q.Patterns, depth+1); err != nil {
		return err
	}
	if err := c.term(q.Term, depth+1); err != nil {
		return err
	}
	return c.queries(depth+1, q.Left, q.Right)
}

func (c *checker) queries(depth int, qs ...*gojq.Query) error {
	for _, q := range qs {
		if err := c.query(q, depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) term(t *gojq.Term, depth int) error {
	if t == nil {
		return nil
	}
	if depth > maxNesting {
		return fmt.Errorf("it is nested more than %d deep", maxNesting)
	}
	if err := c.ofTerm(t, depth+1); err != nil {
		return err
	}
	optional := 0
	for _, s := range t.SuffixList {
		if s.Optional {
			optional++
		}
		if err := c.index(s.Index, depth+1); err != nil {
			return err
		}
	}
	if optional > maxParts {
		return fmt.Errorf("%d ? follow one term, at most %d are possible", optional, maxParts)
	}
	return nil
}

func (c *checker) ofTerm(t *gojq.Term, depth int) error {
	switch {
	case t.Index != nil:
		return c.index(t.Index, depth)
	case t.Func != nil:
		return c.call(t.Func, depth)
	case t.Object != nil:
		return c.object(t.Object, depth)
	case t.Array != nil:
		return c.query(t.Array.Query, depth)
	case t.Unary != nil:
		return c.term(t.Unary.Term, depth)
	case t.Str != nil:
		return c.text(t.Str, depth)
	case t.If != nil:
		for _, e := range t.If.Elif {
			if err := c.queries(depth, e.Cond, e.Then); err != nil {
				return err
			}
		}
		return c.queries(depth, t.If.Cond, t.If.Then, t.If.Else)
	case t.Try != nil:
		return c.queries(depth, t.Try.Body, t.Try.Catch)
	case t.Reduce != nil:
		if err := c.alternatives(t.Reduce.Patterns, depth); err != nil {
			return err
		}
		return c.queries(depth, t.Reduce.Query, t.Reduce.Start, t.Reduce.Update)
	case t.Foreach != nil:
		if err := c.alternatives(t.Foreach.Patterns, depth); err != nil {
			return err
		}
		return c.queries(depth, t.Foreach.Query, t.Foreach.Start, t.Foreach.Update, t.Foreach.Extract)
	case t.Label != nil:
		return c.query(t.Label.Body, depth)
	}
	return c.query(t.Query, depth)
}

func (c *checker) call(f *gojq.Func, depth int) error {
	if err := c.name(f.Name); err != nil {
		return err
	}
	c.used[f.Name] = true
	c.calls = append(c.calls, f)
	return c.queries(depth, f.Args...)
}

func (c *checker) name(name string) error {
	if why, ok := refused[name]; ok {
		return fmt.Errorf("%s cannot be used: %s", name, why)
	}
	if strings.HasPrefix(name, "_") && !c.defined[name] {
		return fmt.Errorf("%s is not defined", name) // what gojq keeps to itself
	}
	return nil
}

func (c *checker) index(x *gojq.Index, depth int) error {
	if x == nil {
		return nil
	}
	if err := c.text(x.Str, depth); err != nil {
		return err
	}
	return c.queries(depth, x.Start, x.End)
}

func (c *checker) text(s *gojq.String, depth int) error {
	if s == nil {
		return nil
	}
	if len(s.Queries) > 2*maxParts { // what is between values is one too
		return fmt.Errorf("a text has more than %d values in it", maxParts)
	}
	return c.queries(depth, s.Queries...)
}

func (c *checker) object(o *gojq.Object, depth int) error {
	for _, kv := range o.KeyVals {
		if strings.HasPrefix(kv.Key, "$") {
			if err := c.name(kv.Key); err != nil {
				return err
			}
		}
		if err := c.text(kv.KeyString, depth); err != nil {
			return err
		}
		if err := c.queries(depth, kv.KeyQuery, kv.Val); err != nil {
			return err
		}
	}
	return nil
}

// alternatives are patterns joined by ?//. Compiling them takes the square of their
// number.
func (c *checker) alternatives(ps []*gojq.Pattern, depth int) error {
	const most = 20
	if len(ps) > most {
		return fmt.Errorf("?// has %d alternatives, at most %d are possible", len(ps), most)
	}
	return c.patterns(ps, depth)
}

func (c *checker) patterns(ps []*gojq.Pattern, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("it is nested more than %d deep", maxNesting)
	}
	for _, p := range ps {
		if err := c.patterns(p.Array, depth+1); err != nil {
			return err
		}
		for _, o := range p.Object {
			if err := c.text(o.KeyString, depth); err != nil {
				return err
			}
			if err := c.query(o.KeyQuery, depth+1); err != nil {
				return err
			}
			if o.Val == nil {
				continue
			}
			if err := c.patterns([]*gojq.Pattern{o.Val}, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// flagsAt are the functions that take a regular expression as their first
// argument, with the place of its flags; -1 where there are none.
var flagsAt = map[call]int{
	{"test", 1}: -1, {"match", 1}: -1, {"capture", 1}: -1, {"scan", 1}: -1, {"splits", 1}: -1,
	{"test", 2}: 1, {"match", 2}: 1, {"capture", 2}: 1, {"scan", 2}: 1, {"splits", 2}: 1, {"split", 2}: 1,
	{"sub", 2}: -1, {"gsub", 2}: -1, {"sub", 3}: 2, {"gsub", 3}: 2,
}

// regexps refuses literal regular expressions that would fail whenever they are
// used: those that are wrong, and those that jq 1.6 has and Go has not. Reading one
// takes long where it is long, so only some are read.
func (c *checker) regexps() error {
	left := maxRegexpTexts
	for _, f := range c.calls {
		at, known := flagsAt[call{f.Name, len(f.Args)}]
		if !known || c.defined[f.Name] {
			continue
		}
		text, literal := literalText(f.Args[0])
		if !literal || len(text) > min(left, maxRegexpText) {
			continue
		}
		left -= len(text)
		if _, err := syntax.Parse(text, syntax.Perl); err != nil {
			return fmt.Errorf("%s: %w (regular expressions are those of Go: there is no look-around and no back reference)", f.Name, err)
		}
		if at < 0 {
			continue
		}
		flags, _ := literalText(f.Args[at])
		for _, flag := range flags {
			if !strings.ContainsRune("gim", flag) {
				return fmt.Errorf("%s: the flag %q of a regular expression is not supported: there are g, i and m", f.Name, flag)
			}
		}
	}
	return nil
}
