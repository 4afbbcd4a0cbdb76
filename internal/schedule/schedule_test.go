package schedule

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// scheduleCase is a file of testdata/cases: an expression that is rejected, or the
// times at which it is next due after a time. Ends says that none follow.
type scheduleCase struct {
	Expression string
	Rejected   bool
	After      time.Time
	Start      time.Time
	Next       []time.Time
	Ends       bool
}

func TestSchedules(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c scheduleCase
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			c.check(t)
		})
	}
}

func (c scheduleCase) check(t *testing.T) {
	s, err := Parse(c.Expression)
	if c.Rejected {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q gives %v, want %v", c.Expression, err, ErrInvalid)
		}
		return
	}
	if err != nil {
		t.Fatalf("%q: %v", c.Expression, err)
	}
	var next []time.Time
	at := c.After
	for range c.Next {
		due, more := s.Next(at, c.Start)
		if !more {
			break
		}
		next, at = append(next, due), due
	}
	if diff := cmp.Diff(c.Next, next, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%q: %s", c.Expression, diff)
	}
	if c.Ends {
		if due, more := s.Next(at, c.Start); more {
			t.Errorf("%q is due again at %s", c.Expression, due)
		}
	}
}

func TestLatestIsTheLastThatIsDue(t *testing.T) {
	start := time.Date(2026, 11, 21, 0, 0, 30, 0, time.UTC)
	for _, c := range []struct{ expression, due, now, want string }{
		{"rate(5 minutes)", "2026-11-21T00:05:30Z", "2026-11-21T00:05:30Z", "2026-11-21T00:05:30Z"},
		{"rate(5 minutes)", "2026-11-21T00:05:30Z", "2026-11-21T00:10:29Z", "2026-11-21T00:05:30Z"},
		{"rate(5 minutes)", "2026-11-21T00:05:30Z", "2026-12-21T00:10:31Z", "2026-12-21T00:10:30Z"},
		{"rate(5 minutes)", "2026-11-21T00:05:30Z", "2026-11-20T00:00:00Z", "2026-11-21T00:05:30Z"},
		{"cron(0 2 * * ? *)", "2026-11-21T02:00:00Z", "2026-11-21T02:00:05Z", "2026-11-21T02:00:00Z"},
		{"cron(0 2 * * ? *)", "2026-11-21T02:00:00Z", "2026-11-24T01:00:00Z", "2026-11-23T02:00:00Z"},
		{"cron(* * * * ? *)", "2025-11-21T02:00:00Z", "2026-11-24T01:00:59Z", "2026-11-24T01:00:00Z"},
		{"cron(0 0 1 * ? *)", "2025-11-01T00:00:00Z", "2026-11-24T01:00:00Z", "2026-11-01T00:00:00Z"},
		{"cron(0 0 1 1 ? *)", "2024-01-01T00:00:00Z", "2026-11-24T01:00:00Z", "2026-01-01T00:00:00Z"},
		{"cron(0 2 * * ? *)", "2026-11-21T02:00:00Z", "2026-11-20T00:00:00Z", "2026-11-21T02:00:00Z"},
	} {
		s, err := Parse(c.expression)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Latest(parseTime(t, c.due), parseTime(t, c.now), start)
		if got.Format(time.RFC3339) != c.want {
			t.Errorf("%s due at %s is at %s last due at %s, want %s", c.expression, c.due, c.now, got.Format(time.RFC3339), c.want)
		}
	}
}

