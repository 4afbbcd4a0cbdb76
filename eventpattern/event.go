package eventpattern

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxEventDepth is how many objects and arrays of an event may lie within one another (AWS: deeper events are not processed).
const MaxEventDepth = 1000

// EventError is what Match returns for an event that it cannot read: one that is not JSON, not a JSON object, or nested too deeply.
type EventError struct {
	Reason string // what is wrong, e.g. "an event must be a JSON object"
	Offset int    // of the byte where it was noticed
}

// Error returns the reason and the offset.
func (e *EventError) Error() string {
	return fmt.Sprintf("invalid event: %s (at byte %d)", e.Reason, e.Offset)
}

type valueKind uint8

const (
	kindString valueKind = iota
	kindNumber
	kindTrue
	kindFalse
	kindNull
)

// value is one leaf of an event at a path that some pattern asks for.
type value struct {
	kind    valueKind
	counted bool // double and exact are known
	exact   bool
	frame   int32 // the array element that it lies in
	next    int32 // the next value at the same path, or none
	text    []byte
	double  float64
}

const none = -1

// number returns the double to compare; false if there is none that stands for the number.
func (v *value) number() (float64, bool) {
	if !v.counted {
		v.double, v.exact = eventNumber(v.text)
		v.counted = true
	}
	return v.double, v.exact
}

// frame is one element of an array of an event, if it is an object or an array itself. Frame 0 is the event as a whole.
// Two values are consistent unless they lie in different elements of one array.
type frame struct {
	parent int32
	array  int32
	round  uint64 // of the consistency that has a spot for it
}

// reading is an event flattened into the values at the paths that patterns ask for, and the memory that is reused for the next.
type reading struct {
	data   []byte
	pos    int
	depth  int
	arrays int32

	values  []value
	frames  []frame
	first   []int32 // by path: its first value, or none
	last    []int32
	touched []int32 // paths that have values
	keys    []uint64
	text    []byte // strings that had to be unescaped

	consistency consistency
	verdicts    []verdict
}

// read flattens an event; root is the tree of wanted paths, which are numbered below paths.
func (r *reading) read(event []byte, root *pathNode, paths int) error {
	r.reset(event, paths)
	if !utf8.Valid(event) {
		return r.fail("it is not UTF-8 text")
	}
	r.skipSpace()
	if r.peek() != '{' {
		if err := r.skipValue(); err != nil {
			return err
		}
		r.pos = 0
		return r.fail("an event must be a JSON object")
	}
	if err := r.object(root, 0); err != nil {
		return err
	}
	r.skipSpace()
	if r.pos < len(r.data) {
		return r.fail("something follows the event's closing brace")
	}
	return nil
}

func (r *reading) reset(event []byte, paths int) {
	for _, path := range r.touched {
		r.first[path], r.last[path] = none, none
	}
	for len(r.first) < paths {
		r.first, r.last = append(r.first, none), append(r.last, none)
	}
	r.data, r.pos, r.depth, r.arrays = event, 0, 0, 0
	r.values, r.touched, r.keys, r.text = r.values[:0], r.touched[:0], r.keys[:0], r.text[:0]
	r.frames = append(r.frames[:0], frame{parent: none, array: none})
}

func (r *reading) fail(reason string) error { return &EventError{Reason: reason, Offset: r.pos} }

func (r *reading) failSyntax(what string) error {
	if r.pos >= len(r.data) {
		return r.fail("it is not JSON: it ends too early")
	}
	return r.fail("it is not JSON: " + what)
}

