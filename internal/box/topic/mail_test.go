package topic

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

// mailServer takes e-mail as RFC 5321 has it, with STARTTLS and AUTH PLAIN.
type mailServer struct {
	t       *testing.T
	address string
	roots   *x509.CertPool
	secure  *tls.Config
	mails   chan string

	mu       sync.Mutex
	offer    bool     // STARTTLS
	answers  []string // to the next RCPTs; 250 when used up
	sessions []string // what was said, one string a session
}

func newMailServer(t *testing.T, implicit bool) *mailServer {
	t.Helper()
	// The certificate of the testing server is for 127.0.0.1, too.
	web := httptest.NewTLSServer(nil)
	web.Close()
	s := &mailServer{t: t, roots: x509.NewCertPool(), mails: make(chan string, 10)}
	s.roots.AddCert(web.Certificate())
	s.secure = &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if implicit {
					conn = tls.Server(conn, s.secure)
				}
				s.serve(conn)
			})
		}
	})
	return s
}

func (s *mailServer) settings() *Mail {
	return &Mail{Server: s.address, From: "rialto@example.com", RootCAs: s.roots}
}

func (s *mailServer) serve(conn net.Conn) {
	defer func() { conn.Close() }()
	r := bufio.NewReader(conn)
	said := ""
	note := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions = append(s.sessions, said)
	}
	defer note()
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 mail.test ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		said += line
		switch verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " "); strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.test")
			_, secured := conn.(*tls.Conn)
			if s.offers() && !secured {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, s.secure)
			r = bufio.NewReader(conn)
		case "AUTH":
			raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			if err != nil || string(raw) != "\x00user\x00geheim" {
				say("535 wrong")
				continue
			}
			say("235 welcome")
		case "RCPT":
			say(s.answer())
		case "MAIL":
			say("250 ok")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			say("250 taken")
			s.mails <- text.String()
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 not known")
		}
	}
}

func (s *mailServer) offers() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offer
}

func (s *mailServer) answer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) == 0 {
		return "250 ok"
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	return a
}

func (s *mailServer) next() *mail.Message {
	s.t.Helper()
	select {
	case text := <-s.mails:
		m, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			s.t.Fatal(err)
		}
		return m
	case <-time.After(patience):
		s.t.Fatal("no e-mail came")
		return nil
	}
}

func TestTheWayToTheMailServer(t *testing.T) {
	for name, tt := range map[string]struct {
		implicit, offer bool
		change          func(*Mail)
		err             string
	}{
		"plain":                         {change: func(*Mail) {}},
		"STARTTLS where it is offered":  {offer: true, change: func(m *Mail) { m.Username, m.Password = "user", "geheim" }},
		"STARTTLS required":             {offer: true, change: func(m *Mail) { m.TLS = MailTLSRequired }},
		"STARTTLS required in vain":     {change: func(m *Mail) { m.TLS = MailTLSRequired }, err: "does not offer STARTTLS"},
		"TLS from the start":            {implicit: true, change: func(m *Mail) { m.TLS, m.Username, m.Password = MailTLSImplicit, "user", "geheim" }},
		"a certificate that is unknown": {offer: true, change: func(m *Mail) { m.RootCAs = x509.NewCertPool() }, err: "certificate"},
		"a wrong password":              {offer: true, change: func(m *Mail) { m.Username, m.Password = "user", "falsch" }, err: "535"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMailServer(t, tt.implicit)
			s.offer = tt.offer
			m := s.settings()
			tt.change(m)
			if err := m.Validate(); err != nil {
				t.Fatal(err)
			}
			err := m.send(t.Context(), "ops@example.com", []byte("Subject: x\r\n\r\nhello\r\n"))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || s.next().Header.Get("Subject") != "x" {
				t.Errorf("not sent: %v", err)
			}
		})
	}
	m := &Mail{Server: "127.0.0.1:1", From: "a@example.com"}
	if err := m.send(t.Context(), "b@example.com", nil); err == nil {
		t.Error("an e-mail was sent to nobody")
	}
}

