package topic

import (
	"encoding/json"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Message is what is published.
type Message struct {
	// Text is the message, 1 byte to 256 KiB with the attributes.
	Text string `json:"text"`
	// ByProtocol holds what is sent instead to endpoints of a protocol, such as
	// sqs; nil when all get the same.
	ByProtocol map[string]string `json:"byProtocol,omitempty"`
	// Subject is up to 100 characters; nil without one.
	Subject    *string          `json:"subject,omitempty"`
	Attributes map[string]Value `json:"attributes,omitempty"`
	// Trace is the X-Ray trace header of the publisher; it goes to queues.
	Trace string `json:"trace,omitempty"`
	// GroupID goes to queues. AWS: standard queues share fairly among groups.
	GroupID string `json:"group,omitempty"`
}

// Value is the value of a message attribute.
type Value struct {
	// Type is String, String.Array, Number or Binary, or one with a label: Number.float.
	Type string `json:"t"`
	// Text holds String and Number values.
	Text string `json:"s,omitempty"`
	// Data holds Binary values.
	Data []byte `json:"b,omitempty"`
}

const (
	// maxMessage is AWS's limit of message and attributes, and of a batch, in bytes.
	maxMessage = 256 << 10
	maxSubject = 100
	maxName    = 256
)

// size is what counts against the size limit.
func (m *Message) size() int {
	n := len(m.Text)
	for name, v := range m.Attributes {
		n += len(name) + len(v.Type) + len(v.Text) + len(v.Data)
	}
	return n
}

// check returns AWS's error for a message that cannot be published.
func (m *Message) check() error {
	if m.Text == "" {
		return errInvalid("Empty message")
	}
	if m.size() > maxMessage {
		return errInvalid("Message too long")
	}
	if m.Subject != nil && !validSubject(*m.Subject) {
		return errInvalid("Subject")
	}
	if m.GroupID != "" && !validGroup.MatchString(m.GroupID) {
		return errParameter("MessageGroupId", "The message group can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		if err := checkName(name); err != nil {
			return err
		}
		if err := checkValue(name, m.Attributes[name]); err != nil {
			return err
		}
	}
	return nil
}

// validGroup is AWS's rule for message groups: visible ASCII.
var validGroup = regexp.MustCompile(`^[!-~]{1,128}$`)

// validSubject is AWS's rule: text without line breaks and control characters.
func validSubject(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxSubject && !strings.ContainsFunc(s, unicode.IsControl) && strings.TrimSpace(s) != ""
}

// parseStructure reads a message whose structure is json: the texts by protocol,
// among which there must be a default. AWS: what is not a string is passed over.
func parseStructure(text string) (string, map[string]string, error) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return "", nil, errInvalid("Message Structure - JSON message body failed to parse")
	}
	texts := map[string]string{}
	for name, v := range doc {
		if s, ok := v.(string); ok {
			texts[name] = s
		}
	}
	all, ok := texts["default"]
	if !ok {
		return "", nil, errInvalid("Message Structure - No default entry in JSON message body")
	}
	delete(texts, "default")
	return all, texts, nil
}

// textFor is what an endpoint of the protocol gets.
func (m *Message) textFor(protocol string) string {
	if s, ok := m.ByProtocol[protocol]; ok {
		return s
	}
	return m.Text
}

// subject is what filter policies of subscriptions of the protocol see.
func (m *Message) subject(protocol string) subject {
	s := subject{attributes: attributesJSON(m.Attributes)}
	if text := m.textFor(protocol); strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		s.body = []byte(text)
	}
	return s
}

var validAttributeName = regexp.MustCompile(`^[A-Za-z0-9_\-.]+$`)

func checkName(name string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		return errValue("The request must contain non-empty message attribute names.")
	case len(name) > maxName:
		return errValue("Length of message attribute name must be less than %d bytes.", maxName)
	case !validAttributeName.MatchString(name):
		return errValue("Invalid characters were found in the message attribute name '%s'. Can only include alphanumeric characters, hyphens, underscores, or dots.", name)
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, ".."):
		return errValue("The message attribute name '%s' must not start or end with a dot or hold several in a row.", name)
	case strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon."):
		return errValue("The message attribute name '%s' has an invalid prefix: names starting with AWS. or Amazon. are reserved.", name)
	}
	return nil
}

func checkValue(name string, v Value) error {
	kind, _, _ := strings.Cut(v.Type, ".")
	switch {
	case v.Type == "":
		return errValue("The message attribute '%s' must contain non-empty message attribute type.", name)
	case kind != "String" && kind != "Number" && kind != "Binary":
		return errValue("The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", name)
	case len(v.Type) > maxName || !validText(v.Type):
		return errValue("The message attribute '%s' has an invalid message attribute type: it is longer than %d bytes or holds invalid characters.", name, maxName)
	case kind == "Binary" && v.Text != "":
		return errValue("The message attribute '%s' with type '%s' must use field 'Binary'.", name, v.Type)
	case kind != "Binary" && len(v.Data) > 0:
		return errValue("The message attribute '%s' with type '%s' must use field 'String'.", name, v.Type)
	case v.Text == "" && len(v.Data) == 0:
		return errValue("The message attribute '%s' must contain non-empty message attribute value for message attribute type '%s'.", name, v.Type)
	case !validText(v.Text):
		return errValue("The message attribute '%s' contains invalid characters.", name)
	case kind == "Number" && !validNumber(v.Text):
		return errValue("Could not cast message attribute '%s' value to number.", name)
	}
	return nil
}

var numberForm = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$`)

// validNumber takes what a queue takes, too: from -10^128 to 10^126.
func validNumber(s string) bool {
	if len(s) > 256 || !numberForm.MatchString(s) {
		return false
	}
	f, _, err := big.ParseFloat(s, 10, 64, big.ToNearestEven)
	if err != nil {
		return false
	}
	high, _, _ := big.ParseFloat("1e126", 10, 64, big.ToNearestEven)
	low, _, _ := big.ParseFloat("-1e128", 10, 64, big.ToNearestEven)
	return f.Cmp(high) <= 0 && f.Cmp(low) >= 0
}

// validText says whether all characters are those of XML 1.0.
func validText(s string) bool {
	for _, r := range s {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return false
		}
	}
	return utf8.ValidString(s)
}
