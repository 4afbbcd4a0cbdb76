package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	deliveryRate = 20000 // events/s put
	selectedRate = 1000  // events/s that the rule selects
	pacedWrite   = 16 << 10
)

// delivery measures how soon an event reaches the lane of its target and the
// queue's table, beside what a sync takes at the same rate of bytes.
func (b *bench) delivery(ctx context.Context) (err error) {
	s, err := b.serveWatched(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.queueRule(watchedRule, "selected"); err != nil {
		return err
	}
	// Every second call carries one selected event: 1,000 of 20,000.
	kinds := [][]string{{"selected", "other", "other", "other", "other", "other", "other", "other", "other", "other"}, {"other"}}
	if err := s.paced(deliveryRate, time.Second, kinds); err != nil { // warm
		return err
	}
	if _, err := s.report(); err != nil {
		return err
	}
	var syncs, handed, stored [2][]time.Duration // p50, p99
	var handedRatio, storedRatio []float64
	for range b.pairs {
		sync, err := b.pacedSyncs()
		if err != nil {
			return err
		}
		if err := s.paced(deliveryRate, b.length, kinds); err != nil {
			return err
		}
		w, err := s.report()
		if err != nil {
			return err
		}
		want := int(b.length.Seconds() * selectedRate)
		if len(w.HandedOver) < want*9/10 || len(w.Delivered) < want*9/10 {
			return fmt.Errorf("of %d selected events %d were handed over and %d delivered", want, len(w.HandedOver), len(w.Delivered))
		}
		for i, p := range []float64{50, 99} {
			syncs[i], handed[i], stored[i] = append(syncs[i], sync.at(p)), append(handed[i], w.HandedOver.at(p)), append(stored[i], w.Delivered.at(p))
		}
		handedRatio = append(handedRatio, float64(w.HandedOver.at(99))/float64(sync.at(99)))
		storedRatio = append(storedRatio, float64(w.Delivered.at(99))/float64(sync.at(99)))
	}
	figures := func(l [2][]time.Duration) string {
		return fmt.Sprintf("p50 %s, p99 %s", ms(median(l[0])), ms(median(l[1])))
	}
	beside := fmt.Sprintf("append of 16 KB + fsync, %d/s: %s", deliveryRate*detailSize/pacedWrite, figures(syncs))
	at := fmt.Sprintf(" at %s events/s, of which a rule selects %s/s for a queue", thousands(deliveryRate), thousands(selectedRate))
	b.rows = append(b.rows,
		row{"PutEvents call → handed to the lane," + at, figures(handed), beside, spread(handedRatio) + " of p99", "≤ 2.5"},
		row{"PutEvents call → row in the queue committed," + at, figures(stored), beside, spread(storedRatio) + " of p99", ""})
	return nil
}

// pacedSyncs appends 16 KB and syncs, at the rate of bytes of the delivery
// benchmark.
func (b *bench) pacedSyncs() (l latencies, err error) {
	f, err := os.Create(filepath.Join(b.dir, "paced"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	chunk := bytes.Repeat([]byte{'x'}, pacedWrite)
	interval := time.Second * pacedWrite / (deliveryRate * detailSize)
	start := time.Now()
	for n := 0; ; n++ {
		due := start.Add(interval * time.Duration(n))
		if due.Sub(start) >= b.length {
			return l, nil
		}
		time.Sleep(time.Until(due))
		began := time.Now()
		if _, err := f.Write(chunk); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		l = append(l, time.Since(began))
	}
}
