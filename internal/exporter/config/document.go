package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxDepth = 100 // how deep a document may be nested
	maxLined = 12  // how deep the lines are noted: deeper than a configuration is
	maxName  = 200 // how much of a key is in its path, in bytes
	// maxPaths is how long the paths may be together of which lines are noted: they
	// repeat what is around them, and can be a thousand times as long as the file.
	maxPaths = 16 << 20
)

// document is JSON with the lines on which its parts begin.
type document struct {
	value any
	lines map[string]int
}

// readDocument reads text, which must be one JSON value, valid UTF-8 and without
// a key given twice.
func readDocument(text []byte) (document, []Problem) {
	text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	switch {
	case len(text) > MaxText:
		return document{}, []Problem{{Message: fmt.Sprintf("the file is %d bytes long, at most %d are possible", len(text), MaxText)}}
	case len(bytes.TrimSpace(text)) == 0:
		return document{}, []Problem{{Message: "the file is empty"}}
	case !utf8.Valid(text):
		return document{}, []Problem{{Message: "the file is not UTF-8"}}
	}
	d := &reader{decoder: json.NewDecoder(bytes.NewReader(text)), lines: map[string]int{}}
	for i, b := range text {
		if b == '\n' {
			d.newlines = append(d.newlines, int64(i))
		}
	}
	value, err := d.value("", 0)
	if err == nil {
		_, err = d.decoder.Token()
		if errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("something follows the value")
		}
	}
	if err != nil {
		return document{}, []Problem{{Line: d.lineAt(errorOffset(text, d.decoder.InputOffset())), Message: "the file is not JSON: " + jsonMessage(err)}}
	}
	return document{value: value, lines: d.lines}, d.problems
}

// reader reads JSON token by token, noting where each value begins.
type reader struct {
	decoder  *json.Decoder
	newlines []int64 // offsets
	lines    map[string]int
	paths    int // bytes of the keys of lines
	problems []Problem
}

// note keeps the line of a path.
func (d *reader) note(path string, line int) {
	d.lines[path] = line
	d.paths += len(path)
}

// lined reports whether lines are noted of what is in a value so deep.
func (d *reader) lined(depth int) bool { return depth < maxLined && d.paths < maxPaths }

func (d *reader) lineAt(offset int64) int {
	n, _ := slices.BinarySearch(d.newlines, offset)
	return n + 1
}

func (d *reader) value(path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	token, err := d.decoder.Token()
	if err != nil {
		return nil, err
	}
	if _, has := d.lines[path]; !has {
		d.note(path, d.lineAt(d.decoder.InputOffset()-1))
	}
	switch token {
	case json.Delim('{'):
		return d.object(path, depth)
	case json.Delim('['):
		return d.array(path, depth)
	}
	return token, nil
}

func (d *reader) object(path string, depth int) (any, error) {
	object := map[string]any{}
	for d.decoder.More() {
		token, err := d.decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		at := path
		if d.lined(depth) {
			at = below(path, key)
		}
		line := d.lineAt(d.decoder.InputOffset() - 1)
		if _, twice := object[key]; twice && len(d.problems) < maxProblems {
			d.problems = append(d.problems, Problem{Path: at, Line: line, Message: "is given twice"})
		}
		if at != path {
			d.note(at, line)
		}
		if object[key], err = d.value(at, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.decoder.Token()
	return object, err
}

func (d *reader) array(path string, depth int) (any, error) {
	array := []any{}
	for d.decoder.More() {
		at := path
		if d.lined(depth) {
			at = fmt.Sprintf("%s[%d]", path, len(array))
		}
		v, err := d.value(at, depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	_, err := d.decoder.Token()
	return array, err
}

// below is the path of a key of the object at path.
func below(path, key string) string {
	if len(key) > maxName {
		key = strings.ToValidUTF8(key[:maxName], "") + "…"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// errorOffset is where in the text a decoder's error is: at what follows the token
// that it read last.
func errorOffset(text []byte, reached int64) int64 {
	for int(reached) < len(text) && strings.IndexByte(" \t\r\n,:", text[reached]) >= 0 {
		reached++
	}
	return reached
}

func jsonMessage(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "it ends too early"
	}
	return err.Error()
}

// kindOf names the kind of a JSON value.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a text"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	}
	return "a number"
}

func keysOf(object map[string]any) []string { return slices.Sorted(maps.Keys(object)) }

// shorten makes text fit into a message, and a message fit to be stored.
func shorten(text string) string {
	const most = 80
	text = strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "\x00", "\uFFFD")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
