package loggroup

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
)

var _ logs.Service = (*Groups)(nil)

// named returns the caller's group of that name, once it is clear that a service
// that acts for a rule may do the action on it.
func named(ctx context.Context, name *string, action string) (Ref, error) {
	c := awsapi.CallerFrom(ctx)
	r := Ref{Account: c.Account, Region: c.Region, Name: value(name)}
	src, service := auth.SourceFrom(ctx)
	if !service {
		return r, nil
	}
	asked := auth.PolicyRequest{Service: src.Service, Action: "logs:" + action, Resource: r.ARN(), SourceARN: src.ARN, SourceAccount: src.Account}
	if !auth.Permit(nil, r.Account, asked) {
		return r, errDenied(src.Service, asked.Action, r.ARN())
	}
	return r, nil
}

// identified returns the group that one of the two members names: by its name, or
// by its name or ARN. AWS: exactly one of them is given.
func identified(ctx context.Context, name, identifier *string, action string) (Ref, error) {
	if (name == nil) == (identifier == nil) {
		return Ref{}, errParameter("Either logGroupName or logGroupIdentifier must be specified, and not both.")
	}
	if name != nil {
		return named(ctx, name, action)
	}
	r, err := named(ctx, nil, action)
	if err != nil {
		return r, err
	}
	r.Name, err = nameOf(r, *identifier)
	return r, err
}

