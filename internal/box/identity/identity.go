// Package identity is the box's STS, as far as a caller asks who they are. It
// gives out no credentials.
package identity

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
)

var _ sts.Service = Identity{}

// Identity implements the generated sts.Service. Operations other than
// GetCallerIdentity answer UnknownOperationException.
type Identity struct{ sts.Unimplemented }

// GetCallerIdentity returns the caller's account, and the access key as its user.
func (Identity) GetCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	c := awsapi.CallerFrom(ctx)
	return &sts.GetCallerIdentityOutput{
		Account: new(c.Account),
		UserId:  new(c.AccessKeyID),
		Arn:     new(c.UserARN()),
	}, nil
}
