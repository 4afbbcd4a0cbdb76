package bus

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
)

// Entry is one event that a caller of PutEvents hands in.
type Entry struct {
	Source, DetailType string
	// Detail is a JSON object.
	Detail    string
	Resources []string
	// Bus is a name or an ARN; empty is the default bus.
	Bus string
	// Time is when it happened; nil is now.
	Time *time.Time
	// TraceHeader is an X-Ray trace header; a malformed one is dropped.
	TraceHeader string
}

// EntryResult says what became of an entry: EventID, or both of the others.
type EntryResult struct {
	EventID, ErrorCode, ErrorMessage string
}

// The limits of an entry's members. AWS documents the one of the detail type.
const (
	maxDetailType = 128
	maxSource     = 256
)

// PutEvents takes the entries of one call. Entries that are wrong are refused one
// by one; the results are in the entries' order. AWS: an entry for a bus that does
// not exist gets an event id and is dropped; a call that is too large, or has an
// entry for a bus whose policy refuses it, fails whole.
func (b *Buses) PutEvents(ctx context.Context, caller Caller, entries []Entry) ([]EntryResult, error) {
	size := 0
	for i := range entries {
		size += entries[i].size()
	}
	if size > b.limits.PutEventsBytes {
		return nil, requestTooLarge()
	}
	out := newBatch(len(entries), size+len(entries)*recordSize(512))
	results := make([]EntryResult, len(entries))
	for i := range entries {
		var err error
		if results[i], err = b.putEntry(ctx, caller, &entries[i], out); err != nil {
			return nil, err
		}
	}
	if err := b.append(ctx, out); err != nil {
		return nil, putError(err)
	}
	return results, nil
}

func requestTooLarge() error {
	return awsapi.ValidationException("Total size of the entries in the request is over the limit.")
}

func putError(err error) error {
	switch {
	case errors.Is(err, ErrThrottled):
		return events.ErrThrottlingException("Rate exceeded")
	case errors.Is(err, ErrTooLarge):
		return requestTooLarge()
	}
	return err
}

