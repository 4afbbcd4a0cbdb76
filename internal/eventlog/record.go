package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A record is what one message of the log carries:
//
//	magic byte, version byte, uvarint count, count times uvarint length, then the entries end to end
//
// It has no checksum: the engine keeps one for every message.
const (
	recordMagic   = 0xE7
	recordVersion = 1
)

var (
	errNotRecord    = errors.New("not a record of the event log")
	errNewerVersion = errors.New("record was written by a newer version of Rialto")
)

// entrySize is what an entry takes in a record.
func entrySize(entry []byte) int {
	return uvarintLen(uint64(len(entry))) + len(entry)
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// appendRecord encodes the entries of several calls as one record and appends it to buf.
func appendRecord(buf []byte, calls []*appendCall) []byte {
	count := 0
	for _, c := range calls {
		count += len(c.entries)
	}
	buf = append(buf, recordMagic, recordVersion)
	buf = binary.AppendUvarint(buf, uint64(count))
	for _, c := range calls {
		for _, e := range c.entries {
			buf = binary.AppendUvarint(buf, uint64(len(e)))
		}
	}
	for _, c := range calls {
		for _, e := range c.entries {
			buf = append(buf, e...)
		}
	}
	return buf
}

// decodeRecord returns the entries of a record. They share its memory.
func decodeRecord(data []byte) ([][]byte, error) {
	if len(data) < 3 || data[0] != recordMagic {
		return nil, errNotRecord
	}
	if data[1] > recordVersion {
		return nil, fmt.Errorf("%w: version %d", errNewerVersion, data[1])
	}
	if data[1] != recordVersion {
		return nil, errNotRecord
	}
	rest := data[2:]
	count, n := binary.Uvarint(rest)
	if n <= 0 || count > uint64(len(rest)-n) {
		return nil, errNotRecord
	}
	lengths := rest[n:]
	bodies, err := skipLengths(lengths, count)
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, count)
	for i := range entries {
		size, n := binary.Uvarint(lengths)
		lengths = lengths[n:]
		if size > uint64(len(bodies)) {
			return nil, errNotRecord
		}
		entries[i], bodies = bodies[:size:size], bodies[size:]
	}
	if len(bodies) > 0 {
		return nil, errNotRecord
	}
	return entries, nil
}

// skipLengths returns what follows count lengths.
func skipLengths(data []byte, count uint64) ([]byte, error) {
	for range count {
		_, n := binary.Uvarint(data)
		if n <= 0 {
			return nil, errNotRecord
		}
		data = data[n:]
	}
	return data, nil
}
