package jq

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What would take a server down if it ran in it. Each must be stopped, and leave
// the evaluator as it was.
func TestProgramsThatWouldExhaustTheServerAreStopped(t *testing.T) {
	e := evaluator(t, Options{Workers: 2, Timeout: 200 * time.Millisecond, MaxMemory: 128 << 20})
	good := compile(t, `reduce .[] as $x (0; . + $x)`)
	for name, text := range map[string]string{
		"a text multiplied":                `"xxxxxxxx" * 200000000`,
		"a text multiplied by its input":   `"xxxxxxxx" * .[3]`,
		"a text doubled":                   `reduce range(60) as $i ("x"; . + .)`,
		"an array doubled":                 `reduce range(60) as $i ([1]; . + .)`,
		"a value that shares its parts":    `reduce range(60) as $i ("x"; [., .]) | tojson`,
		"such a value as output":           `reduce range(60) as $i ("x"; [., .])`,
		"such a value compared":            `reduce range(60) as $i ("x"; [., .]) | . == .`,
		"an element far beyond":            `setpath([500000000]; 1)`,
		"an element far beyond, assigned":  `null | .[500000000] = 1`,
		"recursion without end":            `def f: f; f`,
		"recursion that grows":             `def f: [f]; f`,
		"recursion that goes down":         `def f: 1 + f; f`,
		"recursion of a value":             `[recurse(if . < 1 then [.] else [., .] end)]`,
		"repeat":                           `[repeat(1)]`,
		"range":                            `[range(1e12)]`,
		"range without output":             `range(1e12) | empty`,
		"until":                            `until(false; . )`,
		"while":                            `[1 | while(true; . * 1.0001)] | length`,
		"limit of what gives nothing":      `limit(1; repeat(1) | empty)`,
		"ltrimstr in a loop":               `[range(1e9)] | until(length == 0; ltrimstr("x"))`,
		"combinations":                     `[[range(100)], [range(100)], [range(100)], [range(100)], [range(100)]] | [combinations]`,
		"a generator in a product":         `[range(1000) + range(1000) * range(1000)]`,
		"a huge regular expression":        `("(a|b){900}" * 2000) as $re | "a" | test($re)`,
		"a regular expression that grows":  `reduce range(20) as $i ("(a|b)"; . + .) as $re | "a" | test($re)`,
		"a great many regular expressions": `reduce range(1e9) as $i (0; if "a" | test("a{0,900}\($i)") then 1 else 0 end)`,
		"JSON of JSON of JSON":             `reduce range(60) as $i ("\"\\"; @json)`,
		"escapes of escapes":               `reduce range(60) as $i ("'"; @sh)`,
		"a tree of paths":                  `[paths | paths | paths] | until(false; [paths])`,
		"a number of a million digits":     `reduce range(40) as $i (10; . * .)`,
		"flatten of what shares its parts": `reduce range(60) as $i ([1]; [., .]) | flatten`,
		"implode":                          `[range(100000000)] | implode`,
		"walk":                             `reduce range(60) as $i ("x"; [., .]) | walk(.)`,
		"splits of nothing":                `"x" * 10000000 | [splits("")]`,
		"sort":                             `[range(100000000)] | sort`,
		"getpath of a long path":           `getpath([range(100000000)])`,
		"labels":                           `def f: label $x | f; f`,
		"bessel":                           `[range(1e9)] | map(jn(1000000000; 1)) | add`,
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, text)
			o := e.First(t.Context(), p, []any{1, 2, 3, 2e9})
			var raised *RuntimeError
			switch {
			case errors.Is(o.Err, ErrTimeout), errors.Is(o.Err, ErrMemory), errors.Is(o.Err, ErrOutput):
			case errors.As(o.Err, &raised) && (strings.Contains(raised.Message, "too large") || strings.HasPrefix(raised.Message, "invalid regular expression")):
			default:
				t.Errorf("got %v, %v, want it stopped", shown(o.Value), o.Err)
			}
			if o := e.First(t.Context(), good, []any{1, 2, 3}); o.Err != nil || o.Value != 6 {
				t.Errorf("afterwards: got %v, %v", o.Value, o.Err)
			}
		})
	}
}

func shown(v any) any {
	if s, ok := v.(string); ok && len(s) > 100 {
		return s[:100]
	}
	return v
}
