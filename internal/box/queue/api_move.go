package queue

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// openARN finds the queue of an ARN in the caller's region and checks that the
// caller may do the action on it.
func (q *Queues) openARN(ctx context.Context, arn, parameter, action string) (*Queue, error) {
	r, ok := ParseARN(arn)
	if !ok || r.Region != awsapi.CallerFrom(ctx).Region {
		return nil, errNoResource(parameter)
	}
	have, err := q.Find(ctx, r)
	if awsapi.HasCode(err, sqs.CodeQueueDoesNotExist) {
		return nil, errNoResource(parameter)
	}
	if err != nil {
		return nil, err
	}
	return have, authorize(ctx, have, action)
}

// StartMessageMoveTask moves a dead-letter queue's messages elsewhere or back.
func (q *Queues) StartMessageMoveTask(ctx context.Context, in *sqs.StartMessageMoveTaskInput) (*sqs.StartMessageMoveTaskOutput, error) {
	have, err := q.openARN(ctx, *in.SourceArn, "SourceArn", "StartMessageMoveTask")
	if err != nil {
		return nil, err
	}
	rate := int64(0)
	if in.MaxNumberOfMessagesPerSecond != nil {
		if rate = int64(*in.MaxNumberOfMessagesPerSecond); rate == 0 {
			rate = -1 // given, and not in AWS's range
		}
	}
	answer := func(m Move) *sqs.StartMessageMoveTaskOutput {
		return &sqs.StartMessageMoveTaskOutput{TaskHandle: &m.Handle}
	}
	moveHandle, err := q.StartMove(awsapi.AnswersWith(ctx, answer), have.Ref, text(in.DestinationArn), rate)
	if err != nil {
		return nil, err
	}
	return answer(Move{Handle: moveHandle}), nil
}

// CancelMessageMoveTask ends a move.
func (q *Queues) CancelMessageMoveTask(ctx context.Context, in *sqs.CancelMessageMoveTaskInput) (*sqs.CancelMessageMoveTaskOutput, error) {
	source, ok := moveSource(*in.TaskHandle)
	if !ok {
		return nil, errParameter("TaskHandle", *in.TaskHandle, "The task handle is not valid.")
	}
	if _, err := q.openARN(ctx, source.ARN(), "TaskHandle", "CancelMessageMoveTask"); err != nil {
		return nil, err
	}
	answer := func(m Move) *sqs.CancelMessageMoveTaskOutput {
		return &sqs.CancelMessageMoveTaskOutput{ApproximateNumberOfMessagesMoved: &m.Moved}
	}
	moved, err := q.CancelMove(awsapi.AnswersWith(ctx, answer), *in.TaskHandle)
	if err != nil {
		return nil, err
	}
	return answer(Move{Moved: moved}), nil
}

// ListMessageMoveTasks lists up to 10 moves of a queue, the newest first. AWS:
// one without MaxResults.
func (q *Queues) ListMessageMoveTasks(ctx context.Context, in *sqs.ListMessageMoveTasksInput) (*sqs.ListMessageMoveTasksOutput, error) {
	have, err := q.openARN(ctx, *in.SourceArn, "SourceArn", "ListMessageMoveTasks")
	if err != nil {
		return nil, err
	}
	limit := 1
	if in.MaxResults != nil {
		if limit = int(*in.MaxResults); limit < 1 || limit > 10 {
			return nil, errParameter("MaxResults", limit, "Value for parameter MaxResults must be an integer between 1 and 10.")
		}
	}
	list, err := q.Moves(ctx, have.Ref, limit)
	if err != nil {
		return nil, err
	}
	out := &sqs.ListMessageMoveTasksOutput{Results: []sqs.ListMessageMoveTasksResultEntry{}}
	for _, m := range list {
		e := sqs.ListMessageMoveTasksResultEntry{
			Status: new(m.Status), SourceArn: new(m.Source.ARN()), StartedTimestamp: new(m.Started),
			DestinationArn: optional(m.Destination), FailureReason: optional(m.Failure),
			ApproximateNumberOfMessagesMoved: new(m.Moved), ApproximateNumberOfMessagesToMove: new(m.ToMove),
		}
		if m.Rate > 0 {
			e.MaxNumberOfMessagesPerSecond = new(int32(m.Rate))
		}
		if m.Status == moveRunning { // AWS: only then
			e.TaskHandle = new(m.Handle)
		}
		out.Results = append(out.Results, e)
	}
	return out, nil
}
