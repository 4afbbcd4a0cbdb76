package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// BusRef names an event bus: the key of every bus in Rialto.
type BusRef struct {
	// Account is the 12-digit account that owns the bus.
	Account string
	Region  string
	// Name is the bus's name, "default" for the one that always exists.
	Name string
}

// DefaultBus is the name of the bus that exists in every account and region.
const DefaultBus = "default"

// ARN returns the bus's ARN. AWS: arn:aws:events:REGION:ACCOUNT:event-bus/NAME.
func (b BusRef) ARN() string {
	return "arn:" + Partition(b.Region) + ":events:" + b.Region + ":" + b.Account + ":event-bus/" + b.Name
}

// Record is an event on its way: what the outbox and the log carry.
type Record struct {
	Bus BusRef
	// ID is the event's id.
	ID string
	// Accepted is when the bus took the event; ages and retries count from it.
	// Millisecond resolution.
	Accepted time.Time
	// RuleVersion is the bus's rule version at acceptance. A node matches the
	// event only once its own rules are at least that new.
	RuleVersion uint64
	// Trace is the X-Ray trace header, at most 500 characters; not part of the
	// event.
	Trace string
	// AccountHops and RegionHops count the bus-to-bus forwardings behind this
	// event, within a region and between regions.
	AccountHops, RegionHops uint8
	// Origin says how the event came onto the bus, for its trace: one of the Origin
	// words, and after a space what it names; after OriginRule and OriginReplay, where
	// the event had another id before, after one more space that id.
	Origin string
	// ReplayRules are the ARNs of the only rules a replayed event may match;
	// empty for all.
	ReplayRules []string
	// JSON is the encoded envelope.
	JSON []byte
}

// The ways in which an event comes onto a bus: the first word of Record.Origin.
const (
	// OriginPutEvents is a PutEvents call; names its access key.
	OriginPutEvents = "PutEvents"
	// OriginInjected was handed in whole by a person or a test; names the key.
	OriginInjected = "injected"
	// OriginService is an event about what happened within this installation; names
	// the part that published it.
	OriginService = "service"
	// OriginSchedule is a rule's schedule; names the rule's ARN.
	OriginSchedule = "schedule"
	// OriginRule is a rule of another bus that has this one as its target; names the
	// rule's ARN.
	OriginRule = "rule"
	// OriginReplay is the replay of an archive; names the replay's ARN.
	OriginReplay = "replay"
	// OriginSource is a source of events from real AWS; names the source.
	OriginSource = "source"
)

// Records of version 1 have no origin.
const recordVersion = 2

// Append appends the record's binary form to dst.
func (r *Record) Append(dst []byte) []byte {
	dst = append(dst, recordVersion)
	for _, s := range []string{r.Bus.Account, r.Bus.Region, r.Bus.Name, r.ID} {
		dst = appendLenString(dst, s)
	}
	dst = binary.AppendVarint(dst, r.Accepted.UnixMilli())
	dst = binary.AppendUvarint(dst, r.RuleVersion)
	dst = appendLenString(dst, r.Trace)
	dst = append(dst, r.AccountHops, r.RegionHops)
	dst = binary.AppendUvarint(dst, uint64(len(r.ReplayRules)))
	for _, s := range r.ReplayRules {
		dst = appendLenString(dst, s)
	}
	dst = appendLenString(dst, r.Origin)
	return append(dst, r.JSON...)
}

func appendLenString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

var errTruncated = errors.New("record is cut short")

// DecodeRecord reads what Append wrote. The record's JSON shares b's memory.
func DecodeRecord(b []byte) (Record, error) {
	var r Record
	if len(b) == 0 {
		return r, errTruncated
	}
	version := b[0]
	if version == 0 || version > recordVersion {
		return r, fmt.Errorf("record has version %d, this program reads up to %d", version, recordVersion)
	}
	d := decoder{b: b[1:]}
	r.Bus = BusRef{Account: d.string(), Region: d.string(), Name: d.string()}
	r.ID = d.string()
	r.Accepted = time.UnixMilli(d.varint()).UTC()
	r.RuleVersion = d.uvarint()
	r.Trace = d.string()
	r.AccountHops, r.RegionHops = d.byte(), d.byte()
	if n := d.uvarint(); n > uint64(len(d.b)) {
		d.err = errTruncated
	} else {
		for range n {
			r.ReplayRules = append(r.ReplayRules, d.string())
		}
	}
	if version > 1 {
		r.Origin = d.string()
	}
	r.JSON = d.b
	return r, d.err
}

type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	return number(d, v, n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	return number(d, v, n)
}

func number[T int64 | uint64](d *decoder, v T, n int) T {
	if n <= 0 {
		d.err, d.b = errTruncated, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.err = errTruncated
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.err, d.b = errTruncated, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
