package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are read from the services when they are asked for.
func (a *App) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, value func() int64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "rialto", Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	gauge := func(name, help string, value func(ctx context.Context) (int64, error)) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "rialto", Name: name, Help: help},
			func() float64 {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				v, err := value(ctx)
				if err != nil {
					return -1 // cannot be read now
				}
				return float64(v)
			}))
	}
	d := a.delivery
	counter("events_routed_total", "Events read from the log by the router.", func() int64 { return d.Stats().Routed })
	counter("events_matched_total", "Pairs of an event and a subscription that it matched.", func() int64 { return d.Stats().Matched })
	counter("delivery_attempts_total", "Attempts to deliver.", func() int64 { return d.Stats().Attempts })
	counter("delivery_delivered_total", "Attempts that succeeded.", func() int64 { return d.Stats().Delivered })
	counter("delivery_failed_total", "Attempts that failed.", func() int64 { return d.Stats().Failed })
	counter("delivery_parked_total", "Deliveries put aside to be tried again.", func() int64 { return d.Stats().Parked })
	counter("delivery_diverted_total", "Times a subscription left the shared path.", func() int64 { return d.Stats().Diverted })
	counter("delivery_dead_lettered_total", "Events sent to a dead-letter queue.", func() int64 { return d.Stats().DeadLettered })
	counter("delivery_dead_letter_failed_total", "Failed attempts to send to a dead-letter queue.", func() int64 { return d.Stats().DeadLetterFailed })
	counter("delivery_dropped_total", "Events given up without a dead-letter queue.", func() int64 { return d.Stats().Dropped })
	counter("delivery_cancelled_total", "Deliveries ended by the deletion of their rule or target.", func() int64 { return d.Stats().Cancelled })
	gauge("event_log_bytes", "Size of the event log.", func(ctx context.Context) (int64, error) {
		s, err := a.log.Stats(ctx)
		return int64(s.Bytes), err
	})
	gauge("outbox_events", "Events waiting in the outbox.", func(ctx context.Context) (int64, error) {
		n, err := a.db.OutboxLen(ctx)
		return int64(n), err
	})
	return r
}
