package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// latencies are of one run.
type latencies []time.Duration

// at returns the p-th percentile, 0 without any.
func (l latencies) at(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(l))
	return sorted[min(int(float64(len(sorted))*p/100), len(sorted)-1)]
}

func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// spread is the median with the least and the most.
func spread(values []float64) string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", median(values), slices.Min(values), slices.Max(values))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// thousands writes 123456 as 123,456.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
