package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
)

// errDamaged says that the bytes are not what the encoder wrote.
var errDamaged = errors.New("the trace is damaged")

// rawEntry is an entry as it stands in the buffer that was read: nothing of it is
// copied before somebody wants it.
type rawEntry struct {
	kind byte
	at   int64 // microseconds
	seq  uint64
	id   []byte // written form
	bus  uint64
	index,
	accepted, // milliseconds
	version, origin uint64
	parent      []byte // written form, nil without
	matched     []uint64
	moreMatched uint64

	sub, attempt, took   uint64
	failed               bool
	code, status         uint64
	message              []byte
	exhausted, textTo    uint64
	until                int64 // milliseconds
	to                   []byte
	gapFrom, gapTo, lost int64
}

// rawSubscription is the definition of a subscription, by the numbers of its texts.
type rawSubscription struct {
	id                      int64
	name, arn, target, path uint64
	kind                    uint64
}

// decoder reads the entries of a segment, whose blocks are given to it one after
// another.
type decoder struct {
	b   []byte
	bad bool

	texts [][]byte
	buses [][3]uint64
	subs  []rawSubscription
	at    int64
	seq   uint64
	raw   rawEntry // the entry read last; its slices are used again
}

// next reads the next entry of the block into d.raw; false at its end. Definitions
// are taken in on the way.
func (d *decoder) next() (bool, error) {
	for len(d.b) > 0 {
		kind := d.b[0]
		d.b = d.b[1:]
		switch {
		case kind == kindText:
			d.texts = append(d.texts, d.bytes())
		case kind == kindBus:
			d.buses = append(d.buses, [3]uint64{d.textNo(), d.textNo(), d.textNo()})
		case kind == kindSubscription:
			d.subs = append(d.subs, rawSubscription{d.varint(), d.textNo(), d.textNo(), d.textNo(), d.textNo(), d.uvarint()})
		case kind == kindGap, kind == kindEnd:
			d.raw = rawEntry{kind: kind, matched: d.raw.matched[:0]}
			if kind == kindGap {
				d.raw.gapFrom, d.raw.gapTo, d.raw.lost = d.varint(), d.varint(), int64(d.uvarint())
			}
			return true, d.err()
		case kind == kindRouted, kind > 0 && kind < kindRouted:
			d.entry(kind)
			return true, d.err()
		default:
			d.bad = true
		}
		if d.bad {
			return false, d.err()
		}
	}
	return false, nil
}

func (d *decoder) err() error {
	if d.bad {
		return errDamaged
	}
	return nil
}

func (d *decoder) entry(kind byte) {
	d.raw = rawEntry{kind: kind, matched: d.raw.matched[:0]}
	r := &d.raw
	d.at += d.varint()
	d.seq += uint64(d.varint())
	r.at, r.seq = d.at, d.seq
	r.index = d.uvarint()
	r.id = d.id()
	r.bus = d.ref(len(d.buses))
	if kind == kindRouted {
		d.routed(r)
	} else {
		d.step(r)
	}
}

func (d *decoder) routed(r *rawEntry) {
	r.accepted = uint64(r.at/1000 - d.varint())
	r.version = d.uvarint()
	r.origin = d.textNo()
	if d.byte() == 1 {
		r.parent = d.id()
	}
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return
	}
	for range n {
		r.matched = append(r.matched, d.ref(len(d.subs)))
	}
	r.moreMatched = d.uvarint()
}

func (d *decoder) step(r *rawEntry) {
	r.sub, r.attempt, r.took = d.ref(len(d.subs)), d.uvarint(), d.uvarint()
	switch d.byte() {
	case resultPlain:
	case resultFailure:
		r.failed, r.code, r.status, r.message = true, d.textNo(), d.uvarint(), d.bytes()
	case resultStatus:
		r.status = d.uvarint()
	default:
		d.bad = true
	}
	if r.kind == byte(delivery.StepAttempt) {
		return
	}
	r.exhausted, r.until = d.textNo(), d.varint()
	if r.textTo = d.textNo(); r.textTo == 0 {
		r.to = d.bytes()
	}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) bytes() []byte { return d.run(d.uvarint()) }

func (d *decoder) run(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	s := d.b[:n:n]
	d.b = d.b[n:]
	return s
}

// id reads the written form of an id.
func (d *decoder) id() []byte {
	from := d.b
	n := d.uvarint()
	if n == 0 {
		n = 17 // a UUID
	}
	d.run(n - 1)
	if d.bad {
		return nil
	}
	return from[:len(from)-len(d.b)]
}

// ref reads a number of something defined before; textNo that of a text, or 0 for
// none.
func (d *decoder) ref(defined int) uint64 {
	n := d.uvarint()
	if n == 0 || n > uint64(defined) {
		d.bad = true
		return 0
	}
	return n
}

