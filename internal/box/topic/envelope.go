package topic

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
)

// The kinds of messages, as AWS has them in Type.
const (
	kindNotification = "Notification"
	kindConfirmation = "SubscriptionConfirmation"
	kindUnsubscribed = "UnsubscribeConfirmation"
)

// envelope is the JSON document that endpoints get, as AWS's: its members in their
// order, and what is signed of them.
type envelope struct {
	Type, MessageID, TopicARN, Message, Timestamp string
	Subject                                       *string
	Token, SubscribeURL                           string // of confirmations
	SignatureVersion, Signature, CertificateURL   string
	UnsubscribeURL                                string // of notifications
	Attributes                                    map[string]Value
}

// timestampForm is AWS's form of times, in UTC.
const timestampForm = "2006-01-02T15:04:05.000Z"

// envelope makes the signed document of a message for a subscription.
func (t *Topics) envelope(ctx context.Context, s *Subscription, m *storedMessage) (*envelope, error) {
	e := &envelope{
		Type: m.kind, MessageID: m.messageID, TopicARN: s.Topic.ARN(),
		Timestamp:        time.UnixMilli(m.publishedAt).UTC().Format(timestampForm),
		SignatureVersion: s.Topic.attribute(attrSignatureVersion),
	}
	if m.kind == kindNotification {
		e.Message, e.Subject = m.content.textFor(s.Protocol), m.content.Subject
		e.UnsubscribeURL = t.unsubscribeURL(s)
		if m.content.ByProtocol == nil { // AWS: attributes are sent only when the structure is not json
			e.Attributes = m.content.Attributes
		}
	} else {
		token, err := t.opt.Sealer.Open(tokenPurpose(m.messageID), m.token)
		if err != nil {
			return nil, err
		}
		e.Token, e.SubscribeURL = string(token), t.confirmURL(s.Topic.Ref, string(token))
		e.Message = confirmationText(s, m.kind)
	}
	var err error
	e.Signature, e.CertificateURL, err = t.signer.sign(ctx, e.SignatureVersion, e.signed())
	return e, err
}

// confirmationText is AWS's.
func confirmationText(s *Subscription, kind string) string {
	if kind == kindUnsubscribed {
		return "You have chosen to deactivate subscription " + s.ARN() +
			".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
	}
	return "You have chosen to subscribe to the topic " + s.Topic.ARN() +
		".\nTo confirm the subscription, visit the SubscribeURL included in this message."
}

// confirmURL and unsubscribeURL are visited without a signature: the token, and the
// subscription's UUID, are secrets of who was sent them.
func (t *Topics) confirmURL(r Ref, token string) string {
	return t.baseURL() + "/?Action=ConfirmSubscription&TopicArn=" + r.ARN() + "&Token=" + token
}

func (t *Topics) unsubscribeURL(s *Subscription) string {
	return t.baseURL() + "/?Action=Unsubscribe&SubscriptionArn=" + s.ARN()
}

func (t *Topics) baseURL() string { return strings.TrimSuffix(t.opt.BaseURL(), "/") }

// signed is what the signature is of. AWS: these names and values, in the order of
// the names, each on a line of its own.
func (e *envelope) signed() string {
	var b strings.Builder
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", e.Message)
	add("MessageId", e.MessageID)
	if e.Type == kindNotification {
		if e.Subject != nil {
			add("Subject", *e.Subject)
		}
	} else {
		add("SubscribeURL", e.SubscribeURL)
	}
	add("Timestamp", e.Timestamp)
	if e.Type != kindNotification {
		add("Token", e.Token)
	}
	add("TopicArn", e.TopicARN)
	add("Type", e.Type)
	return b.String()
}

// JSON writes the document with AWS's own white space.
func (e *envelope) JSON() string {
	d := document{b: []byte("{"), separator: "\n  "}
	d.text("Type", e.Type)
	d.text("MessageId", e.MessageID)
	if e.Token != "" {
		d.text("Token", e.Token)
	}
	d.text("TopicArn", e.TopicARN)
	if e.Subject != nil {
		d.text("Subject", *e.Subject)
	}
	d.text("Message", e.Message)
	if e.SubscribeURL != "" {
		d.text("SubscribeURL", e.SubscribeURL)
	}
	d.text("Timestamp", e.Timestamp)
	d.text("SignatureVersion", e.SignatureVersion)
	d.text("Signature", e.Signature)
	d.text("SigningCertURL", e.CertificateURL)
	if e.UnsubscribeURL != "" {
		d.text("UnsubscribeURL", e.UnsubscribeURL)
	}
	if len(e.Attributes) > 0 {
		d.name("MessageAttributes")
		d.attributes(e.Attributes)
	}
	return string(append(d.b, "\n}"...))
}

// document is a JSON object that is being written.
type document struct {
	b         []byte
	separator string // before the next member
}

func (d *document) name(name string) {
	d.b = append(d.b, d.separator...)
	d.b = append(event.AppendText(d.b, name), " : "...)
	d.separator = ",\n  "
}

func (d *document) text(name, value string) {
	d.name(name)
	d.b = event.AppendText(d.b, value)
}

// attributes writes MessageAttributes: {"name" : {"Type":"String","Value":"…"}}.
func (d *document) attributes(values map[string]Value) {
	d.b = append(d.b, '{')
	for i, name := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			d.b = append(d.b, ',')
		}
		v := values[name]
		d.b = append(event.AppendText(append(d.b, "\n    "...), name), ` : {"Type":`...)
		d.b = append(event.AppendText(d.b, v.Type), `,"Value":`...)
		d.b = append(event.AppendText(d.b, v.wire()), '}')
	}
	d.b = append(d.b, "\n  }"...)
}

// wire is the value as documents hold it: binary ones in base64.
func (v Value) wire() string {
	if len(v.Data) > 0 {
		return base64.StdEncoding.EncodeToString(v.Data)
	}
	return v.Text
}
