package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
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

// GetRetryToken waits before the next attempt of a call. Where the caller has no
// time for it, the error of the last attempt stays with that of the wait.
func (r *budgeted) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	defer noteHeld(ctx, time.Now())
	attempt := 1
	if made, ok := ctx.Value(attemptKey{}).(*atomic.Int32); ok {
		attempt = int(made.Add(1))
	}
	keep := func(error) error { return nil }
	if attempt >= faultAttempts && !Throttled(err) {
		return keep, nil // RetryDelay ends it
	}
	delay, delayErr := r.RetryerV2.RetryDelay(attempt, err)
	if delayErr != nil {
		return nil, delayErr
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < delay {
		return nil, errNoTime
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return keep, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errNoTime = errors.New("there is no time for another attempt")

// RetryDelay returns no further delay, or the attempt's error where there is no next
// one.
func (r *budgeted) RetryDelay(attempt int, err error) (time.Duration, error) {
	if attempt >= faultAttempts && !Throttled(err) {
		return 0, err
	}
	return 0, nil
}

// attemptKey is under which a call's context has the number of its attempts.
type attemptKey struct{}

// countAttempts has the context of each call count its attempts.
func countAttempts(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("CountAttempts",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(context.WithValue(ctx, attemptKey{}, new(atomic.Int32)), in)
		}), middleware.Before)
}

// withBudget has a configuration's clients wait for a budget, and try again by its
// rules.
func withBudget(cfg aws.Config, b *budget, attempts int) aws.Config {
	cfg = cfg.Copy()
	credentials := cfg.Credentials
	cfg.Retryer = func() aws.Retryer { return newRetryer(b, credentials, attempts) }
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), countAttempts)
	return cfg
}
