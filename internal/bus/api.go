package bus

import (
	"context"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
)

// AWS returns the EventBridge API of these buses. Partner event sources and global
// endpoints are not served.
func (b *Buses) AWS() events.Service { return &service{buses: b} }

// service is the API: it turns wire shapes into what Buses takes and back.
type service struct {
	events.Unimplemented
	buses *Buses
}

func callerFrom(ctx context.Context) Caller {
	c := awsapi.CallerFrom(ctx)
	return Caller{Account: c.Account, Region: c.Region, AccessKeyID: c.AccessKeyID}
}

// str returns what p points to, empty for nil.
func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// given returns a pointer to s, nil when it is empty: AWS leaves out what is not set.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// blank says that p was given, as an empty text.
func blank(p *string) bool { return p != nil && *p == "" }

// givenOr is given, but shows an empty text that was given.
func givenOr(s string, blank bool) *string {
	if blank {
		return &s
	}
	return given(s)
}

func isTrue(p *bool) bool { return p != nil && *p }

func pageOf(limit *int32, token *string) Page {
	p := Page{Token: str(token)}
	if limit != nil {
		p.Limit = int(*limit)
	}
	return p
}

// refuseGiven names the first of the parameters that is given: it is not honoured,
// so it must not be accepted.
func refuseGiven(parameters ...parameter) error {
	for _, p := range parameters {
		if p.given {
			return awsapi.ValidationException("Parameter %s is not served by Rialto.", p.name)
		}
	}
	return nil
}

type parameter struct {
	name  string
	given bool
}

// ownBus returns the bus that a name or an ARN means. AWS: a bus of another
// region is not seen from this one.
func ownBus(caller Caller, nameOrARN *string) (event.BusRef, error) {
	ref, ok := caller.bus(str(nameOrARN))
	if !ok {
		return ref, awsapi.ValidationException("Parameter EventBusName is not valid. Reason: Provided Arn is not in correct format.")
	}
	if ref.Region != caller.Region {
		return ref, noBus(ref.Name)
	}
	return ref, nil
}

// busFor returns the bus that a name or an ARN means to the caller, who wants to
// do the action on it: on a bus of another account its policy has to allow that,
// and on one's own it must not deny it. Rule names the rule that it is about; empty for none.
func (s *service) busFor(ctx context.Context, nameOrARN *string, action, rule string) (event.BusRef, error) {
	caller := callerFrom(ctx)
	ref, err := ownBus(caller, nameOrARN)
	if err != nil {
		return ref, err
	}
	bus, err := s.buses.lookup(ctx, ref)
	if err != nil {
		return ref, err
	}
	if ref.Account == caller.Account && (bus == nil || bus.policy == nil) {
		return ref, nil
	}
	// AWS: whoever may manage rules can be limited to some by their ARN, and to those
	// of their own making.
	creator, resource := caller.Account, "" // the bus
	if rule != "" {
		resource = ruleARN(ref, rule)
		r, exists, err := selectRule(ctx, s.buses.db, ref, rule)
		if err != nil {
			return ref, err
		}
		if exists {
			creator = r.CreatedBy
		}
	}
	denial := s.buses.denial(bus, ref, auth.PolicyRequest{
		Principal: caller.Account, Action: "events:" + action, Resource: resource,
		Context: map[string][]string{"events:creatorAccount": {creator}},
	})
	if denial != "" {
		return ref, accessDenied(denial)
	}
	return ref, nil
}

// CreateEventBus creates a custom bus. There are no partners, so no event source
// of one exists.
func (s *service) CreateEventBus(ctx context.Context, in *events.CreateEventBusInput) (*events.CreateEventBusOutput, error) {
	if err := refuseGiven(parameter{"KmsKeyIdentifier", str(in.KmsKeyIdentifier) != ""}); err != nil {
		return nil, err
	}
	if in.EventSourceName != nil {
		return nil, events.ErrResourceNotFoundException("Event source %s does not exist.", *in.EventSourceName)
	}
	caller := callerFrom(ctx)
	ref := event.BusRef{Account: caller.Account, Region: caller.Region, Name: str(in.Name)}
	change := busChangeIn(in.Description, in.DeadLetterConfig, in.LogConfig)
	out := &events.CreateEventBusOutput{
		EventBusArn: new(ref.ARN()), Description: in.Description, DeadLetterConfig: in.DeadLetterConfig, LogConfig: in.LogConfig,
	}
	awsapi.Answers(ctx, out)
	return out, s.buses.CreateBus(ctx, ref, change, tagsIn(in.Tags))
}

// busChangeIn reads what a bus is to have. A dead-letter configuration without a
// queue takes the queue away.
func busChangeIn(description *string, deadLetters *events.DeadLetterConfig, log *events.LogConfig) BusChange {
	change := BusChange{Description: description}
	if deadLetters != nil {
		change.DeadLetterARN = new(str(deadLetters.Arn))
	}
	if log != nil {
		change.Log = &LogConfig{Level: str(log.Level), IncludeDetail: str(log.IncludeDetail)}
	}
	return change
}

