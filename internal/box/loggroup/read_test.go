package loggroup

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
)

// numbered puts events 0…n-1, a second apart, the last one now.
func (g *fixture) numbered(stream string, n int) {
	g.t.Helper()
	g.group("g")
	g.stream("g", stream)
	var events []logs.InputLogEvent
	for i := range n {
		events = append(events, g.at(time.Duration(i-n+1)*time.Second, fmt.Sprint(i)))
	}
	g.putAll("g", stream, events...)
}

func page5(edit func(in *logs.GetLogEventsInput)) *logs.GetLogEventsInput {
	in := &logs.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), Limit: new(int32(5))}
	edit(in)
	return in
}

func TestAStreamIsReadForwardToItsEnd(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.numbered("s", 12)
		var token *string
		for _, want := range []string{"0 1 2 3 4", "5 6 7 8 9", "10 11"} {
			got, out := g.get(page5(func(in *logs.GetLogEventsInput) { in.StartFromHead, in.NextToken = new(true), token }))
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			token = out.NextForwardToken
		}
		for range 2 { // AWS: at the end the token stays the same
			got, out := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = token }))
			if got != "" || *out.NextForwardToken != *token {
				t.Errorf("at the end got %q and %s, want the token %s", got, *out.NextForwardToken, *token)
			}
			if back, _ := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = out.NextBackwardToken })); back != "7 8 9 10 11" {
				t.Errorf("backward from the end: %q", back)
			}
		}
		g.putAll("g", "s", g.at(0, "12"), g.at(time.Second, "13"))
		if got, _ := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = token })); got != "12 13" {
			t.Errorf("what was put since is %q", got)
		}
	})
}

func TestAStreamIsReadBackwardToItsBeginning(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.numbered("s", 12)
		var token, forward *string
		for _, want := range []string{"7 8 9 10 11", "2 3 4 5 6", "0 1"} {
			got, out := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = token }))
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			token, forward = out.NextBackwardToken, out.NextForwardToken
		}
		got, out := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = token }))
		if got != "" || *out.NextBackwardToken != *token {
			t.Errorf("at the beginning got %q and %s", got, *out.NextBackwardToken)
		}
		if got, _ := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = out.NextForwardToken })); got != "0 1 2 3 4" {
			t.Errorf("forward from the beginning: %q", got)
		}
		if got, _ := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = forward })); got != "2 3 4 5 6" {
			t.Errorf("forward from the last page: %q", got)
		}
	})
}

func TestAnEmptyStreamCanBeFollowed(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		g.stream("g", "s")
		for _, fromHead := range []bool{true, false} {
			_, out := g.get(page5(func(in *logs.GetLogEventsInput) { in.StartFromHead = &fromHead }))
			if out.NextForwardToken == nil || out.NextBackwardToken == nil {
				t.Fatalf("an empty stream has the tokens %+v", out)
			}
			message := fmt.Sprint(fromHead)
			g.putAll("g", "s", g.at(0, message))
			if got, _ := g.get(page5(func(in *logs.GetLogEventsInput) { in.NextToken = out.NextForwardToken })); !strings.HasSuffix(got, message) {
				t.Errorf("what was put is not found: %q", got)
			}
		}
	})
}

func TestAPageIsWithinItsTimes(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.numbered("s", 10)
		second := func(n int64) *int64 { return new(g.now() - (9-n)*1000) }
		for name, test := range map[string]struct {
			edit func(in *logs.GetLogEventsInput)
			want string
		}{
			"from, which is included":    {func(in *logs.GetLogEventsInput) { in.StartTime = second(7) }, "7 8 9"},
			"to, which is not":           {func(in *logs.GetLogEventsInput) { in.EndTime, in.StartFromHead = second(3), new(true) }, "0 1 2"},
			"between":                    {func(in *logs.GetLogEventsInput) { in.StartTime, in.EndTime = second(3), second(5) }, "3 4"},
			"the latest before the end":  {func(in *logs.GetLogEventsInput) { in.EndTime, in.Limit = second(8), new(int32(2)) }, "6 7"},
			"nothing where nothing is":   {func(in *logs.GetLogEventsInput) { in.StartTime = new(g.now() + 1) }, ""},
			"all without a limit or end": {func(in *logs.GetLogEventsInput) { in.Limit = nil }, "0 1 2 3 4 5 6 7 8 9"},
		} {
			if got, _ := g.get(page5(test.edit)); got != test.want {
				t.Errorf("%s: %q, want %q", name, got, test.want)
			}
		}
		for _, token := range []string{"x", "f/12", "f/" + strings.Repeat("9", 56) + "/s", "g/" + strings.Repeat("0", 56) + "/s"} {
			_, err := g.GetLogEvents(g.ctx, page5(func(in *logs.GetLogEventsInput) { in.NextToken = &token }))
			refused(t, err, "InvalidParameterException", "The specified nextToken is invalid.")
		}
	})
}

func TestAPageHasAtMostOneMebibyte(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		g.stream("g", "s")
		large := strings.Repeat("x", 400<<10)
		for i := range 5 {
			g.putAll("g", "s", g.at(time.Duration(i)*time.Second, large))
		}
		count, pages := 0, 0
		in := &logs.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), StartFromHead: new(true)}
		for {
			_, out := g.get(in)
			if len(out.Events) == 0 {
				break
			}
			count, pages, in.NextToken = count+len(out.Events), pages+1, out.NextForwardToken
		}
		if count != 5 || pages != 3 {
			t.Errorf("%d events in %d pages", count, pages)
		}
		found, pages := 0, 0
		search := &logs.FilterLogEventsInput{LogGroupName: new("g")}
		for {
			_, out := g.filter(search)
			found, pages = found+len(out.Events), pages+1
			if search.NextToken = out.NextToken; out.NextToken == nil {
				break
			}
		}
		if found != 5 || pages != 3 {
			t.Errorf("%d events were found in %d pages", found, pages)
		}
	})
}
