package catalog

import "strings"

// member returns the text of one member of a JSON object, "" where there is none, without reading
// the others: a search reads far more entities than it finds. The object is valid, and
// written without white space, as the store's are; ok is false for anything else.
func member(object, name string) (text string, ok bool) {
	quoted := `"` + strings.ReplaceAll(name, `\`, `\\`) + `"`
	if len(object) < 2 || object[0] != '{' {
		return "", false
	}
	if object == "{}" {
		return "", true
	}
	for at := 1; ; at++ {
		if at >= len(object) || object[at] != '"' {
			return "", false
		}
		colon := skipString(object, at)
		if colon >= len(object) || object[colon] != ':' {
			return "", false
		}
		end := skipValue(object, colon+1)
		if end >= len(object) {
			return "", false
		}
		if object[at:colon] == quoted {
			return object[colon+1 : end], true
		}
		if object[end] == '}' {
			return "", end == len(object)-1
		}
		if object[end] != ',' {
			return "", false
		}
		at = end
	}
}

// skipString returns the place after a string that begins at a place.
func skipString(s string, at int) int {
	for at++; at < len(s); at++ {
		switch s[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return len(s)
}

// skipValue returns the place after a value that begins at a place.
func skipValue(s string, at int) int {
	depth := 0
	for at < len(s) {
		switch s[at] {
		case '"':
			if at = skipString(s, at); depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at // a number or word before it
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return len(s)
}
