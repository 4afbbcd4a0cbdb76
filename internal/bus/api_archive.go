package bus

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
)

// archivedBus returns the bus that the ARN in EventSourceArn means. A bus of another
// account or region is not seen by the caller's archives.
func archivedBus(caller Caller, text string) (event.BusRef, error) {
	ref, ok := busNamed(text)
	if !ok {
		return ref, awsapi.ValidationException("Parameter EventSourceArn is not valid. Reason: Must contain an event bus ARN.")
	}
	if ref.Account != caller.Account || ref.Region != caller.Region {
		return ref, noBus(ref.Name)
	}
	return ref, nil
}

// CreateArchive creates an archive of one of the caller's buses.
func (s *service) CreateArchive(ctx context.Context, in *events.CreateArchiveInput) (*events.CreateArchiveOutput, error) {
	if err := refuseGiven(parameter{"KmsKeyIdentifier", str(in.KmsKeyIdentifier) != ""}); err != nil {
		return nil, err
	}
	ref, err := archivedBus(callerFrom(ctx), str(in.EventSourceArn))
	if err != nil {
		return nil, err
	}
	a := Archive{Bus: ref, Name: str(in.ArchiveName), Description: str(in.Description), Pattern: str(in.EventPattern)}
	if in.RetentionDays != nil {
		a.RetentionDays = *in.RetentionDays
	}
	answer := func(a Archive) *events.CreateArchiveOutput {
		return &events.CreateArchiveOutput{ArchiveArn: new(a.ARN()), State: new(ArchiveEnabled), CreationTime: seconds(a.CreatedAt)}
	}
	if a, err = s.buses.CreateArchive(awsapi.AnswersWith(ctx, answer), a); err != nil {
		return nil, err
	}
	return answer(a), nil
}

// DescribeArchive describes an archive.
func (s *service) DescribeArchive(ctx context.Context, in *events.DescribeArchiveInput) (*events.DescribeArchiveOutput, error) {
	caller := callerFrom(ctx)
	a, err := s.buses.DescribeArchive(ctx, caller.Account, caller.Region, str(in.ArchiveName))
	if err != nil {
		return nil, err
	}
	return &events.DescribeArchiveOutput{
		ArchiveArn: new(a.ARN()), ArchiveName: &a.Name, EventSourceArn: new(a.Bus.ARN()), Description: given(a.Description),
		EventPattern: given(a.Pattern), State: new(ArchiveEnabled), RetentionDays: &a.RetentionDays,
		SizeBytes: &a.Bytes, EventCount: &a.Events, CreationTime: seconds(a.CreatedAt),
	}, nil
}

// ListArchives lists the caller's archives by name.
func (s *service) ListArchives(ctx context.Context, in *events.ListArchivesInput) (*events.ListArchivesOutput, error) {
	if err := oneFilter("ListArchives", in.State, in.EventSourceArn, in.NamePrefix); err != nil {
		return nil, err
	}
	caller := callerFrom(ctx)
	f := ArchiveFilter{NamePrefix: str(in.NamePrefix), State: str(in.State)}
	if in.EventSourceArn != nil {
		ref, err := archivedBus(caller, *in.EventSourceArn)
		if err != nil {
			return nil, err
		}
		f.Bus = &ref
	}
	found, next, err := s.buses.ListArchives(ctx, caller.Account, caller.Region, f, pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &events.ListArchivesOutput{Archives: make([]events.Archive, len(found)), NextToken: given(next)}
	for i, a := range found {
		out.Archives[i] = events.Archive{
			ArchiveName: &a.Name, EventSourceArn: new(a.Bus.ARN()), State: new(ArchiveEnabled), RetentionDays: &a.RetentionDays,
			SizeBytes: &a.Bytes, EventCount: &a.Events, CreationTime: seconds(a.CreatedAt),
		}
	}
	return out, nil
}

// oneFilter refuses more than one of the filters that listings of archives and
// replays have.
func oneFilter(operation string, filters ...*string) error {
	n := 0
	for _, f := range filters {
		if f != nil {
			n++
		}
	}
	if n > 1 {
		return awsapi.ValidationException("At most one filter is allowed for %s. Use either : State, EventSourceArn, or NamePrefix.", operation)
	}
	return nil
}

// UpdateArchive changes an archive.
func (s *service) UpdateArchive(ctx context.Context, in *events.UpdateArchiveInput) (*events.UpdateArchiveOutput, error) {
	if err := refuseGiven(parameter{"KmsKeyIdentifier", str(in.KmsKeyIdentifier) != ""}); err != nil {
		return nil, err
	}
	caller := callerFrom(ctx)
	answer := func(a Archive) *events.UpdateArchiveOutput {
		return &events.UpdateArchiveOutput{ArchiveArn: new(a.ARN()), State: new(ArchiveEnabled), CreationTime: seconds(a.CreatedAt)}
	}
	a, err := s.buses.UpdateArchive(awsapi.AnswersWith(ctx, answer), caller.Account, caller.Region, str(in.ArchiveName), ArchiveChange{
		Description: in.Description, Pattern: in.EventPattern, RetentionDays: in.RetentionDays,
	})
	if err != nil {
		return nil, err
	}
	return answer(a), nil
}

// DeleteArchive deletes an archive.
func (s *service) DeleteArchive(ctx context.Context, in *events.DeleteArchiveInput) (*events.DeleteArchiveOutput, error) {
	caller := callerFrom(ctx)
	return &events.DeleteArchiveOutput{}, s.buses.DeleteArchive(ctx, caller.Account, caller.Region, str(in.ArchiveName))
}
