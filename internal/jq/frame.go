package jq

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A worker reads requests from its standard input and writes answers to its
// standard output, each a frame: four bytes of length and JSON. It answers each
// program of a request in turn, so that the one it dies of is known.

// maxFrame is how long a frame may be. An input grows when it is written as JSON.
const maxFrame = 8 * maxInput

// ready is what a worker says first.
const ready = "rialto jq 1"

type request struct {
	Programs  []string        `json:"p"`
	TimeoutMS int64           `json:"t"`
	MaxOutput int             `json:"o"`
	Input     json.RawMessage `json:"i"`
}

// answer is an Output on its way.
type answer struct {
	OK     bool            `json:"k,omitempty"`
	Value  json.RawMessage `json:"v,omitempty"`
	Reason reason          `json:"r,omitempty"`
	// Message is that of an error which the program raised, or which has no Reason.
	Message string `json:"m,omitempty"`
}

// reason is why there is no output, by name of an error.
type reason string

const (
	reasonRaised  reason = "raised"
	reasonTimeout reason = "timeout"
	reasonOutput  reason = "output"
	reasonOther   reason = "other"
)

func writeFrame(w io.Writer, v any) error {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	if b.Len() > maxFrame {
		return fmt.Errorf("%d bytes are more than a frame holds", b.Len())
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(b.Len()-4))
	_, err := w.Write(b.Bytes())
	return err
}

func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("a frame of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	return decoder.Decode(v)
}

// toAnswer puts an Output into an answer.
func toAnswer(o Output) answer {
	var raised *RuntimeError
	switch {
	case o.Err == nil && !o.OK:
		return answer{}
	case errors.Is(o.Err, ErrTimeout):
		return answer{Reason: reasonTimeout}
	case errors.Is(o.Err, ErrOutput):
		return answer{Reason: reasonOutput}
	case errors.As(o.Err, &raised):
		return answer{Reason: reasonRaised, Message: raised.Message}
	case o.Err != nil:
		return answer{Reason: reasonOther, Message: o.Err.Error()}
	}
	value, err := json.Marshal(o.Value)
	if err != nil {
		return answer{Reason: reasonOther, Message: err.Error()}
	}
	return answer{OK: true, Value: value}
}

// output takes it out again.
func (a answer) output() Output {
	switch a.Reason {
	case reasonTimeout:
		return Output{Err: ErrTimeout}
	case reasonOutput:
		return Output{Err: ErrOutput}
	case reasonRaised:
		return Output{Err: &RuntimeError{Message: a.Message}}
	case reasonOther:
		return Output{Err: fmt.Errorf("%w: %s", ErrWorker, a.Message)}
	}
	if !a.OK {
		return Output{}
	}
	decoder := json.NewDecoder(bytes.NewReader(a.Value))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return Output{Err: fmt.Errorf("%w: %w", ErrWorker, err)}
	}
	v, _, err := normalize(v)
	if err != nil {
		return Output{Err: fmt.Errorf("%w: %w", ErrWorker, err)}
	}
	return Output{Value: v, OK: true}
}