// nameOf reads a group's name, or its ARN, which must be of the same account and
// region.
func nameOf(r Ref, identifier string) (string, error) {
	if !strings.HasPrefix(identifier, "arn:") {
		return identifier, nil
	}
	parts := strings.SplitN(strings.TrimSuffix(identifier, ":*"), ":", 7)
	if len(parts) != 7 || parts[2] != "logs" || parts[5] != "log-group" {
		return "", errParameter("%s is not the ARN of a log group.", identifier)
	}
	if parts[3] != r.Region || parts[4] != r.Account {
		return "", errNoGroup()
	}
	return parts[6], nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// CreateLogGroup makes a log group in the caller's account and region.
func (g *Groups) CreateLogGroup(ctx context.Context, in *logs.CreateLogGroupInput) (*logs.CreateLogGroupOutput, error) {
	switch {
	case in.KmsKeyId != nil:
		return nil, errUnserved("kmsKeyId", "log events are not encrypted with keys of KMS")
	case len(in.Tags) > 0:
		return nil, errUnserved("tags", "log groups have no tags")
	case value(in.DeletionProtectionEnabled):
		return nil, errUnserved("deletionProtectionEnabled", "log groups cannot be protected against deletion")
	case in.LogGroupClass != nil && *in.LogGroupClass != logs.LogGroupClassStandard:
		return nil, errUnserved("logGroupClass", "all log groups are of the class STANDARD")
	}
	r, err := named(ctx, in.LogGroupName, "CreateLogGroup")
	if err != nil {
		return nil, err
	}
	return &logs.CreateLogGroupOutput{}, g.create(ctx, r)
}

// DeleteLogGroup deletes a log group with its streams and events.
func (g *Groups) DeleteLogGroup(ctx context.Context, in *logs.DeleteLogGroupInput) (*logs.DeleteLogGroupOutput, error) {
	r, err := named(ctx, in.LogGroupName, "DeleteLogGroup")
	if err != nil {
		return nil, err
	}
	return &logs.DeleteLogGroupOutput{}, g.remove(ctx, r)
}

// PutRetentionPolicy sets for how many days a group keeps its events.
func (g *Groups) PutRetentionPolicy(ctx context.Context, in *logs.PutRetentionPolicyInput) (*logs.PutRetentionPolicyOutput, error) {
	r, err := named(ctx, in.LogGroupName, "PutRetentionPolicy")
	if err != nil {
		return nil, err
	}
	return &logs.PutRetentionPolicyOutput{}, g.setRetention(ctx, r, int64(*in.RetentionInDays))
}

// maxListed is AWS's page size of groups and streams.
const maxListed = 50

// DescribeLogGroups lists the caller's log groups by name.
func (g *Groups) DescribeLogGroups(ctx context.Context, in *logs.DescribeLogGroupsInput) (*logs.DescribeLogGroupsOutput, error) {
	q, err := groupQueryOf(ctx, in)
	if err != nil {
		return nil, err
	}
	list, err := g.list(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &logs.DescribeLogGroupsOutput{LogGroups: []logs.LogGroup{}}
	if len(list) == q.limit { // one more than the page has
		list = list[:q.limit-1]
		if out.NextToken, err = encodeToken(list[len(list)-1].Name); err != nil {
			return nil, err
		}
	}
	if value(in.LogGroupClass) != "" && *in.LogGroupClass != logs.LogGroupClassStandard {
		return &logs.DescribeLogGroupsOutput{LogGroups: []logs.LogGroup{}}, nil
	}
	for i := range list {
		out.LogGroups = append(out.LogGroups, wireGroup(&list[i], in.LogGroupNamePattern != nil))
	}
	return out, nil
}

func groupQueryOf(ctx context.Context, in *logs.DescribeLogGroupsInput) (groupQuery, error) {
	c := awsapi.CallerFrom(ctx)
	q := groupQuery{
		account: c.Account, region: c.Region, prefix: value(in.LogGroupNamePrefix), contains: value(in.LogGroupNamePattern), limit: maxListed + 1,
	}
	if in.LogGroupNamePrefix != nil && in.LogGroupNamePattern != nil {
		return q, errParameter("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
	}
	if value(in.IncludeLinkedAccounts) {
		return q, errUnserved("includeLinkedAccounts", "accounts are not linked for monitoring")
	}
	for _, account := range in.AccountIdentifiers {
		if account != c.Account {
			return q, errUnserved("accountIdentifiers", "only the caller's own account can be listed")
		}
	}
	for _, identifier := range in.LogGroupIdentifiers {
		name, err := nameOf(Ref{Account: c.Account, Region: c.Region}, identifier)
		if err != nil {
			return q, err
		}
		q.names = append(q.names, name)
	}
	if q.names != nil && (in.LogGroupNamePrefix != nil || in.LogGroupNamePattern != nil) {
		return q, errParameter("logGroupIdentifiers cannot be given together with logGroupNamePrefix or logGroupNamePattern.")
	}
	if in.Limit != nil {
		q.limit = int(*in.Limit) + 1
	}
	return q, decodeToken(in.NextToken, &q.after)
}

// wireGroup is a group as it is described. AWS: of one that was found by pattern
// only the ARN, the name and the time of creation are told.
func wireGroup(have *group, brief bool) logs.LogGroup {
	w := logs.LogGroup{
		Arn: new(have.ARN() + ":*"), LogGroupName: &have.Name, CreationTime: &have.createdAt,
	}
	if brief {
		return w
	}
	w.LogGroupArn, w.LogGroupClass = new(have.ARN()), new(logs.LogGroupClassStandard)
	w.MetricFilterCount, w.StoredBytes = new(int32(0)), &have.storedBytes
	if have.retentionDays > 0 {
		w.RetentionInDays = new(int32(have.retentionDays))
	}
	return w
}

// CreateLogStream makes a stream in a log group.
func (g *Groups) CreateLogStream(ctx context.Context, in *logs.CreateLogStreamInput) (*logs.CreateLogStreamOutput, error) {
	r, err := named(ctx, in.LogGroupName, "CreateLogStream")
	if err != nil {
		return nil, err
	}
	return &logs.CreateLogStreamOutput{}, g.createStream(ctx, r, *in.LogStreamName)
}

// DeleteLogStream deletes a stream with its events.
func (g *Groups) DeleteLogStream(ctx context.Context, in *logs.DeleteLogStreamInput) (*logs.DeleteLogStreamOutput, error) {
	r, err := named(ctx, in.LogGroupName, "DeleteLogStream")
	if err != nil {
		return nil, err
	}
	return &logs.DeleteLogStreamOutput{}, g.removeStream(ctx, r, *in.LogStreamName)
}

// DescribeLogStreams lists a group's streams by name, or by the time of their
// last event.
func (g *Groups) DescribeLogStreams(ctx context.Context, in *logs.DescribeLogStreamsInput) (*logs.DescribeLogStreamsOutput, error) {
	r, err := identified(ctx, in.LogGroupName, in.LogGroupIdentifier, "DescribeLogStreams")
	if err != nil {
		return nil, err
	}
	q := streamQuery{
		prefix: value(in.LogStreamNamePrefix), byLastTime: value(in.OrderBy) == logs.OrderByLastEventTime,
		descending: value(in.Descending), limit: maxListed + 1,
	}
	if err := checkStreamName(q.prefix); err != nil {
		return nil, err
	}
	if q.byLastTime && in.LogStreamNamePrefix != nil {
		return nil, errParameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
	}
	if in.Limit != nil {
		q.limit = int(*in.Limit) + 1
	}
	if in.NextToken != nil {
		q.after = &streamMark{}
		if err := decodeToken(in.NextToken, q.after); err != nil {
			return nil, err
		}
	}
	have, err := g.find(ctx, g.db, r)
	if err != nil {
		return nil, err
	}
	list, err := listStreams(ctx, g.db, have.id, q)
	if err != nil {
		return nil, err
	}
	out := &logs.DescribeLogStreamsOutput{LogStreams: []logs.LogStream{}}
	if len(list) == q.limit {
		list = list[:q.limit-1]
		last := &list[len(list)-1]
		mark := streamMark{Name: last.name, At: -1}
		if last.lastEventAt != nil {
			mark.At = *last.lastEventAt
		}
		if out.NextToken, err = encodeToken(mark); err != nil {
			return nil, err
		}
	}
	for i := range list {
		out.LogStreams = append(out.LogStreams, wireStream(r, &list[i]))
	}
	return out, nil
}

// wireStream is a stream as it is described. AWS: storedBytes of streams are
// always 0 since 2019.
func wireStream(r Ref, s *stream) logs.LogStream {
	return logs.LogStream{
		Arn: new(s.arn(r)), LogStreamName: &s.name, CreationTime: &s.createdAt, StoredBytes: new(int64(0)),
		FirstEventTimestamp: s.firstEventAt, LastEventTimestamp: s.lastEventAt, LastIngestionTime: s.lastIngestedAt,
		UploadSequenceToken: new(sequenceToken),
	}
}

// encodeToken writes where a list goes on.
func encodeToken(mark any) (*string, error) {
	text, err := json.Marshal(mark)
	if err != nil {
		return nil, err
	}
	return new(base64.RawURLEncoding.EncodeToString(text)), nil
}

// decodeToken reads what encodeToken wrote into mark, unless there is none.
func decodeToken(token *string, mark any) error {
	if token == nil {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(*token)
	// A NUL, which no name has, is one that the databases cannot compare with.
	if err != nil || bytes.Contains(text, []byte(`\u0000`)) || json.Unmarshal(text, mark) != nil {
		return errToken()
	}
	return nil
}
