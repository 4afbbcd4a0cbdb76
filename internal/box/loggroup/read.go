package loggroup

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/rialto-bus/rialto/internal/store"
)

// AWS: a page has at most 10,000 events and 1 MiB.
const (
	maxPageEvents = 10_000
	maxPageBytes  = 1 << 20
	// readChunk is how many events are read at a time, so that large ones do not
	// fill the memory before the page is.
	readChunk = 100
)

// position is where an event stands in its stream and its group: by time, then
// by arrival.
type position struct{ at, id int64 }

var lastPosition = position{math.MaxInt64, math.MaxInt64}

// String returns the position as AWS writes the ids of events and what tokens
// hold: 56 digits.
func (p position) String() string { return fmt.Sprintf("%020d%036d", p.at, p.id) }

// parsePosition reads what String wrote; 62 bits, so that there is one after it.
func parsePosition(s string) (p position, ok bool) {
	if len(s) != 56 {
		return p, false
	}
	at, errAt := strconv.ParseUint(s[:20], 10, 62)
	id, errID := strconv.ParseUint(s[20:], 10, 62)
	return position{int64(at), int64(id)}, errAt == nil && errID == nil
}

// pageRequest is what GetLogEvents asks for.
type pageRequest struct {
	start, end int64 // end is excluded; 0: no end
	limit      int
	token      string
	fromHead   bool
}

// page is a part of a stream, in order of time.
type page struct {
	events            []storedEvent
	forward, backward string // tokens
}

// tokenForm is AWS's: f/ or b/ for the direction, a position and a suffix.
var tokenForm = regexp.MustCompile(`^([fb])/([0-9]{56})/s$`)

func forwardToken(p position) string  { return "f/" + p.String() + "/s" }
func backwardToken(p position) string { return "b/" + p.String() + "/s" }

// read returns a page of a stream. AWS: at an end of the stream the token in that
// direction is the one that was given.
func (g *Groups) read(ctx context.Context, r Ref, streamName string, req pageRequest) (page, error) {
	have, err := g.find(ctx, g.db, r)
	if err != nil {
		return page{}, err
	}
	of, err := g.findStream(ctx, g.db, have, streamName)
	if err != nil {
		return page{}, err
	}
	within := eventRange{
		group: have.id, streams: []int64{of.id}, backward: !req.fromHead,
		start: max(req.start, have.keptFrom(g.now())), end: math.MaxInt64,
	}
	if req.end > 0 {
		within.end = req.end - 1
	}
	if within.backward {
		within.beyond = lastPosition
	}
	if req.token != "" {
		m := tokenForm.FindStringSubmatch(req.token)
		if m == nil {
			return page{}, errToken()
		}
		var ok bool
		if within.beyond, ok = parsePosition(m[2]); !ok {
			return page{}, errToken()
		}
		within.backward = m[1] == "b"
	}
	events, err := collect(ctx, g.db, within, req.limit)
	if err != nil {
		return page{}, err
	}
	if within.backward {
		slices.Reverse(events)
	}
	return paged(events, within, req.token), nil
}

// paged adds the tokens to events that are in order of time.
func paged(events []storedEvent, within eventRange, token string) page {
	p := page{events: events}
	switch {
	case len(events) > 0:
		p.backward, p.forward = backwardToken(events[0].position), forwardToken(events[len(events)-1].position)
	case token == "":
		p.backward, p.forward = backwardToken(position{}), forwardToken(position{})
	case within.backward: // what lies ahead begins with the position itself
		p.backward, p.forward = token, forwardToken(position{within.beyond.at, max(within.beyond.id-1, 0)})
	default:
		p.backward, p.forward = backwardToken(position{within.beyond.at, within.beyond.id + 1}), token
	}
	return p
}

// collect reads events until there are limit of them, or a page's bytes.
func collect(ctx context.Context, q store.Querier, within eventRange, limit int) ([]storedEvent, error) {
	var out []storedEvent
	bytes := 0
	for len(out) < limit {
		chunk := min(readChunk, limit-len(out))
		list, err := readEvents(ctx, q, within, chunk)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if bytes += len(e.message) + eventOverhead; bytes > maxPageBytes && len(out) > 0 {
				return out, nil
			}
			out = append(out, e)
		}
		if len(list) < chunk {
			return out, nil
		}
		within.beyond = list[len(list)-1].position
	}
	return out, nil
}
