package loggroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "eu-west-1"
)

// clock is a clock that stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is a set of log groups whose clock the test moves, and a caller.
type fixture struct {
	*Groups
	t     testing.TB
	ctx   context.Context
	clock *clock
}

func newFixture(t testing.TB, db *store.DB) *fixture {
	c := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	return &fixture{Groups: New(db, Options{Node: "test", Now: c.Now}), t: t, ctx: as(t.Context(), account), clock: c}
}

// as is a context of a caller of the account.
func as(ctx context.Context, account string) context.Context {
	return awsapi.WithCaller(ctx, awsapi.Caller{Account: account, Region: region, Role: "admin"})
}

// onBoth runs the test with log groups on both databases.
func onBoth(t *testing.T, f func(t *testing.T, g *fixture)) {
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newFixture(t, db)) })
}

func (g *fixture) group(name string) {
	g.t.Helper()
	if _, err := g.CreateLogGroup(g.ctx, &logs.CreateLogGroupInput{LogGroupName: &name}); err != nil {
		g.t.Fatalf("create %s: %v", name, err)
	}
}

func (g *fixture) stream(group, name string) {
	g.t.Helper()
	if _, err := g.CreateLogStream(g.ctx, &logs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &name}); err != nil {
		g.t.Fatalf("create %s in %s: %v", name, group, err)
	}
}

// at is an event some time after now.
func (g *fixture) at(after time.Duration, message string) logs.InputLogEvent {
	return logs.InputLogEvent{Timestamp: new(g.now() + after.Milliseconds()), Message: &message}
}

func (g *fixture) putAll(group, stream string, events ...logs.InputLogEvent) *logs.PutLogEventsOutput {
	g.t.Helper()
	out, err := g.PutLogEvents(g.ctx, &logs.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream, LogEvents: events})
	if err != nil {
		g.t.Fatalf("put into %s of %s: %v", stream, group, err)
	}
	return out
}

// get reads a page and returns its messages.
func (g *fixture) get(in *logs.GetLogEventsInput) (string, *logs.GetLogEventsOutput) {
	g.t.Helper()
	out, err := g.GetLogEvents(g.ctx, in)
	if err != nil {
		g.t.Fatalf("get: %v", err)
	}
	var messages []string
	for _, e := range out.Events {
		messages = append(messages, *e.Message)
	}
	return strings.Join(messages, " "), out
}

// filter searches a page and returns the streams and messages that it found.
func (g *fixture) filter(in *logs.FilterLogEventsInput) (string, *logs.FilterLogEventsOutput) {
	g.t.Helper()
	out, err := g.FilterLogEvents(g.ctx, in)
	if err != nil {
		g.t.Fatalf("filter: %v", err)
	}
	var found []string
	for _, e := range out.Events {
		found = append(found, *e.LogStreamName+":"+*e.Message)
	}
	return strings.Join(found, " "), out
}

// refused fails the test unless err is an error with that code and text.
func refused(t *testing.T, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*awsapi.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got %v, want %s: …%s…", err, code, text)
	}
}

func TestGroupsAreMadeFoundAndDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("/aws/events/orders")
		g.group("plain")
		_, err := g.CreateLogGroup(g.ctx, &logs.CreateLogGroupInput{LogGroupName: new("plain")})
		refused(t, err, "ResourceAlreadyExistsException", "The specified log group already exists")
		if _, err := g.PutRetentionPolicy(g.ctx, &logs.PutRetentionPolicyInput{LogGroupName: new("plain"), RetentionInDays: new(int32(14))}); err != nil {
			t.Fatal(err)
		}
		_, err = g.PutRetentionPolicy(g.ctx, &logs.PutRetentionPolicyInput{LogGroupName: new("plain"), RetentionInDays: new(int32(15))})
		refused(t, err, "InvalidParameterException", "Invalid retention value. Valid values are: [1, 3, 5, 7, 14, ")
		g.stream("plain", "s")
		g.putAll("plain", "s", g.at(0, "four"))

		out, err := g.DescribeLogGroups(g.ctx, &logs.DescribeLogGroupsInput{})
		if err != nil || len(out.LogGroups) != 2 || out.NextToken != nil {
			t.Fatalf("%+v, %v", out, err)
		}
		first, second := out.LogGroups[0], out.LogGroups[1]
		if *first.Arn != "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/events/orders:*" || *first.LogGroupArn != "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/events/orders" ||
			first.RetentionInDays != nil || *first.CreationTime != g.now() || *first.StoredBytes != 0 || *first.LogGroupClass != "STANDARD" {
			t.Errorf("the first group is %+v", first)
		}
		if *second.LogGroupName != "plain" || *second.RetentionInDays != 14 || *second.StoredBytes != 30 {
			t.Errorf("the second group is %+v", second)
		}

		if _, err := g.DeleteLogGroup(g.ctx, &logs.DeleteLogGroupInput{LogGroupName: new("plain")}); err != nil {
			t.Fatal(err)
		}
		_, err = g.DeleteLogGroup(g.ctx, &logs.DeleteLogGroupInput{LogGroupName: new("plain")})
		refused(t, err, "ResourceNotFoundException", "The specified log group does not exist.")
		g.group("plain") // and it is empty
		_, err = g.GetLogEvents(g.ctx, &logs.GetLogEventsInput{LogGroupName: new("plain"), LogStreamName: new("s")})
		refused(t, err, "ResourceNotFoundException", "The specified log stream does not exist.")
	})
}

func TestWhatWouldBeIgnoredIsRefusedByName(t *testing.T) {
	g := newFixture(t, storetest.SQLite(t))
	for member, in := range map[string]*logs.CreateLogGroupInput{
		"kmsKeyId":                  {KmsKeyId: new("key")},
		"tags":                      {Tags: map[string]string{"a": "b"}},
		"deletionProtectionEnabled": {DeletionProtectionEnabled: new(true)},
		"logGroupClass":             {LogGroupClass: new("INFREQUENT_ACCESS")},
	} {
		in.LogGroupName = new("g")
		_, err := g.CreateLogGroup(g.ctx, in)
		refused(t, err, "InvalidParameterException", member)
	}
	_, err := g.CreateLogGroup(g.ctx, &logs.CreateLogGroupInput{LogGroupName: new("aws/orders")})
	refused(t, err, "InvalidParameterException", "reserved")
	for member, in := range map[string]*logs.DescribeLogGroupsInput{
		"includeLinkedAccounts": {IncludeLinkedAccounts: new(true)},
		"accountIdentifiers":    {AccountIdentifiers: []string{other}},
		"exclusive":             {LogGroupNamePrefix: new("a"), LogGroupNamePattern: new("b")},
		"logGroupIdentifiers":   {LogGroupIdentifiers: []string{"a"}, LogGroupNamePattern: new("b")},
		"nextToken":             {NextToken: new("!")},
		"not the ARN":           {LogGroupIdentifiers: []string{"arn:aws:sqs:eu-west-1:111122223333:q"}},
	} {
		_, err := g.DescribeLogGroups(g.ctx, in)
		refused(t, err, "InvalidParameterException", member)
	}
}

func TestNULInANameOrTokenIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		stream, group := new("a\x00"), new("g")
		token, err := encodeToken(streamMark{Name: *stream})
		if err != nil {
			t.Fatal(err)
		}
		named, err := encodeToken("g\x00")
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range map[string]func() error{
			"create": func() error { return g.createStream(g.ctx, Ref{account, region, "g"}, *stream) },
			"delete": func() error { return g.removeStream(g.ctx, Ref{account, region, "g"}, *stream) },
			"put": func() error {
				return ignore(g.PutLogEvents(g.ctx, &logs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: []logs.InputLogEvent{g.at(0, "m")}}))
			},
			"get": func() error {
				return ignore(g.GetLogEvents(g.ctx, &logs.GetLogEventsInput{LogGroupName: group, LogStreamName: stream}))
			},
			"filter": func() error {
				return ignore(g.FilterLogEvents(g.ctx, &logs.FilterLogEventsInput{LogGroupName: group, LogStreamNames: []string{*stream}}))
			},
			"by prefix": func() error {
				return ignore(g.FilterLogEvents(g.ctx, &logs.FilterLogEventsInput{LogGroupName: group, LogStreamNamePrefix: stream}))
			},
			"streams": func() error {
				return ignore(g.DescribeLogStreams(g.ctx, &logs.DescribeLogStreamsInput{LogGroupName: group, LogStreamNamePrefix: stream}))
			},
			"next page": func() error {
				return ignore(g.DescribeLogStreams(g.ctx, &logs.DescribeLogStreamsInput{LogGroupName: group, NextToken: token}))
			},
			"next group": func() error {
				return ignore(g.DescribeLogGroups(g.ctx, &logs.DescribeLogGroupsInput{NextToken: named}))
			},
		} {
			t.Run(name, func(t *testing.T) { refused(t, call(), "InvalidParameterException", "") })
		}
	})
}

