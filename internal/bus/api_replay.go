package bus

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
)

// StartReplay starts a replay of one of the caller's archives.
func (s *service) StartReplay(ctx context.Context, in *events.StartReplayInput) (*events.StartReplayOutput, error) {
	caller := callerFrom(ctx)
	q := ReplayRequest{Name: str(in.ReplayName), Description: str(in.Description), Archive: str(in.EventSourceArn)}
	if in.Destination != nil {
		q.Destination, q.Rules = str(in.Destination.Arn), in.Destination.FilterArns
	}
	if in.EventStartTime != nil && in.EventEndTime != nil {
		q.From, q.Until = *in.EventStartTime, *in.EventEndTime
	}
	answer := func(r Replay) *events.StartReplayOutput {
		return &events.StartReplayOutput{ReplayArn: new(r.ARN()), State: new(string(r.State)), ReplayStartTime: seconds(r.StartedAt)}
	}
	r, err := s.buses.StartReplay(awsapi.AnswersWith(ctx, answer), caller.Account, caller.Region, q)
	if err != nil {
		return nil, err
	}
	return answer(r), nil
}

// DescribeReplay describes a replay.
func (s *service) DescribeReplay(ctx context.Context, in *events.DescribeReplayInput) (*events.DescribeReplayOutput, error) {
	caller := callerFrom(ctx)
	r, err := s.buses.DescribeReplay(ctx, caller.Account, caller.Region, str(in.ReplayName))
	if err != nil {
		return nil, err
	}
	return &events.DescribeReplayOutput{
		ReplayName: &r.Name, ReplayArn: new(r.ARN()), Description: given(r.Description), State: new(string(r.State)),
		StateReason: given(r.StateReason), EventSourceArn: new(r.ArchiveARN()),
		Destination:    &events.ReplayDestination{Arn: new(r.Bus.ARN()), FilterArns: r.Rules},
		EventStartTime: seconds(r.From), EventEndTime: seconds(r.Until), EventLastReplayedTime: secondsGiven(r.LastEventAt),
		ReplayStartTime: seconds(r.StartedAt), ReplayEndTime: secondsGiven(r.EndedAt),
	}, nil
}

// ListReplays lists the caller's replays by name.
func (s *service) ListReplays(ctx context.Context, in *events.ListReplaysInput) (*events.ListReplaysOutput, error) {
	if err := oneFilter("ListReplays", in.State, in.EventSourceArn, in.NamePrefix); err != nil {
		return nil, err
	}
	caller := callerFrom(ctx)
	f := ReplayFilter{NamePrefix: str(in.NamePrefix), State: ReplayState(str(in.State))}
	if in.EventSourceArn != nil {
		owner, name, ok := archiveNamed(*in.EventSourceArn)
		if !ok {
			return nil, awsapi.ValidationException("Parameter EventSourceArn is not valid. Reason: Must contain an archive ARN.")
		}
		if owner.account != caller.Account || owner.region != caller.Region {
			return &events.ListReplaysOutput{Replays: []events.Replay{}}, nil // there are none of it
		}
		f.Archive = name
	}
	found, next, err := s.buses.ListReplays(ctx, caller.Account, caller.Region, f, pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &events.ListReplaysOutput{Replays: make([]events.Replay, len(found)), NextToken: given(next)}
	for i, r := range found {
		out.Replays[i] = events.Replay{
			ReplayName: &r.Name, State: new(string(r.State)), StateReason: given(r.StateReason), EventSourceArn: new(r.ArchiveARN()),
			EventStartTime: seconds(r.From), EventEndTime: seconds(r.Until), EventLastReplayedTime: secondsGiven(r.LastEventAt),
			ReplayStartTime: seconds(r.StartedAt), ReplayEndTime: secondsGiven(r.EndedAt),
		}
	}
	return out, nil
}

// CancelReplay cancels an active replay.
func (s *service) CancelReplay(ctx context.Context, in *events.CancelReplayInput) (*events.CancelReplayOutput, error) {
	caller := callerFrom(ctx)
	answer := func(r Replay) *events.CancelReplayOutput {
		return &events.CancelReplayOutput{ReplayArn: new(r.ARN()), State: new(string(r.State)), StateReason: given(r.StateReason)}
	}
	r, err := s.buses.CancelReplay(awsapi.AnswersWith(ctx, answer), caller.Account, caller.Region, str(in.ReplayName))
	if err != nil {
		return nil, err
	}
	return answer(r), nil
}

// timeGiven returns nil for the zero time: AWS leaves out what is not set.
func timeGiven(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// secondsGiven is timeGiven for what AWS gives in whole seconds.
func secondsGiven(t time.Time) *time.Time { return timeGiven(t.Truncate(time.Second)) }
