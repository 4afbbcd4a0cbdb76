package loggroup

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filter says whether a log event's message is one that is looked for.
type filter func(message string) bool

// compileFilter reads a filter pattern. AWS, "Filter pattern syntax": terms, a
// regular expression between percent signs, JSON patterns in braces, patterns of
// space-delimited fields in brackets.
func compileFilter(pattern string) (filter, error) {
	text := strings.TrimSpace(pattern)
	switch {
	case text == "":
		return func(string) bool { return true }, nil
	case text[0] == '{':
		return compileJSON(text)
	case text[0] == '[':
		return compileFields(text)
	case len(text) > 1 && text[0] == '%' && text[len(text)-1] == '%':
		re, err := compileRegexp(text[1 : len(text)-1])
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	}
	return compileTerms(text)
}

// terms is a pattern of words and phrases. AWS: they are found anywhere in the
// message, in the case they are written in; optional ones count only where there
// are no others.
type terms struct{ all, none, any []string }

func (t *terms) match(message string) bool {
	contains := func(term string) bool { return strings.Contains(message, term) }
	if slices.ContainsFunc(t.none, contains) {
		return false
	}
	for _, term := range t.all {
		if !contains(term) {
			return false
		}
	}
	return len(t.all) > 0 || len(t.none) > 0 || len(t.any) == 0 || slices.ContainsFunc(t.any, contains)
}

func compileTerms(text string) (filter, error) {
	var t terms
	s := &scanner{text: text}
	for s.skipSpace(); !s.end(); s.skipSpace() {
		into := &t.all
		switch {
		case s.take("-"):
			into = &t.none
		case s.take("?"):
			into = &t.any
		}
		term, err := s.term()
		if err != nil {
			return nil, err
		}
		*into = append(*into, term)
	}
	return t.match, nil
}

// term reads a word or a quoted phrase.
func (s *scanner) term() (string, error) {
	if s.peek() == '"' {
		phrase, err := s.quoted()
		if err == nil && !s.end() && !unicode.IsSpace(s.peek()) {
			return "", errFilter("a space must follow the phrase %q", phrase)
		}
		return phrase, err
	}
	start := s.at
	for !s.end() && !unicode.IsSpace(s.peek()) {
		c := s.next()
		if c == '%' {
			return "", errFilter("a regular expression between %% signs must stand alone, or within { } or [ ]")
		}
		if c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return "", errFilter("a term with the character %q must be in double quotes", c)
		}
	}
	if s.at == start {
		return "", errFilter("a term must follow - or ?")
	}
	return s.text[start:s.at], nil
}

// scanner reads a pattern from left to right.
type scanner struct {
	text    string
	at      int
	regexps int // read so far
}

func (s *scanner) end() bool { return s.at >= len(s.text) }

// peek returns the next character, 0 at the end.
func (s *scanner) peek() rune {
	c, n := utf8.DecodeRuneInString(s.text[s.at:])
	if n == 0 {
		return 0
	}
	return c
}

func (s *scanner) next() rune {
	c, n := utf8.DecodeRuneInString(s.text[s.at:])
	s.at += n
	return c
}

func (s *scanner) skipSpace() {
	for !s.end() && unicode.IsSpace(s.peek()) {
		s.next()
	}
}

// take reads the token if it comes next.
func (s *scanner) take(token string) bool {
	if !strings.HasPrefix(s.text[s.at:], token) {
		return false
	}
	s.at += len(token)
	return true
}

// quoted reads a text in double quotes, in which a backslash escapes a quote or
// a backslash.
func (s *scanner) quoted() (string, error) {
	s.next()
	var b strings.Builder
	for !s.end() {
		c := s.next()
		switch {
		case c == '"':
			return b.String(), nil
		case c == '\\' && (s.peek() == '"' || s.peek() == '\\'):
			c = s.next()
		}
		b.WriteRune(c)
	}
	return "", errFilter("a double quote is not closed")
}

// maxRegexps is AWS's number of regular expressions in a pattern.
const maxRegexps = 2

// regexp reads a regular expression between percent signs.
func (s *scanner) regexp() (*regexp.Regexp, error) {
	s.next()
	end := strings.IndexByte(s.text[s.at:], '%')
	if end < 0 {
		return nil, errFilter("a percent sign is not closed")
	}
	if s.regexps++; s.regexps > maxRegexps {
		return nil, errFilter("it has more than %d regular expressions", maxRegexps)
	}
	text := s.text[s.at : s.at+end]
	s.at += end + 1
	return compileRegexp(text)
}

// regexpSymbols are what AWS allows in a regular expression besides letters and
// digits.
const regexpSymbols = `:_#=@/;,-` + `^$?[]{}|\*+.`

func compileRegexp(text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, errFilter("a regular expression is empty")
	}
	escaped := false
	for _, c := range text {
		ascii := c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c))
		if !ascii && !escaped && !strings.ContainsRune(regexpSymbols, c) || c >= utf8.RuneSelf {
			return nil, errFilter("the character %q is not supported in regular expressions", c)
		}
		if escaped && ascii && !strings.ContainsRune("dDsSwWxbBtnr0123456789abcdefABCDEF", c) {
			return nil, errFilter("\\%c is not supported in regular expressions", c)
		}
		escaped = c == '\\' && !escaped
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, errFilter("%%%s%% is not a regular expression that is supported", text)
	}
	return re, nil
}

// globPattern returns a match of a text in which asterisks stand for anything.
func globPattern(text string) func(string) bool {
	parts := strings.Split(text, "*")
	if len(parts) == 1 {
		return func(s string) bool { return s == text }
	}
	first, last := parts[0], parts[len(parts)-1]
	return func(s string) bool {
		if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
			return false
		}
		s = s[len(first) : len(s)-len(last)]
		for _, part := range parts[1 : len(parts)-1] {
			i := strings.Index(s, part)
			if i < 0 {
				return false
			}
			s = s[i+len(part):]
		}
		return true
	}
}
