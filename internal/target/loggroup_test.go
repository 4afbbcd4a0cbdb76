package target

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

const logGroupARN = "arn:aws:logs:us-east-1:111122223333:log-group:/aws/events/orders"

// logGroups stand for the log service: a group with the streams that were made.
type logGroups struct {
	logs.Unimplemented
	missing  bool // the group is
	streams  map[string]bool
	rejected *logs.RejectedLogEventsInfo
	err      error
	put      []*logs.PutLogEventsInput
	caller   awsapi.Caller
	source   auth.Source
}

func (g *logGroups) CreateLogStream(_ context.Context, in *logs.CreateLogStreamInput) (*logs.CreateLogStreamOutput, error) {
	switch {
	case g.missing:
		return nil, logs.ErrResourceNotFoundException("The specified log group does not exist.")
	case g.streams[*in.LogStreamName]:
		return nil, logs.ErrResourceAlreadyExistsException("The specified log stream already exists")
	case g.streams == nil:
		g.streams = map[string]bool{}
	}
	g.streams[*in.LogStreamName] = true
	return &logs.CreateLogStreamOutput{}, nil
}

func (g *logGroups) PutLogEvents(ctx context.Context, in *logs.PutLogEventsInput) (*logs.PutLogEventsOutput, error) {
	g.caller = awsapi.CallerFrom(ctx)
	g.source, _ = auth.SourceFrom(ctx)
	if g.err != nil {
		return nil, g.err
	}
	if g.missing || !g.streams[*in.LogStreamName] {
		return nil, logs.ErrResourceNotFoundException("The specified log stream does not exist.")
	}
	g.put = append(g.put, in)
	return &logs.PutLogEventsOutput{RejectedLogEventsInfo: g.rejected}, nil
}

func logAttempt(body string, template bool) Attempt {
	envelope := `{"version":"0","id":"e1","detail-type":"t","source":"s","account":"111122223333","time":"2026-05-01T12:00:00Z","region":"us-east-1","resources":[],"detail":{}}`
	if body == "" {
		body = envelope
	}
	a := Attempt{
		Subscription: &bus.Subscription{
			Bus:     event.BusRef{Account: "111122223333", Region: "us-east-1", Name: "shop"},
			RuleARN: "arn:aws:events:us-east-1:111122223333:rule/shop/r", RuleName: "r",
			Target: bus.Target{ARN: logGroupARN + ":*", Kind: bus.KindLogGroup},
		},
		Record: &event.Record{ID: "e1", JSON: []byte(envelope)}, Body: []byte(body),
	}
	if template {
		a.Subscription.Target.Input = inputtransform.Input{Template: &inputtransform.Template{Text: "t"}}
	}
	return a
}

