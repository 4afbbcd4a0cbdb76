package loggroup

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestEventsOfAllStreamsAreFoundInOrderOfTime(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		for _, s := range []string{"a1", "a2", "b"} {
			g.stream("g", s)
		}
		g.putAll("g", "b", g.at(2*time.Second, "ERROR three"), g.at(4*time.Second, "five"))
		g.putAll("g", "a1", g.at(time.Second, "two"), g.at(3*time.Second, "ERROR four"))
		g.putAll("g", "a2", g.at(0, "ERROR one"))
		second := func(n int64) *int64 { return new(g.now() + n*1000) }
		for name, test := range map[string]struct {
			edit func(in *logs.FilterLogEventsInput)
			want string
		}{
			"all":           {func(*logs.FilterLogEventsInput) {}, "a2:ERROR one a1:two b:ERROR three a1:ERROR four b:five"},
			"by a pattern":  {func(in *logs.FilterLogEventsInput) { in.FilterPattern = new("ERROR") }, "a2:ERROR one b:ERROR three a1:ERROR four"},
			"of streams":    {func(in *logs.FilterLogEventsInput) { in.LogStreamNames = []string{"b", "a2"} }, "a2:ERROR one b:ERROR three b:five"},
			"of one stream": {func(in *logs.FilterLogEventsInput) { in.LogStreamNames = []string{"a1"} }, "a1:two a1:ERROR four"},
			"by prefix":     {func(in *logs.FilterLogEventsInput) { in.LogStreamNamePrefix = new("a") }, "a2:ERROR one a1:two a1:ERROR four"},
			"between, with": {func(in *logs.FilterLogEventsInput) { in.StartTime, in.EndTime = second(1), second(3) }, "a1:two b:ERROR three a1:ERROR four"},
			"by its ARN": {func(in *logs.FilterLogEventsInput) {
				in.LogGroupName, in.LogGroupIdentifier = nil, new("arn:aws:logs:eu-west-1:111122223333:log-group:g")
			}, "a2:ERROR one a1:two b:ERROR three a1:ERROR four b:five"},
			"a pattern, limit": {func(in *logs.FilterLogEventsInput) { in.FilterPattern, in.Limit = new("-ERROR"), new(int32(1)) }, "a1:two"},
		} {
			in := &logs.FilterLogEventsInput{LogGroupName: new("g"), Interleaved: new(true)}
			test.edit(in)
			got, out := g.filter(in)
			if got != test.want {
				t.Errorf("%s: %q, want %q", name, got, test.want)
			}
			if out.SearchedLogStreams == nil || len(out.SearchedLogStreams) != 0 {
				t.Errorf("%s: the streams searched are %v", name, out.SearchedLogStreams)
			}
		}
		for what, in := range map[string]*logs.FilterLogEventsInput{
			"given together":         {LogGroupName: new("g"), LogStreamNames: []string{"b"}, LogStreamNamePrefix: new("a")},
			"Invalid filter pattern": {LogGroupName: new("g"), FilterPattern: new("a-b")},
			"nextToken":              {LogGroupName: new("g"), NextToken: new("x")},
			"endTime":                {LogGroupName: new("g"), StartTime: second(2), EndTime: second(1)},
		} {
			_, err := g.FilterLogEvents(g.ctx, in)
			refused(t, err, "InvalidParameterException", what)
		}
		_, err := g.FilterLogEvents(g.ctx, &logs.FilterLogEventsInput{LogGroupName: new("g"), LogStreamNames: []string{"none"}})
		refused(t, err, "ResourceNotFoundException", "log stream")
	})
}

func TestASearchGoesOnFromItsToken(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		const streams, each = 3, 90
		for s := range streams {
			name := fmt.Sprint("s", s)
			g.stream("g", name)
			var events []logs.InputLogEvent
			for i := range each { // several at the same time
				events = append(events, g.at(time.Duration(i/4)*time.Second, fmt.Sprint(i)))
			}
			g.putAll("g", name, events...)
		}
		seen := map[string]bool{}
		in := &logs.FilterLogEventsInput{LogGroupName: new("g"), Limit: new(int32(7))}
		last := ""
		for {
			_, out := g.filter(in)
			for _, e := range out.Events {
				if *e.EventId <= last || len(*e.EventId) != 56 {
					t.Fatalf("the event %s comes after %s", *e.EventId, last)
				}
				last = *e.EventId
				seen[*e.LogStreamName+"/"+*e.Message] = true
			}
			if in.NextToken = out.NextToken; out.NextToken == nil {
				break
			}
		}
		if len(seen) != streams*each {
			t.Errorf("%d events were found, want %d", len(seen), streams*each)
		}
	})
}

