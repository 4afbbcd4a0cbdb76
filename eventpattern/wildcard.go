package eventpattern

import (
	"bytes"
	"fmt"
	"strings"
)

// wildcard is text in which * stands for any number of any characters: the parts between the stars.
type wildcard []string

// parseWildcard reads a wildcard, in which \* and \\ stand for themselves without the backslash.
// The reason for refusing it is AWS's; its position counts bytes and has the first one at 1.
func parseWildcard(text string) (w wildcard, reason string) {
	var part strings.Builder
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '*':
			if strings.HasPrefix(text[i+1:], "*") {
				return nil, fmt.Sprintf("Consecutive wildcard characters at pos %d", i+1)
			}
			w = append(w, part.String())
			part.Reset()
		case '\\':
			if i+1 == len(text) || text[i+1] != '*' && text[i+1] != '\\' {
				return nil, fmt.Sprintf("Invalid escape character at pos %d", i+1)
			}
			i++
			part.WriteByte(text[i])
		default:
			part.WriteByte(text[i])
		}
	}
	return append(w, part.String()), ""
}

func (w wildcard) matches(text []byte) bool {
	first, last := w[0], w[len(w)-1]
	if len(w) == 1 {
		return string(text) == first
	}
	if len(text) < len(first)+len(last) || string(text[:len(first)]) != first || string(text[len(text)-len(last):]) != last {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range w[1 : len(w)-1] {
		at := indexString(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return true
}

func indexString(text []byte, part string) int {
	if part == "" {
		return 0
	}
	for from := 0; ; {
		at := bytes.IndexByte(text[from:], part[0])
		if at < 0 || len(text)-from-at < len(part) {
			return -1
		}
		from += at
		if string(text[from:from+len(part)]) == part {
			return from
		}
		from++
	}
}
