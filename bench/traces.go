package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// traces compares PutEvents of a server that records what becomes of events with one
// that does not, in turns.
func (b *bench) traces(ctx context.Context) (err error) {
	serve := func(more ...string) (*server, error) {
		dir, err := b.temp("data")
		if err != nil {
			return nil, err
		}
		s, err := startServer(ctx, dir, append([]string{b.program, "serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "rialto")}, more...)...)
		if err != nil {
			return nil, err
		}
		return s, s.queueRule("idle", "nothing has this type")
	}
	with, err := serve()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, with.stop()) }()
	without, err := serve("--trace-bytes", "0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, without.stop()) }()
	var rates, times [2][]float64 // with, without
	var rateRatio, timeRatio []float64
	for range b.pairs {
		for i, s := range []*server{with, without} {
			used := s.cpuTime()
			rate, err := b.putRate(s)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], rate)
			times[i] = append(times[i], (s.cpuTime()-used).Seconds()*1e6/(rate*b.length.Seconds()))
		}
		n := len(rates[0]) - 1
		rateRatio, timeRatio = append(rateRatio, rates[0][n]/rates[1][n]), append(timeRatio, times[0][n]/times[1][n])
	}
	b.rows = append(b.rows,
		row{"durable PutEvents over HTTP, each event recorded for traces", thousands(median(rates[0])) + " events/s",
			"the same with --trace-bytes 0: " + thousands(median(rates[1])) + " events/s", spread(rateRatio), "≥ 0.95"},
		row{"the server's processor time per event, recorded for traces", fmt.Sprintf("%.1f µs", median(times[0])),
			fmt.Sprintf("the same with --trace-bytes 0: %.1f µs", median(times[1])), spread(timeRatio), "≤ 1.05"})
	return nil
}
