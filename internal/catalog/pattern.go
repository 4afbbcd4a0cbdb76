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
	// maxPatternWork bounds the product of a pattern's size and the text that it is matched with: some
	// tenths of a second.
	maxPatternWork = 50_000_000
)

// pattern is a regular expression as JavaScript has them, run in linear time.
type pattern struct {
	text string
	size int
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
	size := patternSize(parsed)
	if size > maxPatternSize {
		return nil, errors.New("is too large a pattern: it repeats too much")
	}
	re, err := regexp.Compile(translated)
	if err != nil {
		return nil, patternError(text, err)
	}
	return &pattern{text: text, size: size, re: re}, nil
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

// largestPattern is the size of the largest pattern in a property's definition, 0 without one. Each
// text in a value is matched with one of them at most.
func largestPattern(raw map[string]any) int {
	largest := 0
	if text, ok := raw["pattern"].(string); ok {
		if p, err := compilePattern(text); err == nil {
			largest = p.size
		}
	}
	if items, ok := raw["items"].(map[string]any); ok {
		largest = max(largest, largestPattern(items))
	}
	members, _ := raw["properties"].(map[string]any)
	for _, m := range members {
		if m, ok := m.(map[string]any); ok {
			largest = max(largest, largestPattern(m))
		}
	}
	return largest
}

// textBytes is how much text there is in a value.
func textBytes(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		n = len(v)
	case []any:
		for _, e := range v {
			n += textBytes(e)
		}
	case map[string]any:
		for _, e := range v {
			n += textBytes(e)
		}
	}
	return n
}
