package schedule

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// parseRate reads what is inside rate(). AWS: one space; the unit is in the
// singular for 1 and in the plural for more.
func parseRate(text string) (*Schedule, error) {
	value, unit, ok := strings.Cut(text, " ")
	if !ok || !allDigits(value) {
		return nil, ErrInvalid
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n == 0 {
		return nil, ErrInvalid
	}
	if n > 1 {
		if unit, ok = strings.CutSuffix(unit, "s"); !ok {
			return nil, ErrInvalid
		}
	}
	var each time.Duration
	switch unit {
	case "minute":
		each = time.Minute
	case "hour":
		each = time.Hour
	case "day":
		each = 24 * time.Hour
	default:
		return nil, ErrInvalid
	}
	if n > int64(math.MaxInt64/2/each) { // times are added to it
		return nil, ErrInvalid
	}
	return &Schedule{every: time.Duration(n) * each}, nil
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
