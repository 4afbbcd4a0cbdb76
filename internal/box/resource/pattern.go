package resource

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

const (
	// maxPattern is how many bytes a pattern of a schema has at most, maxPatternSize how many
	// instructions it compiles to, and maxPatterns all patterns of a schema.
	maxPattern     = 8192
	maxPatternSize = 20_000
	maxPatterns    = 500_000
	// maxRepeat is how often RE2 repeats something at most.
	maxRepeat = 1000
)

// pattern is a regular expression of a schema. AWS: ECMA 262, of which we take what RE2
// can do in linear time, and lookaheads at its beginning.
type pattern struct {
	text  string
	size  int // instructions
	re    *regexp.Regexp
	looks []look
}

// look is a lookahead at the beginning of a pattern.
type look struct {
	re  *regexp.Regexp
	not bool
}

// MatchString says whether the pattern is found in s.
func (p *pattern) MatchString(s string) bool {
	for _, l := range p.looks {
		if l.re.MatchString(s) == l.not {
			return false
		}
	}
	return p.re.MatchString(s)
}

// String is the pattern as the schema has it.
func (p *pattern) String() string { return p.text }

// compilePattern reads a pattern of a schema.
func compilePattern(text string) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("the pattern is %d bytes long; %d are allowed", len(text), maxPattern)
	}
	p := &pattern{text: text}
	rest := text
	if anchored, ok := strings.CutPrefix(text, "^"); ok {
		for strings.HasPrefix(anchored, "(?!") || strings.HasPrefix(anchored, "(?=") {
			group, after, ok := cutGroup(anchored[len("(?!"):])
			if !ok {
				break
			}
			re, err := p.compile(`^(?:` + group + `)`)
			if err != nil {
				return nil, err
			}
			p.looks = append(p.looks, look{re, anchored[2] == '!'})
			anchored = after
		}
		if len(p.looks) > 0 {
			rest = "^(?:" + anchored + ")"
		}
	}
	if hasLook(rest) {
		return nil, fmt.Errorf("the pattern %s looks ahead or behind, which is available at its very beginning only: ^(?!…)", text)
	}
	var err error
	p.re, err = p.compile(rest)
	return p, err
}

// cutGroup splits s after the bracket that closes the group s is inside of.
func cutGroup(s string) (group, rest string, ok bool) {
	depth, class := 1, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

// hasLook says whether the pattern has a lookahead or lookbehind.
func hasLook(s string) bool {
	class := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			for _, begin := range []string{"(?!", "(?=", "(?<!", "(?<="} {
				if strings.HasPrefix(s[i:], begin) {
					return true
				}
			}
		}
	}
	return false
}

// compile compiles a part of the pattern and adds its size.
func (p *pattern) compile(text string) (*regexp.Regexp, error) {
	text, err := goPattern(text)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("the pattern %s cannot be used: %w", p.text, err)
	}
	if p.size += patternSize(parsed); p.size > maxPatternSize {
		return nil, fmt.Errorf("the pattern %s is too large", p.text)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("the pattern %s cannot be used: %w", p.text, err)
	}
	return re, nil
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

// goPattern rewrites what ECMA 262 and Java have otherwise than Go: \uD800 and other escapes, surrogates, \/ and
// the like, and counts beyond what RE2 repeats.
func goPattern(text string) (string, error) {
	var b strings.Builder
	atom := 0 // where the last atom begins in b
	var open []int
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case '\\':
			escaped, n, err := goEscape(text[i:])
			if err != nil {
				return "", err
			}
			atom = b.Len()
			b.WriteString(escaped)
			i += n
			continue
		case '[':
			class, n, err := goClass(text[i:])
			if err != nil {
				return "", err
			}
			atom = b.Len()
			b.WriteString(class)
			i += n
			continue
		case '(':
			open = append(open, b.Len())
		case ')':
			if len(open) == 0 {
				return "", fmt.Errorf("the pattern %s has a ) too many", text)
			}
			atom = open[len(open)-1]
			open = open[:len(open)-1]
		case '{':
			if lower, upper, n, ok := readCount(text[i:]); ok && (lower > maxRepeat || upper > maxRepeat) {
				repeated := b.String()[atom:]
				if len(repeated)*(max(lower, upper)/maxRepeat+1) > maxPattern {
					return "", fmt.Errorf("the pattern %s is too large", text)
				}
				rest := b.String()[:atom] + "(?:" + repeat(repeated, lower, upper) + ")"
				b.Reset()
				b.WriteString(rest)
				i += n
				continue
			}
		case '*', '+', '?', '}', '|', '^', '$':
		default:
			atom = b.Len()
		}
		b.WriteByte(text[i])
		i++
	}
	return b.String(), nil
}