func TestALogGroupGetsTheEventWithItsTime(t *testing.T) {
	g := &logGroups{}
	a := logAttempt("", false)
	for range 2 { // the stream is made for the first
		if err := New(Options{LogGroups: g}).Invoke(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.put) != 2 || len(g.streams) != 1 {
		t.Fatalf("%d events in the streams %v", len(g.put), g.streams)
	}
	in := g.put[1]
	if *in.LogGroupName != "/aws/events/orders" || *in.LogStreamName != "shop/r" || len(in.LogEvents) != 1 || *in.LogEvents[0].Message != string(a.Body) ||
		*in.LogEvents[0].Timestamp != time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMilli() {
		t.Errorf("put %+v", in)
	}
	if g.caller.Account != "111122223333" || g.caller.Region != "us-east-1" || g.source.ARN != a.Subscription.RuleARN {
		t.Errorf("the caller is %+v, the source %+v", g.caller, g.source)
	}
}

func TestALogGroupGetsWhatTheTransformerMakes(t *testing.T) {
	const millis = 1777636800123
	for name, test := range map[string]struct {
		body    string
		at      int64
		message string
		failure string
	}{
		"milliseconds":             {body: `{"timestamp":1777636800123,"message":"hi"}`, at: millis, message: "hi"},
		"milliseconds as a string": {body: `{"timestamp":"1777636800123","message":"hi"}`, at: millis, message: "hi"},
		"the event's own time":     {body: `{"timestamp":"2026-05-01T12:00:00Z","message":"订单 🛒"}`, at: 1777636800000, message: "订单 🛒"},
		"a message that is JSON":   {body: `{"timestamp":"2026-05-01T12:00:00.5+02:00","message":{"a":[1, 2]}}`, at: 1777629600500, message: `{"a":[1, 2]}`},
		"no message":               {body: `{"timestamp":1}`, failure: "a log group takes"},
		"an empty message":         {body: `{"timestamp":1,"message":""}`, failure: "must not be empty"},
		"not an object":            {body: `"hi"`, failure: "a log group takes"},
		"another time":             {body: `{"timestamp":"yesterday","message":"hi"}`, failure: "neither unix milliseconds nor a time"},
		"before 1970":              {body: `{"timestamp":-5,"message":"hi"}`, failure: "neither unix milliseconds nor a time"},
	} {
		t.Run(name, func(t *testing.T) {
			g := &logGroups{}
			f := failureOf(t, New(Options{LogGroups: g}).Invoke(t.Context(), logAttempt(test.body, true)))
			if test.failure != "" {
				if f == nil || f.Code != CodeInvalidParameter || f.Retryable || !strings.Contains(f.Message, test.failure) {
					t.Errorf("got %+v", f)
				}
				return
			}
			if f != nil || *g.put[0].LogEvents[0].Timestamp != test.at || *g.put[0].LogEvents[0].Message != test.message {
				t.Errorf("put %+v, %v", g.put, f)
			}
		})
	}
}

func TestHowWritingToALogGroupFails(t *testing.T) {
	for name, test := range map[string]struct {
		groups    *logGroups
		code      string
		retryable bool
		message   string
	}{
		"no such group": {&logGroups{missing: true}, CodeNoResource, false, "The specified log group does not exist. (Service: AWSLogs; Status Code: 400; Error Code: ResourceNotFoundException; Request ID: "},
		"too old":       {&logGroups{rejected: &logs.RejectedLogEventsInfo{TooOldLogEventEndIndex: new(int32(1))}}, CodeInvalidParameter, false, "2026-05-01T12:00:00Z, is more than 14 days ago"},
		"too new":       {&logGroups{rejected: &logs.RejectedLogEventsInfo{TooNewLogEventStartIndex: new(int32(0))}}, CodeInvalidParameter, false, "2 hours ahead"},
		"expired":       {&logGroups{rejected: &logs.RejectedLogEventsInfo{ExpiredLogEventEndIndex: new(int32(1))}}, CodeInvalidParameter, false, "retention"},
		"throttled":     {&logGroups{err: awsapi.Errorf("ThrottlingException", "Rate exceeded")}, CodeThrottling, true, "Rate exceeded"},
		"a fault":       {&logGroups{err: logs.ErrServiceUnavailableException("later")}, CodeErrorFromTarget, true, "Status Code: 500"},
		"too large":     {&logGroups{err: logs.ErrInvalidParameterException("Log event too large")}, CodeInvalidParameter, false, "too large"},
		"denied":        {&logGroups{err: awsapi.Errorf("AccessDeniedException", "no")}, CodeNoPermissions, false, "no"},
		"not in time":   {&logGroups{err: context.DeadlineExceeded}, CodeTimeout, true, "AWSLogs did not answer within 5s."},
	} {
		t.Run(name, func(t *testing.T) {
			f := failureOf(t, New(Options{LogGroups: test.groups}).Invoke(t.Context(), logAttempt("", false)))
			if f == nil || f.Code != test.code || f.Retryable != test.retryable || !strings.Contains(f.Message, test.message) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestAFunctionOfTheBoxIsNotFound(t *testing.T) {
	arn := "arn:aws:lambda:us-east-1:111122223333:function:f:live"
	f := failureOf(t, New(Options{}).Invoke(t.Context(), attemptAt(arn, bus.KindFunction, nil)))
	if f == nil || f.Code != CodeNoResource || f.Retryable || f.Status != 404 ||
		!strings.HasPrefix(f.Message, "Function not found: "+arn+" (Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException; Request ID: ") {
		t.Errorf("got %+v", f)
	}
}
