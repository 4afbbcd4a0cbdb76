package template

import (
	"strings"
	"testing"
)

func TestPatternsMatchAsJavaDoes(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		yes, not []string
	}{
		{`^[a-zA-Z][-a-zA-Z0-9]*$`, []string{"a", "serverlessrepo-port-aws-exporter"}, []string{"", "-a", "a_b", "a\n"}},
		{`[a-z]+`, []string{"abc"}, []string{"abc1", "1abc", "队列"}},
		{`a|b`, []string{"a", "b"}, []string{"ab", ""}},
		{`^a|b$`, []string{"a", "b"}, []string{"ab"}},
		{``, []string{""}, []string{"a"}},
		{`.*`, []string{"", "队列 🛒"}, []string{"a\nb", "a\u2028b"}},
		{`(?s).*`, []string{"", "a b"}, nil},
		{`\d{1,3}(\.\d{1,3}){3}/(\d|[1-2]\d|3[0-2])`, []string{"10.0.0.0/16", "1.2.3.4/32"}, []string{"10.0.0.0/33", "10.0.0/8"}},
		{`^(?=.{3,5}$)[a-z]+$`, []string{"abc", "abcde"}, []string{"ab", "abcdef", "ABC"}},
		{`(?!aws)[a-z]*`, []string{"", "shop"}, []string{"aws", "awsome"}},
		{`^(?!.*--)(?!-)[a-z-]+(?<!-)$`, []string{"a", "a-b"}, []string{"a--b", "-a", "a-"}},
		{`^(?=.*[)])(?=.*\)).+$`, []string{"a)"}, []string{"a"}},
		{`.{0,1024}`, []string{"", strings.Repeat("x", 1024)}, []string{strings.Repeat("x", 1025)}},
		{`[a-z]{1500}`, []string{strings.Repeat("x", 1500)}, []string{strings.Repeat("x", 1499), strings.Repeat("x", 1501)}},
		{`(ab){1001,}`, []string{strings.Repeat("ab", 1001), strings.Repeat("ab", 1300)}, []string{strings.Repeat("ab", 1000)}},
		{`([a-z]{1,63}\.){1,127}[a-z]{2,63}`, []string{"a.bc", strings.Repeat("shop.", 127) + "de"}, []string{strings.Repeat("shop.", 128) + "de", strings.Repeat("x", 64) + ".de"}},
		{`((a{1,20}b){1,20}c){1,20}`, []string{"abc", strings.Repeat("aab", 20) + "c"}, []string{strings.Repeat("aab", 21) + "c"}},
		{`\p{Alnum}+\p{Punct}?`, []string{"a1!", "a"}, []string{"é", "!"}},
		{`[\p{L}\p{Digit}_]+`, []string{"队列1_"}, []string{"🛒"}},
		{`\P{L}+`, []string{"12"}, []string{"队"}},
		{`[\s\S]*`, []string{"a\nb"}, nil},
		{`\s+\w\t?`, []string{" \v_"}, []string{"x"}},
		{`[^\s]+`, []string{"ab"}, []string{"a b"}},
		{`\u0061\x62\x{63}`, []string{"abc"}, []string{"u0061"}},
		{`\$\{a\}\/\-\_`, []string{"${a}/-_"}, nil},
		{`a\$`, []string{"a$"}, []string{"a"}},
		{`a\\$`, []string{`a\`}, []string{"a"}},
		{`(?<name>a)(?:b)(?i:C)`, []string{"abc", "abC"}, []string{"Abc"}},
		{`a*?b+?c??`, []string{"b", "aabbc"}, []string{"a"}},
		{`[\[\]&-]+`, []string{"[]&-"}, []string{"a"}},
		{`[.]`, []string{"."}, []string{"a"}},
	} {
		p, err := compilePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, s := range c.yes {
			if !p.match(s) {
				t.Errorf("%s does not match %.40q", c.pattern, s)
			}
		}
		for _, s := range c.not {
			if p.match(s) {
				t.Errorf("%s matches %.40q", c.pattern, s)
			}
		}
	}
}

func TestPatternsThatCannotBeMatchedAreRefused(t *testing.T) {
	for pattern, why := range map[string]string{
		`(a)\1`:                               `refers back`,
		`a(?=b)c`:                             `(?=`,
		`(?<=a)b`:                             `(?<=`,
		`(?>a)b`:                              `(?>`,
		`a++`:                                 `possessive`,
		`a{2}+`:                               `possessive`,
		`[a-z&&[^b]]`:                         `&&`,
		`[a-z&&b]`:                            `&&`,
		`[a[bc]]`:                             `[ within [ ]`,
		`[a`:                                  `without ]`,
		`a{`:                                  `{`,
		`(a`:                                  `missing closing`,
		`a)`:                                  `unexpected )`,
		`*a`:                                  `missing argument`,
		`a\`:                                  `single \`,
		`\Qa\E`:                               `\Q`,
		`\R`:                                  `\R`,
		`(?x)a`:                               `(?x)`,
		`a{10001}`:                            `more than 10000`,
		`(a{100}){1000}`:                      `large`,
		`(?=a)b|c`:                            `alternatives`,
		`(` + strings.Repeat("a", 4096) + `)`: `longer than 4096`,
		`(` + strings.Repeat("a", 3000) + `){9999}`: `large`,
		`\p{Nonsense}`: `linear time`,
	} {
		_, err := compilePattern(pattern)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.60s: %v", pattern, err)
		}
	}
}
