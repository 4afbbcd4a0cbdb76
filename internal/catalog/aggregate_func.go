package catalog

import (
	"math"
	"slices"
	"time"
)

// result is the property's value for an entity that is related to others; none where there is
// nothing to compute it from.
func (a *aggregation) result(related []int64) (float64, bool) {
	var list []aggregated
	for _, id := range related {
		v := a.values[id]
		if v.counts && (a.By != "property" || v.isValue) {
			list = append(list, v)
		}
	}
	if a.By != "property" {
		if a.Func == "count" {
			return float64(len(list)), true
		}
		n, units := a.overTime(list)
		return n / units, true
	}
	if a.Func == "sum" {
		return finite(sum(list))
	}
	if len(list) == 0 {
		return 0, false
	}
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = v.value
	}
	slices.Sort(values)
	switch half := len(values) / 2; {
	case a.Func == "min":
		return values[0], true
	case a.Func == "max":
		return values[len(values)-1], true
	case a.Func == "median" && len(values)%2 == 0:
		return finite(values[half-1]/2 + values[half]/2)
	case a.Func == "median":
		return values[half], true
	case a.AverageOf == "total" || a.AverageOf == "":
		return finite(sum(list) / float64(len(list)))
	}
	_, units := a.overTime(list)
	return finite(sum(list) / units)
}

// finite leaves out what is no number that JSON has.
func finite(f float64) (float64, bool) { return f, !math.IsInf(f, 0) && !math.IsNaN(f) }

func sum(list []aggregated) (total float64) {
	for _, v := range list {
		total += v.value
	}
	return total
}

// overTime counts the entities that have a time, and the hours, days, weeks or months, of 30
// days, from the earliest of them until now: one at least.
func (a *aggregation) overTime(list []aggregated) (n, units float64) {
	length := map[string]time.Duration{"hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour, "month": 30 * 24 * time.Hour}[a.AverageOf]
	now := a.s.now
	first := now
	for _, v := range list {
		if !v.isTime {
			continue
		}
		n++
		if v.at.Before(first) {
			first = v.at
		}
	}
	if length == 0 { // in total
		return n, 1
	}
	return n, max(1, math.Ceil(float64(now.Sub(first))/float64(length)))
}
