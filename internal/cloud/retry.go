package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

const (
	// maxAttempts is how often a call is made that AWS throttles each time: about a
	// minute, if the caller has it.
	maxAttempts = 10
	// faultAttempts is how often a call is made that fails for another reason.
	faultAttempts = 3
)

// Throttled reports whether AWS refused a call for the rate of calls. AWS: some
// handlers of Cloud Control put it into a general error's text.
func Throttled(err error) bool {
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && answer.HTTPStatusCode() == http.StatusTooManyRequests {
		return true
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	if _, ok := retry.DefaultThrottleErrorCodes[api.ErrorCode()]; ok {
		return true
	}
	message := api.ErrorMessage()
	return strings.Contains(message, "HandlerErrorCode: Throttling") || strings.Contains(message, "Rate exceeded") ||
		strings.Contains(message, "TooManyRequests") || strings.Contains(message, "RequestLimitExceeded")
}

// expired reports whether AWS refused credentials because their time is over.
func expired(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (strings.HasPrefix(api.ErrorCode(), "ExpiredToken") || api.ErrorCode() == "RequestExpired")
}

// budgeted is a client's retryer that holds each attempt until the budget lets it
// go, and waits out throttling for as long as the caller has time.
type budgeted struct {
	aws.RetryerV2
	budget      *budget // nil: none
	credentials aws.CredentialsProvider
}

func newRetryer(b *budget, credentials aws.CredentialsProvider, attempts int) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		// A quota of retries would end the wait for a service that throttles.
		o.RateLimiter = ratelimit.None
	})
	return &budgeted{standard, b, credentials}
}

// GetAttemptToken waits until the attempt may be made. What it returns is told of
// the attempt's end.
func (r *budgeted) GetAttemptToken(ctx context.Context) (func(error) error, error) {
	var admitted time.Time
	if r.budget != nil {
		var err error
		if admitted, err = r.budget.wait(ctx); err != nil {
			return nil, fmt.Errorf("wait for the account's rate budget: %w", err)
		}
	}
	return func(err error) error { r.ended(admitted, err); return nil }, nil
}

func (r *budgeted) ended(admitted time.Time, err error) {
	switch {
	case err == nil:
	case expired(err):
		if cache, ok := r.credentials.(*aws.CredentialsCache); ok {
			cache.Invalidate()
		}
	case r.budget != nil && Throttled(err):
		r.budget.throttled(admitted)
	}
}

// IsErrorRetryable adds to the SDK's own the credentials that have ended, which are
// got anew, and the throttling that only a text tells of.
func (r *budgeted) IsErrorRetryable(err error) bool {
	return r.RetryerV2.IsErrorRetryable(err) || expired(err) || Throttled(err)
}

// RetryDelay returns how long to wait before the next attempt, or the attempt's
// error where there is no next one.
func (r *budgeted) RetryDelay(attempt int, err error) (time.Duration, error) {
	if attempt >= faultAttempts && !Throttled(err) {
		return 0, err
	}
	return r.RetryerV2.RetryDelay(attempt, err)
}
