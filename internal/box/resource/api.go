package resource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
)

// CloudControl is Cloud Control API over a registry.
type CloudControl struct{ g *Registry }

var _ cloudcontrol.Service = CloudControl{}

// CloudControl returns the registry's Cloud Control API.
func (g *Registry) CloudControl() CloudControl { return CloudControl{g} }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// open finds a type for an operation, and checks what every request names.
func (c CloudControl) open(ctx context.Context, typeName, version, role *string, operation string) (*Type, error) {
	caller := awsapi.CallerFrom(ctx)
	t, err := c.g.Lookup(ctx, caller.Account, caller.Region, *typeName)
	if errors.Is(err, ErrNoType) {
		return nil, cloudcontrol.ErrTypeNotFoundException("The type '%s' cannot be found.", *typeName)
	}
	if err != nil {
		return nil, err
	}
	if err := c.checkVersion(ctx, t, text(version)); err != nil {
		return nil, err
	}
	if role != nil && !strings.Contains(*role, ":iam::"+caller.Account+":role/") {
		return nil, cloudcontrol.ErrInvalidRequestException("The role %s is not of the account %s.", *role, caller.Account)
	}
	if !t.Schema.Has(operation) {
		return nil, cloudcontrol.ErrUnsupportedActionException("Resource type %s does not support %s action", t.Name, strings.ToUpper(operation))
	}
	return t, nil
}

// checkVersion lets no version through but the one that is in force.
func (c CloudControl) checkVersion(ctx context.Context, t *Type, version string) error {
	if version == "" {
		return nil
	}
	caller := awsapi.CallerFrom(ctx)
	d, err := c.g.Describe(ctx, caller.Account, caller.Region, t.Name)
	if err == nil && d.Version != version {
		err = cloudcontrol.ErrTypeNotFoundException("The type '%s' has no version '%s' that is in force.", t.Name, version)
	}
	return err
}

// call is the request that a handler gets of a call that only reads. A change's is made by its job.
func (c CloudControl) call(ctx context.Context, identifier string) Request {
	caller := storeCaller(awsapi.CallerFrom(ctx)).caller()
	return Request{Caller: caller, Identifier: identifier}
}

// CreateResource has a resource made.
func (c CloudControl) CreateResource(ctx context.Context, in *cloudcontrol.CreateResourceInput) (*cloudcontrol.CreateResourceOutput, error) {
	t, err := c.open(ctx, in.TypeName, in.TypeVersionId, in.RoleArn, "create")
	if err != nil {
		return nil, err
	}
	desired, err := parseDesired(t, "DesiredState", *in.DesiredState)
	if err != nil {
		return nil, err
	}
	identifier, err := t.Identifier(desired)
	if err != nil {
		identifier = "" // it is known once the resource is there
	}
	if err := checkIdentifier(identifier); err != nil {
		return nil, err
	}
	o := c.operation(ctx, cloudcontrol.OperationCreate, t, identifier, in.ClientToken)
	o.fingerprint = fingerprint(o.Operation, t.Name, EncodeModel(desired), text(in.RoleArn))
	out := &cloudcontrol.CreateResourceOutput{}
	awsapi.Answers(ctx, out)
	return out, c.g.begin(ctx, o, input{Desired: desired}, func(o *operation) { out.ProgressEvent = o.event() })
}

// parseDesired reads a model that is asked for. AWS: Cloud Control takes values as they are.
func parseDesired(t *Type, member, text string) (Model, error) {
	desired, err := ParseModel(text)
	if err != nil {
		return nil, cloudcontrol.ErrInvalidRequestException("Invalid request provided: %s is no JSON object: %v", member, err)
	}
	return desired, refused(t.Schema.CheckDesired(desired))
}

// refused is the error of a model that cannot be asked for. AWS: Cloud Control tells it at once.
func refused(err error) error {
	if problems, ok := errors.AsType[Problems](err); ok {
		return awsapi.ValidationException("%s", clean(invalidModel(problems)))
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return awsapi.ValidationException("%s", clean(e.Message))
	}
	return err
}

