package target

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/bus"
)

const dynamicEvent = `{"version":"0","id":"e1","resources":["r/1","r/2"],"detail":{"name":"机器 🚀/\"x\"","n":1.50,"big":12345678901234567890,"on":true,"nothing":null,"empty":"","blank":" ","lines":"a\r\nb","list":[1, {"a": "b"}],"object":{"k": "v","w":[ ]}}}`

func TestAParameterMayBeAPathIntoTheOriginalEvent(t *testing.T) {
	for value, want := range map[string]string{
		"plain":              "plain",
		"$5":                 "$5",
		"a $.detail.name":    "a $.detail.name",
		"$.detail.name":      `机器 🚀/"x"`,
		"$.detail.n":         "1.50",
		"$.detail.big":       "12345678901234567890",
		"$.detail.on":        "true",
		"$.detail.nothing":   "",
		"$.detail.missing":   "",
		"$.detail.empty":     "",
		"$.detail.list":      `[1,{"a":"b"}]`,
		"$.detail.object":    `{"k":"v","w":[]}`,
		"$.resources[1]":     "r/2",
		"$.detail.list[*].a": `["b"]`,
	} {
		t.Run(value, func(t *testing.T) {
			if got, err := resolve(value, []byte(dynamicEvent)); err != nil || got != want {
				t.Errorf("got %q %v, want %q", got, err, want)
			}
		})
	}
}

func TestACallTakesItsParametersFromTheOriginalEvent(t *testing.T) {
	server, client, last := endpoint(t, true, nil)
	buses := &connections{inv: bus.Invocation{Endpoint: server.URL + "/a/*/b", Method: "POST", RateLimit: 300, Credentials: basic(nil)}}
	call := func(p *bus.HTTPParameters) *Failure {
		t.Helper()
		a := attemptAt("d", bus.KindAPIDestination, p)
		a.Record.JSON, a.Body = []byte(dynamicEvent), []byte(`{"detail":{"name":"transformed"}}`)
		return failureOf(t, newTargets(buses, client).Invoke(t.Context(), a))
	}
	if f := call(&bus.HTTPParameters{
		Path:    []string{"$.detail.name"},
		Headers: map[string]string{"X-On": "$.detail.on", "X-Missing": "$.detail.missing"},
		Query:   map[string]string{"list": "$.detail.list", "missing": "$.detail.nothing"},
	}); f != nil {
		t.Fatal(f)
	}
	if last.Path != "/a/%E6%9C%BA%E5%99%A8%20%F0%9F%9A%80%2F%22x%22/b" || last.Query != "list=%5B1%2C%7B%22a%22%3A%22b%22%7D%5D&missing=" ||
		last.Header.Get("X-On") != "true" || len(last.Header["X-Missing"]) != 1 || last.Header.Get("X-Missing") != "" {
		t.Errorf("called with %+v", *last)
	}
	for name, c := range map[string]struct {
		params  bus.HTTPParameters
		message string
	}{
		"a path value that is missing":     {bus.HTTPParameters{Path: []string{"$.detail.missing"}}, "the event has no value for the path parameter at $.detail.missing"},
		"a path value that is null":        {bus.HTTPParameters{Path: []string{"$.detail.nothing"}}, "the event has no value for the path parameter at $.detail.nothing"},
		"a path value that is blank":       {bus.HTTPParameters{Path: []string{"$.detail.blank"}}, "the event has no value for the path parameter at $.detail.blank"},
		"a header that would be two lines": {bus.HTTPParameters{Path: []string{"1"}, Headers: map[string]string{"X": "$.detail.lines"}}, "what the event has at $.detail.lines cannot be the value of header X: it holds a control character"},
	} {
		t.Run(name, func(t *testing.T) {
			*last = seen{}
			want := &Failure{Code: CodeInvalidParameter, Message: c.message}
			if diff := cmp.Diff(want, call(&c.params)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if last.Method != "" {
				t.Error("the endpoint was called")
			}
		})
	}
}

func TestAQueuesGroupMayBeAPath(t *testing.T) {
	for value, want := range map[string]string{"$.detail.object": `{"k":"v","w":[]}`, "$.detail.n": "1.50", "g": "g"} {
		q := &queues{}
		a := attemptAt(queueARN+".fifo", bus.KindQueue, nil)
		a.Record.JSON, a.Subscription.Target.MessageGroupID = []byte(dynamicEvent), value
		if err := withQueues(q).Invoke(context.Background(), a); err != nil || *q.in.MessageGroupId != want {
			t.Errorf("%s: %v, sent %+v", value, err, q.in)
		}
	}
	q := &queues{}
	a := attemptAt(queueARN+".fifo", bus.KindQueue, nil)
	a.Record.JSON, a.Subscription.Target.MessageGroupID = []byte(dynamicEvent), "$.detail.missing"
	f := failureOf(t, withQueues(q).Invoke(context.Background(), a))
	if f == nil || f.Code != CodeInvalidParameter || f.Retryable || q.in != nil {
		t.Errorf("failure %v, sent %+v", f, q.in)
	}
}
