package intake

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	// MaxBody is the largest call of an endpoint, in bytes.
	MaxBody = event.MaxSize
	// maxEvent is the largest event, in bytes as we write it: less than what can be
	// read again, for a replay adds its name.
	maxEvent = event.MaxSize - 4<<10
)

// maxEvents is how many events one call of an endpoint may bring.
const maxEvents = 500

// splitBody cuts the body of a call into events without looking into them: one
// event, or a JSON array of them.
func splitBody(body []byte) ([][]byte, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] != '[' {
		return [][]byte{body}, nil
	}
	// One by one, since a list of nothing but commas would take many times its size.
	var events [][]byte
	dec := json.NewDecoder(bytes.NewReader(body))
	_, err := dec.Token()
	for err == nil && dec.More() {
		if len(events) == maxEvents {
			return nil, httpapi.Invalid("The body holds more than the %d events that may be sent at once.", maxEvents)
		}
		var raw json.RawMessage
		if err = dec.Decode(&raw); err == nil {
			events = append(events, raw)
		}
	}
	if err == nil {
		_, err = dec.Token() // the end of the list
	}
	switch {
	case err != nil:
		return nil, httpapi.Invalid("The body is not a list of events: %s.", err)
	case dec.InputOffset() != int64(len(body)):
		return nil, httpapi.Invalid("The body is not a list of events: there is more after the list.")
	case len(events) == 0:
		return nil, httpapi.Invalid("The body holds no event.")
	}
	return events, nil
}

// unwrap returns the event in a message of a queue: the message itself, or what an
// SNS topic wrapped when it sent the message on. AWS: an object with the members
// Type, TopicArn and Message, unless the subscription asks for raw delivery.
func unwrap(body []byte) []byte {
	var n struct {
		Type     string
		TopicARN string `json:"TopicArn"`
		Message  *string
	}
	if err := json.Unmarshal(body, &n); err != nil || n.Type != "Notification" || n.TopicARN == "" || n.Message == nil {
		return body
	}
	return []byte(*n.Message)
}

// eventIDForm is wider than what AWS sends, which looks like a UUID.
var eventIDForm = regexp.MustCompile(`^[!-~]{1,64}$`)

// parse reads a whole event. The error is an *httpapi.Error that says what is
// wrong with it.
func parse(raw []byte) (*event.Event, error) {
	if !utf8.Valid(raw) {
		return nil, httpapi.Invalid("The event is not valid UTF-8.")
	}
	ev, err := event.Parse(raw)
	if err != nil {
		hint := ""
		if strings.Contains(err.Error(), "has no ") {
			hint = " If the rule's target has an input transformer, remove it."
		}
		return nil, httpapi.Invalid("This is not a whole EventBridge event: %s.%s", err, hint)
	}
	switch {
	case depth(raw) > eventpattern.MaxEventDepth:
		return nil, httpapi.Invalid("The event nests deeper than %d; no rule could be matched with it.", eventpattern.MaxEventDepth)
	case !eventIDForm.MatchString(ev.ID):
		return nil, httpapi.Invalid("The event's id %q is not 1 to 64 letters, digits and signs.", ev.ID)
	case !event.IsRegion(ev.Region):
		return nil, httpapi.Invalid("The event's region %q does not look like us-east-1.", ev.Region)
	case ev.Time.Year() < 0 || ev.Time.Year() > 9999:
		return nil, httpapi.Invalid("The event's time %s is not one that can be written again.", ev.Time.Format(time.RFC3339))
	}
	return ev, nil
}

// depth is how many objects and arrays of a JSON text lie within one another at
// most.
func depth(text []byte) int {
	deepest, now := 0, 0
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}
