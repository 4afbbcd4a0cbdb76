package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are read from the services when they are asked for.
func (a *App) metrics() *prometheus.Registry {
	m := metricSet{prometheus.NewRegistry()}
	m.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.deliveryMetrics(m)
	a.topicMetrics(m)
	a.functionMetrics(m)
	a.inventoryMetrics(m)
	a.exporterMetrics(m)
	a.intakeMetrics(m)
	a.engineMetrics(m)
	return m.Registry
}

// metricSet makes metrics of functions.
type metricSet struct{ *prometheus.Registry }

func (m metricSet) counter(name, help string, value func() int64) {
	m.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "rialto", Name: name, Help: help},
		func() float64 { return float64(value()) }))
}

// gauge shows -1 for what cannot be read now.
func (m metricSet) gauge(name, help string, value func(ctx context.Context) (int64, error)) {
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "rialto", Name: name, Help: help},
		func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			v, err := value(ctx)
			if err != nil {
				return -1
			}
			return float64(v)
		}))
}

func (a *App) deliveryMetrics(m metricSet) {
	d := a.delivery
	m.counter("events_routed_total", "Events read from the log by the router.", func() int64 { return d.Stats().Routed })
	m.counter("events_matched_total", "Pairs of an event and a subscription that it matched.", func() int64 { return d.Stats().Matched })
	m.counter("delivery_attempts_total", "Attempts to deliver (AWS: InvocationAttempts).", func() int64 { return d.Stats().Attempts })
	m.counter("delivery_retry_attempts_total", "Attempts after the first of their delivery (AWS: RetryInvocationAttempts).", func() int64 { return d.Stats().Retried })
	m.counter("delivery_delivered_total", "Attempts that succeeded.", func() int64 { return d.Stats().Delivered })
	m.counter("delivery_failed_total", "Attempts that failed.", func() int64 { return d.Stats().Failed })
	m.counter("delivery_parked_total", "Deliveries put aside to be tried again.", func() int64 { return d.Stats().Parked })
	m.counter("delivery_diverted_total", "Times a subscription left the shared path.", func() int64 { return d.Stats().Diverted })
	m.counter("delivery_given_up_total", "Deliveries given up: dead-lettered, kept or dropped (AWS: FailedInvocations).", func() int64 { return d.Stats().GivenUp() })
	m.counter("delivery_dead_lettered_total", "Events sent to a dead-letter queue (AWS: InvocationsSentToDlq).", func() int64 { return d.Stats().DeadLettered })
	m.counter("delivery_dead_letter_failed_total", "Failed attempts to send to a dead-letter queue (AWS: InvocationsFailedToBeSentToDlq).", func() int64 { return d.Stats().DeadLetterFailed })
	m.counter("delivery_kept_total", "Events given up and kept as built-in dead letters.", func() int64 { return d.Stats().Kept })
	m.counter("delivery_dropped_total", "Events given up that nothing took.", func() int64 { return d.Stats().Dropped })
	m.counter("delivery_cancelled_total", "Deliveries ended by the deletion of their rule or target.", func() int64 { return d.Stats().Cancelled })
	m.counter("dead_letters_redriven_total", "Built-in dead letters that were redriven.", func() int64 { return d.Stats().Redriven })
	m.counter("dead_letters_discarded_total", "Built-in dead letters that were discarded.", func() int64 { return d.Stats().Discarded })
	m.counter("dead_letters_dropped_total", "Built-in dead letters that were dropped for their age or for want of room.", func() int64 { return d.Stats().LettersDropped })
	m.gauge("dead_letters", "Built-in dead letters.", func(ctx context.Context) (int64, error) {
		letters, _, err := d.KeptDeadLetters(ctx)
		return letters, err
	})
	m.gauge("dead_letter_bytes", "What built-in dead letters count against --dead-letter-bytes.", func(ctx context.Context) (int64, error) {
		_, bytes, err := d.KeptDeadLetters(ctx)
		return bytes, err
	})
}

func (a *App) topicMetrics(m metricSet) {
	topics := a.topics
	m.counter("topic_published_total", "Messages published to topics (AWS: NumberOfMessagesPublished).", func() int64 { return topics.Stats().Published })
	m.counter("topic_filtered_total", "Messages that filter policies kept from subscriptions (AWS: NumberOfNotificationsFilteredOut).", func() int64 { return topics.Stats().Filtered })
	m.counter("topic_attempts_total", "Attempts to deliver messages of topics.", func() int64 { return topics.Stats().Attempts })
	m.counter("topic_delivered_total", "Messages that endpoints of topics took (AWS: NumberOfNotificationsDelivered).", func() int64 { return topics.Stats().Delivered })
	m.counter("topic_failed_total", "Messages of topics given up (AWS: NumberOfNotificationsFailed).", func() int64 { return topics.Stats().Failed })
	m.counter("topic_dead_lettered_total", "Messages of topics sent to a dead-letter queue (AWS: NumberOfNotificationsRedrivenToDlq).", func() int64 { return topics.Stats().DeadLettered })
	m.counter("topic_dropped_total", "Messages of topics given up that nothing took.", func() int64 { return topics.Stats().Dropped })
}