func TestEMailIsRetriedWhereTheServerSaysSo(t *testing.T) {
	s := newMailServer(t, false)
	f := newSQLite(t, func(o *Options) { o.Mail = s.settings() })
	topic := f.topic("alarms", nil)
	subscription := f.subscribe(topic, "email-json", "ops@example.com", map[string]string{"RedrivePolicy": redriveTo(f.queue("dead"))})
	body, err := io.ReadAll(quotedprintable.NewReader(s.next().Body))
	if err != nil {
		t.Fatal(err)
	}
	_, link, _ := strings.Cut(string(body), f.url)
	link, _, _ = strings.Cut(link, "\r\n")
	if status, body := get(t, f.url+link); status != 200 {
		t.Fatalf("%s: %d %s", link, status, body)
	}
	if _, err := f.Publish(f.ctx, &sns.PublishInput{TopicArn: &topic, Message: new("文"), Subject: new("题")}); err != nil {
		t.Fatal(err)
	}
	m := s.next()
	body, err = io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("From") != `"alarms" <rialto@example.com>` || m.Header.Get("To") != "<ops@example.com>" || m.Header.Get("x-amz-sns-topic-arn") != topic {
		t.Errorf("headers %v", m.Header)
	}
	d := parseDocument(t, string(body))
	if d.Message != "文" || d.UnsubscribeURL != f.url+"/?Action=Unsubscribe&SubscriptionArn="+subscription {
		t.Errorf("got %s", body)
	}
	verify(t, d)
	s.mu.Lock()
	s.answers = []string{"451 later", "550 no such person"}
	s.mu.Unlock()
	f.publish(topic, "twice")
	f.until("the retry is put off", func() bool {
		at, some, err := nextDue(f.ctx, f.db, 1)
		return err == nil && some && at > f.now()+5_000
	})
	f.ahead.Store(int64(time.Minute))
	f.wake(1)
	got := f.receive("dead")
	if d := parseDocument(t, got.Body); d.Message != "twice" || got.Attributes["ErrorCode"].Text != "550" || !strings.Contains(got.Attributes["ErrorMessage"].Text, "no such person") {
		t.Errorf("dead letter %s %+v", got.Body, got.Attributes)
	}
	f.quiet()
}

func TestMailSettings(t *testing.T) {
	for want, m := range map[string]Mail{
		"HOST:PORT":      {Server: "mail.example.com", From: "a@example.com"},
		`":25"`:          {Server: ":25", From: "a@example.com"},
		"x:0":            {Server: "x:0", From: "a@example.com"},
		"e-mail address": {Server: "x:25", From: "Rialto <a@example.com>"},
		`"none"`:         {Server: "x:25", From: "a@example.com", TLS: "none"},
		"go together":    {Server: "x:25", From: "a@example.com", Password: "p"},
	} {
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", m, err, want)
		}
	}
}

func TestHeadersOfEMailAreFolded(t *testing.T) {
	topics := &Topics{opt: Options{Mail: &Mail{From: "rialto@example.com"}, Now: time.Now}}
	long := strings.Repeat("🛒", maxSubject)
	s := &Subscription{Protocol: "email", Endpoint: "reader@example.com", Topic: &Topic{attrs: map[string]string{attrDisplayName: long}}}
	text, err := topics.mailText(s, &envelope{Type: kindNotification, Message: "m", Subject: &long})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\r\n") {
		if len(line) > 100 {
			t.Errorf("a line of %d bytes: %s", len(line), line)
		}
	}
	read, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
	if from, bad := mail.ParseAddress(read.Header.Get("From")); err != nil || bad != nil || subject != long || from.Name != long {
		t.Errorf("read back: %q, %v, %v", subject, from, bad)
	}
}
