package function

import (
	"context"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/store"
)

// tagged is what a request about tags names: a function, or an event source mapping by its id.
type tagged struct {
	fn      *Function
	mapping string
}

// openTagged finds the function or mapping of an ARN.
func (f *Functions) openTagged(ctx context.Context, arn *string, action string) (tagged, error) {
	c := awsapi.CallerFrom(ctx)
	if id, ok := strings.CutPrefix(text(arn), mappingARN(c.Account, c.Region, "")); ok {
		_, err := f.findMapping(ctx, f.db, c.Account, c.Region, id)
		return tagged{mapping: id}, err
	}
	_, qualifier, ok := ParseARN(text(arn))
	if !ok {
		return tagged{}, lambda.ErrResourceNotFoundException("The resource you requested does not exist: %s is neither a function nor an event source mapping of this account and region.", text(arn))
	}
	if qualifier != "" {
		return tagged{}, errParameter("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	fn, _, err := f.open(ctx, arn, nil, action)
	return tagged{fn: fn}, err
}

// ListTags returns the tags of a function or an event source mapping.
func (f *Functions) ListTags(ctx context.Context, in *lambda.ListTagsInput) (*lambda.ListTagsOutput, error) {
	t, err := f.openTagged(ctx, in.Resource, "lambda:ListTags")
	if err != nil {
		return nil, err
	}
	if t.fn != nil {
		return &lambda.ListTagsOutput{Tags: t.fn.Tags}, nil
	}
	c := awsapi.CallerFrom(ctx)
	m, err := f.findMapping(ctx, f.db, c.Account, c.Region, t.mapping)
	if err != nil {
		return nil, err
	}
	return &lambda.ListTagsOutput{Tags: m.Tags}, nil
}

// TagResource adds tags to a function or an event source mapping, or replaces their values.
func (f *Functions) TagResource(ctx context.Context, in *lambda.TagResourceInput) (*lambda.TagResourceOutput, error) {
	err := f.retag(ctx, in.Resource, "lambda:TagResource", func(have map[string]string) (map[string]string, error) { return addTags(have, in.Tags) })
	if err != nil {
		return nil, err
	}
	return &lambda.TagResourceOutput{}, nil
}

// UntagResource removes tags; keys that there are none of are passed over.
func (f *Functions) UntagResource(ctx context.Context, in *lambda.UntagResourceInput) (*lambda.UntagResourceOutput, error) {
	err := f.retag(ctx, in.Resource, "lambda:UntagResource", func(have map[string]string) (map[string]string, error) { return removeTags(have, in.TagKeys), nil })
	if err != nil {
		return nil, err
	}
	return &lambda.UntagResourceOutput{}, nil
}

// retag makes the tags what change makes of them, which may be called again.
func (f *Functions) retag(ctx context.Context, arn *string, action string, change func(map[string]string) (map[string]string, error)) error {
	t, err := f.openTagged(ctx, arn, action)
	if err != nil {
		return err
	}
	if t.fn == nil {
		c := awsapi.CallerFrom(ctx)
		return f.tagMapping(ctx, c.Account, c.Region, t.mapping, change)
	}
	return f.change(ctx, t.fn.Ref, func(_ *store.Tx, fn *Function) (err error) {
		fn.Tags, err = change(fn.Tags)
		return err
	})
}