// readCount reads {n}, {n,} or {n,m}; upper is -1 for no limit.
func readCount(s string) (lower, upper, n int, ok bool) {
	end := strings.IndexByte(s, '}')
	if end < 0 || end > 20 {
		return 0, 0, 0, false
	}
	from, to, ranged := strings.Cut(s[1:end], ",")
	lower, err := strconv.Atoi(from)
	if err != nil || lower < 0 || lower > 1_000_000 {
		return 0, 0, 0, false
	}
	upper = lower
	if ranged {
		upper = -1
		if to != "" {
			if upper, err = strconv.Atoi(to); err != nil || upper < lower || upper > 1_000_000 {
				return 0, 0, 0, false
			}
		}
	}
	return lower, upper, end + 1, true
}

// repeat writes a count as ones that RE2 takes.
func repeat(atom string, lower, upper int) string {
	var b strings.Builder
	for n := lower; n > 0; n -= maxRepeat {
		fmt.Fprintf(&b, "%s{%d}", atom, min(n, maxRepeat))
	}
	if upper < 0 {
		return b.String() + atom + "*"
	}
	for n := upper - lower; n > 0; n -= maxRepeat {
		fmt.Fprintf(&b, "%s{0,%d}", atom, min(n, maxRepeat))
	}
	return b.String()
}

var errEscape = errors.New("the pattern ends in a backslash")

// goEscape rewrites one escape at the beginning of s and returns its length.
func goEscape(s string) (escaped string, n int, err error) {
	if len(s) < 2 {
		return "", 0, errEscape
	}
	switch c := s[1]; {
	case c == 'u' && len(s) >= 6 && isHex(s[2:6]):
		return goRune(s)
	case c == 'Z':
		return `\z`, 2, nil // Java
	case c >= '1' && c <= '9':
		return "", 0, errors.New("the pattern refers back to a group, which is not available")
	case strings.IndexByte(`/-_"'#%&,:;<=>@! ~`, c) >= 0 || c == '`':
		return regexp.QuoteMeta(s[1:2]), 2, nil // Go escapes only what means something
	}
	return s[:2], 2, nil
}

// goRune rewrites an escape of four digits, such as \u00E9, and two of them that are one character.
func goRune(s string) (escaped string, n int, err error) {
	const pair = len(`\uD800\uDC00`)
	high := hexValue(s[2:6])
	if high >= 0xD800 && high < 0xDC00 && len(s) >= pair && s[6:8] == `\u` && isHex(s[8:12]) {
		if low := hexValue(s[8:12]); low >= 0xDC00 && low < 0xE000 {
			return fmt.Sprintf(`\x{%X}`, 0x10000+(high-0xD800)<<10+(low-0xDC00)), pair, nil
		}
	}
	return fmt.Sprintf(`\x{%X}`, high), 6, nil
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdefABCDEF") == "" }

func hexValue(s string) int {
	n, _ := strconv.ParseInt(s, 16, 32) // digits only
	return int(n)
}

// goClass rewrites a class at the beginning of s, such as [a-z\u0020], and returns its length.
// Where it has surrogates of all other planes, as AWS writes them, it has these characters.
func goClass(s string) (class string, n int, err error) {
	const others = `\uD800\uDC00-\uDBFF\uDFFF`
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	if strings.HasPrefix(s[i:], "^") {
		b.WriteByte('^')
		i++
	}
	for i < len(s) {
		switch c := s[i]; {
		case c == ']':
			b.WriteByte(']')
			return b.String(), i + 1, nil
		case strings.HasPrefix(strings.ToUpper(s[i:min(len(s), i+len(others))]), strings.ToUpper(others)):
			b.WriteString(`\x{10000}-\x{10FFFF}`)
			i += len(others)
		case c == '\\':
			escaped, n, err := goEscape(s[i:])
			if err != nil {
				return "", 0, err
			}
			if s[i+1] == 'b' {
				escaped = `\x08`
			} else if s[i+1] == '-' {
				escaped = `\-`
			}
			b.WriteString(escaped)
			i += n
		case c == '[':
			b.WriteString(`\[`) // in ECMA 262 it stands for itself
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	return "", 0, fmt.Errorf("the pattern has a [ without its ]")
}