func (a *App) inventoryMetrics(m metricSet) {
	v := a.inventory
	m.counter("inventory_events_stored_total", "Events that webhooks stored.", func() int64 { return v.Measures().EventsStored })
	m.counter("inventory_events_duplicate_total", "Events that webhooks had stored before.", func() int64 { return v.Measures().EventsDuplicate })
	m.counter("inventory_events_rejected_total", "Events that webhooks refused or do not act on.", func() int64 { return v.Measures().EventsRejected })
	m.counter("inventory_unauthorized_total", "Webhook calls without a good token.", func() int64 { return v.Measures().Unauthorized })
	m.counter("inventory_servers_added_total", "Servers added.", func() int64 { return v.Measures().ServersAdded })
	m.counter("inventory_servers_updated_total", "Changes of servers, labels included.", func() int64 { return v.Measures().ServersUpdated })
	m.counter("inventory_servers_removed_total", "Servers removed.", func() int64 { return v.Measures().ServersRemoved })
	m.counter("inventory_agents_enrolled_total", "Enrollments of agents.", func() int64 { return v.Measures().AgentsEnrolled })
	m.counter("inventory_sync_runs_total", "Full syncs.", func() int64 { return v.Measures().SyncRuns })
	m.counter("inventory_sync_failures_total", "Full syncs that could list no region.", func() int64 { return v.Measures().SyncFailures })
	m.counter("inventory_drift_total", "Changes that full syncs found and events should have told.", func() int64 { return v.Measures().Drift })
	m.MustRegister(lagCollector{inventoryLagDesc, func() ([]time.Duration, []int64, time.Duration) {
		lag := v.Measures().Lag
		return lag.Bounds, lag.Counts, lag.Total
	}})
}

func (a *App) exporterMetrics(m metricSet) {
	x := a.exporter
	m.counter("exporter_sync_runs_total", "Full syncs of the exporter.", func() int64 { return x.SyncMeasures().Runs })
	m.counter("exporter_sync_failures_total", "Full syncs of the exporter that could list nothing.", func() int64 { return x.SyncMeasures().Failures })
	m.counter("exporter_sync_listed_total", "Resources that full syncs listed.", func() int64 { return x.SyncMeasures().Listed })
	m.counter("exporter_sync_created_total", "Resources of which full syncs made the first entities.", func() int64 { return x.SyncMeasures().Created })
	m.counter("exporter_sync_updated_total", "Resources whose entities full syncs changed.", func() int64 { return x.SyncMeasures().Updated })
	m.counter("exporter_sync_removed_total", "Resources whose entities full syncs removed.", func() int64 { return x.SyncMeasures().Removed })
	m.counter("exporter_sync_failed_total", "Resources that full syncs could not read or store.", func() int64 { return x.SyncMeasures().Failed })
	m.counter("exporter_sync_held_total", "Removals that full syncs held until they are confirmed.", func() int64 { return x.SyncMeasures().Held })
	m.counter("exporter_drift_total", "Changes that full syncs found and events should have told.", func() int64 { return x.SyncMeasures().Drift })
	m.counter("exporter_records_ignored_total", "Event records that changed nothing, as the configuration does not select their region and account.", func() int64 { return x.SyncMeasures().Ignored })
	m.MustRegister(lagCollector{exporterLagDesc, func() ([]time.Duration, []int64, time.Duration) {
		lag := x.SyncMeasures().Lag
		return lag.Bounds, lag.Counts, lag.Total
	}})
}

func (a *App) intakeMetrics(m metricSet) {
	i := a.intake
	m.counter("intake_events_accepted_total", "Events that sources brought.", func() int64 { return i.Totals().Accepted })
	m.counter("intake_events_duplicate_total", "Events that sources had brought before.", func() int64 { return i.Totals().Duplicates })
	m.counter("intake_events_refused_total", "Events that sources may not bring, and what was none.", func() int64 { return i.Totals().Refused })
	m.counter("intake_unauthorized_total", "Calls of endpoints without a good token.", func() int64 { return i.Totals().Unauthorized })
}

