package schedule

import (
	"strconv"
	"strings"
	"time"
)

// cron is a six-field expression: minute, hour, day of month, month, day of week,
// year.
type cron struct {
	minutes, hours, months set
	years                  []span
	days                   dayRule
}

// set holds the small numbers that a field names.
type set uint64

func (s set) has(n int) bool { return s&(1<<n) != 0 }

// span is a run of years, every step years.
type span struct{ from, to, step int }

// field says what a field may hold.
type field struct {
	min, max int
	names    []string // of min and those that follow
}

var (
	minuteField = field{min: 0, max: 59}
	hourField   = field{min: 0, max: 23}
	dayField    = field{min: 1, max: 31}
	monthField  = field{min: 1, max: 12, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}}
	// AWS: the week begins with Sunday, which is 1.
	weekdayField = field{min: 1, max: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}}
	// AWS documents 1970 to 2199 and takes others, too.
	yearField = field{min: 0, max: 9999}
)

// parseCron reads what is inside cron().
func parseCron(text string) (*Schedule, error) {
	f := strings.Split(text, " ")
	if len(f) != 6 {
		return nil, ErrInvalid
	}
	var c cron
	var ok [5]bool
	c.minutes, ok[0] = minuteField.set(f[0])
	c.hours, ok[1] = hourField.set(f[1])
	c.days, ok[2] = parseDays(f[2], f[4])
	c.months, ok[3] = monthField.set(f[3])
	c.years, ok[4] = parseYears(f[5])
	for _, good := range ok {
		if !good {
			return nil, ErrInvalid
		}
	}
	return &Schedule{cron: &c}, nil
}

// set reads a list of values, ranges and steps. A range that ends below its
// beginning goes on from the field's least value, as 22-2 does for hours.
func (f field) set(text string) (set, bool) {
	var all set
	for item := range strings.SplitSeq(text, ",") {
		if item == "*" && text != "*" {
			return 0, false
		}
		r, ok := f.items(item)
		if !ok {
			return 0, false
		}
		size := f.max - f.min + 1
		length := (r.to - r.from + size) % size // behind the first
		for i := 0; i <= length; i += r.step {
			all |= 1 << (f.min + (r.from-f.min+i)%size)
		}
	}
	return all, true
}

// items reads one item of a list: *, a, a-b, and each with a step after a slash.
// AWS also takes a step of zero, which we read as the first value alone.
func (f field) items(text string) (span, bool) {
	body, stepText, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		if !allDigits(stepText) || len(stepText) > 4 {
			return span{}, false
		}
		if step, _ = strconv.Atoi(stepText); step == 0 {
			step = f.max + 1
		}
	}
	if body == "*" {
		return span{f.min, f.max, step}, true
	}
	first, last, ranged := strings.Cut(body, "-")
	from, ok := f.value(first)
	if !ok {
		return span{}, false
	}
	to := from
	if ranged {
		if to, ok = f.value(last); !ok {
			return span{}, false
		}
	} else if stepped {
		to = f.max
	}
	return span{from, to, step}, true
}

// value reads a number or a name.
func (f field) value(text string) (int, bool) {
	for i, name := range f.names {
		if text == name {
			return f.min + i, true
		}
	}
	if !allDigits(text) || len(text) > 4 {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= f.min && n <= f.max
}

func parseYears(text string) ([]span, bool) {
	var all []span
	for item := range strings.SplitSeq(text, ",") {
		if item == "*" && text != "*" {
			return nil, false
		}
		s, ok := yearField.items(item)
		if !ok || s.from > s.to {
			return nil, false
		}
		all = append(all, s)
	}
	return all, true
}

func (c *cron) inYear(year int) bool {
	for _, s := range c.years {
		if year >= s.from && year <= s.to && (year-s.from)%s.step == 0 {
			return true
		}
	}
	return false
}

// horizon is how many years ahead the next time is looked for: a fifth weekday of
// February comes every 28 years, and every 40 around a century that has no leap
// year.
const horizon = 100

// next returns the first minute after t that the expression names.
func (c *cron) next(t time.Time) (time.Time, bool) {
	at := t.Truncate(time.Minute).Add(time.Minute)
	// The first year that is named may be far ahead.
	for limit := c.firstYear(at.Year()) + horizon; at.Year() <= limit; {
		switch {
		case !c.inYear(at.Year()):
			at = time.Date(at.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
		case !c.months.has(int(at.Month())):
			at = time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !c.days.has(at):
			at = time.Date(at.Year(), at.Month(), at.Day()+1, 0, 0, 0, 0, time.UTC)
		case !c.hours.has(at.Hour()):
			at = at.Truncate(time.Hour).Add(time.Hour)
		case !c.minutes.has(at.Minute()):
			at = at.Add(time.Minute)
		default:
			return at, true
		}
	}
	return time.Time{}, false
}

// firstYear returns the first year from the given one on that is named, or the
// given one.
func (c *cron) firstYear(from int) int {
	for year := from; year <= yearField.max; year++ {
		if c.inYear(year) {
			return year
		}
	}
	return from
}

// last returns the last minute from the first time to the second, both included,
// that the expression names.
func (c *cron) last(from, to time.Time) (found time.Time, ok bool) {
	at, more := c.next(from.UTC().Add(-time.Minute))
	for ; more && !at.After(to); at, more = c.next(at) {
		found, ok = at, true
	}
	return found, ok
}
