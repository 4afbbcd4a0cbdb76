package awsapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

var (
	now     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	alice   = aws.Credentials{AccessKeyID: "AKIDALICE", SecretAccessKey: "alice's secret"}
	session = aws.Credentials{AccessKeyID: "ASIATEMP", SecretAccessKey: "temporary", SessionToken: "token+/="}
)

func verifying(role string) awsapi.Config {
	return awsapi.Config{
		Now: func() time.Time { return now },
		Keys: keyring{
			alice.AccessKeyID: {Secret: alice.SecretAccessKey, Principal: awsapi.Principal{KeyID: alice.AccessKeyID, Account: "111122223333", Role: role}},
			session.AccessKeyID: {Secret: session.SecretAccessKey, SessionToken: session.SessionToken,
				Principal: awsapi.Principal{KeyID: session.AccessKeyID, Account: "444455556666", Role: awsapi.RoleAdmin}},
		},
	}
}

// request is a signed request in the making.
type request struct {
	method, path, body string
	header             map[string]string
	service            string
	creds              aws.Credentials
	at                 time.Time
	payload            string // hash given to the signer; empty: the body's
}

func putRule() request {
	return request{
		method: http.MethodPost, path: "/", body: `{"Name":"r","EventPattern":"{}"}`, service: "events", creds: alice, at: now,
		header: map[string]string{"X-Amz-Target": "AWSEvents.PutRule", "Content-Type": "application/x-amz-json-1.1"},
	}
}

func getCaller() request {
	return request{
		method: http.MethodPost, path: "/", body: "Action=GetCallerIdentity&Version=2011-06-15", service: "sts", creds: alice, at: now,
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
	}
}

func (q request) build() *http.Request {
	r := httptest.NewRequest(q.method, "http://rialto.test:7425"+q.path, strings.NewReader(q.body))
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	return r
}

func (q request) hash() string {
	if q.payload != "" {
		return q.payload
	}
	sum := sha256.Sum256([]byte(q.body))
	return hex.EncodeToString(sum[:])
}

// sign signs with the SDK's own signer.
func (q request) sign(t *testing.T) *http.Request {
	t.Helper()
	r := q.build()
	if err := v4.NewSigner().SignHTTP(t.Context(), q.creds, r, q.hash(), q.service, "eu-west-1", q.at); err != nil {
		t.Fatal(err)
	}
	return r
}

// presign signs the query of the URL with the SDK's own signer.
func (q request) presign(t *testing.T, seconds string) *http.Request {
	t.Helper()
	r := q.build()
	if seconds != "" {
		query := r.URL.Query()
		query.Set("X-Amz-Expires", seconds)
		r.URL.RawQuery = query.Encode()
	}
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), q.creds, r, q.hash(), q.service, "eu-west-1", q.at)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	fresh := httptest.NewRequest(q.method, signed, strings.NewReader(q.body))
	for name, value := range q.header {
		fresh.Header.Set(name, value)
	}
	fresh.Host = u.Host
	return fresh
}

func do(t *testing.T, h http.Handler, r *http.Request) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	data, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Header().Get("x-amzn-RequestId") == "" {
		t.Error("the answer has no request id")
	}
	return w.Code, string(data)
}

