package topic

import "sync/atomic"

// Stats count what this process did since it started.
type Stats struct {
	// Published are messages, Filtered those that a subscription's policy kept out, counted
	// for each. AWS: NumberOfMessagesPublished, NumberOfNotificationsFilteredOut.
	Published, Filtered int64
	// Delivered, Failed and Dropped are deliveries that an endpoint took, that were
	// given up, and of those the ones that no dead-letter queue took. AWS:
	// NumberOfNotificationsDelivered, NumberOfNotificationsFailed.
	Delivered, Failed, Dropped int64
	// Attempts counts retries, too.
	Attempts int64
	// DeadLettered are given up ones that a dead-letter queue took. AWS:
	// NumberOfNotificationsRedrivenToDlq.
	DeadLettered int64
}

type counters struct {
	published, filtered, attempts, delivered, failed, dropped, deadLettered atomic.Int64
}

// Stats returns the counts.
func (t *Topics) Stats() Stats {
	c := &t.counts
	return Stats{
		Published: c.published.Load(), Filtered: c.filtered.Load(), Attempts: c.attempts.Load(), Delivered: c.delivered.Load(),
		Failed: c.failed.Load(), Dropped: c.dropped.Load(), DeadLettered: c.deadLettered.Load(),
	}
}
