package trace

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
)

// A segment is a sequence of entries, each of which begins with its kind. Numbers are
// varints. What repeats is entered once in a segment and has a number from then on,
// from 1 in the order of their definitions: texts, event buses and subscriptions. A
// segment can be read without any other, and long after a rule is gone. Times and
// sequences are the difference to those of the entry before.
const (
	// 1 to 15 are steps: delivery.StepKind.
	kindRouted       = 16
	kindText         = 17 // defines a text
	kindBus          = 18 // defines an event bus
	kindSubscription = 19 // defines a subscription
	kindGap          = 20 // entries before are missing
	kindEnd          = 21 // nothing follows: the segment was closed in order
)

// How a step went.
const (
	resultPlain   = 0
	resultFailure = 1 // code, HTTP status and message follow
	resultStatus  = 2 // the HTTP status of a success follows
)

const (
	// maxMessage bounds what is kept of a failure's message, in bytes.
	maxMessage = 300
	// maxText bounds every other text.
	maxText = 2048
	// maxMatched bounds the subscriptions that are kept of one event.
	maxMatched = 500
)

// encoder writes entries into a buffer.
type encoder struct {
	buffers
	entries int       // in buf, definitions not counted
	first   time.Time // of them

	size   int // of the segment, with what was taken out of buf
	texts  map[string]uint64
	buses  map[event.BusRef]uint64
	subs   map[subscriptionKey]uint64
	at     int64 // of the last entry, in microseconds
	seq    uint64
	hasher hasher

	// What was asked for last is often asked for next.
	lastBus    event.BusRef
	lastBusNo  uint64
	lastText   string
	lastTextNo uint64
	lastSub    *bus.Subscription
	lastSubNo  uint64
	refs       []uint64
}

// subscriptionKey is one form of a subscription.
type subscriptionKey struct{ id, revision int64 }

func newEncoder(h hasher) *encoder {
	return &encoder{
		texts: make(map[string]uint64), buses: make(map[event.BusRef]uint64), subs: make(map[subscriptionKey]uint64), hasher: h,
	}
}

// beginSegment forgets what the segment before defined.
func (e *encoder) beginSegment() {
	clear(e.texts)
	clear(e.buses)
	clear(e.subs)
	e.size, e.at, e.seq = 0, 0, 0
	e.lastBus, e.lastBusNo, e.lastText, e.lastTextNo, e.lastSub = event.BusRef{}, 0, "", 0, nil
}

// take takes out what was written; next is what is written into from then on.
func (e *encoder) take(next buffers) chunk {
	c := chunk{buffers: e.buffers, entries: e.entries, first: e.first}
	e.size += len(c.buf) + blockHeader
	e.buf, e.hashes, e.entries, e.first = next.buf[:0], next.hashes[:0], 0, time.Time{}
	return c
}

// text returns the number of a text, defined if it is new; 0 for none.
func (e *encoder) text(s string) uint64 {
	if s == "" {
		return 0
	}
	if s == e.lastText {
		return e.lastTextNo
	}
	s = cut(s, maxText)
	n, ok := e.texts[s]
	if !ok {
		n = uint64(len(e.texts) + 1)
		s = strings.Clone(s)
		e.texts[s] = n
		e.buf = append(e.buf, kindText)
		e.inline(s)
	}
	e.lastText, e.lastTextNo = s, n
	return n
}

func (e *encoder) bus(ref event.BusRef) uint64 {
	if ref == e.lastBus && e.lastBusNo != 0 {
		return e.lastBusNo
	}
	n, ok := e.buses[ref]
	if !ok {
		account, region, name := e.text(ref.Account), e.text(ref.Region), e.text(ref.Name)
		n = uint64(len(e.buses) + 1)
		e.buses[ref] = n
		e.buf = append(e.buf, kindBus)
		e.numbers(account, region, name)
	}
	e.lastBus, e.lastBusNo = ref, n
	return n
}

func (e *encoder) subscription(s *bus.Subscription) uint64 {
	if s == e.lastSub {
		return e.lastSubNo
	}
	key := subscriptionKey{s.ID, s.Revision}
	n, ok := e.subs[key]
	if !ok {
		n = e.define(key, s)
	}
	e.lastSub, e.lastSubNo = s, n
	return n
}

func (e *encoder) define(key subscriptionKey, s *bus.Subscription) uint64 {
	name, arn, id, target := e.text(s.RuleName), e.text(s.RuleARN), e.text(s.Target.ID), e.text(s.Target.ARN)
	n := uint64(len(e.subs) + 1)
	e.subs[key] = n
	e.buf = append(e.buf, kindSubscription)
	e.buf = binary.AppendVarint(e.buf, s.ID)
	e.numbers(name, arn, id, target, uint64(s.Target.Kind))
	return n
}