func TestSignaturesThatAreAccepted(t *testing.T) {
	tests := map[string]func(t *testing.T) *http.Request{
		"json": func(t *testing.T) *http.Request { return putRule().sign(t) },
		"form": func(t *testing.T) *http.Request { return getCaller().sign(t) },
		"query string with characters that are escaped": func(t *testing.T) *http.Request {
			q := getCaller()
			q.method, q.body = http.MethodGet, ""
			q.path = "/?Version=2011-06-15&Action=GetCallerIdentity&z=%E4%BD%A0%20%2B%2F~*&a=2&a=1&empty="
			return q.sign(t)
		},
		"presigned": func(t *testing.T) *http.Request {
			q := getCaller()
			q.method, q.body, q.path = http.MethodGet, "", "/?Action=GetCallerIdentity&Version=2011-06-15"
			return q.presign(t, "60")
		},
		"presigned, almost expired": func(t *testing.T) *http.Request {
			q := getCaller()
			q.method, q.body, q.path, q.at = http.MethodGet, "", "/?Action=GetCallerIdentity&Version=2011-06-15", now.Add(-7*24*time.Hour)
			return q.presign(t, "604800")
		},
		"payload hash in a header": func(t *testing.T) *http.Request {
			q := putRule()
			q.header["X-Amz-Content-Sha256"] = q.hash()
			return q.sign(t)
		},
		"headers with spaces": func(t *testing.T) *http.Request {
			q := putRule()
			q.header["X-Custom"] = "  a   b  "
			return q.sign(t)
		},
		"header added after signing": func(t *testing.T) *http.Request {
			r := putRule().sign(t)
			r.Header.Set("Via", "1.1 proxy")
			return r
		},
		"temporary key": func(t *testing.T) *http.Request {
			q := putRule()
			q.creds = session
			return q.sign(t)
		},
		"four minutes late": func(t *testing.T) *http.Request {
			q := putRule()
			q.at = now.Add(-4 * time.Minute)
			return q.sign(t)
		},
		"four minutes early": func(t *testing.T) *http.Request {
			q := putRule()
			q.at = now.Add(4 * time.Minute)
			return q.sign(t)
		},
	}
	for name, build := range tests {
		t.Run(name, func(t *testing.T) {
			h, _ := newHandler(verifying(awsapi.RoleAdmin))
			if status, body := do(t, h, build(t)); status != http.StatusOK {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

func TestSignaturesThatAreRefused(t *testing.T) {
	const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	tamper := func(change func(r *http.Request)) func(t *testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			r := putRule().sign(t)
			change(r)
			return r
		}
	}
	rewrite := func(from, to string) func(t *testing.T) *http.Request {
		return tamper(func(r *http.Request) {
			auth := r.Header.Get("Authorization")
			if !strings.Contains(auth, from) {
				panic("nothing to rewrite in " + auth)
			}
			r.Header.Set("Authorization", strings.Replace(auth, from, to, 1))
		})
	}
	with := func(change func(q *request)) func(t *testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			q := putRule()
			change(&q)
			return q.sign(t)
		}
	}
	presigned := func(seconds string, at time.Time) func(t *testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			q := getCaller()
			q.method, q.body, q.path, q.at = http.MethodGet, "", "/?Action=GetCallerIdentity&Version=2011-06-15", at
			return q.presign(t, seconds)
		}
	}
	tests := []struct {
		name    string
		build   func(t *testing.T) *http.Request
		status  int
		code    string
		message string
	}{
		{"no signature", func(*testing.T) *http.Request { return putRule().build() }, 403, "MissingAuthenticationTokenException", "Request is missing Authentication Token"},
		{"no signature, form", func(*testing.T) *http.Request { return getCaller().build() }, 403, "<Code>MissingAuthenticationToken</Code>", "Request is missing Authentication Token"},
		{"other scheme", tamper(func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") }), 400, "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'Basic'."},
		{"asymmetric signature", rewrite("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), 400, "IncompleteSignatureException", "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."},
		{"unknown key", with(func(q *request) { q.creds.AccessKeyID = "AKIDBOB" }), 400, "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"wrong secret", with(func(q *request) { q.creds.SecretAccessKey = "guess" }), 400, "InvalidSignatureException", mismatch},
		{"body changed", tamper(func(r *http.Request) {
			body := []byte(`{"Name":"q","EventPattern":"{}"}`)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}), 400, "InvalidSignatureException", mismatch},
		{"operation changed", tamper(func(r *http.Request) { r.Header.Set("X-Amz-Target", "AWSEvents.DeleteRule") }), 400, "InvalidSignatureException", mismatch},
		{"signed header added to", tamper(func(r *http.Request) { r.Header.Add("X-Amz-Target", "AWSEvents.DeleteRule") }), 400, "InvalidSignatureException", mismatch},
		{"path changed", tamper(func(r *http.Request) { r.URL.Path = "/x" }), 400, "InvalidSignatureException", mismatch},
		{"query added", tamper(func(r *http.Request) { r.URL.RawQuery = "a=b" }), 400, "InvalidSignatureException", mismatch},
		{"host changed", tamper(func(r *http.Request) { r.Host = "evil.test" }), 400, "InvalidSignatureException", mismatch},
		{"region changed", rewrite("/eu-west-1/", "/us-east-1/"), 400, "InvalidSignatureException", mismatch},
		{"signature cut", tamper(func(r *http.Request) {
			auth := r.Header.Get("Authorization")
			r.Header.Set("Authorization", auth[:len(auth)-2])
		}), 400, "InvalidSignatureException", mismatch},
		{"signature not hex", rewrite("Signature=", "Signature=zz"), 400, "InvalidSignatureException", mismatch},
		{"host not signed", rewrite("host;", ""), 400, "InvalidSignatureException", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"operation not signed", rewrite(";x-amz-target", ""), 400, "InvalidSignatureException", "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."},
		{"scope of another service", with(func(q *request) { q.service = "sqs" }), 400, "InvalidSignatureException", "Credential should be scoped to correct service: 'events'. "},
		{"scope too short", rewrite("/eu-west-1/events/", "/events/"), 400, "IncompleteSignatureException", "Credential must have exactly 5 slash-delimited elements"},
		{"scope of another day", rewrite("/20260102/", "/20260103/"), 400, "InvalidSignatureException", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260103' != '20260102', from '20260102T030405Z'."},
		{"scope without a region", rewrite("/eu-west-1/", "/EU West/"), 400, "InvalidSignatureException", "Credential should be scoped to a valid region."},
		{"terminator", rewrite("/aws4_request", "/aws5_request"), 400, "InvalidSignatureException", "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."},
		{"field missing", rewrite("Signature=", "Signatur="), 400, "IncompleteSignatureException", "Authorization header requires 'Signature' parameter."},
		{"field without a value", rewrite("SignedHeaders=", "SignedHeaders, x="), 400, "IncompleteSignatureException", "Invalid key=value pair (missing equal-sign) in Authorization header: 'SignedHeaders'."},
		{"no date", tamper(func(r *http.Request) { r.Header.Del("X-Amz-Date") }), 400, "IncompleteSignatureException", "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."},
		{"date in words", tamper(func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") }), 400, "IncompleteSignatureException", "Date must be in ISO-8601 'basic format'. Got 'yesterday'."},
		{"six minutes late", with(func(q *request) { q.at = now.Add(-6 * time.Minute) }), 400, "InvalidSignatureException", "Signature expired: 20260102T025805Z is now earlier than 20260102T025905Z (20260102T030405Z - 5 min.)"},
		{"six minutes early", with(func(q *request) { q.at = now.Add(6 * time.Minute) }), 400, "InvalidSignatureException", "Signature not yet current: 20260102T031005Z is still later than 20260102T030905Z (20260102T030405Z + 5 min.)"},
		{"token of nobody", with(func(q *request) { q.creds.SessionToken = "made up" }), 400, "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"temporary key without its token", with(func(q *request) { q.creds = session; q.creds.SessionToken = "" }), 400, "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"payload hash of another body", with(func(q *request) {
			q.payload = strings.Repeat("0", 64)
			q.header["X-Amz-Content-Sha256"] = q.payload
		}), 400, "InvalidSignatureException", "The value passed in x-amz-content-sha256 does not match the SHA-256 of the request's body."},
		{"payload declared unsigned, and that not signed", tamper(func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }), 400,
			"InvalidSignatureException", "'x-amz-content-sha256' must be a 'SignedHeader' in the AWS Authorization."},
		{"payload declared unsigned", with(func(q *request) {
			q.payload = "UNSIGNED-PAYLOAD"
			q.header["X-Amz-Content-Sha256"] = q.payload
		}), 400, "InvalidSignatureException", "The payload form UNSIGNED-PAYLOAD is not accepted; sign the whole payload."},
		{"payload in signed chunks", with(func(q *request) {
			q.payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
			q.header["X-Amz-Content-Sha256"] = q.payload
		}), 400, "InvalidSignatureException", "The payload form STREAMING-AWS4-HMAC-SHA256-PAYLOAD is not accepted; sign the whole payload."},
		{"presigned, expired", presigned("60", now.Add(-61*time.Second)), 400, "<Code>RequestExpired</Code>", "Request has expired."},
		{"presigned, too long a life", presigned("604801", now), 400, "<Code>IncompleteSignature</Code>", "X-Amz-Expires must be a number of seconds between 0 and 604800."},
		{"presigned from the future", presigned("60", now.Add(6*time.Minute)), 403, "<Code>SignatureDoesNotMatch</Code>", "Signature not yet current"},
		{"presigned, parameter added", func(t *testing.T) *http.Request {
			r := presigned("60", now)(t)
			r.URL.RawQuery += "&RoleArn=x"
			return r
		}, 403, "<Code>SignatureDoesNotMatch</Code>", mismatch},
		{"presigned, life extended", func(t *testing.T) *http.Request {
			r := presigned("60", now)(t)
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Expires=60", "X-Amz-Expires=600", 1)
			return r
		}, 403, "<Code>SignatureDoesNotMatch</Code>", mismatch},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, called := newHandler(verifying(awsapi.RoleAdmin))
			status, body := do(t, h, test.build(t))
			plain := strings.NewReplacer("&#39;", "'", "&#34;", `"`).Replace(body)
			if status != test.status || !strings.Contains(body, test.code) || !strings.Contains(plain, test.message) {
				t.Errorf("got %d %s\nwant %d %s %s", status, body, test.status, test.code, test.message)
			}
			if called.in != nil {
				t.Error("the service was called")
			}
		})
	}
}

// unread fails the test when somebody reads the body.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestBodiesAreNotReadForStrangers(t *testing.T) {
	stranger := aws.Credentials{AccessKeyID: "AKIDBOB", SecretAccessKey: "x"}
	for name, change := range map[string]func(q *request){
		"no such key":  func(q *request) { q.creds = stranger },
		"long ago":     func(q *request) { q.at = now.Add(-time.Hour) },
		"ahead of us":  func(q *request) { q.at = now.Add(time.Hour) },
		"no signature": nil,
	} {
		for protocol, q := range map[string]request{"json": putRule(), "form": getCaller()} {
			t.Run(name+", "+protocol, func(t *testing.T) {
				var r *http.Request
				if change == nil {
					r = q.build()
				} else {
					change(&q)
					r = q.sign(t)
				}
				r.Body, r.ContentLength = io.NopCloser(unread{t}), 1<<20
				h, _ := newHandler(verifying(awsapi.RoleAdmin))
				if status, body := do(t, h, r); status < 400 || status >= 500 {
					t.Errorf("got %d %s", status, body)
				}
			})
		}
	}
}

func TestEC2SaysOnlyThatACredentialIsWrong(t *testing.T) {
	q := request{
		method: http.MethodPost, path: "/", body: "Action=DescribeInstances&Version=2016-11-15", service: "ec2", creds: alice, at: now,
		header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
	}
	for name, creds := range map[string]aws.Credentials{
		"unknown key":  {AccessKeyID: "AKIDBOB", SecretAccessKey: "x"},
		"wrong secret": {AccessKeyID: alice.AccessKeyID, SecretAccessKey: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := newHandler(verifying(awsapi.RoleAdmin))
			q.creds = creds
			status, body := do(t, h, q.sign(t))
			if want := "<Code>AuthFailure</Code><Message>AWS was not able to validate the provided access credentials</Message>"; status != 401 || !strings.Contains(body, want) {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

func TestDevModeTakesAnySignatureButWantsOne(t *testing.T) {
	stranger := aws.Credentials{AccessKeyID: "999988887777", SecretAccessKey: "whatever"}
	form := getCaller()
	form.method, form.body, form.path = http.MethodGet, "", "/?Action=GetCallerIdentity&Version=2011-06-15"
	form.creds = stranger
	stop := request{
		method: http.MethodGet, path: "/?Action=CreateTags&ResourceId.1=i-1&Tag.1.Key=a&Version=2016-11-15", service: "ec2", creds: stranger, at: now,
	}
	rule := putRule()
	rule.creds = stranger
	known := putRule()
	known.creds.SecretAccessKey = "not hers"
	tests := []struct {
		name    string
		request *http.Request
		status  int
		account string
	}{
		{"a key that is an account", rule.sign(t), 200, "999988887777"},
		{"a key that is not", func() *http.Request { q := rule; q.creds.AccessKeyID = "test"; return q.sign(t) }(), 200, awsapi.DefaultAccount},
		{"a key that exists", known.sign(t), 200, "111122223333"},
		{"an old signature", func() *http.Request { q := rule; q.at = now.Add(-48 * time.Hour); return q.sign(t) }(), 200, "999988887777"},
		{"a form without a signature", getCaller().build(), 403, ""},
		{"a presigned look", form.presign(t, "60"), 200, "999988887777"},
		{"a presigned change", stop.presign(t, "60"), 403, ""},
		{"a key id that is a sentence", func() *http.Request { q := rule; q.creds.AccessKeyID = "<b> x"; return q.sign(t) }(), 400, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := verifying(awsapi.RoleAdmin)
			cfg.DevMode = dev
			h, r := newHandler(cfg)
			status, body := do(t, h, test.request)
			if status != test.status || r.caller.Account != test.account {
				t.Errorf("got %d %s, account %s", status, body, r.caller.Account)
			}
		})
	}
}

func TestRolesAllowWhatTheySay(t *testing.T) {
	call := func(service, target, body string) request {
		q := putRule()
		q.service, q.body, q.header = service, body, map[string]string{"X-Amz-Target": target}
		return q
	}
	const queue = `{"QueueUrl":"http://q/1/q","MessageBody":"m","Name":"r","Entries":[{"Source":"s"}]}`
	requests := map[string]request{
		"PutRule":           call("events", "AWSEvents.PutRule", queue),
		"PutEvents":         call("events", "AWSEvents.PutEvents", `{"Entries":[{"Source":"s"}]}`),
		"DescribeEventBus":  call("events", "AWSEvents.DescribeEventBus", "{}"),
		"SendMessage":       call("sqs", "AmazonSQS.SendMessage", queue),
		"ReceiveMessage":    call("sqs", "AmazonSQS.ReceiveMessage", queue),
		"GetCallerIdentity": getCaller(),
	}
	allowed := map[string]string{
		awsapi.RoleAdmin:     "PutRule PutEvents DescribeEventBus SendMessage ReceiveMessage GetCallerIdentity",
		awsapi.RoleOperator:  "PutRule PutEvents DescribeEventBus SendMessage ReceiveMessage GetCallerIdentity",
		awsapi.RolePublisher: "PutEvents SendMessage GetCallerIdentity",
		awsapi.RoleReader:    "DescribeEventBus GetCallerIdentity",
		"":                   "",
		"made up":            "GetCallerIdentity",
	}
	for role, operations := range allowed {
		for name, q := range requests {
			t.Run(role+" "+name, func(t *testing.T) {
				h, _ := newHandler(verifying(role))
				status, body := do(t, h, q.sign(t))
				if want := strings.Contains(operations, name); (status == 200) != want {
					t.Errorf("allowed is %v, but got %d %s", want, status, body)
				}
			})
		}
	}
	if awsapi.Allowed(awsapi.RoleOperator, awsapi.Administer) || !awsapi.Allowed(awsapi.RoleAdmin, awsapi.Administer) {
		t.Error("running users' code is for admins")
	}
	h, _ := newHandler(verifying(awsapi.RoleReader))
	status, body := do(t, h, requests["PutRule"].sign(t))
	want := `{"__type":"AccessDeniedException","message":"User: arn:aws:iam::111122223333:user/AKIDALICE is not authorized to perform: events:PutRule because no identity-based policy allows the events:PutRule action"}`
	if status != 400 || body != want {
		t.Errorf("got %d %s", status, body)
	}
}

func TestSNSDeniesUnderItsOwnName(t *testing.T) {
	h, _ := newHandler(verifying(awsapi.RoleReader))
	h.Register(sns.Bind(sns.Unimplemented{}))
	q := getCaller()
	q.service, q.body = "sns", "Action=CreateTopic&Name=t&Version=2010-03-31"
	status, body := do(t, h, q.sign(t))
	if status != 403 || !strings.Contains(body, "<Code>AuthorizationError</Code>") || !strings.Contains(body, "sns:CreateTopic") {
		t.Errorf("got %d %s", status, body)
	}
}

func TestKeysThatCannotBeReadAreAnInternalFailure(t *testing.T) {
	h, _ := newHandler(awsapi.Config{Keys: brokenKeys{}})
	status, body := do(t, h, putRule().sign(t))
	if status != 500 || strings.Contains(body, "locked") || !strings.Contains(body, "InternalException") {
		t.Errorf("got %d %s", status, body)
	}
}

type brokenKeys struct{}

func (brokenKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, io.ErrUnexpectedEOF
}
