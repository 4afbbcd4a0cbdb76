package loggroup

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
)

func TestABatchIsRefusedAsAWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		g.stream("g", "s")
		large := strings.Repeat("x", 1<<19)
		for _, test := range map[string]struct {
			events []logs.InputLogEvent
			want   string
		}{
			"out of order":  {[]logs.InputLogEvent{g.at(0, "a"), g.at(-time.Millisecond, "b")}, "Log events in a single PutLogEvents request must be in chronological order."},
			"too long":      {[]logs.InputLogEvent{g.at(-24*time.Hour, "a"), g.at(time.Millisecond, "b")}, "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."},
			"a large event": {[]logs.InputLogEvent{g.at(0, large+large)}, "Log event too large: 1048602 bytes exceeds limit of 1048576"},
			"a large batch": {[]logs.InputLogEvent{g.at(0, large), g.at(0, large[:1<<19-51])}, "Upload too large: 1048577 bytes exceeds limit of 1048576"},
			"not UTF-8":     {[]logs.InputLogEvent{g.at(0, "a\xff")}, "not valid UTF-8"},
		} {
			_, err := g.PutLogEvents(g.ctx, &logs.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), LogEvents: test.events})
			refused(t, err, "InvalidParameterException", test.want)
		}
		if got, _ := g.get(&logs.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s")}); got != "" {
			t.Errorf("of refused batches %q was stored", got)
		}
		_, err := g.PutLogEvents(g.ctx, &logs.PutLogEventsInput{LogGroupName: new("none"), LogStreamName: new("s"), LogEvents: []logs.InputLogEvent{g.at(0, "a")}})
		refused(t, err, "ResourceNotFoundException", "The specified log group does not exist.")
		_, err = g.PutLogEvents(g.ctx, &logs.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("none"), LogEvents: []logs.InputLogEvent{g.at(0, "a")}})
		refused(t, err, "ResourceNotFoundException", "The specified log stream does not exist.")
	})
}

func TestEventsTooOldOrTooNewAreRejected(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		retention int32
		at        []time.Duration
		want      *logs.RejectedLogEventsInfo
		stored    string
	}{
		"all in time":           {0, []time.Duration{-13 * day, -12 * day}, nil, "0 1"},
		"just in time":          {0, []time.Duration{0, 2 * time.Hour}, nil, "0 1"},
		"too old":               {0, []time.Duration{-14*day - 2*time.Millisecond, -14*day - time.Millisecond, -14 * day}, &logs.RejectedLogEventsInfo{TooOldLogEventEndIndex: new(int32(2))}, "2"},
		"too new":               {0, []time.Duration{0, 2*time.Hour + time.Millisecond, 3 * time.Hour}, &logs.RejectedLogEventsInfo{TooNewLogEventStartIndex: new(int32(1))}, "0"},
		"past the retention":    {1, []time.Duration{-day - time.Second, -day + time.Second}, &logs.RejectedLogEventsInfo{ExpiredLogEventEndIndex: new(int32(1))}, "1"},
		"a long retention":      {30, []time.Duration{-15 * day}, &logs.RejectedLogEventsInfo{TooOldLogEventEndIndex: new(int32(1))}, ""},
		"none in time":          {0, []time.Duration{5 * time.Hour, 6 * time.Hour}, &logs.RejectedLogEventsInfo{TooNewLogEventStartIndex: new(int32(0))}, ""},
		"too old and past days": {14, []time.Duration{-14*day - time.Hour, -14*day + time.Hour}, &logs.RejectedLogEventsInfo{TooOldLogEventEndIndex: new(int32(1))}, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, g *fixture) {
				g.group("g")
				g.stream("g", "s")
				if test.retention > 0 {
					if _, err := g.PutRetentionPolicy(g.ctx, &logs.PutRetentionPolicyInput{LogGroupName: new("g"), RetentionInDays: &test.retention}); err != nil {
						t.Fatal(err)
					}
				}
				var events []logs.InputLogEvent
				for i, at := range test.at {
					events = append(events, g.at(at, string(rune('0'+i))))
				}
				out := g.putAll("g", "s", events...)
				if diff := cmp.Diff(test.want, out.RejectedLogEventsInfo); diff != "" {
					t.Error(diff)
				}
				if got, _ := g.get(&logs.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s")}); got != test.stored {
					t.Errorf("stored %q, want %q", got, test.stored)
				}
			})
		})
	}
}

func TestMessagesAreKeptAsTheyAre(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		g.stream("g", "s")
		message := "订单 🛒 \x00\t\"quoted\" \u2028"
		out, err := g.PutLogEvents(g.ctx, &logs.PutLogEventsInput{
			LogGroupName: new("g"), LogStreamName: new("s"), LogEvents: []logs.InputLogEvent{g.at(0, message)}, SequenceToken: new("any"),
			Entity: &logs.Entity{KeyAttributes: map[string]string{"Type": "Service", "Name": "x"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if out.RejectedEntityInfo == nil || out.NextSequenceToken == nil {
			t.Errorf("an entity that is not kept is answered with %+v", out)
		}
		got, page := g.get(&logs.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s")})
		if got != message || *page.Events[0].IngestionTime != g.now() {
			t.Errorf("got %q", got)
		}
	})
}

func TestALargeBatchIsStoredWholeAndInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, g *fixture) {
		g.group("g")
		g.stream("g", "s")
		var events []logs.InputLogEvent
		var want []string
		for i := range 2*putChunk + 1 {
			want = append(want, fmt.Sprint(i))
			events = append(events, g.at(0, want[i]))
		}
		g.putAll("g", "s", events...)
		if got, _ := g.get(&logs.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s")}); got != strings.Join(want, " ") {
			t.Errorf("got %d bytes in another order", len(got))
		}
	})
}
