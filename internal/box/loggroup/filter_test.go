package loggroup

import (
	"strings"
	"testing"
)

func TestFilterPatterns(t *testing.T) {
	const json = `{"eventType":"UpdateTrail","name":"机器","ip":"10.0.0.7","user":{"id":1,"email":"a@b.example","tags":["x","y"]},
		"users":[{"email":"a@b.example"},{"email":"c@d.example"}],"latency":12.5,"big":1e3,"ok":true,"off":false,"none":null,"code":404}`
	const line = `127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534`
	for _, test := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{"  ", "anything", true},
		{`" "`, "a b", true},
		{"ERROR", "[ERROR] fatal", true},
		{"ERROR", "Exiting with ERRORCODE: -1", true},
		{"ERROR", "error", false},
		{"ERROR Exception", "[ERROR] Caught IllegalArgumentException", true},
		{"ERROR Exception", "[ERROR] nothing", false},
		{`"INTERNAL SERVER ERROR"`, "[500] INTERNAL SERVER ERROR!", true},
		{`"INTERNAL SERVER ERROR"`, "INTERNAL ERROR SERVER", false},
		{`"say \"hi\" \\"`, `they say "hi" \`, true},
		{"ERROR -EXITING", "ERROR running", true},
		{"ERROR -EXITING", "ERROR EXITING", false},
		{`-"a b"`, "a b", false},
		{`-"a b"`, "ab", true},
		{"?ERROR ?WARN", "WARN x", true},
		{"?ERROR ?WARN", "INFO x", false},
		{"?ERROR INFO", "INFO x", true}, // AWS: optional terms beside others count for nothing
		{"订单", "新订单到了", true},
		{"%AUTHORIZED%", "401 UNAUTHORIZED", true},
		{"%^[hc]at$%", "hat", true},
		{"%^[hc]at$%", "that", false},
		{`%\d{3}\.\d+%`, "took 123.4 ms", true},
		{`%colou?r|grey%`, "color", true},

		{`{ $.eventType = "UpdateTrail" }`, json, true},
		{`{$.eventType=UpdateTrail}`, json, true},
		{`{ $.eventType = "Update*" }`, json, true},
		{`{ $.eventType = *Tra* }`, json, true},
		{`{ $.eventType = "update*" }`, json, false},
		{`{ $.eventType != "Update*" }`, json, false},
		{`{ $.name = "机器" }`, json, true},
		{`{ $.ip != 123.123.* }`, json, true},
		{`{ $.ip = 10.0.* }`, json, true},
		{`{ $.missing != "x" }`, json, false},
		{`{ $.eventType = %^Update% }`, json, true},
		{`{ $.user.id = 1 }`, json, true},
		{`{ $.user.id = 1.0 }`, json, true},
		{`{ $.user.id = "1" }`, json, true},
		{`{ $.user.id != 1 }`, json, false},
		{`{ $.latency > 12 && $.latency < 13 }`, json, true},
		{`{ $.latency >= 12.5 && $.latency <= 12.5 }`, json, true},
		{`{ $.big = 1e+3 }`, json, true},
		{`{ $.code = 4* }`, json, true},
		{`{ $.users[1].email = "c@*" }`, json, true},
		{`{ $.users[2].email = "c@*" }`, json, false},
		{`{ $.users[*].email = "c@*" }`, json, true},
		{`{ $.user.tags.* = y }`, json, true},
		{`{ $.user.* = "a@*" }`, json, true},
		{`{ $.user = "x" }`, json, false},
		{`{ $.ok IS TRUE }`, json, true},
		{`{ $.off IS TRUE }`, json, false},
		{`{ $.off IS FALSE }`, json, true},
		{`{ $.none IS NULL }`, json, true},
		{`{ $.missing IS NULL }`, json, false},
		{`{ $.missing NOT EXISTS }`, json, true},
		{`{ $.none NOT EXISTS }`, json, false},
		{`{ $.code = 1 && $.code = 2 || $.ok IS TRUE }`, json, true},
		{`{ $.code = 1 && ($.code = 2 || $.ok IS TRUE) }`, json, false},
		{`{ ($.user.id = 1) && ($.users[0].email = "a@b.example") }`, json, true},
		{`{ $.a = 1 }`, "no JSON", false},
		{`{ $.a NOT EXISTS }`, "127.0.0.1 GET", false},
		{`{ $.a NOT EXISTS }`, "404", false},
		{`{ $.a = 1 }`, `{"a":1} and more`, false},
		{`{ $.a = 1 }`, "[1]", false},
		{`{ $[0] = 1 }`, "[1]", true},

		{"[ip, id, user, time, request, status, bytes]", line, true},
		{"[ip, id, user, time, request, status]", line, false},
		{"[ip, id, user, time, request = *.html*, status = 4*, bytes]", line, true},
		{"[ip, id, user, time, request, status = 404 || status = 410, bytes]", line, true},
		{"[ip, id, user, time, request, status = 5*, bytes]", line, false},
		{"[ip, id, user, time, request, status, bytes > 1000]", line, true},
		{"[ip, id, user, time, request, status, bytes > 1000 && bytes < 1500]", line, false},
		{"[..., status = 404, bytes]", line, true},
		{"[ip = 127.*, ..., bytes]", line, true},
		{"[ip != %^127%, ...]", line, false},
		{`[ip, id, user = "frank", ...]`, line, true},
		{"[(ip = 10.* || ip = 127.*) && ip != 127.0.0.2, ...]", line, true},
		{"[...]", "", true},
	} {
		f, err := compileFilter(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		if got := f(test.message); got != test.want {
			t.Errorf("%s on %s: %v, want %v", test.pattern, test.message, got, test.want)
		}
	}
}

func TestFilterPatternsThatAreRefused(t *testing.T) {
	for pattern, why := range map[string]string{
		"a-b":                               "double quotes",
		"foo:bar":                           "double quotes",
		`"open`:                             "not closed",
		`"a"b`:                              "a space must follow",
		"-":                                 "a term must follow",
		"a %b% c":                           "stand alone",
		"%a(b)%":                            `'('`,
		"%a!%":                              `'!'`,
		"%机%":                               `'机'`,
		"%[a%":                              "is not a regular expression",
		"%%":                                "empty",
		`%\q%`:                              `\q`,
		"{ $.a = 1":                         "} is expected",
		"{ $.a = 1 } x":                     "nothing may follow",
		"{ a = 1 }":                         "$.name is expected",
		"{ $ = 1 }":                         "must follow $",
		"{ $.a }":                           "an operator is expected",
		"{ $.a IS 5 }":                      "an operator is expected",
		"{ $.a IS NOT NULL }":               "an operator is expected",
		"{ $.a = }":                         "a value must follow",
		"{ $.a > x }":                       "compares with a number",
		`{ $.a < "5" }`:                     "compares with a number",
		"{ $.a.*.b.* = 1 }":                 "more than one wildcard",
		"{ $.a[x] = 1 }":                    "[x]",
		"{ $.a[1 = 1 }":                     "not closed",
		"{ $.['a'] = 1 }":                   "letters, digits",
		"{ ($.a = 1 }":                      "parenthesis",
		"{ $.a = %x }":                      "not closed",
		"{ $.a=%a% || $.b=%b% || $.c=%c% }": "more than 2 regular expressions",
		"{ $.a.*=1 || $.b.*=1 || $.c.*=1 || $.d.*=1 }": "more than 3 properties",
		"[a, b = 1":                         "a comma or ]",
		"[a] b":                             "nothing may follow",
		"[..., a, ...]":                     "more than one ellipsis",
		"[a = 1 && b = 2]":                  "name b",
		"[a = ]":                            "a value must follow",
		"[]":                                "a field's name",
		"[a 1]":                             "an operator is expected",
		"{ " + strings.Repeat("(", 9) + "}": "$.name is expected",
	} {
		_, err := compileFilter(pattern)
		if err == nil {
			t.Errorf("%s is taken", pattern)
			continue
		}
		refused(t, err, "InvalidParameterException", why)
	}
}

func FuzzFilterPattern(f *testing.F) {
	for _, pattern := range []string{"ERROR -x ?y", `"a b"`, "%[a-z]+%", `{ $.a[0].* = "x*" && ($.b > 1e3 || $.c NOT EXISTS) }`, "[a, ..., b = 4* || b = %x%, c]"} {
		f.Add(pattern, `{"a":[{"x":"x1"}],"b":5}`)
	}
	f.Fuzz(func(t *testing.T, pattern, message string) {
		match, err := compileFilter(pattern)
		if err != nil {
			refused(t, err, "InvalidParameterException", "Invalid filter pattern: ")
			return
		}
		got := match(message)
		inner, isJSON := strings.CutPrefix(strings.TrimSpace(pattern), "{")
		if !isJSON {
			return
		}
		again, err := compileFilter("{(" + strings.TrimSuffix(inner, "}") + ")}")
		if err != nil || again(message) != got {
			t.Errorf("in parentheses: not %v, %v", got, err)
		}
	})
}
