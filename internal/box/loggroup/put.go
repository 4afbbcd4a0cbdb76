package loggroup

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/store"
)

// AWS's limits of a PutLogEvents call.
const (
	// maxBatchBytes and maxEventBytes count each event as its message in UTF-8
	// and 26 bytes more.
	maxBatchBytes = 1 << 20
	maxEventBytes = 1 << 20
	eventOverhead = 26
	// maxSpan is between the oldest and the newest event of a batch.
	maxSpan = dayMillis
	// maxPast and maxFuture are how far an event's time may be from now.
	maxPast   = 14 * dayMillis
	maxFuture = 2 * 60 * 60 * 1000
)

// logEvent is one event as it is stored. Its time is in unix milliseconds.
type logEvent struct {
	at      int64
	message string
}

func (e *logEvent) size() int { return len(e.message) + eventOverhead }

// rejected says which events of a batch were not taken, as indexes into it: those
// before expired and tooOld, and those from tooNew. Each is -1 where there are
// none.
type rejected struct {
	expired, tooOld, tooNew int
}

// put stores the events of a batch that are neither too old nor too new, and
// returns which are. They are durable when it returns; when it fails, some of them
// may be there, as after a crash, and come twice if they are put again.
func (g *Groups) put(ctx context.Context, r Ref, streamName string, events []logEvent) (rejected, error) {
	none := rejected{-1, -1, -1}
	if err := checkBatch(events); err != nil {
		return none, err
	}
	have, err := g.find(ctx, g.db, r)
	if err != nil {
		return none, err
	}
	into, err := g.findStream(ctx, g.db, have, streamName)
	if err != nil {
		return none, err
	}
	now := g.now()
	taken, rej := sortOut(events, now, have.keptFrom(now))
	if len(taken) == 0 {
		return rej, nil
	}
	for chunk := range slices.Chunk(taken, putChunk) {
		err := g.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return addEvents(ctx, tx, have.id, into.id, chunk, now) })
		if err != nil {
			return none, err
		}
	}
	return rej, nil
}

// putChunk is how many events are stored in one transaction: a batch of 10,000 would
// keep all others who write waiting.
const putChunk = 1000

func addEvents(ctx context.Context, tx *store.Tx, group, stream int64, events []logEvent, now int64) error {
	there, err := touchStream(ctx, tx, stream, events, now)
	if err != nil {
		return err
	}
	if !there { // dropped since it was found
		return errNoStream()
	}
	return insertEvents(ctx, tx, group, stream, events, now)
}

// checkBatch refuses a batch as a whole.
func checkBatch(events []logEvent) error {
	total := 0
	for i := range events {
		e := &events[i]
		if e.size() > maxEventBytes {
			return errParameter("Log event too large: %d bytes exceeds limit of %d", e.size(), maxEventBytes)
		}
		if !utf8.ValidString(e.message) {
			return errParameter("Log event %d is not valid UTF-8.", i)
		}
		if i > 0 && e.at < events[i-1].at {
			return errParameter("Log events in a single PutLogEvents request must be in chronological order.")
		}
		total += e.size()
	}
	if total > maxBatchBytes {
		return errParameter("Upload too large: %d bytes exceeds limit of %d", total, maxBatchBytes)
	}
	if len(events) > 0 && events[len(events)-1].at-events[0].at > maxSpan {
		return errParameter("The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
	}
	return nil
}

// sortOut returns the events that may be stored. They are in order of time, so
// that what is too old comes first and what is too new last.
func sortOut(events []logEvent, now, keptFrom int64) ([]logEvent, rejected) {
	rej := rejected{-1, -1, -1}
	from, to := 0, len(events)
	for i := range events {
		switch at := events[i].at; {
		case at < now-maxPast:
			rej.tooOld, from = i+1, i+1
		case at < keptFrom:
			rej.expired, from = i+1, i+1
		case at > now+maxFuture && rej.tooNew < 0:
			rej.tooNew, to = i, i
		}
	}
	return events[from:to], rej
}
