package topic

import (
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

// certificatePrefix begins the path of the certificate. AWS's is the same.
const certificatePrefix = "/SimpleNotificationService-"

// IsLink says whether a request visits one of the links that subscribers are sent, without a
// signature: to confirm, to unsubscribe, or to the certificate.
func IsLink(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if strings.HasPrefix(r.URL.Path, certificatePrefix) {
		return true
	}
	q := r.URL.Query()
	if r.URL.Path != "/" || r.Header.Get("Authorization") != "" || q.Has("X-Amz-Signature") || q.Has("X-Amz-Credential") {
		return false
	}
	switch q.Get("Action") {
	case "ConfirmSubscription":
		return q.Has("TopicArn") && q.Has("Token")
	case "Unsubscribe":
		return q.Has("SubscriptionArn")
	}
	return false
}

// ServeHTTP answers the requests that IsLink is true of. What they may do is in
// the link itself, which nobody guesses.
func (t *Topics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, certificatePrefix) {
		t.serveCertificate(w, r)
		return
	}
	var err error
	a := linkAnswer{action: r.URL.Query().Get("Action")}
	if r.Method == http.MethodHead { // looks, and does not follow
		w.WriteHeader(http.StatusOK)
		return
	}
	if a.action == "Unsubscribe" {
		err = t.followUnsubscribe(r)
	} else {
		a.subscription, err = t.followConfirm(r)
	}
	a.write(w, r, t.told(err))
}

func (t *Topics) followConfirm(r *http.Request) (string, error) {
	q := r.URL.Query()
	topic, err := parseARN("TopicArn", q.Get("TopicArn"))
	if err != nil {
		return "", err
	}
	guard, err := parseGuard(q.Get("AuthenticateOnUnsubscribe"))
	if err != nil {
		return "", err
	}
	if guard {
		return "", errParameter("AuthenticateOnUnsubscribe", "It needs a request that is signed")
	}
	s, err := t.Confirm(r.Context(), topic, q.Get("Token"), false, false)
	if err != nil {
		return "", err
	}
	return s.ARN(), nil
}

func (t *Topics) followUnsubscribe(r *http.Request) error {
	topic, id, err := parseSubscriptionARN(r.URL.Query().Get("SubscriptionArn"))
	if err != nil {
		return err
	}
	return t.RemoveSubscription(r.Context(), topic, id, "")
}

// told is the error that the visitor hears of; others are logged.
func (t *Topics) told(err error) *awsapi.Error {
	if err == nil {
		return nil
	}
	if e, ok := asError(err); ok {
		return e
	}
	t.opt.Logger.Error("a subscriber's link could not be followed", "error", err)
	return sns.ErrInternalErrorException("The request could not be processed. Try again later.")
}

// linkAnswer is what a visitor of a link is answered: programs as the API
// answers, people in words.
type linkAnswer struct {
	action, subscription string
}

func (a linkAnswer) write(w http.ResponseWriter, r *http.Request, e *awsapi.Error) {
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusOK
	if e != nil {
		status = sns.API.Errors[e.Code].Status
	}
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		title, text := a.words(e)
		fmt.Fprintf(w, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>%s</title><h1>%[1]s</h1><p>%s</p></html>\n",
			html.EscapeString(title), html.EscapeString(text))
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	if e != nil {
		kind := "Sender"
		if e.Fault {
			kind = "Receiver"
		}
		fmt.Fprintf(w, `<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`,
			sns.API.XMLNamespace, kind, sns.API.Errors[e.Code].QueryCode, escapeXML(e.Message), uuid.NewString())
		return
	}
	result := ""
	if a.subscription != "" {
		result = "<" + a.action + "Result><SubscriptionArn>" + escapeXML(a.subscription) + "</SubscriptionArn></" + a.action + "Result>"
	}
	fmt.Fprintf(w, `<%sResponse xmlns="%s">%s<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%[1]sResponse>`,
		a.action, sns.API.XMLNamespace, result, uuid.NewString())
}

func (a linkAnswer) words(e *awsapi.Error) (title, text string) {
	switch {
	case e != nil:
		return "This did not work", e.Message
	case a.action == "Unsubscribe":
		return "Subscription removed", "You will receive no more notifications from this topic. If this was a mistake, follow the link that has been sent to you."
	}
	return "Subscription confirmed", "You have subscribed to the topic. Your subscription is " + a.subscription + "."
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// serveCertificate serves the certificate that signatures are verified with.
func (t *Topics) serveCertificate(w http.ResponseWriter, r *http.Request) {
	if err := t.signer.load(r.Context()); err != nil {
		t.opt.Logger.Error("the certificate of topics could not be read", "error", err)
		http.Error(w, "The certificate could not be read. Try again later.", http.StatusInternalServerError)
		return
	}
	if r.URL.Path != t.signer.path {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(t.signer.certificate)
}
