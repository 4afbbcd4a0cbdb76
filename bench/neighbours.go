package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"
)

const neighbourRate = 5000 // events/s

// neighbours measures a healthy target alone and beside one that hangs and one
// that takes 300 events a second, all three following the same events.
func (b *bench) neighbours(ctx context.Context) error {
	release := make(chan struct{})
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hung" {
			<-release
		}
	}))
	defer endpoint.Close()
	defer close(release)

	var alone, beside [2][]time.Duration
	var ratios []float64
	for range b.pairs {
		one, err := b.healthy(ctx, "")
		if err != nil {
			return err
		}
		other, err := b.healthy(ctx, endpoint.URL)
		if err != nil {
			return err
		}
		for i, p := range []float64{50, 99} {
			alone[i], beside[i] = append(alone[i], one.at(p)), append(beside[i], other.at(p))
		}
		ratios = append(ratios, float64(other.at(99))/float64(one.at(99)))
	}
	b.rows = append(b.rows, row{
		fmt.Sprintf("PutEvents call → row in a queue committed, %s events/s, beside a target that hangs and one limited to 300/s", thousands(neighbourRate)),
		fmt.Sprintf("p50 %s, p99 %s", ms(median(beside[0])), ms(median(beside[1]))),
		fmt.Sprintf("the queue alone: p50 %s, p99 %s", ms(median(alone[0])), ms(median(alone[1]))),
		spread(ratios) + " of p99", "≤ 2"})
	return nil
}

// healthy measures a queue on a new server, with the neighbours at the URL if one
// is given.
func (b *bench) healthy(ctx context.Context, neighbours string) (l latencies, err error) {
	s, err := b.serveWatched(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.queueRule(watchedRule, "order placed"); err != nil {
		return nil, err
	}
	if neighbours != "" {
		err := errors.Join(
			s.endpointRule("hung", "order placed", neighbours+"/hung", 10000),
			s.endpointRule("limited", "order placed", neighbours+"/limited", 300))
		if err != nil {
			return nil, err
		}
	}
	kinds := [][]string{{"order placed"}}
	// Long enough for the neighbours to leave the shared path before it counts.
	if err := s.paced(neighbourRate, 2*time.Second, kinds); err != nil {
		return nil, err
	}
	if _, err := s.report(); err != nil {
		return nil, err
	}
	if err := s.paced(neighbourRate, b.length, kinds); err != nil {
		return nil, err
	}
	w, err := s.report()
	if err != nil {
		return nil, err
	}
	if want := int(b.length.Seconds() * neighbourRate); len(w.Delivered) < want*9/10 {
		return nil, fmt.Errorf("the healthy target got %d of %d events in time", len(w.Delivered), want)
	}
	return w.Delivered, nil
}
