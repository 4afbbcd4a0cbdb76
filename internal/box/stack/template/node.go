package template

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	object
	call // a function with its one argument
)

// node is a value in a template, from JSON or YAML alike.
type node struct {
	kind kind
	// text is a scalar's text ("true", "1.0", as written) or the long name of a call's function ("Fn::Join").
	text string
	// source is the text of a plain YAML scalar, which for a boolean or number is not always text: "on".
	source string
	// items are a list's items, an object's values or a call's argument.
	items []*node
	keys  []key // of an object, beside items
	sub   *substitution
	// The place in the text, counted from 1.
	line, column int
	parent       *node
}

// key is an object's key with its place.
type key struct {
	name         string
	line, column int
}

// get returns the value of a key, nil if the object has none.
func (n *node) get(name string) *node {
	for i := range n.keys {
		if n.keys[i].name == name {
			return n.items[i]
		}
	}
	return nil
}

// adopt makes n the parent of its items, all the way down.
func (n *node) adopt() {
	for _, item := range n.items {
		item.parent = n
		item.adopt()
	}
}

// path returns the way from the template to n.
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	return join(n.parent.path(), n.parent.nameOf(n))
}

// nameOf returns how item is reached from n: its key, its index or the function's name.
func (n *node) nameOf(item *node) string {
	for i := range n.items {
		if n.items[i] != item {
			continue
		}
		switch n.kind {
		case object:
			return n.keys[i].name
		case call:
			return n.text
		default:
			return strconv.Itoa(i)
		}
	}
	return ""
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// errorf returns an error about n.
func (n *node) errorf(format string, args ...any) *Error {
	return &Error{Path: n.path(), Line: n.line, Column: n.column, Message: fmt.Sprintf(format, args...)}
}

// keyErrorf returns an error about the object's i-th key.
func (n *node) keyErrorf(i int, format string, args ...any) *Error {
	k := n.keys[i]
	return &Error{Path: join(n.path(), k.name), Line: k.line, Column: k.column, Message: fmt.Sprintf(format, args...)}
}

// scalar reports whether n has a text that can stand for a string.
func (n *node) scalar() bool { return n.kind == text || n.kind == number || n.kind == boolean }

// name reports whether n can be a name of something in the template, and makes it a string: a condition On is
// named by On, although YAML 1.1 reads it as true.
func (n *node) name() bool {
	if (n.kind == boolean || n.kind == number) && n.source != "" {
		n.kind, n.text = text, n.source
	}
	return n.kind == text && n.text != ""
}

// kindName says what n is, for errors.
func (n *node) kindName() string {
	switch n.kind {
	case null:
		return "null"
	case boolean:
		return "a boolean"
	case number:
		return "a number"
	case text:
		return "a string"
	case list:
		return "a list"
	case object:
		return "an object"
	default:
		return n.text
	}
}

// literal returns n as a JSON value with functions in their long form, for what is not evaluated.
func (n *node) literal() any {
	switch n.kind {
	case boolean:
		return n.text == "true"
	case number:
		return json.Number(n.text)
	case text:
		return n.text
	case list:
		l := make([]any, len(n.items))
		for i, item := range n.items {
			l[i] = item.literal()
		}
		return l
	case object:
		o := &ordered{}
		for i, item := range n.items {
			o.add(n.keys[i].name, item.literal())
		}
		return o
	case call:
		o := &ordered{}
		o.add(n.text, n.items[0].literal())
		return o
	default:
		return nil
	}
}

// textLiteral returns the text of a scalar, or an error that names what it should be.
func (n *node) textLiteral(what string) (string, error) {
	if !n.scalar() {
		return "", n.errorf("Template format error: %s must be a string, not %s.", what, n.kindName())
	}
	return n.text, nil
}

// quoteNames returns names as AWS's errors have them: [A, B]. A very long list ends with an ellipsis.
func quoteNames(names []string) string {
	const most = 50
	if len(names) > most {
		names = append(names[:most:most], "…")
	}
	return "[" + strings.Join(names, ", ") + "]"
}
