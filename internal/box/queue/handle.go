package queue

import (
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"
)

// handle is what a receipt handle says: one message as one receive gave it out.
type handle struct {
	queue, contents, message int64
	// receipt is drawn at each receive.
	receipt int64
}

// newReceipt draws a receipt; 0 is that of messages never received.
func newReceipt() int64 { return 1 + rand.Int64N(1<<62) }

const (
	handleVersion = 0xA1
	handleSize    = 1 + 4*8
)

// String is the receipt handle as callers see it.
func (h handle) String() string {
	b := make([]byte, 0, handleSize)
	b = append(b, handleVersion)
	for _, n := range []int64{h.queue, h.contents, h.message, h.receipt} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// parseHandle reads a handle that this queue gave out.
func parseHandle(have *Queue, text string) (handle, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != handleSize || b[0] != handleVersion {
		return handle{}, errHandle(text)
	}
	num := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[1+8*i:])) }
	h := handle{num(0), num(1), num(2), num(3)}
	if h.queue != have.id {
		return handle{}, errHandle(text)
	}
	return h, nil
}
