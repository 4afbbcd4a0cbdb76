package jq

import (
	"fmt"
	"strings"

	"github.com/itchyny/gojq"
)

// Mappings were written for Port's exporter, which has jq 1.6. Where gojq differs
// and a mapping would notice, and it costs little, programs get what jq 1.6 does:
//
//   - ltrimstr and rtrimstr give back what is not a text, instead of failing
//   - keys_unsorted, leaf_paths, recurse_down, isvalid, date, dateadd and datesub
//     are there
//   - numbers are doubles: whole ones beyond 2^53 lose their last digits, nan
//     is null and infinite is the largest number when they leave the program
//
// These differences remain:
//
//   - objects are sorted by key, not in the order in which they were written, also
//     in tojson, tostring, keys_unsorted, to_entries and .[]
//   - regular expressions are Go's (RE2): no look-around, no back references, and of
//     the flags only g, i and m (Go's s). They take linear time instead
//   - index, rindex and indices of texts count characters; jq 1.6 counts bytes
//   - "x" * 0 is "", in jq 1.6 null; "abc"[1] is "b", there an error
//   - from_entries takes no k and v; its keys must be texts
//   - @uri also encodes !*'()
//   - times are parsed and written by Go: %Z and fractions of seconds work
//   - what came after jq 1.6 is there too: abs, ltrim, pick, toboolean, trim, if
//     without else
//
// Local time is UTC.

// renamed are the functions of which another one, by name and number of
// arguments, does what jq 1.6 does.
var renamed = map[string]map[int]string{
	"ltrimstr":      {1: trimPrefix},
	"rtrimstr":      {1: trimSuffix},
	"keys_unsorted": {0: "keys"},
	"recurse_down":  {0: "recurse"},
	"date":          {0: "todate"},
}

// The functions that are ours, named so that no program can call them itself.
const (
	trimPrefix = "_trim_prefix"
	trimSuffix = "_trim_suffix"
)

// added are definitions of what gojq does not have.
var added = map[string]string{
	"leaf_paths": `def leaf_paths: paths(scalars); .`,
	"isvalid":    `def isvalid(f): try (f | true) catch false; .`,
	"dateadd":    `def dateadd(u; n): . + n; .`,
	"datesub":    `def datesub(u; n): . - n; .`,
}

// evenOut changes q, which was walked, to do what jq 1.6 does.
func (c *checker) evenOut(q *gojq.Query) error {
	for _, f := range c.calls {
		if name, ok := renamed[f.Name][len(f.Args)]; ok && !c.defined[f.Name] {
			f.Name = name
		}
	}
	for name, text := range added {
		if !c.used[name] || c.defined[name] {
			continue
		}
		definition, err := gojq.Parse(text)
		if err != nil {
			return fmt.Errorf("define %s: %w", name, err)
		}
		q.FuncDefs = append(definition.FuncDefs, q.FuncDefs...)
	}
	return nil
}

// functions are the functions that are ours.
func functions() []gojq.CompilerOption {
	return []gojq.CompilerOption{
		gojq.WithFunction(trimPrefix, 1, 1, textFunction(strings.TrimPrefix)),
		gojq.WithFunction(trimSuffix, 1, 1, textFunction(strings.TrimSuffix)),
	}
}

// textFunction makes a jq function of f, which gives back its input where that or
// the argument is no text.
func textFunction(f func(text, part string) string) func(any, []any) any {
	return func(v any, args []any) any {
		text, ok := v.(string)
		part, ok2 := args[0].(string)
		if !ok || !ok2 {
			return v
		}
		return f(text, part)
	}
}