func parseTime(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// FuzzSchedule compares Next with a search minute by minute.
func FuzzSchedule(f *testing.F) {
	for _, expression := range []string{
		"rate(5 minutes)", "rate(1 day)", "cron(0/15 20-2 ? NOV-FEB MON-FRI *)", "cron(*/7 * L-3 * ? 2026-2030)", "cron(0 0 15W * ? *)",
		"cron(0 9 LW * ? *)", "cron(1,2 3 ? * 6L *)", "cron(59 23 ? 1/2 3#2 */2)", "cron(5/0 * 31W 2 ? *)",
	} {
		f.Add(expression, int64(1_795_000_000))
	}
	f.Fuzz(func(t *testing.T, expression string, unix int64) {
		s, err := Parse(expression)
		if err != nil {
			return
		}
		after := time.Unix(unix%(1<<33), 0).UTC()
		start := after.Add(-10 * time.Hour)
		next, ok := s.Next(after, start)
		if ok && !next.After(after) {
			t.Fatalf("%q is due at %s, which is not after %s", expression, next, after)
		}
		if s.cron == nil {
			return
		}
		const days = 3
		want, found := bruteForce(expression, after, days)
		soon := ok && next.Before(after.Add(days*24*time.Hour))
		if soon != found || found && !next.Equal(want) {
			t.Fatalf("%q after %s is due at %s (%t), by search at %s (%t)", expression, after, next, ok, want, found)
		}
	})
}

// bruteForce looks at each minute of some days, and reads the expression anew for
// each.
func bruteForce(expression string, after time.Time, days int) (time.Time, bool) {
	f := strings.Split(strings.TrimSuffix(strings.TrimPrefix(expression, "cron("), ")"), " ")
	end := after.Add(time.Duration(days) * 24 * time.Hour)
	for at := after.Truncate(time.Minute).Add(time.Minute); at.Before(end); at = at.Add(time.Minute) {
		if named(f[5], at.Year(), 0, 9999, nil) && named(f[3], int(at.Month()), 1, 12, monthField.names) &&
			dayNamed(f[2], f[4], at) && named(f[1], at.Hour(), 0, 23, nil) && named(f[0], at.Minute(), 0, 59, nil) {
			return at, true
		}
	}
	return time.Time{}, false
}

func dayNamed(ofMonth, ofWeek string, at time.Time) bool {
	last := at.AddDate(0, 1, -at.Day()).Day()
	switch {
	case strings.HasPrefix(ofMonth, "L") && ofMonth != "LW":
		return at.Day() == last-number(strings.TrimPrefix(ofMonth[1:], "-"), 0, nil)
	case strings.HasSuffix(ofMonth, "W"):
		day := number(strings.TrimSuffix(ofMonth, "W"), last, nil)
		if ofMonth == "LW" {
			day = last
		}
		return day <= last && isNearest(at, day, last)
	case ofWeek == "?":
		return named(ofMonth, at.Day(), 1, 31, nil)
	case ofWeek == "L":
		return at.Weekday() == time.Saturday
	case strings.HasSuffix(ofWeek, "L"):
		return int(at.Weekday())+1 == number(strings.TrimSuffix(ofWeek, "L"), 0, weekdayField.names) && at.AddDate(0, 0, 7).Month() != at.Month()
	case strings.Contains(ofWeek, "#"):
		day, nth, _ := strings.Cut(ofWeek, "#")
		n := number(nth, 0, nil)
		return int(at.Weekday())+1 == number(day, 0, weekdayField.names) &&
			at.AddDate(0, 0, -7*(n-1)).Month() == at.Month() && at.AddDate(0, 0, -7*n).Month() != at.Month()
	}
	return named(ofWeek, int(at.Weekday())+1, 1, 7, weekdayField.names)
}

// isNearest looks for a working day nearer to the day than at's.
func isNearest(at time.Time, day, last int) bool {
	works := func(d int) bool {
		w := at.AddDate(0, 0, d-at.Day()).Weekday()
		return w != time.Saturday && w != time.Sunday
	}
	away := func(d int) int { return max(d-day, day-d) }
	for d := 1; d <= last; d++ {
		if works(d) && away(d) < away(at.Day()) {
			return false
		}
	}
	return works(at.Day())
}

// named walks through what a list names.
func named(list string, value, least, most int, names []string) bool {
	for item := range strings.SplitSeq(list, ",") {
		body, step, stepped := strings.Cut(item, "/")
		from, to := least, most
		if body != "*" {
			first, last, ranged := strings.Cut(body, "-")
			from = number(first, 0, names)
			switch {
			case ranged:
				to = number(last, 0, names)
			case !stepped:
				to = from
			}
		}
		each := number(step, 1, nil)
		for i, at := 0, from; ; i, at = i+1, at+1 {
			if at > most {
				at = least
			}
			if at == value && (each == 0 && i == 0 || each > 0 && i%each == 0) {
				return true
			}
			if at == to {
				break
			}
		}
	}
	return false
}

func number(text string, otherwise int, names []string) int {
	for i, name := range names {
		if name == text {
			return i + 1
		}
	}
	n := 0
	for _, c := range text {
		n = n*10 + int(c-'0')
	}
	if text == "" {
		return otherwise
	}
	return n
}

func BenchmarkNext(b *testing.B) {
	after := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, expression := range []string{"rate(5 minutes)", "cron(0/15 * * * ? *)", "cron(0 0 29 2 ? *)"} {
		s, err := Parse(expression)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(expression, func(b *testing.B) {
			for b.Loop() {
				s.Next(after, after)
			}
		})
	}
}
