package function

import "sync/atomic"

// Stats count what this process did since it started.
type Stats struct {
	// Accepted are asynchronous invocations that were stored, Invoked the runs that functions
	// made of them, retries too. AWS: AsyncEventsReceived, Invocations.
	Accepted, Invoked int64
	// Failed are those that were given up, DeadLettered the ones of them that a dead-letter
	// queue or topic took, Dropped the ones that nothing took. AWS: AsyncEventsDropped.
	Failed, DeadLettered, Dropped int64
	// Received are messages that event source mappings got of queues, Filtered those of them that
	// no filter wanted. Batches are invocations with the rest, FailedBatches those that
	// functions failed as a whole.
	Received, Filtered, Batches, FailedBatches int64
	// Throttled are attempts, asynchronous or of mappings, for which there was no process. AWS: Throttles.
	Throttled int64
}

type counters struct {
	accepted, invoked, failed, deadLettered, dropped, received, filtered, batches, failedBatches, throttled atomic.Int64
}

// Stats returns the counts.
func (f *Functions) Stats() Stats {
	c := &f.counts
	return Stats{
		Accepted: c.accepted.Load(), Invoked: c.invoked.Load(), Failed: c.failed.Load(), DeadLettered: c.deadLettered.Load(), Dropped: c.dropped.Load(),
		Received: c.received.Load(), Filtered: c.filtered.Load(), Batches: c.batches.Load(), FailedBatches: c.failedBatches.Load(), Throttled: c.throttled.Load(),
	}
}
