package topic

import (
	"net/mail"
	"net/url"
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
)

// The protocols of endpoints, as AWS has them.
const (
	protocolHTTP      = "http"
	protocolHTTPS     = "https"
	protocolEmail     = "email"
	protocolEmailJSON = "email-json"
	protocolSQS       = "sqs"
	protocolLambda    = "lambda"
)

const maxEndpoint = 2048

// overHTTP says whether the endpoint is an address of the web.
func (s *Subscription) overHTTP() bool {
	return s.Protocol == protocolHTTP || s.Protocol == protocolHTTPS
}

// byMail says whether the endpoint is an e-mail address.
func (s *Subscription) byMail() bool {
	return s.Protocol == protocolEmail || s.Protocol == protocolEmailJSON
}

// ownEndpoint says whether the endpoint belongs to who subscribes it: then nobody
// has to confirm.
func (s *Subscription) ownEndpoint() bool {
	switch s.Protocol {
	case protocolSQS:
		q, _ := parseQueueARN(s.Endpoint)
		return q.account == s.Owner
	case protocolLambda:
		return strings.Split(s.Endpoint, ":")[4] == s.Owner
	}
	return false
}

// checkEndpoint checks protocol and endpoint.
func (t *Topics) checkEndpoint(s *Subscription) error {
	if len(s.Endpoint) > maxEndpoint || !validText(s.Endpoint) {
		return errParameter("Endpoint", "It must be at most %d bytes of valid characters", maxEndpoint)
	}
	switch s.Protocol {
	case protocolHTTP, protocolHTTPS:
		return t.checkWebEndpoint(s)
	case protocolEmail, protocolEmailJSON:
		return t.checkMailEndpoint(s)
	case protocolSQS:
		return checkQueueEndpoint(s)
	case protocolLambda:
		return t.checkFunctionEndpoint(s)
	case "sms", "application", "firehose":
		return errParameter("Protocol", "The protocol %s is not available here. There are http, https, email, email-json, sqs and lambda", s.Protocol)
	}
	return errInvalid("Amazon SNS does not support this protocol string: " + s.Protocol)
}

func (t *Topics) checkWebEndpoint(s *Subscription) error {
	if !strings.HasPrefix(s.Endpoint, s.Protocol+"://") {
		return errInvalid("Endpoint must match the specified protocol")
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Hostname() == "" || u.Fragment != "" {
		return errParameter("Endpoint", "It is not a URL that can be called")
	}
	if u.User != nil {
		return errParameter("Endpoint", "User name and password in the URL are not available here")
	}
	if err := t.opt.HTTP.CheckURL(s.Endpoint); err != nil {
		return errParameter("Endpoint", "%v", err)
	}
	return nil
}

func (t *Topics) checkMailEndpoint(s *Subscription) error {
	if t.opt.Mail == nil {
		return errParameter("Protocol", "E-mail is not available here: the server was started without an SMTP server to send by. Start it with --smtp HOST:PORT and --smtp-from ADDRESS")
	}
	a, err := mail.ParseAddress(s.Endpoint)
	if err != nil || a.Name != "" || a.Address != s.Endpoint {
		return errInvalid("Email address")
	}
	return nil
}

func checkQueueEndpoint(s *Subscription) error {
	q, ok := parseQueueARN(s.Endpoint)
	if !ok {
		return errInvalid("SQS endpoint ARN")
	}
	if strings.HasSuffix(q.name, ".fifo") {
		return errParameter("Endpoint", "FIFO SQS Queues can not be subscribed to standard SNS topics")
	}
	return nil
}

var functionARN = regexp.MustCompile(`^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]{1,140}(:[A-Za-z0-9$_-]{1,128})?$`)

func (t *Topics) checkFunctionEndpoint(s *Subscription) error {
	if t.opt.Functions == nil {
		return errParameter("Protocol", "The protocol lambda is not available here: there is no service of functions")
	}
	if !functionARN.MatchString(s.Endpoint) {
		return errInvalid("Lambda endpoint ARN")
	}
	if account := strings.Split(s.Endpoint, ":")[4]; !auth.IsAccount(account) || account != s.Owner {
		return errParameter("Endpoint", "A function is subscribed by its own account")
	}
	return nil
}