// One call looks at so many events, found or not; its token leads on.
func TestASearchIsBounded(t *testing.T) {
	g := newFixture(t, storetest.SQLite(t))
	g.group("g")
	g.stream("g", "s")
	for range 3 {
		var events []logs.InputLogEvent
		for range 5000 {
			events = append(events, g.at(0, "dull"))
		}
		g.putAll("g", "s", events...)
	}
	g.putAll("g", "s", g.at(time.Second, "needle"))
	in := &logs.FilterLogEventsInput{LogGroupName: new("g"), FilterPattern: new("needle")}
	got, out := g.filter(in)
	if got != "" || out.NextToken == nil {
		t.Fatalf("the first page is %q, %v", got, out.NextToken)
	}
	in.NextToken = out.NextToken
	if got, out = g.filter(in); got != "s:needle" || out.NextToken != nil {
		t.Errorf("the second page is %q, %v", got, out.NextToken)
	}
}

func TestPastTheRetentionNothingIsFound(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.numbered("s", 3)
		if _, err := g.PutRetentionPolicy(g.ctx, &logs.PutRetentionPolicyInput{LogGroupName: new("g"), RetentionInDays: new(int32(3))}); err != nil {
			t.Fatal(err)
		}
		g.clock.advance(3*24*time.Hour - time.Second) // the first is a second past it
		got, _ := g.get(&logs.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s")})
		found, _ := g.filter(&logs.FilterLogEventsInput{LogGroupName: new("g")})
		if got != "1 2" || found != "s:1 s:2" {
			t.Errorf("read %q, found %q", got, found)
		}
	})
}

func TestTheSweeperRemovesWhatIsPastAndWhatWasDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.numbered("s", 1200)
		g.stream("g", "late")
		for _, name := range []string{"kept", "gone"} {
			g.group(name)
			g.stream(name, "s")
			g.putAll(name, "s", g.at(0, strings.Repeat("x", 74)))
		}
		if _, err := g.PutRetentionPolicy(g.ctx, &logs.PutRetentionPolicyInput{LogGroupName: new("g"), RetentionInDays: new(int32(1))}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.DeleteLogGroup(g.ctx, &logs.DeleteLogGroupInput{LogGroupName: new("gone")}); err != nil {
			t.Fatal(err)
		}
		if _, err := g.DeleteLogStream(g.ctx, &logs.DeleteLogStreamInput{LogGroupName: new("g"), LogStreamName: new("late")}); err != nil {
			t.Fatal(err)
		}
		g.clock.advance(24*time.Hour - 99*time.Second) // 1100 are past it
		for range 2 {                                  // the second finds groups without streams
			if err := g.sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for query, want := range map[string]int{
			`SELECT COUNT(*) FROM log_event`:  101,
			`SELECT COUNT(*) FROM log_stream`: 2,
			`SELECT COUNT(*) FROM log_group`:  2,
		} {
			var n int
			if err := g.db.QueryRow(t.Context(), query).Scan(&n); err != nil || n != want {
				t.Errorf("%s: %d, %v, want %d", query, n, err, want)
			}
		}
		out, err := g.DescribeLogGroups(g.ctx, &logs.DescribeLogGroupsInput{})
		if err != nil || *out.LogGroups[0].StoredBytes != 100*(26+4) || *out.LogGroups[1].StoredBytes != 100 {
			t.Errorf("the groups are %+v, %v", out.LogGroups, err)
		}
		streams, err := g.DescribeLogStreams(g.ctx, &logs.DescribeLogStreamsInput{LogGroupName: new("g")})
		if first := *streams.LogStreams[0].FirstEventTimestamp; err != nil || first != g.now()-24*3600*1000 {
			t.Errorf("the first event is of %s before now, %v", time.Duration(g.now()-first)*time.Millisecond, err)
		}
	})
}