// size is AWS's measure of an entry.
func (e *Entry) size() int {
	n := len(e.Source) + len(e.DetailType) + len(e.Detail)
	if e.Time != nil {
		n += 14
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	return n
}

// putEntry encodes the entry's record into out if it is right and its bus exists.
// The error ends the whole call.
func (b *Buses) putEntry(ctx context.Context, caller Caller, e *Entry, out *batch) (EntryResult, error) {
	ref, bus, refusal, err := b.destination(ctx, caller, e)
	if err != nil {
		return EntryResult{}, err
	}
	if refusal == nil {
		refusal = e.check()
	}
	if refusal != nil {
		return *refusal, nil
	}
	id := event.NewID()
	if bus == nil {
		return EntryResult{EventID: id}, nil
	}
	now := b.now()
	at := now
	if e.Time != nil {
		at = *e.Time
	}
	rec := event.Record{Bus: ref, ID: id, Accepted: now, RuleVersion: bus.version, Trace: traceHeader(e.TraceHeader), Origin: event.OriginPutEvents + " " + caller.AccessKeyID}
	ev := event.Event{
		ID: id, DetailType: e.DetailType, Source: e.Source, Account: caller.Account, Time: at.Truncate(time.Second),
		Region: caller.Region, Resources: e.Resources, Detail: []byte(e.Detail),
	}
	out.buf = rec.Append(out.buf)
	begins := len(out.buf)
	out.buf = ev.AppendJSON(out.buf)
	if len(out.buf)-begins > maxEnvelope {
		return EntryResult{}, requestTooLarge() // what AWS counts of an entry leaves out what JSON adds
	}
	out.cut()
	return EntryResult{EventID: id}, nil
}

// destination finds the entry's bus and checks that the caller may put events on
// it. The snapshot is nil when there is no such bus.
func (b *Buses) destination(ctx context.Context, caller Caller, e *Entry) (event.BusRef, *snapshot, *EntryResult, error) {
	ref, ok := caller.bus(e.Bus)
	if !ok {
		return ref, nil, invalidArgument("EventBusName", "Provided Arn is not in correct format."), nil
	}
	if ref.Region != caller.Region {
		return ref, nil, invalidArgument("EventBusName", "The event bus is in "+ref.Region+"; send the call to that region."), nil
	}
	bus, err := b.lookup(ctx, ref)
	if err != nil {
		return ref, nil, nil, err
	}
	if ref.Account == caller.Account && (bus == nil || bus.policy == nil) {
		return ref, bus, nil, nil
	}
	denial := b.denial(bus, ref, auth.PolicyRequest{
		Principal: caller.Account, Action: ActionPutEvents,
		Context: map[string][]string{
			"events:source": {e.Source}, "events:detail-type": {e.DetailType}, "events:eventBusInvocation": {"false"},
		},
	})
	if denial != "" {
		return ref, nil, nil, accessDenied(denial)
	}
	return ref, bus, nil, nil
}

// bus returns the bus that a name or an ARN means to the caller; false when it
// is neither.
func (c Caller) bus(nameOrARN string) (event.BusRef, bool) {
	if nameOrARN == "" {
		return event.BusRef{Account: c.Account, Region: c.Region, Name: event.DefaultBus}, true
	}
	if !strings.HasPrefix(nameOrARN, "arn:") {
		return event.BusRef{Account: c.Account, Region: c.Region, Name: nameOrARN}, true
	}
	a, ok := parseARN(nameOrARN)
	if !ok || a.service != "events" || !strings.HasPrefix(a.resource, "event-bus/") {
		return event.BusRef{}, false
	}
	return event.BusRef{Account: a.account, Region: a.region, Name: a.bus()}, true
}

// check returns what is wrong with the entry, nil if nothing is. AWS checks
// source, detail type and detail in this order.
func (e *Entry) check() *EntryResult {
	switch {
	case e.Source == "":
		return invalidArgument("Source", "Source is a required argument.")
	case e.DetailType == "":
		return invalidArgument("DetailType", "DetailType is a required argument.")
	case e.Detail == "":
		return invalidArgument("Detail", "Detail is a required argument.")
	case strings.HasPrefix(e.Source, "aws."):
		return &EntryResult{ErrorCode: "NotAuthorizedForSourceException", ErrorMessage: "Not authorized for the source."}
	case len(e.Source) > maxSource:
		return invalidArgument("Source", "Source must have length less than or equal to 256.")
	case utf8.RuneCountInString(e.DetailType) > maxDetailType:
		return invalidArgument("DetailType", "DetailType must have length less than or equal to 128.")
	case e.Time != nil && (e.Time.Year() < 0 || e.Time.Year() > 9999):
		return invalidArgument("Time", "Time must be in the years 0 to 9999.")
	case checkDetail(e.Detail) != nil:
		return &EntryResult{ErrorCode: "MalformedDetail", ErrorMessage: "Detail is malformed."}
	}
	return nil
}

func invalidArgument(parameter, reason string) *EntryResult {
	return &EntryResult{ErrorCode: "InvalidArgument", ErrorMessage: "Parameter " + parameter + " is not valid. Reason: " + reason}
}

var traceRoot = regexp.MustCompile(`(^|;)\s*Root=1-[0-9a-fA-F]{8}-[0-9a-fA-F]{24}\s*(;|$)`)

// maxTraceHeader is AWS's limit for an entry's trace header, in bytes. The
// request's own comes unchecked.
const maxTraceHeader = 500

// traceHeader returns a well-formed trace header, empty for others. AWS discards
// malformed ones.
func traceHeader(h string) string {
	if h == "" || len(h) > maxTraceHeader || !traceRoot.MatchString(h) {
		return ""
	}
	return h
}
