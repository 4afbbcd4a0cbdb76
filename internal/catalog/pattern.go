package catalog

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

const (
	// maxPattern is how many bytes a property's pattern has at most, and maxPatternSize how
	// many instructions it compiles to: matching takes time in proportion to both them and
	// the text.
	maxPattern     = 1000
	maxPatternSize = 2000
)

// pattern is a regular expression as JavaScript has them, run in linear time.
type pattern struct {
	text string
	re   *regexp.Regexp
}

// MatchString says whether the pattern is found in s.
func (p *pattern) MatchString(s string) bool { return p.re.MatchString(s) }

// String is the pattern as it was given.
func (p *pattern) String() string { return p.text }

// compilePattern reads a pattern.
func compilePattern(text string) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("has %d bytes; at most %d are allowed", len(text), maxPattern)
	}
	translated, err := goPattern(text)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		return nil, patternError(text, err)
	}
	if patternSize(parsed) > maxPatternSize {
		return nil, errors.New("is too large a pattern: it repeats too much")
	}
	re, err := regexp.Compile(translated)
	if err != nil {
		return nil, patternError(text, err)
	}
	return &pattern{text: text, re: re}, nil
}

// patternError says why a pattern cannot be used, in words for someone who knows those of
// JavaScript.
func patternError(text string, err error) error {
	for _, look := range []string{"(?!", "(?=", "(?<!", "(?<="} {
		if strings.Contains(text, look) {
			return fmt.Errorf("uses %s…): patterns that look ahead or behind are not available", look)
		}
	}
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return fmt.Errorf("is no pattern that can be used: %s: %s", e.Code, shorten(e.Expr))
	}
	return fmt.Errorf("is no pattern that can be used: %w", err)
}

// patternSize is about how many instructions a pattern compiles to.
func patternSize(re *syntax.Regexp) int {
	size := 1 + len(re.Rune)/8
	for _, sub := range re.Sub {
		if size += patternSize(sub); size > maxPatternSize {
			return size
		}
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return size
}

// goPattern rewrites the escapes that JavaScript has otherwise than Go: \u00e9, \u{1f600}
// and \cJ.
func goPattern(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 == len(text) {
			return "", errors.New("ends in a backslash")
		}
		i++
		switch next := text[i]; {
		case next == 'c' && i+1 < len(text):
			i++
			fmt.Fprintf(&b, `\x%02x`, text[i]%32)
		case next == 'u':
			digits, n := unicodeEscape(text[i+1:])
			if _, err := strconv.ParseUint(digits, 16, 32); err != nil {
				return "", fmt.Errorf("has the escape \\u%s, which lacks its digits", shorten(digits))
			}
			b.WriteString(`\x{` + digits + `}`)
			i += n
		default:
			b.WriteByte('\\')
			b.WriteByte(next)
		}
	}
	return b.String(), nil
}

// unicodeEscape reads what follows \u, and how long it is.
func unicodeEscape(s string) (digits string, n int) {
	if rest, ok := strings.CutPrefix(s, "{"); ok {
		inside, _, closed := strings.Cut(rest, "}")
		if closed {
			return inside, len(inside) + 2
		}
		return "", 0
	}
	n = min(4, len(s))
	return s[:n], n
}
