package template

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is an AllowedPattern: a regular expression of Java's flavour that the whole value must match. Go's
// expressions know neither lookarounds nor counts above 1,000, so lookaheads at the beginning and lookbehinds at the end
// become expressions of their own, and large counts are written out. Matching takes time linear in the value.
type pattern struct {
	whole  *regexp.Regexp
	states int // about
	// start must, or must not, match at the beginning; end at the end.
	start, end []assertion
}

type assertion struct {
	expression *regexp.Regexp
	not        bool
}

func (p *pattern) match(s string) bool {
	for _, a := range append(slices.Clip(p.start), p.end...) {
		if a.expression.MatchString(s) == a.not {
			return false
		}
	}
	return p.whole.MatchString(s)
}

// maxPattern is the size of an AllowedPattern, and maxExpanded that of what it becomes.
const maxPattern, maxExpanded = 4096, 64 << 10

func compilePattern(java string) (*pattern, error) {
	if len(java) > maxPattern {
		return nil, fmt.Errorf("it is longer than %d bytes", maxPattern)
	}
	p := &pattern{}
	rest, anchored := strings.CutPrefix(java, "^")
	for {
		inner, not, tail, ok := cutLookaround(rest, "(?=", "(?!")
		if !ok {
			break
		}
		a, err := p.assertion(`\A(?:%s)`, inner, not)
		if err != nil {
			return nil, err
		}
		p.start, rest = append(p.start, a), tail
		if !anchored {
			rest, anchored = strings.CutPrefix(rest, "^")
		}
	}
	rest, ended := strings.CutSuffix(rest, "$")
	if backslashes := len(rest) - len(strings.TrimRight(rest, `\`)); ended && backslashes%2 == 1 {
		rest += "$" // an escaped dollar, no anchor
	}
	for {
		head, inner, not, ok := cutLookbehind(rest)
		if !ok {
			break
		}
		a, err := p.assertion(`(?:%s)\z`, inner, not)
		if err != nil {
			return nil, err
		}
		p.end, rest = append(p.end, a), head
	}
	if len(p.start)+len(p.end) > 0 && strings.Contains(withoutClasses(rest), "|") {
		return nil, errors.New("it has lookarounds beside alternatives (|); put the alternatives in parentheses")
	}
	var err error
	p.whole, err = p.compile(`\A(?:%s)\z`, rest)
	return p, err
}

func (p *pattern) assertion(format, java string, not bool) (assertion, error) {
	e, err := p.compile(format, java)
	return assertion{expression: e, not: not}, err
}

// compile translates a part of the pattern and puts it into the format.
func (p *pattern) compile(format, java string) (*regexp.Regexp, error) {
	translated, err := translate(java)
	if err != nil {
		return nil, err
	}
	whole := fmt.Sprintf(format, translated)
	tree, err := syntax.Parse(whole, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("it is not a regular expression that can be matched in linear time: %w", err)
	}
	if p.states += size(tree); p.states > maxStates {
		return nil, errTooLarge
	}
	return regexp.Compile(whole)
}

var errTooLarge = errors.New("it is too large: use smaller counts")

// maxStates bounds what a pattern costs: memory, and time for each character of a value. maxAllStates does it for a template.
const maxStates, maxAllStates = 20000, 40000

// size returns about how many states an expression has once its counts are written out.
func size(e *syntax.Regexp) int {
	n := 1
	if e.Op == syntax.OpLiteral {
		n = len(e.Rune)
	}
	for _, sub := range e.Sub {
		n += size(sub)
	}
	if e.Op == syntax.OpRepeat {
		n *= max(e.Min, e.Max, 1)
	}
	return min(n, 2*maxStates)
}

// withoutClasses returns the top level of an expression: groups, classes and escapes left out.
func withoutClasses(s string) string {
	var b strings.Builder
	for depth := 0; s != ""; {
		n := atomLength(s)
		switch {
		case s[0] == '(':
			depth++
			n = 1
		case s[0] == ')':
			depth--
		case depth == 0 && n == 1:
			b.WriteByte(s[0])
		}
		s = s[n:]
	}
	return b.String()
}

// atomLength returns the length of the escape, class or character at the beginning of s.
func atomLength(s string) int {
	switch {
	case s[0] == '\\' && len(s) > 1:
		_, size := utf8.DecodeRuneInString(s[1:])
		return 1 + size
	case s[0] == '[':
		at := 1
		if strings.HasPrefix(s[at:], "^") {
			at++
		}
		for at < len(s) && s[at] != ']' {
			if s[at] == '\\' {
				at++
			}
			at++
		}
		return min(at+1, len(s))
	default:
		_, size := utf8.DecodeRuneInString(s)
		return size
	}
}

// cutLookaround cuts a lookaround from the beginning of s.
func cutLookaround(s, is, isNot string) (inner string, not bool, tail string, ok bool) {
	inner, found := strings.CutPrefix(s, is)
	if !found {
		if inner, found = strings.CutPrefix(s, isNot); !found {
			return "", false, "", false
		}
		not = true
	}
	at := 0
	for depth := 1; at < len(inner); {
		switch inner[at] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return inner[:at], not, inner[at+1:], true
			}
		}
		if inner[at] == '(' {
			at++
			continue
		}
		at += atomLength(inner[at:])
	}
	return "", false, "", false
}

// cutLookbehind cuts a lookbehind from the end of s.
func cutLookbehind(s string) (head, inner string, not, ok bool) {
	at := max(strings.LastIndex(s, "(?<="), strings.LastIndex(s, "(?<!"))
	if at < 0 {
		return "", "", false, false
	}
	inner, not, tail, ok := cutLookaround(s[at:], "(?<=", "(?<!")
	if !ok || tail != "" {
		return "", "", false, false
	}
	return s[:at], inner, not, true
}

// javaClasses are Java's POSIX classes and their names in Go.
var javaClasses = map[string]string{
	"Lower": "[:lower:]", "Upper": "[:upper:]", "ASCII": "[:ascii:]", "Alpha": "[:alpha:]", "Digit": "[:digit:]", "Alnum": "[:alnum:]",
	"Punct": "[:punct:]", "Graph": "[:graph:]", "Print": "[:print:]", "Blank": "[:blank:]", "Cntrl": "[:cntrl:]", "XDigit": "[:xdigit:]", "Space": "[:space:]",
	"IsAlphabetic": `\p{L}\p{Nl}`, "IsLetter": `\p{L}`, "IsDigit": `\p{Nd}`, "IsUppercase": `\p{Lu}`, "IsLowercase": `\p{Ll}`,
}

// translator rewrites one expression.
type translator struct {
	out strings.Builder
	// atom is where in out the last atom begins, -1 if there is none to repeat; repeats is the product of the counts within it.
	atom, repeats int
	groups        []group
}

// group is an open parenthesis.
type group struct {
	start   int // where it is in out
	repeats int // the largest product of counts within it
}

// translate rewrites an expression from Java's flavour to Go's.
func translate(java string) (string, error) {
	t := &translator{atom: -1, repeats: 1}
	for s := java; s != ""; {
		n, err := t.next(s)
		if err != nil {
			return "", err
		}
		if t.out.Len() > maxExpanded {
			return "", errTooLarge
		}
		s = s[n:]
	}
	return t.out.String(), nil
}

// next translates what s begins with and returns its length.
func (t *translator) next(s string) (int, error) {
	switch s[0] {
	case '(':
		return t.open(s)
	case ')':
		t.close()
		return 1, nil
	case '[':
		t.begin()
		return t.class(s)
	case '*', '+', '?', '{':
		return t.repeat(s)
	case '|', '^', '$':
		t.atom = -1
		t.out.WriteByte(s[0])
		return 1, nil
	case '\\':
		t.begin()
		if strings.HasPrefix(s, `\Q`) {
			return 0, errors.New(`it has \Q, which is not supported; escape the characters one by one`)
		}
		return t.escape(s, false)
	case '.':
		t.begin()
		t.out.WriteString(`[^\n\r\x{85}\x{2028}\x{2029}]`)
		return 1, nil
	}
	t.begin()
	n := atomLength(s)
	t.out.WriteString(regexp.QuoteMeta(s[:n]))
	return n, nil
}

// begin starts an atom of one character or class.
func (t *translator) begin() { t.atom, t.repeats = t.out.Len(), 1 }

func (t *translator) close() {
	t.out.WriteByte(')')
	t.atom = -1
	if n := len(t.groups); n > 0 {
		t.atom, t.repeats = t.groups[n-1].start, t.groups[n-1].repeats
		t.groups = t.groups[:n-1]
		t.note(t.repeats)
	}
}

// note tells the group that is open of counts within it.
func (t *translator) note(repeats int) {
	if n := len(t.groups); n > 0 {
		t.groups[n-1].repeats = max(t.groups[n-1].repeats, repeats)
	}
}

func (t *translator) open(s string) (int, error) {
	t.groups, t.atom = append(t.groups, group{start: t.out.Len(), repeats: 1}), -1
	for _, lookaround := range []string{"(?=", "(?!", "(?<=", "(?<!", "(?>"} {
		if strings.HasPrefix(s, lookaround) {
			return 0, fmt.Errorf("it has %s in a place where that is not supported; lookaheads can stand at the beginning, lookbehinds at the end", lookaround)
		}
	}
	for _, group := range []string{"(?:", "(?i)", "(?i:", "(?s)", "(?s:"} {
		if !strings.HasPrefix(s, group) {
			continue
		}
		t.out.WriteString(group)
		if strings.HasSuffix(group, ")") {
			t.groups = t.groups[:len(t.groups)-1]
		}
		return len(group), nil
	}
	if name := regexp.MustCompile(`^\(\?<[A-Za-z][A-Za-z0-9]*>`).FindString(s); name != "" {
		t.out.WriteByte('(')
		return len(name), nil
	}
	if strings.HasPrefix(s, "(?") {
		return 0, fmt.Errorf("it has %q, which is not supported", s[:min(len(s), 4)])
	}
	t.out.WriteByte('(')
	return 1, nil
}

// goRepeat is the largest count, or product of nested counts, that Go takes; javaRepeat is the largest count here.
const goRepeat, javaRepeat = 1000, 10000

var counts = regexp.MustCompile(`^\{([0-9]{1,6})(,?)([0-9]{0,6})\}`)

func (t *translator) repeat(s string) (int, error) {
	n, times := 1, s[:1]
	if s[0] == '{' {
		m := counts.FindStringSubmatch(s)
		if m == nil {
			return 0, errors.New(`it has a { that begins no count; write \{ for the character`)
		}
		n = len(m[0])
		var err error
		if times, err = t.count(m[1], m[2] != "", m[3]); err != nil {
			return 0, err
		}
	}
	t.out.WriteString(times)
	t.atom = -1
	switch {
	case strings.HasPrefix(s[n:], "+"):
		return 0, errors.New("it has a possessive quantifier (a + behind another quantifier), which is not supported")
	case strings.HasPrefix(s[n:], "?"):
		t.out.WriteByte('?')
		n++
	}
	return n, nil
}

// count returns what is to be written behind the last atom for {low,high}.
func (t *translator) count(low string, open bool, high string) (string, error) {
	from, _ := strconv.Atoi(low)
	to := from
	if open && high != "" {
		to, _ = strconv.Atoi(high)
	}
	if from > javaRepeat || to > javaRepeat {
		return "", fmt.Errorf("it repeats something more than %d times", javaRepeat)
	}
	limit := max(goRepeat/t.repeats, 1)
	t.note(min(max(from, to), limit) * t.repeats)
	if from <= limit && to <= limit {
		if !open {
			return fmt.Sprintf("{%d}", from), nil
		}
		return fmt.Sprintf("{%d,%s}", from, high), nil
	}
	if t.atom < 0 {
		return "", errors.New("it repeats nothing")
	}
	atom := t.out.String()[t.atom:]
	if (max(from, to)/limit+1)*len(atom) > maxExpanded {
		return "", errTooLarge
	}
	var b strings.Builder
	for first := true; from > 0 || to > 0; first = false {
		least, most := min(from, limit), min(to, limit)
		from, to = from-least, to-most
		if !first {
			b.WriteString(atom)
		}
		fmt.Fprintf(&b, "{%d,%d}", least, most)
	}
	if open && high == "" {
		b.WriteString(atom + "*")
	}
	return b.String(), nil
}

func (t *translator) class(s string) (int, error) {
	at := 1
	t.out.WriteByte('[')
	if strings.HasPrefix(s[at:], "^") {
		t.out.WriteByte('^')
		at++
	}
	for at < len(s) && s[at] != ']' {
		switch {
		case s[at] == '[':
			return 0, errors.New(`it has [ within [ ]: unions of classes are not supported; write \[ for the character`)
		case strings.HasPrefix(s[at:], "&&"):
			return 0, errors.New("it has && within [ ]: intersections of classes are not supported")
		case s[at] == '\\':
			n, err := t.escape(s[at:], true)
			if err != nil {
				return 0, err
			}
			at += n
		default:
			n := atomLength(s[at:])
			t.out.WriteString(s[at : at+n])
			at += n
		}
	}
	if at >= len(s) {
		return 0, errors.New("it has a [ without ]")
	}
	t.out.WriteByte(']')
	return at + 1, nil
}

var (
	unicodeEscape  = regexp.MustCompile(`^\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,6})\})`)
	propertyEscape = regexp.MustCompile(`^\\([pP])(?:\{(\^?)([A-Za-z_]+)\}|([A-Z]))`)
)

func (t *translator) escape(s string, inClass bool) (int, error) {
	wrap := func(body string) string {
		if inClass {
			return body
		}
		return "[" + body + "]"
	}
	if m := unicodeEscape.FindStringSubmatch(s); m != nil {
		t.out.WriteString(`\x{` + m[1] + m[2] + m[3] + `}`)
		return len(m[0]), nil
	}
	if m := propertyEscape.FindStringSubmatch(s); m != nil {
		if body, ok := javaClasses[m[3]]; ok && m[1] == "p" && m[2] == "" {
			t.out.WriteString(wrap(body))
		} else {
			t.out.WriteString(m[0])
		}
		return len(m[0]), nil
	}
	n := atomLength(s)
	if n == 1 {
		return 0, errors.New(`it ends with a single \`)
	}
	c, _ := utf8.DecodeRuneInString(s[1:])
	switch {
	case strings.ContainsRune("dDwWtnrf", c) || strings.ContainsRune("bBAz", c) && !inClass:
		t.out.WriteString(s[:n])
	case c == 's':
		t.out.WriteString(wrap(`\t-\r `))
	case c == 'S':
		t.out.WriteString(wrap(`\x00-\x08\x0e-\x1f!-\x{10FFFF}`))
	case c >= '1' && c <= '9':
		return 0, fmt.Errorf(`it refers back to a group (\%c), which is not supported`, c)
	case c < utf8.RuneSelf && (unicode.IsLetter(c) || unicode.IsDigit(c)):
		return 0, fmt.Errorf(`it has \%c, which is not supported`, c)
	case c < utf8.RuneSelf:
		t.out.WriteString(s[:n])
	default:
		t.out.WriteRune(c)
	}
	return n, nil
}
