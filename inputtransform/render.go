package inputtransform

import (
	"strconv"
	"time"
)

// The reserved variables.
const (
	ruleARN       = "aws.events.rule-arn"
	ruleName      = "aws.events.rule-name"
	ingestionTime = "aws.events.event.ingestion-time"
	eventJSON     = "aws.events.event.json"
	eventHead     = "aws.events.event"
)

func isReserved(name string) bool {
	switch name {
	case ruleARN, ruleName, ingestionTime:
		return true
	}
	return isObjectOnly(name)
}

func isObjectOnly(name string) bool { return name == eventJSON || name == eventHead }

// headMembers are the members of <aws.events.event>, in AWS's order, and where the event has them.
var headMembers = []struct{ name, field string }{
	{"id", "id"},
	{"account", "account"},
	{"detailType", "detail-type"},
	{"time", "time"},
	{"source", "source"},
	{"region", "region"},
	{"resources", "resources"},
	{"version", "version"},
}

func (t *template) render(event []byte, v Variables) ([]byte, error) {
	r := takeReading()
	defer r.release()
	if err := r.event(event, t.root, t.slots); err != nil {
		return nil, err
	}
	for slot := range t.variables {
		r.resolve(t, slot, v)
		if len(r.scratch) > MaxBody { // each is in the body at least once
			return nil, &TooLargeError{Size: len(r.scratch)}
		}
	}
	size := t.size(r)
	if size > MaxBody {
		return nil, &TooLargeError{Size: size}
	}
	body := make([]byte, 0, size)
	for _, p := range t.parts {
		body = append(body, p.text...)
		if p.slot != none {
			body = t.appendValue(body, r.values[p.slot], p.quoted)
		}
	}
	if s, ok := checkJSON(body, !t.object, 2*MaxDepth); !ok {
		line, column := location(string(body), s.at)
		return nil, &InvalidJSONError{Body: body, Line: line, Column: column, Reason: s.reason}
	}
	return body, nil
}

// size returns an upper bound of the body's size: no way of filling in a value makes it longer, but for the
// quotes of one that is missing.
func (t *template) size(r *reading) int {
	size := 0
	for _, p := range t.parts {
		size += len(p.text)
		if p.slot != none {
			size += max(len(r.values[p.slot]), len(`""`))
		}
	}
	return size
}

// appendValue appends what a placeholder stands for, compact JSON or nil. Where AWS does not say: null reads null within a string.
func (t *template) appendValue(dst, value []byte, quoted bool) []byte {
	switch {
	case !t.object:
		return appendText(dst, value)
	case value == nil && quoted:
		return dst
	case value == nil:
		return append(dst, `""`...)
	case value[0] == '"' && quoted:
		return append(dst, value[1:len(value)-1]...)
	}
	return append(dst, value...)
}

// appendText appends a value as templates that are text have it.
func appendText(dst, value []byte) []byte {
	if value == nil {
		return dst
	}
	switch value[0] {
	case '"':
		return appendUnescaped(dst, value[1:len(value)-1])
	case '{', '[':
		for _, c := range value {
			if c != '"' {
				dst = append(dst, c)
			}
		}
		return dst
	}
	return append(dst, value...)
}

// resolve puts a variable's value, compact JSON, into its slot. What is not in the event as it stands is written to scratch, whose
// earlier parts stay where they are when it grows.
func (r *reading) resolve(t *template, slot int, v Variables) {
	variable := &t.variables[slot]
	from := len(r.scratch)
	switch {
	case variable.path != nil && variable.path.each:
		r.scratch = variable.path.appendEach(r.scratch, r.values[slot])
		r.values[slot] = nil
	case variable.path != nil || variable.reserved == eventJSON:
		if !r.spaced {
			return
		}
		r.scratch = appendCompact(r.scratch, r.values[slot])
	case variable.reserved == ruleARN:
		r.scratch = appendString(r.scratch, v.RuleARN)
	case variable.reserved == ruleName:
		r.scratch = appendString(r.scratch, v.RuleName)
	case variable.reserved == ingestionTime:
		r.scratch = v.Ingestion.UTC().AppendFormat(r.scratch, `"2006-01-02T15:04:05.000Z"`)
	case variable.reserved == eventHead:
		r.scratch = appendHead(r.scratch, r.values[len(t.variables):])
	}
	if len(r.scratch) > from {
		r.values[slot] = r.scratch[from:len(r.scratch):len(r.scratch)]
	}
}

// appendHead appends the event without its detail, given the values of headMembers. Those that it lacks are null.
func appendHead(dst []byte, values [][]byte) []byte {
	for i, member := range headMembers {
		separator := byte(',')
		if i == 0 {
			separator = '{'
		}
		dst = append(dst, separator, '"')
		dst = append(dst, member.name...)
		dst = append(dst, '"', ':')
		switch {
		case values[i] == nil:
			dst = append(dst, "null"...)
		case member.name == "time":
			dst = appendMilliseconds(dst, values[i])
		default:
			dst = appendCompact(dst, values[i])
		}
	}
	return append(dst, '}')
}

// appendMilliseconds appends an event's time, a JSON string, as milliseconds since 1970 (AWS); what is no time is left as it is.
func appendMilliseconds(dst, text []byte) []byte {
	at, err := time.Parse(`"`+time.RFC3339+`"`, string(text))
	if err != nil {
		return appendCompact(dst, text)
	}
	return strconv.AppendInt(dst, at.UnixMilli(), 10)
}
