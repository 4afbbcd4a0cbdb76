package schedule

import (
	"strings"
	"time"
)

// dayRule says which days of a month a cron names. One field of the two does.
type dayRule struct {
	days     set // of the month
	weekdays set // 1 is Sunday

	last      bool // counted back from the month's last day: L, L-3
	before    int  // how many days before it
	near      bool // the weekday nearest to the day: 3W, LW
	nearDay   int  // the day, 0 for the last
	nth       int  // the weekday's number in the month: 3#2 is the second Tuesday
	lastOfDay bool // the last of that weekday in the month: 6L
	weekday   int  // for the two above, 1 is Sunday
}

// parseDays reads the fields day of month and day of week. AWS: one of them, and
// not both, is a question mark.
func parseDays(ofMonth, ofWeek string) (dayRule, bool) {
	switch {
	case (ofMonth == "?") == (ofWeek == "?"):
		return dayRule{}, false
	case ofWeek == "?":
		return parseDayOfMonth(ofMonth)
	}
	return parseDayOfWeek(ofWeek)
}

func parseDayOfMonth(text string) (r dayRule, ok bool) {
	if text == "LW" {
		return dayRule{near: true}, true
	}
	if day, isNear := strings.CutSuffix(text, "W"); isNear {
		r.near = true
		r.nearDay, ok = dayField.value(day)
		return r, ok
	}
	if text == "L" {
		return dayRule{last: true}, true
	}
	if before, isLast := strings.CutPrefix(text, "L-"); isLast {
		r.last = true
		r.before, ok = field{min: 0, max: 30}.value(before)
		return r, ok
	}
	r.days, ok = dayField.set(text)
	return r, ok
}

func parseDayOfWeek(text string) (r dayRule, ok bool) {
	if text == "L" { // AWS: the last day of the week
		return dayRule{weekdays: 1 << 7}, true
	}
	if day, isLast := strings.CutSuffix(text, "L"); isLast {
		r.lastOfDay = true
		r.weekday, ok = weekdayField.value(day)
		return r, ok
	}
	if day, nth, isNth := strings.Cut(text, "#"); isNth {
		if r.weekday, ok = weekdayField.value(day); !ok {
			return r, false
		}
		r.nth, ok = field{min: 1, max: 5}.value(nth)
		return r, ok
	}
	if strings.Contains(text, "/") { // AWS: no steps among the days of a week
		return r, false
	}
	r.weekdays, ok = weekdayField.set(text)
	return r, ok
}

// has reports whether the day of t is named.
func (r *dayRule) has(t time.Time) bool {
	day, last := t.Day(), daysIn(t)
	weekday := int(t.Weekday()) + 1
	switch {
	case r.near:
		target := r.nearDay
		if target == 0 {
			target = last
		}
		return target <= last && day == nearestWeekday(t, target, last)
	case r.last:
		return day == last-r.before
	case r.nth > 0:
		return weekday == r.weekday && (day-1)/7+1 == r.nth
	case r.lastOfDay:
		return weekday == r.weekday && day+7 > last
	}
	return r.days.has(day) || r.weekdays.has(weekday)
}

// nearestWeekday returns the day from Monday to Friday that is nearest to the day
// of t's month, within that month.
func nearestWeekday(t time.Time, day, last int) int {
	switch time.Date(t.Year(), t.Month(), day, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if day == 1 {
			return day + 2
		}
		return day - 1
	case time.Sunday:
		if day == last {
			return day - 2
		}
		return day + 1
	}
	return day
}

// daysIn returns how many days the month of t has.
func daysIn(t time.Time) int {
	return time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
