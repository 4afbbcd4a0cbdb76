package queue

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Draft is a message to be sent.
type Draft struct {
	// Body is 1 byte to the queue's MaximumMessageSize long, in characters that XML may hold.
	Body string
	// Attributes are the sender's, at most 10.
	Attributes map[string]Value
	// Trace is the system attribute AWSTraceHeader; empty without one.
	Trace string
	// GroupID is required on FIFO queues and has no effect on others.
	GroupID string
	// DedupID is for FIFO queues.
	DedupID string
	// Delay overrides the queue's; nil leaves it. Standard queues only.
	Delay *time.Duration
}

// Value is the value of a message attribute.
type Value struct {
	// Type is String, Number or Binary, with or without a label: Number.float.
	Type string `json:"t"`
	// Text holds String and Number values.
	Text string `json:"s,omitempty"`
	// Data holds Binary values.
	Data []byte `json:"b,omitempty"`
}

// Sent tells the sender what was taken.
type Sent struct {
	// MessageID is a UUID; of a duplicate, that of the first message.
	MessageID string
	// Sequence is set on FIFO queues: 20 digits, growing within a message group.
	Sequence string
}

const (
	maxAttributes    = 10
	maxAttributeName = 256
)

// check returns AWS's error for a draft that the queue does not take.
func (d *Draft) check(have *Queue) error {
	if d.Body == "" {
		return errMissing("MessageBody")
	}
	if !validText(d.Body) {
		return errContents("Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	}
	if err := checkValues(d.Attributes); err != nil {
		return err
	}
	if size := d.size(); size > have.MaxSize {
		return errInvalid("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", have.MaxSize)
	}
	if d.Delay != nil {
		if secs := *d.Delay / time.Second; secs < 0 || secs > 900 {
			return errParameter("DelaySeconds", int64(secs), "DelaySeconds must be >= 0 and <= 900.")
		}
	}
	if d.GroupID != "" && !validID.MatchString(d.GroupID) {
		return errParameter("MessageGroupId", d.GroupID, "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	if have.FIFO {
		return d.checkFIFO(have)
	}
	if d.DedupID != "" {
		return errParameter("MessageDeduplicationId", d.DedupID, "The request includes a parameter that is not valid for this queue type.")
	}
	return nil
}

func (d *Draft) checkFIFO(have *Queue) error {
	if d.GroupID == "" {
		return errMissing("MessageGroupId")
	}
	if d.Delay != nil && *d.Delay != 0 {
		return errParameter("DelaySeconds", int64(*d.Delay/time.Second), "The request include parameter that is not valid for this queue type.")
	}
	if d.DedupID == "" && !have.ContentDedup {
		return errInvalid("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	if d.DedupID != "" && !validID.MatchString(d.DedupID) {
		return errParameter("MessageDeduplicationId", d.DedupID, "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	return nil
}

// validID is AWS's rule for group and deduplication ids: visible ASCII.
var validID = regexp.MustCompile(`^[!-~]{1,128}$`)

// size is what counts against the size limit: body, and the names, types and
// values of attributes.
func (d *Draft) size() int {
	n := len(d.Body)
	for name, v := range d.Attributes {
		n += len(name) + len(v.Type) + len(v.Text) + len(v.Data)
	}
	return n
}

// validText says whether AWS takes the characters: those of XML 1.0.
func validText(s string) bool {
	ascii := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.ValidString(s) && !strings.ContainsRune(s, 0xFFFE) && !strings.ContainsRune(s, 0xFFFF)
}

var validAttributeName = regexp.MustCompile(`^[A-Za-z0-9_\-.]+$`)

func checkValues(values map[string]Value) error {
	if len(values) > maxAttributes {
		return errInvalid("Number of message attributes [%d] exceeds the allowed maximum [%d].", len(values), maxAttributes)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := checkValueName(name); err != nil {
			return err
		}
		if err := checkValue(name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

func checkValueName(name string) error {
	lower := strings.ToLower(name)
	switch {
	case name == "":
		return errInvalid("The request must contain non-empty message attribute names.")
	case len(name) > maxAttributeName:
		return errInvalid("Length of message attribute name must be less than %d bytes.", maxAttributeName)
	case !validAttributeName.MatchString(name):
		return errInvalid("Invalid non-alphanumeric character '#x%X' was found in the message attribute name. Can only include alphanumeric characters, hyphens, underscores, or dots.", firstInvalid(name))
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, ".."):
		return errInvalid("The message attribute name '%s' must not start or end with a dot or hold several in a row.", name)
	case strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon."):
		return errInvalid("The message attribute name '%s' has an invalid prefix: names starting with AWS. or Amazon. are reserved.", name)
	}
	return nil
}

func firstInvalid(name string) rune {
	for _, r := range name {
		if !validAttributeName.MatchString(string(r)) {
			return r
		}
	}
	return 0
}

func checkValue(name string, v Value) error {
	kind, _, _ := strings.Cut(v.Type, ".")
	switch {
	case v.Type == "":
		return errInvalid("The message attribute '%s' must contain a non-empty message attribute type.", name)
	case kind != "String" && kind != "Number" && kind != "Binary":
		return errInvalid("The message attribute '%s' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.", name)
	case len(v.Type) > 256 || !validText(v.Type):
		return errInvalid("The message attribute '%s' has an invalid message attribute type: it is longer than 256 bytes or holds invalid characters.", name)
	}
	if kind == "Binary" {
		if len(v.Data) == 0 {
			return errEmptyValue(name, kind)
		}
		return nil
	}
	if v.Text == "" {
		return errEmptyValue(name, kind)
	}
	if !validText(v.Text) {
		return errContents("The message attribute '%s' contains invalid characters.", name)
	}
	if kind == "Number" && !validNumber(v.Text) {
		return errInvalid("Can't cast the value of message (user) attribute '%s' to a number.", name)
	}
	return nil
}

func errEmptyValue(name, kind string) error {
	return errInvalid("The message attribute '%s' must contain a non-empty message attribute value for message attribute type '%s'.", name, kind)
}

var numberForm = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$`)

// validNumber is AWS's rule: up to 38 digits, from -10^128 to 10^126.
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

// bodyDigest is MD5OfMessageBody.
func bodyDigest(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// valuesDigest is MD5OfMessageAttributes; empty without attributes. AWS: the
// attributes in order of name, each part with its length before it.
func valuesDigest(values map[string]Value) string {
	if len(values) == 0 {
		return ""
	}
	var buf []byte
	part := func(s string) {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
		buf = append(buf, s...)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := values[name]
		part(name)
		part(v.Type)
		if strings.HasPrefix(v.Type, "Binary") {
			buf = append(buf, 2)
			part(string(v.Data))
			continue
		}
		buf = append(buf, 1)
		part(v.Text)
	}
	sum := md5.Sum(buf)
	return hex.EncodeToString(sum[:])
}

// traceDigest is MD5OfMessageSystemAttributes.
func traceDigest(trace string) string {
	if trace == "" {
		return ""
	}
	return valuesDigest(map[string]Value{"AWSTraceHeader": {Type: "String", Text: trace}})
}

// sequenceNumber writes a message's number as AWS does, in 20 digits.
func sequenceNumber(id int64) string { return fmt.Sprintf("1%019d", id) }
