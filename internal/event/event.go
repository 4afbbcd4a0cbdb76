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
	// Time is when it happened, in UTC. AWS: whole seconds, but for some services;
	// whoever makes an event truncates it.
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

// timeLayout is AWS's: UTC, and fractions of a second only where there are any.
const timeLayout = "2006-01-02T15:04:05.999999999Z"

// AppendJSON appends the envelope to dst as AWS writes it: compact, members in
// the order version, id, detail-type, source, account, time, region,
// replay-name, resources, detail. Detail must be valid JSON.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"version":"0","id":`...)
	dst = AppendText(dst, e.ID)
	dst = append(dst, `,"detail-type":`...)
	dst = AppendText(dst, e.DetailType)
	dst = append(dst, `,"source":`...)
	dst = AppendText(dst, e.Source)
	dst = append(dst, `,"account":`...)
	dst = AppendText(dst, e.Account)
	dst = append(dst, `,"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, timeLayout)
	dst = append(dst, `","region":`...)
	dst = AppendText(dst, e.Region)
	if e.ReplayName != "" {
		dst = append(dst, `,"replay-name":`...)
		dst = AppendText(dst, e.ReplayName)
	}
	dst = append(dst, `,"resources":[`...)
	for i, r := range e.Resources {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendText(dst, r)
	}
	dst = append(dst, `],"detail":`...)
	dst = AppendCompact(dst, e.Detail)
	return append(dst, '}')
}

// AppendCompact appends JSON, which must be valid, as AWS writes a detail that it
// has read: without the white space between its tokens, strings escaped no more than
// they must be, the order of keys as it is. Runs that stay as they are are copied
// whole.
func AppendCompact(dst, src []byte) []byte {
	start := 0
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '"':
			begin := i
			i = endOfString(src, begin)
			if inside := src[begin:min(i, len(src))]; bytes.IndexByte(inside, '\\') >= 0 {
				dst = append(dst, src[start:begin]...)
				dst = appendUnescaped(dst, inside)
				start = min(i, len(src))
			}
		case ' ', '\t', '\n', '\r':
			dst = append(dst, src[start:i]...)
			start = i + 1
		}
	}
	return append(dst, src[start:]...)
}

// endOfString returns the index of the quote that ends the string begun at i.
func endOfString(src []byte, i int) int {
	for {
		n := bytes.IndexByte(src[i+1:], '"')
		if n < 0 {
			return len(src)
		}
		i += n + 1
		escapes := 0
		for src[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
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

// noTime stands for a time that is missing: no event has it.
var noTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// parse reads an envelope member by member: their names are told apart by case,
// as AWS does.
func parse(b []byte) (e *Event, missing []string, unwrapped bool, err error) {
	if len(b) > MaxSize {
		return nil, nil, false, fmt.Errorf("the event is %d bytes, more than the %d allowed", len(b), MaxSize)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, nil, false, fmt.Errorf("the event is not a JSON object: %w", err)
	}
	if members == nil {
		return nil, nil, false, errors.New("the event is null, not a JSON object")
	}
	e = &Event{Detail: members["detail"], Time: noTime}
	for name, value := range members {
		if err := e.setMember(name, value, &unwrapped); err != nil {
			return nil, nil, false, err
		}
	}
	for _, m := range []struct {
		name string
		set  bool
	}{
		{"id", e.ID != ""}, {"source", e.Source != ""}, {"account", e.Account != ""}, {"region", e.Region != ""},
		{"detail-type", e.DetailType != ""}, {"time", !e.Time.Equal(noTime)}, {"detail", len(e.Detail) > 0},
	} {
		if !m.set {
			missing = append(missing, m.name)
		}
	}
	return e, missing, unwrapped, nil
}

// The most characters that members may have.
const (
	maxID         = 64
	maxDetailType = 512
	maxSource     = 256
	maxName       = 64 // of a region or a replay
)

func (e *Event) setMember(name string, value json.RawMessage, unwrapped *bool) (err error) {
	switch name {
	case "version":
		var version string
		if err = setString(&version, name, value, 1); err == nil && version != "0" {
			err = fmt.Errorf("version is %q, want \"0\"", version)
		}
	case "id":
		err = setString(&e.ID, name, value, maxID)
	case "source":
		err = setString(&e.Source, name, value, maxSource)
	case "region":
		err = setString(&e.Region, name, value, maxName)
	case "replay-name":
		err = setString(&e.ReplayName, name, value, maxName)
	case "detail-type":
		*unwrapped, err = e.setDetailType(value)
	case "account":
		if err = setString(&e.Account, name, value, 12); err == nil && e.Account != "" && !accountForm.MatchString(e.Account) {
			err = fmt.Errorf("account %q is not a number of up to 12 digits", e.Account)
		}
	case "time":
		var text string
		if err = setString(&text, name, value, 64); err != nil || text == "" {
			return err
		}
		if e.Time, err = time.Parse(time.RFC3339, text); err != nil {
			return fmt.Errorf("time %q is not a time such as 2026-01-15T21:29:54Z", text)
		}
		e.Time = e.Time.UTC()
		if y := e.Time.Year(); y < 0 || y > 9999 { // it could not be written as it is read
			return fmt.Errorf("time %q is not in the years 0 to 9999 of UTC", text)
		}
	case "resources":
		if err = json.Unmarshal(value, &e.Resources); err != nil {
			err = errors.New("resources is not a list of strings")
		}
	case "detail":
		if value[0] != '{' {
			err = errors.New("detail is not a JSON object")
		}
	default:
		err = fmt.Errorf("the event has a member %q, which no EventBridge event has", name)
	}
	return err
}

func setString(to *string, name string, value json.RawMessage, limit int) error {
	if err := json.Unmarshal(value, to); err != nil {
		return fmt.Errorf("%s is not a string", name)
	}
	if n := utf8.RuneCountInString(*to); n > limit {
		return fmt.Errorf("%s is %d characters long, more than the %d allowed", name, n, limit)
	}
	return nil
}

func (e *Event) setDetailType(value json.RawMessage) (unwrapped bool, err error) {
	if value[0] != '[' {
		return false, setString(&e.DetailType, "detail-type", value, maxDetailType)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil || len(list) != 1 {
		return false, errors.New("detail-type is not a string")
	}
	return true, setString(&e.DetailType, "detail-type", list[0], maxDetailType)
}
