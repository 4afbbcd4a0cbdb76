package loggroup

import (
	"context"
	"strings"

	"github.com/rialto-bus/rialto/internal/store"
)

// stream is a log stream as it was read. Times are unix milliseconds; those of
// events are nil while it has none.
type stream struct {
	id             int64
	name           string
	createdAt      int64
	firstEventAt   *int64
	lastEventAt    *int64
	lastIngestedAt *int64
}

// arn returns the stream's ARN.
func (s *stream) arn(of Ref) string { return of.ARN() + ":log-stream:" + s.name }

// findStream returns the group's stream, or ResourceNotFoundException.
func (g *Groups) findStream(ctx context.Context, q store.Querier, have *group, name string) (*stream, error) {
	if err := checkStreamName(name); err != nil {
		return nil, err
	}
	s, found, err := findStream(ctx, q, have.id, name)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoStream()
	}
	return &s, nil
}

// createStream makes a stream; ResourceAlreadyExistsException if there is one.
func (g *Groups) createStream(ctx context.Context, r Ref, name string) error {
	if err := checkStreamName(name); err != nil {
		return err
	}
	return g.db.Update(ctx, func(tx *store.Tx) error {
		have, err := g.find(ctx, tx, r)
		if err != nil {
			return err
		}
		made, err := insertStream(ctx, tx, have.id, name, g.now())
		if err == nil && !made {
			err = errStreamExists()
		}
		return err
	})
}

// removeStream takes the stream away at once; its events are swept later.
func (g *Groups) removeStream(ctx context.Context, r Ref, name string) error {
	return g.db.Update(ctx, func(tx *store.Tx) error {
		have, err := g.find(ctx, tx, r)
		if err != nil {
			return err
		}
		s, err := g.findStream(ctx, tx, have, name)
		if err != nil {
			return err
		}
		return dropStream(ctx, tx, s.id, g.now())
	})
}

// checkStreamName refuses a name, or a prefix of one, that the databases cannot
// hold; the model's pattern has refused the rest.
func checkStreamName(name string) error {
	if strings.ContainsRune(name, 0) {
		return errParameter("The log stream's name must not have the character NUL.")
	}
	return nil
}

// streamQuery says which streams of a group to list.
type streamQuery struct {
	prefix     string
	byLastTime bool // else by name
	descending bool
	after      *streamMark
	limit      int
}

// streamMark is the last stream of a page.
type streamMark struct {
	Name string `json:"n"`
	At   int64  `json:"t,omitempty"` // of its last event, -1 without one
}
