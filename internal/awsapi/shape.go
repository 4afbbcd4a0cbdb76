package awsapi

import (
	"regexp"
	"strings"
	"sync"
)

// Kind says how a shape's value is held in Go and written on the wire.
type Kind uint8

// The kinds of shape that a service model can hold, with the Go type that a
// structure member of each has.
const (
	String    Kind = iota // *string
	Integer               // *int32
	Long                  // *int64
	Double                // *float64
	Boolean               // *bool
	Timestamp             // *time.Time
	Blob                  // []byte
	List                  // a slice; nil means absent
	Map                   // a map from string; nil means absent
	Structure             // a pointer to a struct whose fields are in the order of Members
)

// Shape describes one shape of a service model: its constraints, its members
// and the names it has on the wire. The generator writes shapes; the protocols,
// the validator and the trail walk them.
type Shape struct {
	Name string // as in the model, RuleName
	Kind Kind

	Min, Max       int64 // length of a string, blob, list or map; value of a number
	HasMin, HasMax bool
	Pattern        *Pattern
	Enum           []string
	Sensitive      bool // never written to a log or the trail

	Members []Member // of a structure

	// ToString is the order in which AWS prints the members of this structure
	// inside a validation message, in the model's own names, and may name
	// members that the public model lacks. Empty: the order of Members.
	ToString []string

	Elem      *Shape // of a list, or the values of a map
	ElemName  string // XML element of a list's item or a map's value; empty: member, value
	Key       *Shape // of a map
	KeyName   string // XML element of a map's key; empty: key
	Flattened bool   // list or map without a wrapping element in the query protocol
	// Payload is the member that is the whole body in REST-JSON; empty: the body holds
	// the members without a Location.
	Payload string

	once   sync.Once
	byName map[string]int // index of Members, made at first use
}

// member finds a structure's member by its JSON name.
func (s *Shape) member(name []byte) (int, bool) {
	s.once.Do(func() {
		s.byName = make(map[string]int, len(s.Members))
		for i := range s.Members {
			s.byName[s.Members[i].Name] = i
		}
	})
	i, ok := s.byName[string(name)]
	return i, ok
}

// Empty is the shape of requests and answers without members.
var Empty = &Shape{Kind: Structure}

// Member is one member of a structure.
type Member struct {
	Name     string // as in the model; the JSON name
	In       string // name in a query or ec2 request; empty: Name
	Out      string // name in a query or ec2 response; empty: Name
	Shape    *Shape
	Required bool
	// Location is where the member is in REST-JSON if not in the body, and LocationName
	// what it is called there.
	Location     Location
	LocationName string
}

// Location is a place in an HTTP message of REST-JSON.
type Location uint8

// The places.
const (
	InBody   Location = iota
	InURI             // a segment of the path, of requests
	InQuery           // the query string, of requests
	InHeader          // a header
	InStatus          // the HTTP status, of answers
)

// InName is the member's name in a query or ec2 request.
func (m *Member) InName() string {
	if m.In != "" {
		return m.In
	}
	return m.Name
}

// OutName is the member's element name in a query or ec2 response.
func (m *Member) OutName() string {
	if m.Out != "" {
		return m.Out
	}
	return m.Name
}

// Pattern is a model's regular expression. As in Java's String.matches, which
// AWS applies, it must match the whole value. It is compiled at first use.
type Pattern struct {
	Text string // as printed in validation messages
	once sync.Once
	not  *regexp.Regexp
	re   *regexp.Regexp
}

// NewPattern returns the pattern of a model's text.
func NewPattern(text string) *Pattern { return &Pattern{Text: text} }

// Matches reports whether the whole of s satisfies the pattern. It panics when
// the text cannot be compiled; the generator refuses such models.
func (p *Pattern) Matches(s string) bool {
	p.once.Do(p.compile)
	if p.not != nil && p.not.MatchString(s) {
		return false
	}
	return p.re.MatchString(s)
}

func (p *Pattern) compile() {
	text := p.Text
	if rest, ok := strings.CutPrefix(text, "^"); ok && strings.HasPrefix(rest, "(?!") {
		text = rest
	}
	// Models use one form that RE2 lacks: a negative lookahead that opens the pattern.
	if rest, ok := strings.CutPrefix(text, "(?!"); ok {
		if look, tail, found := cutGroup(rest); found {
			p.not = regexp.MustCompile(`\A(?:` + goRegexp(look) + `)`)
			text = tail
		}
	}
	p.re = regexp.MustCompile(`\A(?:` + goRegexp(text) + `)\z`)
}

// cutGroup splits s after the bracket that closes the group s is already inside.
func cutGroup(s string) (group, rest string, ok bool) {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

// javaUnicode finds Java's four-digit escapes and the six-digit ones that
// models write for the supplementary planes.
var javaUnicode = regexp.MustCompile(`\\u(10[0-9A-Fa-f]{4}|10000|[0-9A-Fa-f]{4})`)

// goRegexp rewrites the escapes that Java has and Go has not. Surrogates are
// outside what a Go string can hold, so a range ending beside them is unharmed.
func goRegexp(text string) string {
	return javaUnicode.ReplaceAllString(text, `\x{$1}`)
}
