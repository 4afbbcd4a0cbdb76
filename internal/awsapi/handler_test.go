package awsapi_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

func TestIsAWSRequest(t *testing.T) {
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	tests := []struct {
		name, method, url string
		header            map[string]string
		want              bool
	}{
		{"json target", "POST", "/", map[string]string{"X-Amz-Target": "AWSEvents.PutEvents"}, true},
		{"signed with a header, any path", "POST", "/2015-03-31/functions", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=x"}, true},
		{"presigned", "GET", "/?Action=GetCallerIdentity&X-Amz-Algorithm=AWS4-HMAC-SHA256", nil, true},
		{"unsigned form", "POST", "/", map[string]string{"Content-Type": form}, true},
		{"unsigned form at a queue", "POST", "/123456789012/my-queue.fifo", map[string]string{"Content-Type": form}, true},
		{"action in the query", "GET", "/?Action=ListQueues", nil, true},
		{"the console", "GET", "/", nil, false},
		{"a form of the console", "POST", "/rules/new", map[string]string{"Content-Type": form}, false},
		{"the token endpoint", "POST", "/v1/oauth_token", map[string]string{"Content-Type": form, "Authorization": "Basic eA=="}, false},
		{"rest", "GET", "/v1/projects", map[string]string{"Authorization": "Bearer eA"}, false},
		{"a queue's address in a browser", "GET", "/123456789012/my-queue", nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.url, nil)
			for name, value := range test.header {
				r.Header.Set(name, value)
			}
			if got := awsapi.IsAWSRequest(r); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestBodiesThatAreTooLargeAreRefused(t *testing.T) {
	tests := []struct {
		name string
		q    request
		want string
	}{
		{"json", func() request {
			q := putRule()
			q.body = `{"Description":"` + strings.Repeat("x", 2<<20) + `"}`
			return q
		}(), `{"__type":"RequestEntityTooLargeException","message":"The request body is larger than the 2097152 bytes that are accepted."}`},
		{"form", func() request { q := getCaller(); q.body += "&x=" + strings.Repeat("x", 256<<10); return q }(), "<Code>RequestEntityTooLarge</Code>"},
		{"form for an unknown service", func() request {
			q := getCaller()
			q.service, q.body = "unknown", q.body+"&x="+strings.Repeat("x", 256<<10)
			return q
		}(), "<Code>RequestEntityTooLarge</Code>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, r := newHandler(verifying(awsapi.RoleAdmin))
			status, body := do(t, h, test.q.sign(t))
			if status != http.StatusRequestEntityTooLarge || !strings.Contains(body, test.want) || r.in != nil {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

func TestTooManyParametersAreRefused(t *testing.T) {
	q := getCaller()
	q.body = "Action=GetCallerIdentity&Version=2011-06-15" + strings.Repeat("&x", 9_000)
	h, _ := newHandler(verifying(awsapi.RoleAdmin))
	if status, body := do(t, h, q.sign(t)); status != 200 {
		t.Errorf("the same name many times: got %d %s", status, body)
	}
	q.body = "Action=GetCallerIdentity&Version=2011-06-15&" + strings.Repeat("a.", 20) + "b=c"
	if status, body := do(t, h, q.sign(t)); status != 400 || !strings.Contains(body, "<Code>MalformedQueryString</Code>") {
		t.Errorf("a deep name: got %d %s", status, body)
	}
}

func TestInternalErrorsAreLoggedAndNotTold(t *testing.T) {
	var log bytes.Buffer
	for name, secret := range map[string]string{"broken": "disk 7 is on fire", "panics": "unexpected"} {
		log.Reset()
		h, _ := newHandler(awsapi.Config{DevMode: dev, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		q := putRule()
		q.header["X-Amz-Target"], q.body = "AWSEvents.DescribeRule", `{"Name":"`+name+`"}`
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q.sign(t))
		if w.Code != 500 || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
		line := log.String()
		if !strings.Contains(line, secret) || !strings.Contains(line, w.Header().Get("x-amzn-RequestId")) || !strings.Contains(line, "operation=DescribeRule") {
			t.Errorf("%s: logged %s", name, line)
		}
	}
}

func TestMiddlewareSeesCallsAndRefusals(t *testing.T) {
	var seen []string
	cfg := verifying(awsapi.RoleReader)
	type key struct{}
	cfg.Middleware = func(ctx context.Context, call *awsapi.Call, next func(context.Context) (any, error)) (any, error) {
		out, err := next(context.WithValue(ctx, key{}, "kept"))
		code := "ok"
		if e, ok := errors.AsType[*awsapi.Error](err); ok {
			code = e.Code
		}
		seen = append(seen, call.API.EventSource+" "+call.Operation.Name+" "+call.Caller.Account+" "+code)
		return out, err
	}
	h, _ := newHandler(cfg)
	do(t, h, putRule().sign(t))
	do(t, h, getCaller().sign(t))
	q := putRule()
	q.header["X-Amz-Target"], q.body = "AWSEvents.DescribeRule", `{}`
	do(t, h, q.sign(t))
	q.creds.SecretAccessKey = "wrong"
	do(t, h, q.sign(t))
	want := "events.amazonaws.com PutRule 111122223333 AccessDeniedException\nsts.amazonaws.com GetCallerIdentity 111122223333 ok\nevents.amazonaws.com DescribeRule 111122223333 ValidationException"
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCallersCarryWhatTheRequestTells(t *testing.T) {
	h, r := newHandler(verifying(awsapi.RoleAdmin))
	q := putRule()
	q.header["User-Agent"], q.header["X-Amzn-Trace-Id"] = "aws-cli/2", "Root=1-5759e988-bd862e3fe1be46a994272793"
	do(t, h, q.sign(t))
	if r.caller.UserAgent != "aws-cli/2" || r.caller.TraceHeader != "Root=1-5759e988-bd862e3fe1be46a994272793" || r.caller.SourceIP == "" {
		t.Errorf("caller is %+v", r.caller)
	}
}

func TestInvokeChecksLikeACallFromOutside(t *testing.T) {
	h, r := newHandler(awsapi.Config{})
	admin := awsapi.Caller{Account: "111122223333", Region: "eu-west-1", Role: awsapi.RoleAdmin}
	out, err := h.Invoke(t.Context(), admin, "events", "PutRule", &events.PutRuleInput{Name: new("r")})
	if err != nil {
		t.Fatal(err)
	}
	if arn := *out.(*events.PutRuleOutput).RuleArn; arn != "arn:aws:events:eu-west-1:111122223333:rule/r" {
		t.Errorf("got %s", arn)
	}
	if r.caller.Operation != "PutRule" || r.caller.Service != "events" || r.caller.RequestID == "" {
		t.Errorf("caller is %+v", r.caller)
	}
	if _, err := h.Invoke(t.Context(), admin, "events", "PutRule", &events.PutRuleInput{}); !awsapi.HasCode(err, "ValidationException") {
		t.Errorf("got %v", err)
	}
	reader := admin
	reader.Role = awsapi.RoleReader
	if _, err := h.Invoke(t.Context(), reader, "events", "PutRule", &events.PutRuleInput{Name: new("r")}); !awsapi.HasCode(err, "AccessDeniedException") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"events", "orders"} {
		if _, err := h.Invoke(t.Context(), admin, name, "Nothing", nil); !awsapi.HasCode(err, "UnknownOperationException") {
			t.Errorf("got %v", err)
		}
	}
}

func TestOneOperationCanHaveItsOwnDecoder(t *testing.T) {
	r := &recorder{}
	h := awsapi.New(awsapi.Config{DevMode: dev, Keys: keyring{}, Logger: quiet()})
	h.Register(events.Bind(eventsService{recorder: r}).WithJSONDecoder("PutRule", func(body []byte) (any, error) {
		if !bytes.HasPrefix(body, []byte("{")) {
			return nil, awsapi.Errorf("SerializationException", "own decoder")
		}
		return &events.PutRuleInput{Name: new("decoded")}, nil
	}))
	if status, body := do(t, h, putRule().sign(t)); status != 200 || *r.in.(*events.PutRuleInput).Name != "decoded" {
		t.Errorf("got %d %s", status, body)
	}
	q := putRule()
	q.body = "x"
	if status, body := do(t, h, q.sign(t)); status != 400 || !strings.Contains(body, "own decoder") {
		t.Errorf("got %d %s", status, body)
	}
}

func TestAServiceIsRegisteredOnce(t *testing.T) {
	h, _ := newHandler(awsapi.Config{})
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	h.Register(sqs.Bind(sqs.Unimplemented{}))
}

func TestListsThatWouldGrowTooLargeAreRefused(t *testing.T) {
	body := `{"Entries":[` + strings.Repeat("{},", 10_000) + `{}]}`
	err := awsapi.DecodeJSON(operation(events.API, "PutEvents").Input, []byte(body), new(events.PutEventsInput))
	if !awsapi.HasCode(err, "SerializationException") || !strings.Contains(err.Error(), "A list has more than 10000 items.") {
		t.Errorf("got %v", err)
	}
	deep := `{"Unknown":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`
	err = awsapi.DecodeJSON(operation(events.API, "PutEvents").Input, []byte(deep), new(events.PutEventsInput))
	if !awsapi.HasCode(err, "SerializationException") || !strings.Contains(err.Error(), "nests too deep") {
		t.Errorf("got %v", err)
	}
}
