// Package event is the envelope: the one form in which an event exists inside
// Rialto. It parses and encodes envelopes and the records that carry them
// through the log.
//
// It does not decide who may send what: sources, sizes and permissions are the
// bus's business.
package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// MaxSize is the largest encoded envelope that Rialto carries, in bytes: AWS's
// 1 MiB for the entries of a PutEvents call, and room for the envelope's own
// members.
const MaxSize = 1<<20 + 64<<10

// Event is one event as it is delivered. AWS: the fields and their order are
// those of an EventBridge event.
type Event struct {
	// ID identifies the event. Opaque, 1 to 64 characters; AWS makes it look
	// like a UUID.
	ID string
	// DetailType says what happened, 1 to 128 characters.
	DetailType string
	// Source says who reports it, such as "aws.ec2" or "com.example.orders".
	Source string
	// Account is the 12-digit account in which the event originated.
	Account string
	// Time is when it happened. Carried in whole seconds, UTC.
	Time time.Time
	// Region is where the event was first ingested.
	Region string
	// ReplayName names the replay that sent the event again; empty otherwise.
	ReplayName string
	// Resources are the ARNs that the event concerns.
	Resources []string
	// Detail is a JSON object.
	Detail json.RawMessage
}

// NewID returns a fresh event id.
func NewID() string { return uuid.NewString() }

// timeLayout is AWS's: UTC, whole seconds.
const timeLayout = "2006-01-02T15:04:05Z"

// AppendJSON appends the envelope to dst as AWS writes it: compact, members in
// the order version, id, detail-type, source, account, time, region,
// replay-name, resources, detail. Detail must be valid JSON.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"version":"0","id":`...)
	dst = appendString(dst, e.ID)
	dst = append(dst, `,"detail-type":`...)
	dst = appendString(dst, e.DetailType)
	dst = append(dst, `,"source":`...)
	dst = appendString(dst, e.Source)
	dst = append(dst, `,"account":`...)
	dst = appendString(dst, e.Account)
	dst = append(dst, `,"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, timeLayout)
	dst = append(dst, `","region":`...)
	dst = appendString(dst, e.Region)
	if e.ReplayName != "" {
		dst = append(dst, `,"replay-name":`...)
		dst = appendString(dst, e.ReplayName)
	}
	dst = append(dst, `,"resources":[`...)
	for i, r := range e.Resources {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, r)
	}
	dst = append(dst, `],"detail":`...)
	dst = appendCompact(dst, e.Detail)
	return append(dst, '}')
}

// appendCompact appends JSON without the white space between its tokens,
// leaving strings and the order of keys as they are.
func appendCompact(dst, src []byte) []byte {
	inString := false
	for i := 0; i < len(src); i++ {
		c := src[i]
		if inString {
			dst = append(dst, c)
			switch c {
			case '\\':
				if i+1 < len(src) {
					i++
					dst = append(dst, src[i])
				}
			case '"':
				inString = false
			}
			continue
		}
		switch c {
		case ' ', '\t', '\n', '\r':
			continue
		case '"':
			inString = true
		}
		dst = append(dst, c)
	}
	return dst
}

const hexDigits = "0123456789abcdef"

