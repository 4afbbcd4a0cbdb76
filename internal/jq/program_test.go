package jq

import (
	"errors"
	"strings"
	"testing"
)

func TestCompileErrorsTellTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		`.a |`:                   "line 1, column 5: unexpected EOF",
		".a\n| .b |\n  ]":        `line 3, column 3: unexpected token "]"`,
		`."生产" | )`:              `line 1, column 9: unexpected token ")"`,
		`"abc`:                   "line 1, column 5: unterminated string literal",
		`foo`:                    "function not defined: foo/0",
		`.a as $x | $y`:          "variable not defined: $y",
		`us-east-1`:              "function not defined",
		``:                       `missing query`,
		`  `:                     `missing query`,
		`# only a remark`:        `missing query`,
		`$ENV.HOME`:              "$ENV cannot be used",
		`env.HOME`:               "env cannot be used",
		`{$ENV}`:                 "$ENV cannot be used",
		`"\(env)"`:               "env cannot be used",
		`input`:                  "input cannot be used",
		`[inputs]`:               "inputs cannot be used",
		`input_filename`:         "input_filename cannot be used",
		`debug`:                  "debug cannot be used",
		`debug("x")`:             "debug cannot be used",
		`stderr`:                 "stderr cannot be used",
		`"x" | modulemeta`:       "modulemeta cannot be used",
		`import "a" as a; .`:     "there are no modules",
		`include "a"; .`:         "there are no modules",
		`module {}; .`:           "there are no modules",
		`def f: env; f`:          "env cannot be used",
		`. as [$ENV] | .`:        "",
		`if . then input end`:    "input cannot be used",
		`try error(env)`:         "env cannot be used",
		`reduce env as $x (0;1)`: "env cannot be used",
		`. as {a: $b} | env`:     "env cannot be used",
		`. as {(env): $b} | 1`:   "env cannot be used",
		`.[env]`:                 "env cannot be used",
		`.[1:env]`:               "env cannot be used",
		`-env`:                   "env cannot be used",
		`@json "\(env)"`:         "env cannot be used",
		`{(env): 1}`:             "env cannot be used",
		`label $x | env`:         "env cannot be used",
		`_index(1; 2)`:           "_index is not defined",
		`_trim_prefix("x")`:      "_trim_prefix is not defined",
		`test("(?=a)")`:          "regular expressions are those of Go",
		`test("(a)\\1")`:         "regular expressions are those of Go",
		`test("a"; "x")`:         `the flag 'x'`,
		`gsub("[";"")`:           "missing closing ]",
	} {
		_, err := Compile(text)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if _, ok := errors.AsType[*SyntaxError](err); !ok {
			t.Errorf("%q: got %v", text, err)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %q, want it to say %q", text, err, want)
		}
	}
}

func TestCompileIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"length":   strings.Repeat(" ", MaxProgram+1),
		"brackets": strings.Repeat("[", 16000) + strings.Repeat("]", 16000),
		"groups":   strings.Repeat("(", 10000) + "." + strings.Repeat(")", 10000),
		"pipes":    "." + strings.Repeat("|.", 16000),
		"commas":   "." + strings.Repeat(",.", 16000),
		"sums":     "." + strings.Repeat("+.", 16000),
		"minus":    strings.Repeat("-", 30000) + "1",
		"ifs":      strings.Repeat("if . then ", 2900) + "1" + strings.Repeat(" end", 10),
		"texts":    strings.Repeat(`"\(`, 3000) + "1" + strings.Repeat(`)"`, 3000),
		"patterns": ". as " + strings.Repeat("[", 10000) + "$x" + strings.Repeat("]", 10000) + " | 1",
		"choices":  ". as $a" + strings.Repeat(" ?// $a", 20) + " | $a",
		"reduces":  "reduce . as $a" + strings.Repeat(" ?// $a", 20) + " (0; .)",
		"objects":  strings.Repeat("{a:", 7000) + "1" + strings.Repeat("}", 7000),
		"defs":     strings.Repeat("def f:", 4000) + "1" + strings.Repeat(";f", 4000),
		"tries":    strings.Repeat("try ", 8000) + "1",
		"suffixes": "." + strings.Repeat("[.", 10000) + strings.Repeat("]", 10000),
	} {
		if _, err := Compile(text); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
	// as long as possible, and of many parts, but not deep
	long := "[" + strings.TrimSuffix(strings.Repeat("(1),", 1900), ",") + "]"
	if _, err := Compile(long); err != nil {
		t.Error(err)
	}
}

// What jq 1.6 does, where gojq does not and a mapping would notice.
func TestJQ16(t *testing.T) {
	e := evaluator(t, Options{})
	for _, c := range []struct{ text, in, want string }{
		{`ltrimstr("a")`, `null`, `null`},
		{`ltrimstr("a")`, `5`, `5`},
		{`ltrimstr(1)`, `"1a"`, `"1a"`},
		{`ltrimstr("arn:")`, `"arn:aws"`, `"aws"`},
		{`rtrimstr("/")`, `["x"]`, `["x"]`},
		{`rtrimstr("界")`, `"世界"`, `"世"`},
		{`.a | ltrimstr("x", "y")`, `{"a":"xb"}`, `"b"`},
		{`def ltrimstr(f): "mine"; ltrimstr("a")`, `1`, `"mine"`},
		{`[keys_unsorted[]]`, `{"b":1,"a":2}`, `["a","b"]`},
		{`[leaf_paths]`, `{"a":[1]}`, `[["a",0]]`},
		{`isvalid(.a.b)`, `{"a":1}`, `false`},
		{`[recurse_down]`, `[1]`, `[[1],1]`},
		{`date`, `1425599621`, `"2015-03-05T23:53:41Z"`},
		{`dateadd("seconds"; 1)`, `1`, `2`},
		{`.`, `12345678901234567890`, `12345678901234567000`},
		{`. + 1`, `9007199254740993`, `9007199254740992`},
		{`tostring`, `3.0`, `"3"`},
		{`nan`, `null`, `null`},
		{`[nan, 1]`, `null`, `[null,1]`},
		{`infinite`, `null`, `1.7976931348623157e+308`},
		{`-infinite`, `null`, `-1.7976931348623157e+308`},
		{`"\(1;2)"`[:0] + `.Tags | from_entries`, `{"Tags":[{"Key":"a","Value":"b"}]}`, `{"a":"b"}`},
		{`localtime | mktime`, `1425599621`, `1425599621`},
		{`"abc" | test("B"; "i")`, `null`, `true`},
		{`[.[] | tojson]`, `[1,1.5,"é🚀",null,{"b":1,"a":[]}]`, `["1","1.5","\"é🚀\"","null","{\"a\":[],\"b\":1}"]`},
	} {
		o := e.First(t.Context(), compile(t, c.text), value(t, c.in))
		if o.Err != nil || !o.OK {
			t.Errorf("%s of %s: %v, %v", c.text, c.in, o.OK, o.Err)
			continue
		}
		want := outOf(t, value(t, c.want))
		if !equal(o.Value, want) {
			t.Errorf("%s of %s: got %#v, want %#v", c.text, c.in, o.Value, want)
		}
	}
}

func outOf(t testing.TB, v any) any {
	t.Helper()
	v, _, err := normalize(v)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
