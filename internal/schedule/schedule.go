// Package schedule reads the schedule expressions of EventBridge rules, rate()
// and six-field cron(), and says when they are due. All times are UTC.
//
// It keeps no state and starts nothing: package bus remembers when rules fired.
// It does not know at(), time zones or flexible windows, which belong to another
// service, EventBridge Scheduler.
package schedule

import (
	"errors"
	"strings"
	"time"
)

// ErrInvalid says that a schedule expression is neither rate() nor cron() as AWS
// takes them. AWS tells no more than that.
var ErrInvalid = errors.New("the schedule expression is not valid")

// MaxLength is AWS's limit for an expression, in characters.
const MaxLength = 256

// Schedule says when a rule is due. It does not change.
type Schedule struct {
	every time.Duration // of rate(), otherwise zero
	cron  *cron         // of cron(), otherwise nil
}

// Parse reads an expression. AWS: lower case, nothing around it, and one space
// where there is one. The error is ErrInvalid.
func Parse(expression string) (*Schedule, error) {
	if len(expression) > MaxLength {
		return nil, ErrInvalid
	}
	if inner, ok := inside(expression, "rate("); ok {
		return parseRate(inner)
	}
	if inner, ok := inside(expression, "cron("); ok {
		return parseCron(inner)
	}
	return nil, ErrInvalid
}

func inside(expression, open string) (string, bool) {
	rest, opened := strings.CutPrefix(expression, open)
	inner, closed := strings.CutSuffix(rest, ")")
	return inner, opened && closed
}

// Next returns the first time after the given one at which the schedule is due,
// false if there is none. A rate counts from start, which is when its rule was
// given it.
func (s *Schedule) Next(after, start time.Time) (time.Time, bool) {
	if s.cron != nil {
		return s.cron.next(after.UTC())
	}
	if after.Before(start) {
		return start.Add(s.every).UTC(), true
	}
	return start.Add(after.Sub(start).Truncate(s.every) + s.every).UTC(), true
}

// Latest returns the last time from due to now, both included, at which the
// schedule is due; due itself must be such a time. It is for what was missed while
// nobody looked.
func (s *Schedule) Latest(due, now, start time.Time) time.Time {
	if s.cron == nil {
		if now.Before(due) {
			return due
		}
		return start.Add(now.Sub(start).Truncate(s.every)).UTC()
	}
	// A cron that is often due is found close to now; to step there from due could
	// take long.
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 32 * 24 * time.Hour} {
		from := now.Add(-back)
		if from.Before(due) {
			break
		}
		if found, ok := s.cron.last(from, now); ok {
			return found
		}
	}
	if found, ok := s.cron.last(due, now); ok {
		return found
	}
	return due
}