func deadLettersOut(queueARN string) *events.DeadLetterConfig {
	if queueARN == "" {
		return nil
	}
	return &events.DeadLetterConfig{Arn: &queueARN}
}

func logOut(l LogConfig) *events.LogConfig {
	if l == (LogConfig{}) {
		return nil
	}
	return &events.LogConfig{Level: given(l.Level), IncludeDetail: given(l.IncludeDetail)}
}

// DescribeEventBus describes a bus; without a name the default bus.
func (s *service) DescribeEventBus(ctx context.Context, in *events.DescribeEventBusInput) (*events.DescribeEventBusOutput, error) {
	ref, err := s.busFor(ctx, in.Name, "DescribeEventBus", "")
	if err != nil {
		return nil, err
	}
	e, err := s.buses.Bus(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &events.DescribeEventBusOutput{
		Arn: new(ref.ARN()), Name: &ref.Name, Description: given(e.Description), Policy: given(e.Policy),
		DeadLetterConfig: deadLettersOut(e.DeadLetterARN), LogConfig: logOut(e.Log), CreationTime: &e.CreatedAt, LastModifiedTime: &e.ModifiedAt,
	}, nil
}

// ListEventBuses lists the caller's buses by name.
func (s *service) ListEventBuses(ctx context.Context, in *events.ListEventBusesInput) (*events.ListEventBusesOutput, error) {
	caller := callerFrom(ctx)
	found, next, err := s.buses.ListBuses(ctx, caller.Account, caller.Region, str(in.NamePrefix), pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &events.ListEventBusesOutput{EventBuses: make([]events.EventBus, len(found)), NextToken: given(next)}
	for i, e := range found {
		out.EventBuses[i] = events.EventBus{
			Arn: new(e.Ref.ARN()), Name: new(e.Ref.Name), Description: given(e.Description), Policy: given(e.Policy),
			CreationTime: new(e.CreatedAt), LastModifiedTime: new(e.ModifiedAt),
		}
	}
	return out, nil
}

// UpdateEventBus changes a bus's description, dead-letter queue and logging.
func (s *service) UpdateEventBus(ctx context.Context, in *events.UpdateEventBusInput) (*events.UpdateEventBusOutput, error) {
	if err := refuseGiven(parameter{"KmsKeyIdentifier", str(in.KmsKeyIdentifier) != ""}); err != nil {
		return nil, err
	}
	ref, err := s.busFor(ctx, in.Name, "UpdateEventBus", "")
	if err != nil {
		return nil, err
	}
	answer := func(e EventBus) *events.UpdateEventBusOutput {
		return &events.UpdateEventBusOutput{
			Arn: new(ref.ARN()), Name: &ref.Name, Description: given(e.Description),
			DeadLetterConfig: deadLettersOut(e.DeadLetterARN), LogConfig: logOut(e.Log),
		}
	}
	e, err := s.buses.UpdateBus(awsapi.AnswersWith(ctx, answer), ref, busChangeIn(in.Description, in.DeadLetterConfig, in.LogConfig))
	if err != nil {
		return nil, err
	}
	return answer(e), nil
}

// DeleteEventBus deletes a custom bus without rules.
func (s *service) DeleteEventBus(ctx context.Context, in *events.DeleteEventBusInput) (*events.DeleteEventBusOutput, error) {
	ref, err := s.busFor(ctx, in.Name, "DeleteEventBus", "")
	if err != nil {
		return nil, err
	}
	if err := s.buses.DeleteBus(ctx, ref); err != nil {
		return nil, err
	}
	return &events.DeleteEventBusOutput{}, nil
}

// PutPermission changes a bus's policy, by one statement or as a whole.
func (s *service) PutPermission(ctx context.Context, in *events.PutPermissionInput) (*events.PutPermissionOutput, error) {
	ref, err := ownBus(callerFrom(ctx), in.EventBusName)
	if err != nil {
		return nil, err
	}
	short := in.StatementId != nil || in.Action != nil || in.Principal != nil || in.Condition != nil
	if in.Policy != nil {
		if short {
			return nil, awsapi.ValidationException("Parameter Policy cannot be combined with StatementId, Action, Principal or Condition.")
		}
		return &events.PutPermissionOutput{}, s.buses.PutPolicy(ctx, ref, *in.Policy)
	}
	p, err := permissionIn(in)
	if err != nil {
		return nil, err
	}
	return &events.PutPermissionOutput{}, s.buses.PutPermission(ctx, ref, p)
}

func permissionIn(in *events.PutPermissionInput) (Permission, error) {
	var missing []string
	for _, m := range []struct {
		name  string
		value *string
	}{{"StatementId", in.StatementId}, {"Action", in.Action}, {"Principal", in.Principal}} {
		if m.value == nil {
			missing = append(missing, m.name)
		}
	}
	if missing != nil {
		return Permission{}, awsapi.ValidationException("Parameter(s) %s must be specified.", strings.Join(missing, ", "))
	}
	p := Permission{StatementID: *in.StatementId, Action: *in.Action, Principal: *in.Principal}
	if c := in.Condition; c != nil {
		if str(c.Type) != "StringEquals" || str(c.Key) != "aws:PrincipalOrgID" || str(c.Value) == "" {
			return p, awsapi.ValidationException("Parameter Condition is not valid. Reason: Type must be StringEquals, Key aws:PrincipalOrgID, and Value an organization.")
		}
		p.OrgID = *c.Value
	}
	return p, nil
}

// RemovePermission removes one statement or all of a bus's policy.
func (s *service) RemovePermission(ctx context.Context, in *events.RemovePermissionInput) (*events.RemovePermissionOutput, error) {
	ref, err := ownBus(callerFrom(ctx), in.EventBusName)
	if err != nil {
		return nil, err
	}
	if isTrue(in.RemoveAllPermissions) {
		return &events.RemovePermissionOutput{}, s.buses.RemovePolicy(ctx, ref)
	}
	if in.StatementId == nil {
		return nil, awsapi.ValidationException("Parameter StatementId is required.")
	}
	return &events.RemovePermissionOutput{}, s.buses.RemovePermission(ctx, ref, *in.StatementId)
}

// TagResource adds tags to a bus or a rule.
func (s *service) TagResource(ctx context.Context, in *events.TagResourceInput) (*events.TagResourceOutput, error) {
	return &events.TagResourceOutput{}, s.buses.TagResource(ctx, callerFrom(ctx), str(in.ResourceARN), tagsIn(in.Tags))
}

// UntagResource removes tags from a bus or a rule.
func (s *service) UntagResource(ctx context.Context, in *events.UntagResourceInput) (*events.UntagResourceOutput, error) {
	return &events.UntagResourceOutput{}, s.buses.UntagResource(ctx, callerFrom(ctx), str(in.ResourceARN), in.TagKeys)
}

// ListTagsForResource lists the tags of a bus or a rule.
func (s *service) ListTagsForResource(ctx context.Context, in *events.ListTagsForResourceInput) (*events.ListTagsForResourceOutput, error) {
	tags, err := s.buses.Tags(ctx, callerFrom(ctx), str(in.ResourceARN))
	if err != nil {
		return nil, err
	}
	out := &events.ListTagsForResourceOutput{Tags: make([]events.Tag, len(tags))}
	for i, t := range tags {
		out.Tags[i] = events.Tag{Key: new(t.Key), Value: new(t.Value)}
	}
	return out, nil
}

func tagsIn(tags []events.Tag) []Tag {
	in := make([]Tag, len(tags))
	for i, t := range tags {
		in[i] = Tag{Key: str(t.Key), Value: str(t.Value)}
	}
	return in
}

// PutEvents takes up to ten events.
func (s *service) PutEvents(ctx context.Context, in *events.PutEventsInput) (*events.PutEventsOutput, error) {
	if err := refuseGiven(parameter{"EndpointId", in.EndpointId != nil}); err != nil {
		return nil, err
	}
	// AWS: the request's own header is for the entries without one; it does not
	// stand in for a malformed one.
	trace := awsapi.CallerFrom(ctx).TraceHeader
	entries := make([]Entry, len(in.Entries))
	for i := range in.Entries {
		e := &in.Entries[i]
		entries[i] = Entry{
			Source: str(e.Source), DetailType: str(e.DetailType), Detail: str(e.Detail), Resources: e.Resources,
			Bus: str(e.EventBusName), Time: e.Time, TraceHeader: trace,
		}
		if e.TraceHeader != nil {
			entries[i].TraceHeader = *e.TraceHeader
		}
	}
	results, err := s.buses.PutEvents(ctx, callerFrom(ctx), entries)
	if err != nil {
		return nil, err
	}
	out := &events.PutEventsOutput{FailedEntryCount: new(int32), Entries: make([]events.PutEventsResultEntry, len(results))}
	for i := range results {
		r := &results[i]
		if r.ErrorCode == "" {
			out.Entries[i].EventId = &r.EventID
			continue
		}
		*out.FailedEntryCount++
		out.Entries[i].ErrorCode, out.Entries[i].ErrorMessage = &r.ErrorCode, &r.ErrorMessage
	}
	return out, nil
}

// seconds is a time as connections and API destinations show it. AWS: whole seconds.
func seconds(t time.Time) *time.Time { return new(t.Truncate(time.Second)) }
