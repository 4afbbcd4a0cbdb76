package topic

import (
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

// The errors below carry AWS's codes and messages, as its service sends them.

func errNoTopic() error        { return sns.ErrNotFoundException("Topic does not exist") }
func errNoSubscription() error { return sns.ErrNotFoundException("Subscription does not exist") }
func errNoResource() error     { return sns.ErrResourceNotFoundException("Resource does not exist") }

// errInvalid is InvalidParameter, which says what is invalid and no more.
func errInvalid(what string) error {
	return sns.ErrInvalidParameterException("Invalid parameter: %s", what)
}

// errParameter is InvalidParameter with the reason.
func errParameter(name, reason string, args ...any) error {
	return sns.ErrInvalidParameterException("Invalid parameter: %s Reason: %s", name, fmt.Sprintf(reason, args...))
}

// errValue is AWS's error of a message attribute.
func errValue(format string, args ...any) error {
	return sns.ErrInvalidParameterValueException(format, args...)
}

func errDenied(who, action, arn, why string) error {
	return sns.ErrAuthorizationErrorException("User: %s is not authorized to perform: %s on resource: %s %s", who, action, arn, why)
}

// asError returns the error that a caller is to be told, if err is or wraps one.
func asError(err error) (*awsapi.Error, bool) { return errors.AsType[*awsapi.Error](err) }