func ignore(_ any, err error) error { return err }

func TestGroupsAreListedInPages(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		for i := range 7 {
			g.group(fmt.Sprintf("/app/%d", i))
		}
		g.group("/App/x")
		list := func(in *logs.DescribeLogGroupsInput) (names []string) {
			for {
				out, err := g.DescribeLogGroups(g.ctx, in)
				if err != nil {
					t.Fatal(err)
				}
				for _, have := range out.LogGroups {
					names = append(names, *have.LogGroupName)
				}
				if out.NextToken == nil {
					return names
				}
				in.NextToken = out.NextToken
			}
		}
		for name, test := range map[string]struct {
			in   *logs.DescribeLogGroupsInput
			want string
		}{
			"all":       {&logs.DescribeLogGroupsInput{Limit: new(int32(3))}, "/App/x /app/0 /app/1 /app/2 /app/3 /app/4 /app/5 /app/6"},
			"by prefix": {&logs.DescribeLogGroupsInput{Limit: new(int32(7)), LogGroupNamePrefix: new("/app/")}, "/app/0 /app/1 /app/2 /app/3 /app/4 /app/5 /app/6"},
			"by part":   {&logs.DescribeLogGroupsInput{LogGroupNamePattern: new("pp/x")}, "/App/x"},
			"by ARN":    {&logs.DescribeLogGroupsInput{LogGroupIdentifiers: []string{"arn:aws:logs:eu-west-1:111122223333:log-group:/app/3", "/app/5", "none"}}, "/app/3 /app/5"},
			"by class":  {&logs.DescribeLogGroupsInput{LogGroupClass: new("DELIVERY")}, ""},
		} {
			if got := strings.Join(list(test.in), " "); got != test.want {
				t.Errorf("%s: %s, want %s", name, got, test.want)
			}
		}
		out, err := g.DescribeLogGroups(g.ctx, &logs.DescribeLogGroupsInput{LogGroupNamePattern: new("x")})
		if err != nil || len(out.LogGroups) != 1 || out.LogGroups[0].StoredBytes != nil || out.LogGroups[0].LogGroupArn != nil {
			t.Errorf("a group found by pattern is %+v, %v", out, err)
		}
		if out, err := g.DescribeLogGroups(as(t.Context(), other), &logs.DescribeLogGroupsInput{}); err != nil || len(out.LogGroups) != 0 {
			t.Errorf("another account sees %+v, %v", out, err)
		}
	})
}