func (c CloudControl) operation(ctx context.Context, name string, t *Type, identifier string, clientToken *string) operation {
	caller := awsapi.CallerFrom(ctx)
	if d, ok := t.Handler.(*documents); ok {
		identifier = d.canonical(caller, identifier)
	}
	return operation{
		Account: caller.Account, Region: caller.Region, Operation: name, TypeName: t.Name, Identifier: identifier,
		clientToken: text(clientToken), caller: storeCaller(caller),
	}
}

// event is what callers are told of an operation.
func (o *operation) event() *cloudcontrol.ProgressEvent {
	e := &cloudcontrol.ProgressEvent{
		TypeName: &o.TypeName, RequestToken: &o.Token, Operation: &o.Operation, OperationStatus: &o.Status,
		EventTime: new(time.UnixMilli(o.Updated).UTC()),
	}
	for _, member := range []struct {
		value string
		into  **string
	}{
		{o.Identifier, &e.Identifier}, {string(o.ErrorCode), &e.ErrorCode}, {o.Message, &e.StatusMessage}, {o.Model, &e.ResourceModel},
	} {
		if member.value != "" {
			*member.into = &member.value
		}
	}
	if o.RetryAt > 0 {
		e.RetryAfter = new(time.UnixMilli(o.RetryAt).UTC())
	}
	return e
}

// GetResource reads a resource.
func (c CloudControl) GetResource(ctx context.Context, in *cloudcontrol.GetResourceInput) (*cloudcontrol.GetResourceOutput, error) {
	t, err := c.open(ctx, in.TypeName, in.TypeVersionId, in.RoleArn, "read")
	if err != nil {
		return nil, err
	}
	m, err := c.g.Read(ctx, t.Name, c.call(ctx, *in.Identifier))
	if err != nil {
		return nil, handlerError(t, err)
	}
	d, err := describe(t, m)
	if err != nil {
		return nil, err
	}
	return &cloudcontrol.GetResourceOutput{TypeName: in.TypeName, ResourceDescription: d}, nil
}

