package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Heartbeat is how often a silent event stream sends a comment, so that proxies
// keep it open and a caller who is gone is noticed.
const Heartbeat = 15 * time.Second

// streamWriteTimeout is how long a caller may take to accept one message.
const streamWriteTimeout = 10 * time.Second

// Message is one server-sent event.
type Message struct {
	ID    string // for Last-Event-ID; optional, one line
	Event string // the event's type; optional, one line
	Data  []byte // any text; lines are split as the format wants
}

// Stream answers r with server-sent events: every message from the channel until
// it is closed, and a heartbeat while there is none. It returns nil at the end of
// the channel or of the request, and an error when the caller cannot be written
// to. It never closes or drains the channel.
func Stream(w http.ResponseWriter, r *http.Request, messages <-chan Message) error {
	return stream(w, r, messages, Heartbeat)
}

func stream(w http.ResponseWriter, r *http.Request, messages <-chan Message, heartbeat time.Duration) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx holds streams back otherwise
	s := &streamWriter{w: w, control: http.NewResponseController(w)}
	if err := s.write(": open\n\n"); err != nil {
		return err
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		var text string
		select {
		case <-r.Context().Done():
			return nil
		case m, ok := <-messages:
			if !ok {
				return nil
			}
			text = m.encode()
			tick.Reset(heartbeat)
		case <-tick.C:
			text = ": heartbeat\n\n"
		}
		if err := s.write(text); err != nil {
			if r.Context().Err() != nil {
				return nil
			}
			return err
		}
	}
}

type streamWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s *streamWriter) write(text string) error {
	// The server's own write timeout is for answers that end.
	err := s.control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("stream events: %w", err)
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("stream events: %w", err)
	}
	if err := s.control.Flush(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("stream events: %w", err)
	}
	return nil
}

var (
	oneLine   = strings.NewReplacer("\r", " ", "\n", " ", "\x00", "")
	lineBreak = strings.NewReplacer("\r\n", "\n", "\r", "\n")
)

// encode writes the message in the format of the HTML standard, "Server-sent events".
func (m Message) encode() string {
	var b strings.Builder
	if m.ID != "" {
		fmt.Fprintf(&b, "id: %s\n", oneLine.Replace(m.ID))
	}
	if m.Event != "" {
		fmt.Fprintf(&b, "event: %s\n", oneLine.Replace(m.Event))
	}
	for line := range strings.SplitSeq(lineBreak.Replace(string(m.Data)), "\n") {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	b.WriteByte('\n')
	return b.String()
}
