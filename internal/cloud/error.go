package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

var (
	// ErrInvalid: settings that make no sense; the text says which.
	ErrInvalid = errors.New("invalid account settings")
	// ErrNotConfigured: the account is not configured as a real one.
	ErrNotConfigured = errors.New("not configured as a real account")
	// ErrRegion: the account's settings leave the region out.
	ErrRegion = errors.New("region not allowed")
	// ErrBudget: so many calls wait for the account's rate budget that this one's
	// time would be over first.
	ErrBudget = errors.New("the budget of calls to the account is used up; raise it with requests_per_second")
	// ErrWrongAccount: the credentials belong to another account.
	ErrWrongAccount = errors.New("wrong account")
)

type refusal string

// Error returns what is wrong.
func (r refusal) Error() string { return string(r) }

// Unwrap makes it an ErrInvalid.
func (r refusal) Unwrap() error { return ErrInvalid }

func invalid(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// CredentialsError says that an account's credentials could not be had.
type CredentialsError struct {
	Account string
	Err     error
}

// Error names the account and the cause.
func (e *CredentialsError) Error() string {
	return fmt.Sprintf("no credentials for account %s: %v", e.Account, e.Err)
}

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// namedCredentials makes a failure to get credentials recognisable, and one that
// would last for ever end.
type namedCredentials struct {
	account string
	inner   aws.CredentialsProvider
	time    time.Duration
}

// Retrieve returns the credentials; its error is a *CredentialsError.
func (n *namedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time)
	defer cancel()
	c, err := n.inner.Retrieve(ctx)
	if err != nil {
		return c, &CredentialsError{Account: n.account, Err: err}
	}
	return c, nil
}

// denied are the codes with which AWS says that asking again will not help.
var denied = map[string]bool{
	"AccessDenied": true, "AccessDeniedException": true, "AuthFailure": true, "UnauthorizedOperation": true,
	"InvalidClientTokenId": true, "SignatureDoesNotMatch": true, "ExpiredToken": true, "OptInRequired": true,
	"UnrecognizedClientException": true, "IncompleteSignature": true, "MissingAuthenticationToken": true,
	"Blocked": true, "PendingVerification": true,
}

// Unreadable reports whether a call failed in a way that trying again does not
// mend: no credentials, or another account's, not allowed, or a region that the
// settings leave out.
func Unreadable(err error) bool {
	if errors.Is(err, ErrRegion) || errors.Is(err, ErrWrongAccount) {
		return true
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return denied[api.ErrorCode()]
	}
	if _, ok := errors.AsType[*CredentialsError](err); !ok {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	// Without an answer from AWS, a call to STS may work the next time; every
	// other place where credentials are looked for is on this machine.
	op, ok := errors.AsType[*smithy.OperationError](errors.Unwrap(credentialsCause(err)))
	return !ok || op.Service() != "STS"
}

func credentialsCause(err error) error {
	e, _ := errors.AsType[*CredentialsError](err)
	return e
}