// engineMetrics are those of the log, the traces, the trail and the outbox.
func (a *App) engineMetrics(m metricSet) {
	m.gauge("event_log_bytes", "Size of the event log.", func(ctx context.Context) (int64, error) {
		s, err := a.log.Stats(ctx)
		return s.Bytes, err
	})
	if a.recorder != nil {
		m.counter("trace_entries_total", "Entries recorded for traces.", func() int64 { return a.recorder.Stats().Entries })
		m.counter("trace_dropped_total", "Entries for traces that were lost, because the disk took no more or not fast enough.", func() int64 { return a.recorder.Stats().Dropped })
		m.gauge("trace_bytes", "Size of what is recorded for traces.", func(context.Context) (int64, error) { return a.recorder.Stats().Bytes, nil })
	}
	m.counter("api_calls_recorded_total", "API calls whose CloudTrail event was stored.", func() int64 { return a.trail.Stats().Recorded })
	m.counter("api_calls_lost_total", "API calls that changed nothing and whose CloudTrail event could not be stored.", func() int64 { return a.trail.Stats().Lost })
	m.gauge("outbox_events", "Events waiting in the outbox.", func(ctx context.Context) (int64, error) {
		n, err := a.db.OutboxLen(ctx)
		return int64(n), err
	})
}

// lagCollector shows how long records take to follow events, as a histogram.
type lagCollector struct {
	desc *prometheus.Desc
	// read returns the buckets' upper bounds, their counts with one more for what is above
	// them all, and the sum of all lags.
	read func() (bounds []time.Duration, counts []int64, sum time.Duration)
}

var (
	inventoryLagDesc = prometheus.NewDesc("rialto_inventory_lag_seconds",
		"Time from an event to the change of a server that it caused; events have whole seconds.", nil, nil)
	exporterLagDesc = prometheus.NewDesc("rialto_exporter_lag_seconds",
		"Time from an event to the stored change of a resource's entities; events have whole seconds.", nil, nil)
)

// Describe names the one histogram.
func (c lagCollector) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect reads it.
func (c lagCollector) Collect(to chan<- prometheus.Metric) {
	bounds, counts, sum := c.read()
	buckets, total := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, n := range counts {
		total += uint64(n)
		if i < len(bounds) {
			buckets[bounds[i].Seconds()] = total
		}
	}
	to <- prometheus.MustNewConstHistogram(c.desc, total, sum.Seconds(), buckets)
}

func (a *App) functionMetrics(m metricSet) {
	functions, pool := a.functions, a.functionPool
	m.counter("function_invocations_total", "Times that functions ran (AWS: Invocations).", func() int64 { return pool.Stats().Invocations })
	m.counter("function_errors_total", "Runs that ended in a function's error (AWS: Errors).", func() int64 { return pool.Stats().Failed })
	m.counter("function_refused_total", "Runs for which there was no process.", func() int64 { return pool.Stats().Throttled })
	m.counter("function_processes_started_total", "Processes started for functions.", func() int64 { return pool.Stats().ProcessesStarted })
	m.counter("function_log_lines_lost_total", "Lines that functions logged and that could not be stored.", func() int64 { return pool.Stats().LogLinesLost })
	m.gauge("function_processes", "Processes of functions, idle ones too.", func(context.Context) (int64, error) { return int64(pool.Stats().Processes), nil })
	m.counter("function_async_accepted_total", "Asynchronous invocations accepted (AWS: AsyncEventsReceived).", func() int64 { return functions.Stats().Accepted })
	m.counter("function_async_invoked_total", "Runs that functions made of asynchronous invocations, retries too.", func() int64 { return functions.Stats().Invoked })
	m.counter("function_async_failed_total", "Asynchronous invocations given up.", func() int64 { return functions.Stats().Failed })
	m.counter("function_async_dead_lettered_total", "Asynchronous invocations sent to a dead-letter queue or topic.", func() int64 { return functions.Stats().DeadLettered })
	m.counter("function_async_dropped_total", "Asynchronous invocations given up that nothing took (AWS: AsyncEventsDropped).", func() int64 { return functions.Stats().Dropped })
	m.counter("function_throttled_total", "Attempts in the background for which there was no process (AWS: Throttles).", func() int64 { return functions.Stats().Throttled })
	m.counter("event_source_received_total", "Messages that event source mappings got of queues.", func() int64 { return functions.Stats().Received })
	m.counter("event_source_filtered_total", "Messages that no filter of their mapping wanted.", func() int64 { return functions.Stats().Filtered })
	m.counter("event_source_batches_total", "Invocations with messages of queues.", func() int64 { return functions.Stats().Batches })
	m.counter("event_source_failed_batches_total", "Invocations with messages of queues that failed as a whole.", func() int64 { return functions.Stats().FailedBatches })
}