func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// wire is an envelope as it stands in JSON. Pointers tell a missing member
// from an empty one.
type wire struct {
	Version    *string         `json:"version"`
	ID         *string         `json:"id"`
	DetailType json.RawMessage `json:"detail-type"`
	Source     *string         `json:"source"`
	Account    *string         `json:"account"`
	Time       *string         `json:"time"`
	Region     *string         `json:"region"`
	ReplayName *string         `json:"replay-name"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// Parse reads a whole envelope: every member that AWS sets must be there
// (version and resources may be missing). The error says which member is wrong.
func Parse(b []byte) (*Event, error) {
	e, missing, _, err := parse(b)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the event has no %s", strings.Join(missing, ", "))
	}
	return e, nil
}

// Defaults fill in the members that an injected event leaves out.
type Defaults struct {
	// Account is 12 digits.
	Account string
	Region  string
	Now     time.Time
}

// ParseInjected reads an envelope that a person or a test hands in: id, time,
// account and region are kept where given and taken from d where not, a
// detail-type printed as an array of one string is unwrapped. Notes say what
// was filled in or unwrapped. The error says which member is wrong.
func ParseInjected(b []byte, d Defaults) (e *Event, notes []string, err error) {
	e, missing, unwrapped, err := parse(b)
	if err != nil {
		return nil, nil, err
	}
	if unwrapped {
		notes = append(notes, "detail-type was an array of one string; took the string, as AWS sends it")
	}
	for _, m := range missing {
		switch m {
		case "id":
			e.ID = NewID()
		case "account":
			e.Account = d.Account
		case "time":
			e.Time = d.Now.UTC().Truncate(time.Second)
		case "region":
			e.Region = d.Region
		default:
			return nil, nil, fmt.Errorf("the event has no %s", m)
		}
		notes = append(notes, "filled in "+m)
	}
	return e, notes, nil
}

// Account numbers are not held to 12 digits here: AWS's partners print events
// whose account is shorter, and a matcher compares them as strings.
var accountForm = regexp.MustCompile(`^[0-9]{1,12}$`)

func parse(b []byte) (e *Event, missing []string, unwrapped bool, err error) {
	if len(b) > MaxSize {
		return nil, nil, false, fmt.Errorf("the event is %d bytes, more than the %d allowed", len(b), MaxSize)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var w wire
	if err := dec.Decode(&w); err != nil {
		return nil, nil, false, fmt.Errorf("the event is not an EventBridge envelope: %w", err)
	}
	if _, err := dec.Token(); err == nil || dec.InputOffset() < int64(len(bytes.TrimRight(b, " \t\r\n"))) {
		return nil, nil, false, errors.New("the event is followed by more text")
	}
	e = &Event{Resources: w.Resources, Detail: w.Detail}
	if w.Version != nil && *w.Version != "0" {
		return nil, nil, false, fmt.Errorf("version is %q, want \"0\"", *w.Version)
	}
	if unwrapped, err = e.setDetailType(w.DetailType); err != nil {
		return nil, nil, false, err
	}
	for _, m := range []struct {
		name string
		from *string
		to   *string
		max  int
	}{
		{"id", w.ID, &e.ID, 64},
		{"source", w.Source, &e.Source, 256},
		{"account", w.Account, &e.Account, 12},
		{"region", w.Region, &e.Region, 64},
		{"replay-name", w.ReplayName, &e.ReplayName, 64},
	} {
		if m.from == nil || *m.from == "" {
			if m.name != "replay-name" {
				missing = append(missing, m.name)
			}
			continue
		}
		if len(*m.from) > m.max {
			return nil, nil, false, fmt.Errorf("%s is %d characters long, more than the %d allowed", m.name, len(*m.from), m.max)
		}
		*m.to = *m.from
	}
	if e.DetailType == "" {
		missing = append(missing, "detail-type")
	}
	if e.Account != "" && !accountForm.MatchString(e.Account) {
		return nil, nil, false, fmt.Errorf("account %q is not a number of up to 12 digits", e.Account)
	}
	if w.Time == nil {
		missing = append(missing, "time")
	} else if e.Time, err = time.Parse(time.RFC3339, *w.Time); err != nil {
		return nil, nil, false, fmt.Errorf("time %q is not a time such as 2026-01-15T21:29:54Z", *w.Time)
	}
	e.Time = e.Time.UTC()
	if d := bytes.TrimLeft(w.Detail, " \t\r\n"); len(d) == 0 {
		missing = append(missing, "detail")
	} else if d[0] != '{' {
		return nil, nil, false, errors.New("detail is not a JSON object")
	}
	return e, missing, unwrapped, nil
}

func (e *Event) setDetailType(raw json.RawMessage) (unwrapped bool, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return false, nil
	}
	if err := json.Unmarshal(raw, &e.DetailType); err == nil {
		if len(e.DetailType) > 512 {
			return false, fmt.Errorf("detail-type is %d bytes long, more than the 512 allowed", len(e.DetailType))
		}
		return false, nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 1 {
		return false, errors.New("detail-type is not a string")
	}
	e.DetailType = list[0]
	return true, nil
}
