package app

import (
	"context"
	"errors"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/target"
)

// realAccounts reaches the targets that are in real accounts.
type realAccounts struct{ accounts *cloud.Accounts }

var _ target.Real = realAccounts{}

// Services returns the services of a real account, nil for any other.
func (r realAccounts) Services(ctx context.Context, account, region string) (*target.Services, error) {
	s, err := r.accounts.Services(ctx, account, region)
	if err != nil || s == nil {
		return nil, err
	}
	return &target.Services{Queues: s.Queues, Topics: s.Topics, LogGroups: s.LogGroups, Functions: s.Functions, Buses: s.Buses}, nil
}

// AccountFailure says what it means for a delivery that an account could not be
// used. AWS: a role that cannot be assumed is final, trouble on the way to it
// passes.
func (r realAccounts) AccountFailure(err error) *target.Failure {
	f := &target.Failure{Message: err.Error()}
	_, noCredentials := errors.AsType[*cloud.CredentialsError](err)
	switch {
	case errors.Is(err, cloud.ErrRegion):
		f.Code = target.CodeNoPermissions
	case !noCredentials:
		return nil
	case errors.Is(err, context.DeadlineExceeded) || !cloud.Unreadable(err):
		f.Code, f.Retryable = target.CodeTransientAssumeRole, true
	default:
		f.Code = target.CodeFailedToAssumeRole
	}
	return f
}