func (r *reading) skipSpace() {
	for r.pos < len(r.data) {
		switch r.data[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end.
func (r *reading) peek() byte {
	if r.pos >= len(r.data) {
		return 0
	}
	return r.data[r.pos]
}

func (r *reading) enter() error {
	r.pos++
	if r.depth++; r.depth > MaxEventDepth {
		return r.fail(fmt.Sprintf("it is nested more than %d levels deep", MaxEventDepth))
	}
	return nil
}

// object reads an object; node is nil if nothing in it is wanted.
func (r *reading) object(node *pathNode, frame int32) error {
	if err := r.enter(); err != nil {
		return err
	}
	r.skipSpace()
	if r.peek() == '}' {
		r.pos++
		r.depth--
		return nil
	}
	for {
		r.skipSpace()
		var child *pathNode
		if node == nil {
			if err := r.skipString("a field's name must be a string"); err != nil {
				return err
			}
		} else {
			key, err := r.string("a field's name must be a string")
			if err != nil {
				return err
			}
			child = node.walk(key)
		}
		r.skipSpace()
		if r.peek() != ':' {
			return r.failSyntax("a colon must follow a field's name")
		}
		r.pos++
		if err := r.value(child, frame); err != nil {
			return err
		}
		r.skipSpace()
		switch r.peek() {
		case ',':
			r.pos++
		case '}':
			r.pos++
			r.depth--
			return nil
		default:
			return r.failSyntax("a comma or a closing brace must follow a field")
		}
	}
}

// array reads an array, whose scalar elements are values at the same path as the array.
func (r *reading) array(node *pathNode, parent int32) error {
	if err := r.enter(); err != nil {
		return err
	}
	array := r.arrays
	r.arrays++
	r.skipSpace()
	if r.peek() == ']' {
		r.pos++
		r.depth--
		return nil
	}
	for {
		r.skipSpace()
		inside := parent
		if c := r.peek(); node != nil && (c == '[' || c == '{' && node.size > 0) {
			inside = int32(len(r.frames))
			r.frames = append(r.frames, frame{parent: parent, array: array})
		}
		if err := r.value(node, inside); err != nil {
			return err
		}
		r.skipSpace()
		switch r.peek() {
		case ',':
			r.pos++
		case ']':
			r.pos++
			r.depth--
			return nil
		default:
			return r.failSyntax("a comma or a closing bracket must follow an element")
		}
	}
}

// value reads any value at a node's path.
func (r *reading) value(node *pathNode, frame int32) error {
	r.skipSpace()
	if node == nil {
		return r.skipValue()
	}
	switch r.peek() {
	case '{':
		if node.size == 0 {
			node = nil
		}
		return r.object(node, frame)
	case '[':
		return r.array(node, frame)
	}
	if node.path == noPath {
		return r.skipValue()
	}
	v := value{frame: frame, next: none}
	from := r.pos
	var err error
	switch c := r.peek(); c {
	case '"':
		v.text, err = r.string("")
		if node.indexed && err == nil {
			r.keys = append(r.keys, indexKey(node.path, v.text))
		}
	case 't':
		v.kind, err = kindTrue, r.literal("true")
	case 'f':
		v.kind, err = kindFalse, r.literal("false")
	case 'n':
		v.kind, err = kindNull, r.literal("null")
	default:
		v.kind, err = kindNumber, r.number()
	}
	if err != nil {
		return err
	}
	if v.kind != kindString {
		v.text = r.data[from:r.pos]
	}
	r.add(node.path, v)
	return nil
}

func (r *reading) add(path int32, v value) {
	at := int32(len(r.values))
	r.values = append(r.values, v)
	if r.first[path] == none {
		r.first[path] = at
		r.touched = append(r.touched, path)
	} else {
		r.values[r.last[path]].next = at
	}
	r.last[path] = at
}

// skipValue reads past a value that no pattern asks for, checking it all the same.
func (r *reading) skipValue() error {
	switch r.peek() {
	case '{':
		return r.object(nil, 0)
	case '[':
		return r.array(nil, 0)
	case '"':
		return r.skipString("")
	case 't':
		return r.literal("true")
	case 'f':
		return r.literal("false")
	case 'n':
		return r.literal("null")
	}
	return r.number()
}

func (r *reading) literal(literal string) error {
	if !hasPrefix(r.data[r.pos:], literal) {
		return r.failSyntax("a value is neither an object, an array, a string, a number, true, false nor null")
	}
	r.pos += len(literal)
	return nil
}

func (r *reading) number() error {
	if r.peek() == '-' {
		r.pos++
	}
	switch c := r.peek(); {
	case c == '0':
		r.pos++
	case isDigit(c):
		r.digits()
	default:
		return r.failSyntax("a value is neither an object, an array, a string, a number, true, false nor null")
	}
	if r.peek() == '.' {
		r.pos++
		if !r.digits() {
			return r.failSyntax("a digit must follow a decimal point")
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.pos++
		if c := r.peek(); c == '+' || c == '-' {
			r.pos++
		}
		if !r.digits() {
			return r.failSyntax("an exponent needs digits")
		}
	}
	return nil
}

func (r *reading) digits() bool {
	from := r.pos
	for r.pos < len(r.data) && isDigit(r.data[r.pos]) {
		r.pos++
	}
	return r.pos > from
}

// string reads a string and returns its text, which stays valid until the next event.
func (r *reading) string(otherwise string) ([]byte, error) {
	from := r.pos + 1
	if err := r.skipString(otherwise); err != nil {
		return nil, err
	}
	raw := r.data[from : r.pos-1]
	for i, c := range raw {
		if c == '\\' {
			return r.unescape(raw, i), nil
		}
	}
	return raw, nil
}

func (r *reading) skipString(otherwise string) error {
	if r.peek() != '"' {
		return r.failSyntax(otherwise)
	}
	r.pos++
	for {
		r.pos += plainRun(r.data[r.pos:])
		if r.pos >= len(r.data) {
			return r.failSyntax("")
		}
		switch c := r.data[r.pos]; {
		case c == '"':
			r.pos++
			return nil
		case c == '\\':
			r.pos++
			if err := r.checkEscape(); err != nil {
				return err
			}
		default:
			return r.failSyntax("a string has a control character that is not escaped")
		}
		r.pos++
	}
}

// plainRun returns how many bytes at the start of text are neither a quote, a backslash nor a control
// character. It looks at eight at a time: events are mostly such text.
func plainRun(text []byte) int {
	const eachByte, highBits = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(text)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(text[i:])
		quote, backslash := x^'"'*eachByte, x^'\\'*eachByte
		// A byte's high bit is set where the byte is below the one subtracted: exact for the first such
		// byte, and only that one counts.
		special := ((x - ' '*eachByte) | (quote - eachByte) | (backslash - eachByte)) &^ x & highBits
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}

// checkEscape leaves the reading at the last byte of the escape.
func (r *reading) checkEscape() error {
	switch r.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			r.pos++
			if r.pos >= len(r.data) || hexDigit(r.data[r.pos]) < 0 {
				return r.failSyntax("\\u needs four hexadecimal digits")
			}
		}
		return nil
	}
	return r.failSyntax("a string has an unknown escape")
}

// unescape returns the text of a checked string whose first escape is at the given offset.
func (r *reading) unescape(raw []byte, at int) []byte {
	from := len(r.text)
	r.text = append(r.text, raw[:at]...)
	for i := at; i < len(raw); i++ {
		if raw[i] != '\\' {
			r.text = append(r.text, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'b':
			r.text = append(r.text, '\b')
		case 'f':
			r.text = append(r.text, '\f')
		case 'n':
			r.text = append(r.text, '\n')
		case 'r':
			r.text = append(r.text, '\r')
		case 't':
			r.text = append(r.text, '\t')
		case 'u':
			char := hexRune(raw[i+1 : i+5])
			i += 4
			if utf16.IsSurrogate(char) && i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
				if pair := utf16.DecodeRune(char, hexRune(raw[i+3:i+7])); pair != utf8.RuneError {
					char = pair
					i += 6
				}
			}
			r.text = utf8.AppendRune(r.text, char)
		default:
			r.text = append(r.text, c)
		}
	}
	return r.text[from:len(r.text):len(r.text)]
}

func hexRune(digits []byte) rune {
	var char rune
	for _, c := range digits {
		char = char<<4 | rune(hexDigit(c))
	}
	return char
}
