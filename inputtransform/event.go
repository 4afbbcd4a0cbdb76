package inputtransform

import (
	"fmt"
	"sync"
	"unicode/utf8"
)

// EventError is what Render returns for an event that it cannot read: one that is not JSON, not a JSON object, or nested too deeply.
type EventError struct {
	Reason string // what is wrong, e.g. "an event must be a JSON object"
	Offset int    // of the byte where it was noticed
}

// Error returns the reason and the offset.
func (e *EventError) Error() string {
	return fmt.Sprintf("invalid event: %s (at byte %d)", e.Reason, e.Offset)
}

// node is a place in events that paths lead to or through.
type node struct {
	fields   map[string]*node
	elements map[int]*node
	slots    []int // of the paths that end here
	below    []int // of the paths that end here or go on
}

// add makes a path end at a place below n.
func (n *node) add(steps []step, slot int) {
	n.below = append(n.below, slot)
	if len(steps) == 0 {
		n.slots = append(n.slots, slot)
		return
	}
	n.child(steps[0]).add(steps[1:], slot)
}

// child returns the node that a step leads to, a new one if there is none.
func (n *node) child(s step) *node {
	if s.field == "" {
		if n.elements == nil {
			n.elements = map[int]*node{}
		}
		if n.elements[s.index] == nil {
			n.elements[s.index] = &node{}
		}
		return n.elements[s.index]
	}
	if n.fields == nil {
		n.fields = map[string]*node{}
	}
	if n.fields[s.field] == nil {
		n.fields[s.field] = &node{}
	}
	return n.fields[s.field]
}

// reading is one reading of an event: it finds the values at all paths of a tree of nodes at once.
type reading struct {
	scanner

	values  [][]byte // by slot: the value's text, nil if there is none
	key     []byte   // a field's name that had to be unescaped
	scratch []byte   // values that are not in the event as they are
}

var readings = sync.Pool{New: func() any { return new(reading) }}

// maxKeptBytes is how much of anything a reading may hold on to for the next event: what was grown for a huge event is let go.
const maxKeptBytes = 1 << 18

func takeReading() *reading { return readings.Get().(*reading) }

func (r *reading) release() {
	clear(r.values) // they point into the event
	r.text = nil
	if cap(r.scratch)+cap(r.key) <= maxKeptBytes {
		readings.Put(r)
	}
}

// event reads an event, a JSON object.
func (r *reading) event(event []byte, root *node, slots int) error {
	if !utf8.Valid(event) {
		return &EventError{Reason: "it is not UTF-8 text"}
	}
	if !r.read(event, root, slots) {
		return &EventError{Reason: "it is not JSON: " + r.reason, Offset: r.at}
	}
	r.pos = 0
	r.skipSpace()
	if r.peek() != '{' {
		return &EventError{Reason: "an event must be a JSON object", Offset: r.pos}
	}
	return nil
}

// read reads any JSON value.
func (r *reading) read(text []byte, root *node, slots int) bool {
	r.scanner = scanner{text: text, most: MaxDepth}
	r.scratch = r.scratch[:0]
	for len(r.values) < slots {
		r.values = append(r.values, nil)
	}
	clear(r.values)
	r.skipSpace()
	r.spaced = false
	if !r.value(root) {
		return false
	}
	spaced := r.spaced
	r.skipSpace()
	r.spaced = spaced
	return r.pos == len(text) || r.fail(r.pos, "something follows it")
}

func (r *reading) value(n *node) bool {
	if n == nil {
		return r.skipValue()
	}
	for _, slot := range n.below { // of a field that is there twice the last one counts
		r.values[slot] = nil
	}
	from := r.pos
	if !r.inside(n) {
		return false
	}
	for _, slot := range n.slots {
		r.values[slot] = r.text[from:r.pos]
	}
	return true
}

func (r *reading) inside(n *node) bool {
	switch c := r.peek(); {
	case c == '{' && n.fields != nil:
		return r.object(n)
	case c == '[' && n.elements != nil:
		return r.array(n)
	}
	return r.skipValue()
}

func (r *reading) object(n *node) bool {
	more, ok := r.enter('}')
	for more && ok {
		var name []byte
		if name, ok = r.name(); !ok {
			return false
		}
		if !r.value(n.fields[string(r.unquote(name))]) {
			return false
		}
		more, ok = r.next('}')
	}
	return ok
}

func (r *reading) array(n *node) bool {
	more, ok := r.enter(']')
	for i := 0; more && ok; i++ {
		if !r.value(n.elements[i]) {
			return false
		}
		more, ok = r.next(']')
	}
	return ok
}

// unquote returns what a field's name stands for, until the next.
func (r *reading) unquote(name []byte) []byte {
	inside := name[1 : len(name)-1]
	if plainRun(inside) == len(inside) {
		return inside
	}
	r.key = appendUnescaped(r.key[:0], inside)
	return r.key
}