func (e *encoder) numbers(ns ...uint64) {
	for _, n := range ns {
		e.buf = binary.AppendUvarint(e.buf, n)
	}
}

func (e *encoder) inline(s string) {
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
}

// begin writes what all entries of an event begin with.
func (e *encoder) begin(kind byte, at time.Time, seq uint64, index int, id string) {
	e.buf = append(e.buf, kind)
	e.time(at)
	e.buf = binary.AppendVarint(e.buf, int64(seq-e.seq))
	e.seq = seq
	e.buf = binary.AppendUvarint(e.buf, uint64(index))
	e.id(id)
	if e.entries == 0 {
		e.first = at
	}
	e.entries++
}

func (e *encoder) time(at time.Time) {
	us := at.UnixMicro()
	e.buf = binary.AppendVarint(e.buf, us-e.at)
	e.at = us
}

// id writes an event's id and notes that it can be asked for.
func (e *encoder) id(id string) {
	from := len(e.buf)
	e.buf = appendID(e.buf, id)
	e.hashes = append(e.hashes, e.hasher.hash(e.buf[from:]))
}

// routed writes that an event was routed.
func (e *encoder) routed(at time.Time, seq uint64, index int, rec *event.Record, matched []*bus.Subscription) {
	origin, parent := splitOrigin(rec.Origin)
	ref, originNo := e.bus(rec.Bus), e.text(origin)
	e.refs = e.refs[:0]
	kept := matched[:min(len(matched), maxMatched)]
	for _, s := range kept {
		e.refs = append(e.refs, e.subscription(s))
	}
	e.begin(kindRouted, at, seq, index, rec.ID)
	e.numbers(ref)
	e.buf = binary.AppendVarint(e.buf, at.UnixMilli()-rec.Accepted.UnixMilli())
	e.numbers(rec.RuleVersion, originNo)
	if parent == "" {
		e.buf = append(e.buf, 0)
	} else {
		e.buf = append(e.buf, 1)
		e.id(cut(parent, maxText))
	}
	e.numbers(uint64(len(e.refs)))
	e.numbers(e.refs...)
	e.numbers(uint64(len(matched) - len(kept)))
}

// step writes a step of a delivery.
func (e *encoder) step(at time.Time, s *delivery.Step) {
	ref, sub := e.bus(s.Record.Bus), e.subscription(s.Subscription)
	var code, exhausted, to uint64
	if s.Failure != nil {
		code = e.text(s.Failure.Code)
	}
	exhausted = e.text(s.Exhausted)
	if strings.HasPrefix(s.To, "arn:") { // few, unlike the ids of dead letters
		to = e.text(s.To)
	}
	e.begin(byte(s.Kind), at, s.Sequence, s.Index, s.Record.ID)
	e.numbers(ref, sub, uint64(max(s.Attempt, 0)), uint64(max(s.Took.Microseconds(), 0)))
	switch {
	case s.Failure == nil && s.Status <= 0:
		e.buf = append(e.buf, resultPlain)
	case s.Failure == nil:
		e.buf = append(e.buf, resultStatus)
		e.numbers(uint64(s.Status))
	default:
		e.buf = append(e.buf, resultFailure)
		e.numbers(code, uint64(max(s.Failure.Status, 0)))
		e.inline(cut(s.Failure.Message, maxMessage))
	}
	if s.Kind == delivery.StepAttempt {
		return
	}
	until := int64(0)
	if !s.Until.IsZero() {
		until = s.Until.UnixMilli()
	}
	e.numbers(exhausted)
	e.buf = binary.AppendVarint(e.buf, until)
	e.numbers(to)
	if to == 0 {
		e.inline(cut(s.To, maxText))
	}
}

// gap writes that entries are missing.
func (e *encoder) gap(g Gap) {
	e.buf = append(e.buf, kindGap)
	e.buf = binary.AppendVarint(e.buf, g.From.UnixMicro())
	e.buf = binary.AppendVarint(e.buf, g.To.UnixMicro())
	e.numbers(uint64(g.Entries))
}

// splitOrigin returns the origin of a record, and the id that the event had before
// where it got a new one: the third word of the origins that are followed.
func splitOrigin(origin string) (head, id string) {
	if !strings.HasPrefix(origin, event.OriginRule+" ") && !strings.HasPrefix(origin, event.OriginReplay+" ") {
		return origin, ""
	}
	word, rest, _ := strings.Cut(origin, " ")
	what, id, found := strings.Cut(rest, " ")
	if !found {
		return origin, ""
	}
	return origin[:len(word)+1+len(what)], id
}

// cut shortens a text to so many bytes, between characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