func TestStreamsAreListedByNameAndByTime(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		for _, name := range []string{"b", "a", "机器", "c/d", "empty"} {
			g.stream("g", name)
		}
		_, err := g.CreateLogStream(g.ctx, &logs.CreateLogStreamInput{LogGroupName: new("g"), LogStreamName: new("a")})
		refused(t, err, "ResourceAlreadyExistsException", "The specified log stream already exists")
		_, err = g.CreateLogStream(g.ctx, &logs.CreateLogStreamInput{LogGroupName: new("g"), LogStreamName: new("a\x00")})
		refused(t, err, "InvalidParameterException", "NUL")
		g.putAll("g", "b", g.at(-time.Hour, "x"), g.at(time.Second, "y"))
		g.putAll("g", "b", g.at(-time.Minute, "in between"))
		g.putAll("g", "a", g.at(-time.Minute, "x"))
		g.putAll("g", "机器", g.at(time.Minute, "x"))
		list := func(in *logs.DescribeLogStreamsInput) (names []string) {
			in.LogGroupIdentifier, in.Limit = new("arn:aws:logs:eu-west-1:111122223333:log-group:g:*"), new(int32(2))
			for {
				out, err := g.DescribeLogStreams(g.ctx, in)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range out.LogStreams {
					names = append(names, *s.LogStreamName)
				}
				if out.NextToken == nil {
					return names
				}
				in.NextToken = out.NextToken
			}
		}
		for name, test := range map[string]struct {
			in   *logs.DescribeLogStreamsInput
			want string
		}{
			"by name":            {&logs.DescribeLogStreamsInput{}, "a b c/d empty 机器"},
			"by name, backwards": {&logs.DescribeLogStreamsInput{Descending: new(true)}, "机器 empty c/d b a"},
			"by prefix":          {&logs.DescribeLogStreamsInput{LogStreamNamePrefix: new("c")}, "c/d"},
			"by time":            {&logs.DescribeLogStreamsInput{OrderBy: new("LastEventTime")}, "c/d empty a b 机器"},
			"by time, backwards": {&logs.DescribeLogStreamsInput{OrderBy: new("LastEventTime"), Descending: new(true)}, "机器 b a empty c/d"},
		} {
			if got := strings.Join(list(test.in), " "); got != test.want {
				t.Errorf("%s: %s, want %s", name, got, test.want)
			}
		}
		out, err := g.DescribeLogStreams(g.ctx, &logs.DescribeLogStreamsInput{LogGroupName: new("g"), LogStreamNamePrefix: new("b")})
		if err != nil {
			t.Fatal(err)
		}
		b := out.LogStreams[0]
		if *b.Arn != "arn:aws:logs:eu-west-1:111122223333:log-group:g:log-stream:b" || *b.FirstEventTimestamp != g.now()-time.Hour.Milliseconds() ||
			*b.LastEventTimestamp != g.now()+1000 || *b.LastIngestionTime != g.now() || *b.StoredBytes != 0 {
			t.Errorf("the stream is %+v", b)
		}
		if out, err = g.DescribeLogStreams(g.ctx, &logs.DescribeLogStreamsInput{LogGroupName: new("g"), LogStreamNamePrefix: new("empty")}); err != nil || out.LogStreams[0].FirstEventTimestamp != nil {
			t.Errorf("the empty stream is %+v, %v", out, err)
		}
		for what, in := range map[string]*logs.DescribeLogStreamsInput{
			"LastEventTime":      {LogGroupName: new("g"), OrderBy: new("LastEventTime"), LogStreamNamePrefix: new("b")},
			"logGroupIdentifier": {},
			"nextToken":          {LogGroupName: new("g"), NextToken: new("x")},
		} {
			_, err := g.DescribeLogStreams(g.ctx, in)
			refused(t, err, "InvalidParameterException", what)
		}
		_, err = g.DescribeLogStreams(g.ctx, &logs.DescribeLogStreamsInput{LogGroupIdentifier: new("arn:aws:logs:eu-west-1:444455556666:log-group:g")})
		refused(t, err, "ResourceNotFoundException", "log group")

		if _, err := g.DeleteLogStream(g.ctx, &logs.DeleteLogStreamInput{LogGroupName: new("g"), LogStreamName: new("b")}); err != nil {
			t.Fatal(err)
		}
		if got, _ := g.filter(&logs.FilterLogEventsInput{LogGroupName: new("g")}); got != "a:x 机器:x" {
			t.Errorf("after a stream was deleted the group has %s", got)
		}
	})
}

// A rule reaches the log groups of its own account.
func TestRulesReachGroupsOfTheirAccountOnly(t *testing.T) {
	g := newFixture(t, storetest.SQLite(t))
	g.group("g")
	in := &logs.CreateLogStreamInput{LogGroupName: new("g"), LogStreamName: new("s")}
	source := auth.Source{Service: "events.amazonaws.com", ARN: "arn:aws:events:eu-west-1:444455556666:rule/r", Account: other}
	_, err := g.CreateLogStream(auth.WithSource(g.ctx, source), in)
	refused(t, err, "AccessDeniedException", "User: events.amazonaws.com is not authorized to perform: logs:CreateLogStream on resource: arn:aws:logs:eu-west-1:111122223333:log-group:g")
	source.Account = account
	if _, err := g.CreateLogStream(auth.WithSource(g.ctx, source), in); err != nil {
		t.Error(err)
	}
}
