package function

import (
	"context"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/store"
)

// AddPermission adds a statement to a function's policy.
func (f *Functions) AddPermission(ctx context.Context, in *lambda.AddPermissionInput) (*lambda.AddPermissionOutput, error) {
	fn, qualifier, err := f.open(ctx, in.FunctionName, in.Qualifier, "lambda:AddPermission")
	if err != nil {
		return nil, err
	}
	if qualifier != "" {
		return nil, errParameter("We currently do not support adding policies for $LATEST.")
	}
	statement, err := newStatement(fn.Ref, in)
	if err != nil {
		return nil, err
	}
	out := &lambda.AddPermissionOutput{Statement: new(string(statement))}
	awsapi.Answers(ctx, out)
	err = f.changePolicy(ctx, fn.Ref, in.RevisionId, func(fn *Function) error { return fn.addStatement(*in.StatementId, statement) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RemovePermission removes a statement from a function's policy.
func (f *Functions) RemovePermission(ctx context.Context, in *lambda.RemovePermissionInput) (*lambda.RemovePermissionOutput, error) {
	fn, _, err := f.open(ctx, in.FunctionName, in.Qualifier, "lambda:RemovePermission")
	if err != nil {
		return nil, err
	}
	err = f.changePolicy(ctx, fn.Ref, in.RevisionId, func(fn *Function) error { return fn.removeStatement(*in.StatementId) })
	if err != nil {
		return nil, err
	}
	return &lambda.RemovePermissionOutput{}, nil
}

func (f *Functions) changePolicy(ctx context.Context, r Ref, revision *string, edit func(*Function) error) error {
	return f.change(ctx, r, func(_ *store.Tx, fn *Function) error {
		if err := fn.checkRevision(revision, "GetPolicy"); err != nil {
			return err
		}
		if err := edit(fn); err != nil {
			return err
		}
		fn.Revision = uuid.NewString()
		return nil
	})
}

// GetPolicy returns a function's policy.
func (f *Functions) GetPolicy(ctx context.Context, in *lambda.GetPolicyInput) (*lambda.GetPolicyOutput, error) {
	fn, _, err := f.open(ctx, in.FunctionName, in.Qualifier, "lambda:GetPolicy")
	if err != nil {
		return nil, err
	}
	if fn.policyText == "" {
		return nil, lambda.ErrResourceNotFoundException("The resource you requested does not exist.")
	}
	return &lambda.GetPolicyOutput{Policy: new(fn.policyText), RevisionId: new(fn.Revision)}, nil
}
