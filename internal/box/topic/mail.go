package topic

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// MailTLS is how the connection to the SMTP server is secured.
type MailTLS string

const (
	// MailTLSOffered uses STARTTLS where the server offers it.
	MailTLSOffered MailTLS = ""
	// MailTLSRequired sends nothing to a server that does not offer STARTTLS.
	MailTLSRequired MailTLS = "starttls"
	// MailTLSImplicit speaks TLS from the first byte, as on port 465.
	MailTLSImplicit MailTLS = "tls"
)

// Mail is the SMTP server that e-mail is sent by.
type Mail struct {
	// Server is HOST:PORT.
	Server string
	// From is the sender's address, such as rialto@example.com.
	From string
	TLS  MailTLS
	// Username and Password are for AUTH PLAIN; empty without. They are only sent
	// over TLS, or to this machine.
	Username, Password string
	// RootCAs are trusted to know the server; nil for the system's.
	RootCAs *x509.CertPool
}

// Validate says what is wrong with the settings.
func (m *Mail) Validate() error {
	host, port, err := net.SplitHostPort(m.Server)
	if n, bad := strconv.Atoi(port); err != nil || host == "" || bad != nil || n < 1 || n > 65535 {
		return fmt.Errorf("SMTP server %q is not HOST:PORT, such as mail.example.com:587", m.Server)
	}
	if a, err := mail.ParseAddress(m.From); err != nil || a.Name != "" || a.Address != m.From {
		return fmt.Errorf("SMTP sender %q is not an e-mail address such as rialto@example.com", m.From)
	}
	switch m.TLS {
	case MailTLSOffered, MailTLSRequired, MailTLSImplicit:
	default:
		return fmt.Errorf("SMTP TLS %q: choose starttls or tls, or leave it out to use STARTTLS where it is offered", m.TLS)
	}
	if (m.Username == "") != (m.Password == "") {
		return errors.New("SMTP user name and password go together; one is missing")
	}
	return nil
}

// mailTimeout bounds the sending of one e-mail.
const mailTimeout = 60 * time.Second

// send hands one e-mail to the server, which answers for it from then on.
func (m *Mail) send(ctx context.Context, to string, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return err
	}
	secure := &tls.Config{ServerName: host, RootCAs: m.RootCAs, MinVersion: tls.VersionTLS12}
	conn, err := m.dial(ctx, secure)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // net/smtp knows no contexts
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	if err := m.greet(c, secure, host); err != nil {
		return err
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the e-mail is theirs already
	return nil
}

func (m *Mail) dial(ctx context.Context, secure *tls.Config) (net.Conn, error) {
	if m.TLS == MailTLSImplicit {
		return (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", m.Server)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", m.Server)
}

// greet secures the connection and logs in.
func (m *Mail) greet(c *smtp.Client, secure *tls.Config, host string) error {
	if offered, _ := c.Extension("STARTTLS"); m.TLS != MailTLSImplicit {
		switch {
		case offered:
			if err := c.StartTLS(secure); err != nil {
				return fmt.Errorf("STARTTLS: %w", err)
			}
		case m.TLS == MailTLSRequired:
			return fmt.Errorf("the SMTP server %s does not offer STARTTLS, which is required", m.Server)
		}
	}
	if m.Username == "" {
		return nil
	}
	return c.Auth(smtp.PlainAuth("", m.Username, m.Password, host))
}

// sendMail sends a message to an e-mail address.
func (t *Topics) sendMail(ctx context.Context, s *Subscription, m *storedMessage) *failure {
	if t.opt.Mail == nil {
		return &failure{Code: "NoMailServer", Message: "The server was started without an SMTP server to send by.", Retryable: true}
	}
	e, err := t.envelope(ctx, s, m)
	if err != nil {
		return ourFault(err)
	}
	text, err := t.mailText(s, e)
	if err != nil {
		return ourFault(err)
	}
	err = t.opt.Mail.send(ctx, s.Endpoint, text)
	if err == nil {
		return nil
	}
	f := &failure{Code: "SMTP", Message: err.Error(), Retryable: true}
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		// RFC 5321: 5yz is a permanent refusal.
		f.Code, f.Retryable = strconv.Itoa(answer.Code), answer.Code < 500
	}
	return f
}

// mailText writes an e-mail.
func (t *Topics) mailText(s *Subscription, e *envelope) ([]byte, error) {
	subject, body := mailContent(s, e)
	from := mail.Address{Name: s.Topic.attribute(attrDisplayName), Address: t.opt.Mail.From}
	if from.Name == "" {
		from.Name = s.Topic.Name
	}
	var id [16]byte
	rand.Read(id[:])
	_, domain, _ := strings.Cut(t.opt.Mail.From, "@")
	var b bytes.Buffer
	header := func(name, value string) {
		// RFC 2047: what is encoded goes on several lines; RFC 5322 allows none of more than 998 bytes.
		fmt.Fprintf(&b, "%s: %s\r\n", name, strings.ReplaceAll(value, "?= =?", "?=\r\n =?"))
	}
	header("From", from.String())
	header("To", (&mail.Address{Address: s.Endpoint}).String())
	header("Subject", mime.QEncoding.Encode("utf-8", subject))
	header("Date", t.opt.Now().UTC().Format(time.RFC1123Z))
	header("Message-ID", "<"+hex.EncodeToString(id[:])+"@"+domain+">")
	header("Auto-Submitted", "auto-generated")
	header("x-amz-sns-message-type", e.Type)
	header("x-amz-sns-message-id", e.MessageID)
	header("x-amz-sns-topic-arn", e.TopicARN)
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=UTF-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := io.WriteString(w, body); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

// mailContent is what a reader sees. AWS: email carries the text, email-json the
// document; confirmations are for people in both.
func mailContent(s *Subscription, e *envelope) (subject, body string) {
	switch {
	case e.Type == kindConfirmation:
		return "AWS Notification - Subscription Confirmation", "You have chosen to subscribe to the topic:\n" + e.TopicARN +
			"\n\nTo confirm this subscription, visit this link (if this was in error no action is necessary):\n" + e.SubscribeURL + "\n"
	case e.Type == kindUnsubscribed:
		return "AWS Notification - Unsubscribe Confirmation", "Your subscription to the topic below has been deactivated:\n" + e.TopicARN +
			"\n\nIf this was in error, visit this link to subscribe again:\n" + e.SubscribeURL + "\n"
	}
	subject = "AWS Notification Message"
	if e.Subject != nil {
		subject = *e.Subject
	}
	if s.Protocol == protocolEmailJSON {
		return subject, e.JSON() + "\n"
	}
	return subject, e.Message + "\n\n--\nTo stop receiving notifications from this topic, visit this link:\n" + e.UnsubscribeURL + "\n"
}