func (d *decoder) textNo() uint64 {
	n := d.uvarint()
	if n > uint64(len(d.texts)) {
		d.bad = true
		return 0
	}
	return n
}

func (d *decoder) text(n uint64) string {
	if n == 0 {
		return ""
	}
	return string(d.texts[n-1])
}

// holds reports whether the entry read last is of the event with the id, or of one
// that had it before it got its own.
func (d *decoder) holds(id []byte) bool {
	return bytes.Equal(d.raw.id, id) || d.raw.parent != nil && bytes.Equal(d.raw.parent, id)
}

// full returns the entry read last.
func (d *decoder) full(node string) Entry {
	r := &d.raw
	ref := d.buses[r.bus-1]
	e := Entry{
		At: time.UnixMicro(r.at).UTC(), Node: node, Sequence: r.seq, Index: int(r.index), ID: idText(r.id),
		Bus: event.BusRef{Account: d.text(ref[0]), Region: d.text(ref[1]), Name: d.text(ref[2])},
	}
	if r.kind == kindRouted {
		e.Accepted, e.RuleVersion = time.UnixMilli(int64(r.accepted)).UTC(), r.version
		e.Origin = d.text(r.origin)
		if r.parent != nil {
			e.Origin += " " + idText(r.parent)
		}
		for _, n := range r.matched {
			e.Matched = append(e.Matched, d.subscription(n))
		}
		e.MoreMatched = int(r.moreMatched)
		return e
	}
	e.Step = delivery.StepKind(r.kind)
	e.Subscription = d.subscription(r.sub)
	e.Attempt, e.Took, e.Failed = int(r.attempt), time.Duration(r.took)*time.Microsecond, r.failed
	e.Code, e.Status, e.Message = d.text(r.code), int(r.status), string(r.message)
	e.Exhausted, e.To = d.text(r.exhausted), d.text(r.textTo)+string(r.to)
	if r.until != 0 {
		e.Until = time.UnixMilli(r.until).UTC()
	}
	return e
}

func (d *decoder) subscription(n uint64) Subscription {
	s := d.subs[n-1]
	return Subscription{
		ID: s.id, RuleName: d.text(s.name), RuleARN: d.text(s.arn), TargetID: d.text(s.target), TargetARN: d.text(s.path), Kind: bus.TargetKind(s.kind),
	}
}

// gap returns the gap read last.
func (d *decoder) gap(node string) Gap {
	return Gap{Node: node, From: time.UnixMicro(d.raw.gapFrom).UTC(), To: time.UnixMicro(d.raw.gapTo).UTC(), Entries: d.raw.lost}
}

// A segment's file is its magic and version, and then blocks: the length and the
// CRC-32C of what follows, both 4 bytes, and the entries.
const (
	segmentMagic  = "RIALTO TRACE\x00"
	segmentFormat = 1
	segmentHeader = len(segmentMagic) + 1
	blockHeader   = 8
)

func appendSegmentHeader(dst []byte) []byte {
	return append(append(dst, segmentMagic...), segmentFormat)
}

func appendBlock(dst, entries []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(entries)))
	dst = binary.BigEndian.AppendUint32(dst, checksum(entries))
	return append(dst, entries...)
}

// scan reads a segment's file from its beginning and tells fn of each entry, which is
// in d.raw. ended says that the segment was closed in order. It returns errDamaged
// where the file stops making sense, as the end of the last one does after a crash:
// what came before was told.
func scan(file []byte, fn func(d *decoder)) (ended bool, err error) {
	if len(file) < segmentHeader || string(file[:len(segmentMagic)]) != segmentMagic {
		return false, errDamaged
	}
	if v := file[len(segmentMagic)]; v != segmentFormat {
		return false, fmt.Errorf("%w: it has format %d, this program reads %d", errDamaged, v, segmentFormat)
	}
	d := &decoder{}
	for file = file[segmentHeader:]; len(file) > 0; {
		block, rest, ok := cutBlock(file)
		if !ok {
			return false, errDamaged
		}
		file, d.b = rest, block
		for {
			more, err := d.next()
			if err != nil {
				return false, err
			}
			if !more {
				break
			}
			if d.raw.kind == kindEnd {
				return true, nil
			}
			fn(d)
		}
	}
	return false, nil
}

func cutBlock(file []byte) (block, rest []byte, ok bool) {
	if len(file) < blockHeader {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(file))
	if n > uint64(len(file)-blockHeader) {
		return nil, nil, false
	}
	block, rest = file[blockHeader:blockHeader+n], file[blockHeader+n:]
	return block, rest, checksum(block) == binary.BigEndian.Uint32(file[4:])
}
