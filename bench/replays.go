package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	liveRate     = 1000  // events/s that live callers put
	replayedSize = 60000 // events in the archive
	archiveRate  = 10000 // events/s that fill it
)

// replays measures how soon live events reach a queue alone and while an archive is
// replayed to the same queue by the same rule, and how fast that goes.
func (b *bench) replays(ctx context.Context) (err error) {
	s, err := b.serveWatched(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.archive(ctx, "kept", "order kept"); err != nil {
		return err
	}
	if err := s.rule2("order placed", "order kept"); err != nil {
		return err
	}
	live := [][]string{{"order placed"}}
	if err := s.paced(liveRate, time.Second, live); err != nil { // warm
		return err
	}
	var alone, beside [2][]time.Duration
	var ratios, rates []float64
	for n := range b.pairs {
		one, _, err := b.liveDuring(ctx, s, "")
		if err != nil {
			return err
		}
		other, rate, err := b.liveDuring(ctx, s, fmt.Sprint("r", n))
		if err != nil {
			return err
		}
		for i, p := range []float64{50, 99} {
			alone[i], beside[i] = append(alone[i], one.at(p)), append(beside[i], other.at(p))
		}
		ratios, rates = append(ratios, float64(other.at(99))/float64(one.at(99))), append(rates, rate)
	}
	b.rows = append(b.rows, row{
		fmt.Sprintf("PutEvents call → row in a queue committed, %s events/s, while a replay puts %s events/s for the same target", thousands(liveRate), thousands(median(rates))),
		fmt.Sprintf("p50 %s, p99 %s", ms(median(beside[0])), ms(median(beside[1]))),
		fmt.Sprintf("without the replay: p50 %s, p99 %s", ms(median(alone[0])), ms(median(alone[1]))),
		spread(ratios) + " of p99", ""})
	return nil
}

// rule2 makes the watched rule, for two detail types, with a queue of its name.
func (c *client) rule2(one, other string) error {
	if err := c.queueRule(watchedRule, one); err != nil {
		return err
	}
	_, err := c.call("events", "PutRule", map[string]any{"Name": watchedRule, "EventPattern": fmt.Sprintf(`{"detail-type":[%q,%q]}`, one, other)})
	return err
}

// archive makes an archive of a detail type and fills it.
func (s *server) archive(ctx context.Context, name, detailType string) error {
	_, err := s.call("events", "CreateArchive", map[string]any{
		"ArchiveName": name, "EventSourceArn": defaultBus(), "EventPattern": fmt.Sprintf(`{"detail-type":[%q]}`, detailType),
	})
	if err != nil {
		return err
	}
	if err := s.paced(archiveRate, replayedSize/archiveRate*time.Second, [][]string{{detailType}}); err != nil {
		return err
	}
	for {
		a, err := s.call("events", "DescribeArchive", map[string]any{"ArchiveName": name})
		if err != nil {
			return err
		}
		if n, ok := a["EventCount"].(float64); ok && n >= replayedSize*9/10 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func defaultBus() string { return "arn:aws:events:" + region + ":" + account + ":event-bus/default" }

// liveDuring measures live events while the replay of the name runs, and how many
// events that replays a second; without a name, alone.
func (b *bench) liveDuring(ctx context.Context, s *server, replay string) (l latencies, rate float64, err error) {
	if replay != "" {
		_, err := s.call("events", "StartReplay", map[string]any{
			"ReplayName": replay, "EventSourceArn": strings.Replace(defaultBus(), "event-bus/default", "archive/kept", 1),
			"EventStartTime": 0, "EventEndTime": time.Now().Add(time.Hour).Unix(), "Destination": map[string]string{"Arn": defaultBus()},
		})
		if err != nil {
			return nil, 0, err
		}
	}
	if _, err := s.report(); err != nil {
		return nil, 0, err
	}
	if err := s.paced(liveRate, b.length, [][]string{{"order placed"}}); err != nil {
		return nil, 0, err
	}
	w, err := s.report()
	if err != nil || replay == "" {
		return w.Delivered, 0, err
	}
	if want := int(b.length.Seconds() * liveRate); len(w.Delivered) < want*9/10 {
		return nil, 0, fmt.Errorf("of %d live events %d were delivered in time", want, len(w.Delivered))
	}
	var r struct {
		State    string `json:"state"`
		Replayed int    `json:"replayed"`
	}
	if err := s.rest(ctx, "GET", "/v1/replays/"+replay, nil, &r); err != nil {
		return nil, 0, err
	}
	if r.State != "RUNNING" {
		return nil, 0, fmt.Errorf("the replay is %s after %d events: it did not last as long as the measurement", r.State, r.Replayed)
	}
	if _, err := s.call("events", "CancelReplay", map[string]any{"ReplayName": replay}); err != nil {
		return nil, 0, err
	}
	for r.State != "CANCELLED" {
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if err := s.rest(ctx, "GET", "/v1/replays/"+replay, nil, &r); err != nil {
			return nil, 0, err
		}
	}
	return w.Delivered, perSecond(r.Replayed, b.length), nil
}
