package loggroup

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
)

// sequenceToken is for agents that still ask for one. AWS takes any since 2023.
const sequenceToken = "49660000000000000000000000000000000000000000000000000001"

// PutLogEvents stores a batch of events in a stream. They are durable when it
// returns. An entity is not kept, and the answer says so.
func (g *Groups) PutLogEvents(ctx context.Context, in *logs.PutLogEventsInput) (*logs.PutLogEventsOutput, error) {
	r, err := named(ctx, in.LogGroupName, "PutLogEvents")
	if err != nil {
		return nil, err
	}
	events := make([]logEvent, len(in.LogEvents))
	for i, e := range in.LogEvents {
		events[i] = logEvent{at: *e.Timestamp, message: *e.Message}
	}
	rej, err := g.put(ctx, r, *in.LogStreamName, events)
	if err != nil {
		return nil, err
	}
	out := &logs.PutLogEventsOutput{NextSequenceToken: new(sequenceToken)}
	if in.Entity != nil {
		out.RejectedEntityInfo = &logs.RejectedEntityInfo{ErrorType: new(logs.EntityRejectionErrorTypeUnsupportedLogGroupType)}
	}
	if rej != (rejected{-1, -1, -1}) {
		out.RejectedLogEventsInfo = &logs.RejectedLogEventsInfo{
			ExpiredLogEventEndIndex: index(rej.expired), TooOldLogEventEndIndex: index(rej.tooOld), TooNewLogEventStartIndex: index(rej.tooNew),
		}
	}
	return out, nil
}

func index(n int) *int32 {
	if n < 0 {
		return nil
	}
	return new(int32(n))
}

// GetLogEvents returns a page of a stream's events in order of time.
func (g *Groups) GetLogEvents(ctx context.Context, in *logs.GetLogEventsInput) (*logs.GetLogEventsOutput, error) {
	r, err := identified(ctx, in.LogGroupName, in.LogGroupIdentifier, "GetLogEvents")
	if err != nil {
		return nil, err
	}
	p, err := g.read(ctx, r, *in.LogStreamName, pageRequest{
		start: value(in.StartTime), end: value(in.EndTime), limit: pageLimit(in.Limit),
		token: value(in.NextToken), fromHead: value(in.StartFromHead),
	})
	if err != nil {
		return nil, err
	}
	out := &logs.GetLogEventsOutput{Events: []logs.OutputLogEvent{}, NextForwardToken: &p.forward, NextBackwardToken: &p.backward}
	for i := range p.events {
		e := &p.events[i]
		out.Events = append(out.Events, logs.OutputLogEvent{Timestamp: &e.at, IngestionTime: &e.ingestedAt, Message: &e.message})
	}
	return out, nil
}

func pageLimit(limit *int32) int {
	if limit == nil {
		return maxPageEvents
	}
	return int(*limit)
}

// FilterLogEvents returns a page of a group's events, those that the pattern
// lets through. AWS: interleaved is ignored, events of all streams are always in
// one order; the streams that were searched are no longer told.
func (g *Groups) FilterLogEvents(ctx context.Context, in *logs.FilterLogEventsInput) (*logs.FilterLogEventsOutput, error) {
	r, err := identified(ctx, in.LogGroupName, in.LogGroupIdentifier, "FilterLogEvents")
	if err != nil {
		return nil, err
	}
	if in.LogStreamNames != nil && in.LogStreamNamePrefix != nil {
		return nil, errParameter("logStreamNames and logStreamNamePrefix cannot be given together.")
	}
	req := searchRequest{
		start: value(in.StartTime), end: value(in.EndTime), streams: in.LogStreamNames, prefix: value(in.LogStreamNamePrefix),
		limit: pageLimit(in.Limit),
	}
	if in.EndTime != nil && req.end < req.start {
		return nil, errParameter("endTime must not be before startTime.")
	}
	if req.filter, err = compileFilter(value(in.FilterPattern)); err != nil {
		return nil, err
	}
	if in.NextToken != nil {
		var ok bool
		if req.after, ok = parsePosition(*in.NextToken); !ok {
			return nil, errToken()
		}
	}
	res, err := g.search(ctx, r, req)
	if err != nil {
		return nil, err
	}
	out := &logs.FilterLogEventsOutput{Events: []logs.FilteredLogEvent{}, SearchedLogStreams: []logs.SearchedLogStream{}}
	for i := range res.events {
		e := &res.events[i]
		out.Events = append(out.Events, logs.FilteredLogEvent{
			EventId: new(e.String()), LogStreamName: new(res.names[e.stream]), Timestamp: &e.at, IngestionTime: &e.ingestedAt, Message: &e.message,
		})
	}
	if res.next != nil {
		out.NextToken = new(res.next.String())
	}
	return out, nil
}
