package kind

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// logGroup is AWS::Logs::LogGroup, by its name.
type logGroup struct{ api }

// logGroupUnserved are properties for which CloudWatch Logs has operations of their own that are not here.
var logGroupUnserved = unserved{
	{"DataProtectionPolicy", "log groups have no data protection"},
	{"FieldIndexPolicies", "log groups have no field indexes"},
	{"ResourcePolicyDocument", "log groups have no resource policies"},
	{"BearerTokenAuthenticationEnabled", "events cannot be put with a bearer token"},
}

// Create makes the log group, then sets its retention.
func (h logGroup) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	if err := logGroupUnserved.refuse(r.Desired); err != nil {
		return nil, err
	}
	name := nameOf(r, "LogGroupName", "LogGroup")
	tags, err := tagsOf(r.Desired)
	if err != nil {
		return nil, err
	}
	in := &logs.CreateLogGroupInput{LogGroupName: &name, Tags: tags}
	if err := shape("", pick(r.Desired, "KmsKeyId", "LogGroupClass", "DeletionProtectionEnabled"), in); err != nil {
		return nil, err
	}
	_, err = call[logs.CreateLogGroupOutput](ctx, h.api, r, "logs", "CreateLogGroup", in)
	if is(err, resource.AlreadyExists) && r.Again {
		err = h.adopt(ctx, r, name, err)
	}
	if err != nil {
		return nil, err
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.remove(ctx, r, name) })
	if r.Desired["RetentionInDays"] != nil {
		if err := h.retain(ctx, r, name); err != nil {
			return nil, undo.after(ctx, err)
		}
	}
	return h.read(ctx, r, name)
}

// adopt returns nil if the log group is what a create that was cut off left, else the refusal.
func (h logGroup) adopt(ctx context.Context, r resource.Request, name string, refusal error) error {
	have, err := h.read(ctx, r, name)
	if err != nil {
		return err
	}
	if !ours(r.Desired, have, nil, nil, []string{"RetentionInDays"}) {
		return refusal
	}
	return nil
}

func (h logGroup) retain(ctx context.Context, r resource.Request, name string) error {
	in := &logs.PutRetentionPolicyInput{LogGroupName: &name}
	if err := shape("RetentionInDays", r.Desired["RetentionInDays"], &in.RetentionInDays); err != nil {
		return err
	}
	_, err := call[logs.PutRetentionPolicyOutput](ctx, h.api, r, "logs", "PutRetentionPolicy", in)
	return err
}

// Read describes the log group.
func (h logGroup) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

// read asks for the first group by name that begins with the name: it is the one, if it is there.
func (h logGroup) read(ctx context.Context, r resource.Request, name string) (resource.Model, error) {
	in := &logs.DescribeLogGroupsInput{LogGroupNamePrefix: &name, Limit: new(int32(1))}
	out, err := call[logs.DescribeLogGroupsOutput](ctx, h.api, r, "logs", "DescribeLogGroups", in)
	if err != nil {
		return nil, err
	}
	if len(out.LogGroups) == 0 || *out.LogGroups[0].LogGroupName != name {
		return nil, missing("AWS::Logs::LogGroup", name)
	}
	have := out.LogGroups[0]
	m := resource.Model{}
	put(m, "LogGroupName", have.LogGroupName)
	put(m, "Arn", have.Arn)
	put(m, "LogGroupClass", have.LogGroupClass)
	put(m, "RetentionInDays", have.RetentionInDays)
	put(m, "KmsKeyId", have.KmsKeyId)
	return m, nil
}

// Update changes the retention. There is no operation here that takes one away; to replace the group for
// that, as NotUpdatable would, is to lose its events.
func (h logGroup) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	if err := logGroupUnserved.refuse(r.Desired); err != nil {
		return nil, err
	}
	name := r.Identifier
	have, err := h.read(ctx, r, name)
	if err != nil {
		return nil, err
	}
	for _, p := range []string{"KmsKeyId", "DeletionProtectionEnabled", "Tags"} {
		if asks(r.Desired[p]) {
			return nil, invalid(p, "is not available here.")
		}
	}
	switch {
	case r.Desired["RetentionInDays"] == nil && have["RetentionInDays"] != nil && changed(r, "RetentionInDays"):
		return nil, invalid("RetentionInDays", "cannot be taken away: a retention can only be changed here. Set the longest one, 3653, or make another log group.")
	case r.Desired["RetentionInDays"] != nil && !same(r.Desired["RetentionInDays"], have["RetentionInDays"]):
		if err := h.retain(ctx, r, name); err != nil {
			return nil, err
		}
	}
	return h.read(ctx, r, name)
}

// Delete deletes the log group.
func (h logGroup) Delete(ctx context.Context, r resource.Request) error {
	return gone(r, h.remove(ctx, r, r.Identifier))
}

func (h logGroup) remove(ctx context.Context, r resource.Request, name string) error {
	_, err := call[logs.DeleteLogGroupOutput](ctx, h.api, r, "logs", "DeleteLogGroup", &logs.DeleteLogGroupInput{LogGroupName: &name})
	return err
}

// maxLogGroups is the largest page of log groups. AWS: 50.
const maxLogGroups = 50

// List lists the log groups by name.
func (h logGroup) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &logs.DescribeLogGroupsInput{Limit: pageSize(r, maxLogGroups), NextToken: pageToken(r)}
	out, err := call[logs.DescribeLogGroupsOutput](ctx, h.api, r, "logs", "DescribeLogGroups", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, have := range out.LogGroups {
		models = append(models, resource.Model{"LogGroupName": *have.LogGroupName, "Arn": *have.Arn})
	}
	return models, str(out.NextToken), nil
}
