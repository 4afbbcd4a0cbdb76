package inputtransform

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPath is how many characters a path may have (AWS).
const MaxPath = 256

// Path is a compiled path, such as $.detail.items[0].name. It never changes and any number of goroutines may use it.
type Path struct {
	text  string
	steps []step
	root  *node // of steps, with slot 0
	each  bool  // [*] follows the steps
	rest  *Path // and this follows it, in each element
}

// step leads to a field, or to an element if the field's name is empty.
type step struct {
	field string
	index int
}

// PathError is what ParsePath returns for a path that AWS would refuse.
type PathError struct {
	Path   string
	Reason string // what is wrong, e.g. "a path starts with $"
	Offset int    // of the byte where it was noticed
}

// Error returns the path, the reason and the offset.
func (e *PathError) Error() string {
	return fmt.Sprintf("invalid path %q: %s (at byte %d)", e.Path, e.Reason, e.Offset)
}

// ParsePath reads a path. The error is a *PathError.
func ParsePath(s string) (*Path, error) {
	if utf8.RuneCountInString(s) > MaxPath {
		return nil, &PathError{Path: s, Reason: fmt.Sprintf("a path has at most %d characters", MaxPath), Offset: len(s)}
	}
	if !strings.HasPrefix(s, "$") {
		return nil, &PathError{Path: s, Reason: "a path starts with $"}
	}
	p := &pathParser{text: s, pos: 1}
	path := p.path()
	if p.reason != "" {
		return nil, &PathError{Path: s, Reason: p.reason, Offset: p.pos}
	}
	path.text = s
	return path, nil
}

// String returns the path as it was given to ParsePath.
func (p *Path) String() string { return p.text }

type pathParser struct {
	text   string
	pos    int
	reason string // what is wrong at pos
}

// path reads steps up to the end.
func (p *pathParser) path() *Path {
	path := &Path{root: &node{}}
	for p.pos < len(p.text) && p.reason == "" && !path.each {
		switch p.text[p.pos] {
		case '.':
			path.steps = append(path.steps, step{field: p.field()})
		case '[':
			if strings.HasPrefix(p.text[p.pos:], "[*]") {
				p.pos += len("[*]")
				path.each = true
				continue
			}
			path.steps = append(path.steps, step{index: p.index()})
		default:
			p.reason = "a dot or [ must follow"
		}
	}
	path.root.add(path.steps, 0)
	if path.each && p.pos < len(p.text) {
		path.rest = p.path()
	}
	return path
}

func (p *pathParser) field() string {
	p.pos++
	from := p.pos
	for p.pos < len(p.text) {
		r, size := utf8.DecodeRuneInString(p.text[p.pos:])
		if !isFieldPart(r) {
			break
		}
		p.pos += size
	}
	if p.pos == from {
		p.reason = "the name of a field must follow the dot"
	}
	return p.text[from:p.pos]
}

func isFieldPart(r rune) bool {
	return !strings.ContainsRune(".[]()*?,'\"", r) && !unicode.IsSpace(r) && !unicode.IsControl(r)
}

func (p *pathParser) index() int {
	digits, _, closed := strings.Cut(p.text[p.pos+1:], "]")
	index, err := strconv.ParseUint(digits, 10, 31)
	if !closed || err != nil {
		p.reason = "[ must be followed by the number of an element or *, and ]"
		return 0
	}
	p.pos += len(digits) + len("[]")
	return int(index)
}

// Get returns the value at the path as compact JSON, which may share the event's memory; false if the event has none there or cannot be read.
// A value of null is one. The value at a path with [*] is an array, if there is one where the first [*] stands.
func (p *Path) Get(event []byte) (value []byte, ok bool) {
	value, err := p.get(event)
	return value, err == nil && value != nil
}

// get returns nil if there is no value.
func (p *Path) get(event []byte) ([]byte, error) {
	r := takeReading()
	defer r.release()
	if err := r.event(event, p.root, 1); err != nil {
		return nil, err
	}
	value := r.values[0]
	switch {
	case value == nil:
		return nil, nil
	case p.each:
		return p.appendEach(nil, value), nil
	case r.spaced:
		return appendCompact(nil, value), nil
	}
	return value, nil
}

// appendEach appends the array of what each element of an array has; nothing if it is no array.
func (p *Path) appendEach(dst, array []byte) []byte {
	if array == nil || array[0] != '[' {
		return dst
	}
	dst = append(dst, '[')
	from := len(dst)
	dst = p.appendElements(dst, array)
	if len(dst) > from {
		dst = dst[:len(dst)-1] // the last comma
	}
	return append(dst, ']')
}

// appendElements appends what each element of an array has, with a comma after each.
func (p *Path) appendElements(dst, array []byte) []byte {
	s := scanner{text: array, most: MaxDepth}
	more, ok := s.enter(']')
	for more && ok {
		from := s.pos
		ok = s.skipValue()
		dst = p.appendRest(dst, array[from:s.pos])
		if ok {
			more, ok = s.next(']')
		}
	}
	return dst
}

// appendRest appends what an element has, with a comma.
func (p *Path) appendRest(dst, element []byte) []byte {
	rest := p.rest
	if rest == nil {
		return append(appendCompact(dst, element), ',')
	}
	r := takeReading()
	defer r.release()
	r.read(element, rest.root, 1)
	value := r.values[0]
	switch {
	case value == nil:
		return dst
	case !rest.each:
		return append(appendCompact(dst, value), ',')
	case value[0] == '[':
		return rest.appendElements(dst, value)
	}
	return dst
}