// describe is a resource as callers are shown it.
func describe(t *Type, m Model) (*cloudcontrol.ResourceDescription, error) {
	identifier, err := t.Identifier(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return &cloudcontrol.ResourceDescription{Identifier: &identifier, Properties: new(EncodeModel(m))}, nil
}

// handlerErrors are what calls answer for the error codes of handlers.
var handlerErrors = map[ErrorCode]func(string, ...any) *awsapi.Error{
	NotUpdatable:   cloudcontrol.ErrNotUpdatableException,
	InvalidRequest: cloudcontrol.ErrInvalidRequestException,
	AccessDenied: func(format string, args ...any) *awsapi.Error {
		return awsapi.Errorf("AccessDeniedException", format, args...)
	},
	InvalidCredentials:     cloudcontrol.ErrInvalidCredentialsException,
	AlreadyExists:          cloudcontrol.ErrAlreadyExistsException,
	NotFound:               cloudcontrol.ErrResourceNotFoundException,
	ResourceConflict:       cloudcontrol.ErrResourceConflictException,
	Throttling:             cloudcontrol.ErrThrottlingException,
	ServiceLimitExceeded:   cloudcontrol.ErrServiceLimitExceededException,
	NotStabilized:          cloudcontrol.ErrNotStabilizedException,
	GeneralService:         cloudcontrol.ErrGeneralServiceException,
	ServiceInternalError:   cloudcontrol.ErrServiceInternalErrorException,
	ServiceTimeout:         cloudcontrol.ErrHandlerFailureException,
	NetworkFailure:         cloudcontrol.ErrNetworkFailureException,
	InternalFailure:        cloudcontrol.ErrHandlerInternalFailureException,
	UnauthorizedTaggingOps: cloudcontrol.ErrInvalidRequestException,
}

// handlerError is what a call answers where its handler failed. AWS: in these words.
func handlerError(t *Type, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	answer := handlerErrors[e.Code]
	if answer == nil {
		return err
	}
	return answer("%s Handler returned status FAILED: %s (HandlerErrorCode: %s, RequestToken: %s)", t.Name, clean(e.Message), e.Code, uuid.NewString())
}

// ListResources lists the resources of a type.
func (c CloudControl) ListResources(ctx context.Context, in *cloudcontrol.ListResourcesInput) (*cloudcontrol.ListResourcesOutput, error) {
	t, err := c.open(ctx, in.TypeName, in.TypeVersionId, in.RoleArn, "list")
	if err != nil {
		return nil, err
	}
	r := c.call(ctx, "")
	if in.ResourceModel != nil {
		if r.Desired, err = ParseModel(*in.ResourceModel); err != nil {
			return nil, cloudcontrol.ErrInvalidRequestException("Invalid request provided: ResourceModel is no JSON object: %v", err)
		}
	}
	if missing := missingFor(t, r.Desired); len(missing) > 0 {
		return nil, cloudcontrol.ErrInvalidRequestException("Missing or invalid ResourceModel property in %s list handler request input. Required property:  %s",
			t.Name, commaList(missing))
	}
	r.Next, r.Max = text(in.NextToken), defaultPage
	if in.MaxResults != nil {
		r.Max = int(*in.MaxResults)
	}
	models, next, err := c.g.List(ctx, t.Name, r)
	if err != nil {
		return nil, handlerError(t, err)
	}
	out := &cloudcontrol.ListResourcesOutput{TypeName: in.TypeName, ResourceDescriptions: []cloudcontrol.ResourceDescription{}}
	for _, m := range models {
		d, err := describe(t, m)
		if err != nil {
			return nil, err
		}
		out.ResourceDescriptions = append(out.ResourceDescriptions, *d)
	}
	if next != "" {
		out.NextToken = &next
	}
	return out, nil
}

// missingFor are the properties that a list must be narrowed by and is not.
func missingFor(t *Type, narrowed Model) []string {
	var missing []string
	for _, name := range t.Schema.ListRequired {
		if _, given := narrowed[name]; !given {
			missing = append(missing, name)
		}
	}
	return missing
}

// UpdateResource has a resource changed. AWS: the patch is applied to what reading the resource
// gives, so that write-only properties that it does not name are not given.
func (c CloudControl) UpdateResource(ctx context.Context, in *cloudcontrol.UpdateResourceInput) (*cloudcontrol.UpdateResourceOutput, error) {
	t, err := c.open(ctx, in.TypeName, in.TypeVersionId, in.RoleArn, "update")
	if err != nil {
		return nil, err
	}
	if err := checkIdentifier(*in.Identifier); err != nil {
		return nil, err
	}
	if _, err := checkPatch(*in.PatchDocument); err != nil {
		return nil, invalidPatch(err)
	}
	o := c.operation(ctx, cloudcontrol.OperationUpdate, t, *in.Identifier, in.ClientToken)
	o.fingerprint = fingerprint(o.Operation, t.Name, *in.Identifier, *in.PatchDocument, text(in.RoleArn))
	out := &cloudcontrol.UpdateResourceOutput{}
	awsapi.Answers(ctx, out)
	answer := func(o *operation) { out.ProgressEvent = o.event() }
	if have, err := c.g.repeated(ctx, c.g.db, &o); err != nil || have != nil {
		if have != nil {
			answer(have) // the patch was applied then, and may not apply now
		}
		return out, err
	}
	busy, err := isBusy(ctx, c.g.db, o.Account, o.Region, o.TypeName, o.Identifier)
	if err != nil {
		return nil, err
	}
	if busy {
		return nil, errBusy(o.TypeName, o.Identifier)
	}
	models, err := c.patched(ctx, t, *in.Identifier, *in.PatchDocument)
	if err != nil {
		return nil, err
	}
	return out, c.g.begin(ctx, o, models, answer)
}

// checkIdentifier refuses what names no resource.
func checkIdentifier(identifier string) error {
	switch {
	case strings.ContainsRune(identifier, 0):
		return cloudcontrol.ErrInvalidRequestException("The identifier has a NUL character.")
	case len(identifier) > maxIdentifier:
		return cloudcontrol.ErrInvalidRequestException("The identifier is %d bytes long; %d are allowed.", len(identifier), maxIdentifier)
	}
	return nil
}

func invalidPatch(err error) error {
	return cloudcontrol.ErrInvalidRequestException("Invalid patch document: %s", clean(err.Error()))
}

// patched reads the resource and applies the patch.
func (c CloudControl) patched(ctx context.Context, t *Type, identifier, document string) (input, error) {
	have, err := c.g.Read(ctx, t.Name, c.call(ctx, identifier))
	if err != nil {
		return input{}, handlerError(t, err)
	}
	patched, err := applyPatch(have, document)
	if err != nil {
		return input{}, invalidPatch(err)
	}
	if named := changedPaths(t.Schema.ReadOnly, have, patched); len(named) > 0 {
		return input{}, awsapi.ValidationException("Invalid patch update: readOnlyProperties %s cannot be updated", commaList(named))
	}
	if named := changedPaths(t.Schema.CreateOnly, have, patched); len(named) > 0 {
		return input{}, cloudcontrol.ErrNotUpdatableException("Invalid patch update: createOnlyProperties %s cannot be updated", commaList(named))
	}
	in := input{Desired: Without(patched, t.Schema.ReadOnly), Previous: Without(have, t.Schema.ReadOnly)}
	return in, refused(t.Schema.CheckDesired(in.Desired))
}

// DeleteResource has a resource deleted.
func (c CloudControl) DeleteResource(ctx context.Context, in *cloudcontrol.DeleteResourceInput) (*cloudcontrol.DeleteResourceOutput, error) {
	t, err := c.open(ctx, in.TypeName, in.TypeVersionId, in.RoleArn, "delete")
	if err != nil {
		return nil, err
	}
	if err := checkIdentifier(*in.Identifier); err != nil {
		return nil, err
	}
	o := c.operation(ctx, cloudcontrol.OperationDelete, t, *in.Identifier, in.ClientToken)
	o.fingerprint = fingerprint(o.Operation, t.Name, *in.Identifier, text(in.RoleArn))
	out := &cloudcontrol.DeleteResourceOutput{}
	awsapi.Answers(ctx, out)
	return out, c.g.begin(ctx, o, input{}, func(o *operation) { out.ProgressEvent = o.event() })
}

// GetResourceRequestStatus tells how far a request is.
func (c CloudControl) GetResourceRequestStatus(ctx context.Context, in *cloudcontrol.GetResourceRequestStatusInput) (*cloudcontrol.GetResourceRequestStatusOutput, error) {
	caller := awsapi.CallerFrom(ctx)
	o, err := findRequest(ctx, c.g.db, caller.Account, caller.Region, *in.RequestToken)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errNoRequest(*in.RequestToken)
	}
	return &cloudcontrol.GetResourceRequestStatusOutput{ProgressEvent: o.event()}, nil
}

