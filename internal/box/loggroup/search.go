package loggroup

import (
	"context"
	"math"
)

// maxSearched bounds what one FilterLogEvents call looks at; the token that it
// returns goes on from there. AWS: a page may be empty and have a token.
const (
	maxSearchedEvents = 10_000
	maxSearchedBytes  = 16 << 20
)

// searchRequest is what FilterLogEvents asks for.
type searchRequest struct {
	start, end int64 // both included; 0: no end
	streams    []string
	prefix     string
	filter     filter
	limit      int
	after      position
}

// found are a group's events that a search found, in order of time.
type found struct {
	events []storedEvent
	names  map[int64]string // of their streams
	next   *position        // nil at the end
}

// search looks for events of a group.
func (g *Groups) search(ctx context.Context, r Ref, req searchRequest) (found, error) {
	if err := checkStreamName(req.prefix); err != nil {
		return found{}, err
	}
	have, err := g.find(ctx, g.db, r)
	if err != nil {
		return found{}, err
	}
	within := eventRange{
		group: have.id, prefix: req.prefix, beyond: req.after,
		start: max(req.start, have.keptFrom(g.now())), end: math.MaxInt64,
	}
	if req.end > 0 {
		within.end = req.end
	}
	for _, name := range req.streams {
		s, err := g.findStream(ctx, g.db, have, name)
		if err != nil {
			return found{}, err
		}
		within.streams = append(within.streams, s.id)
	}
	out := found{names: map[int64]string{}}
	if err := g.scan(ctx, within, req, &out); err != nil {
		return found{}, err
	}
	return out, streamNames(ctx, g.db, out.events, out.names)
}

// scan adds the events that the filter lets through, until there are enough of
// them or enough was looked at.
func (g *Groups) scan(ctx context.Context, within eventRange, req searchRequest, out *found) error {
	searched, read, size := 0, 0, 0
	for {
		list, err := readEvents(ctx, g.db, within, readChunk)
		if err != nil {
			return err
		}
		for _, e := range list {
			if req.filter(e.message) {
				if size += len(e.message) + eventOverhead; size > maxPageBytes && len(out.events) > 0 {
					out.next = &within.beyond
					return nil
				}
				out.events = append(out.events, e)
			}
			within.beyond = e.position
			read += len(e.message)
			if len(out.events) == req.limit {
				out.next = &within.beyond
				return nil
			}
		}
		if len(list) < readChunk {
			return nil
		}
		if searched += len(list); searched >= maxSearchedEvents || read >= maxSearchedBytes {
			out.next = &within.beyond
			return nil
		}
	}
}