// CancelResourceRequest ends a request that has not ended. AWS: what was done is not undone.
func (c CloudControl) CancelResourceRequest(ctx context.Context, in *cloudcontrol.CancelResourceRequestInput) (*cloudcontrol.CancelResourceRequestOutput, error) {
	out := &cloudcontrol.CancelResourceRequestOutput{}
	awsapi.Answers(ctx, out)
	return out, c.g.cancel(ctx, awsapi.CallerFrom(ctx), *in.RequestToken, func(o *operation) { out.ProgressEvent = o.event() })
}

// ListResourceRequests lists the requests of the last days, the newest first.
func (c CloudControl) ListResourceRequests(ctx context.Context, in *cloudcontrol.ListResourceRequestsInput) (*cloudcontrol.ListResourceRequestsOutput, error) {
	caller := awsapi.CallerFrom(ctx)
	before, err := readPage(text(in.NextToken))
	if err != nil {
		return nil, awsapi.ValidationException("The NextToken is not one that was given out.")
	}
	limit := defaultPage
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	var filter cloudcontrol.ResourceRequestStatusFilter
	if in.ResourceRequestStatusFilter != nil {
		filter = *in.ResourceRequestStatusFilter
	}
	list, err := listRequests(ctx, c.g.db, caller.Account, caller.Region, filter.Operations, filter.OperationStatuses, before, limit+1)
	if err != nil {
		return nil, err
	}
	out := &cloudcontrol.ListResourceRequestsOutput{ResourceRequestStatusSummaries: []cloudcontrol.ProgressEvent{}}
	if len(list) > limit {
		list = list[:limit]
		out.NextToken = new(newPage(list[limit-1].id))
	}
	for i := range list {
		out.ResourceRequestStatusSummaries = append(out.ResourceRequestStatusSummaries, *list[i].event())
	}
	return out, nil
}
