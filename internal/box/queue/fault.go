package queue

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// The errors below carry AWS's codes and messages, as its service sends them.

func errNoQueue() error {
	return sqs.ErrQueueDoesNotExist("The specified queue does not exist or you do not have access to it.")
}

func errPurging(name string) error {
	return sqs.ErrPurgeQueueInProgress("Only one PurgeQueue operation on %s is allowed every 60 seconds.", name)
}

func errQueueExists(attribute string) error {
	return sqs.ErrQueueNameExists("A queue already exists with the same name and a different value for attribute %s", attribute)
}

// errParameter is AWS's error of a parameter that is well-formed and not acceptable.
func errParameter(name string, value any, reason string, args ...any) error {
	return awsapi.Errorf("InvalidParameterValue", "Value %v for parameter %s is invalid. Reason: %s",
		value, name, fmt.Sprintf(reason, args...))
}

// errInvalid is InvalidParameterValue with a message of its own.
func errInvalid(format string, args ...any) error {
	return awsapi.Errorf("InvalidParameterValue", format, args...)
}

func errMissing(name string) error {
	return awsapi.Errorf("MissingParameter", "The request must contain the parameter %s.", name)
}

func errAttributeName(name string) error {
	return sqs.ErrInvalidAttributeName("Unknown Attribute %s.", name)
}

func errAttributeValue(name string) error {
	return sqs.ErrInvalidAttributeValue("Invalid value for the parameter %s.", name)
}

func errHandle(handle string) error {
	return sqs.ErrReceiptHandleIsInvalid(`The input receipt handle "%s" is not a valid receipt handle.`, handle)
}

func errUnsupported(format string, args ...any) error {
	return sqs.ErrUnsupportedOperation(format, args...)
}

func errDenied(who, action, arn, why string) error {
	return &awsapi.Error{
		Code:    "AccessDenied",
		Message: fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", who, action, arn, why),
		Status:  http.StatusForbidden,
	}
}

func errContents(format string, args ...any) error {
	return sqs.ErrInvalidMessageContents(format, args...)
}

func errNotInFlight() error {
	return sqs.ErrMessageNotInflight("The message referred to isn't in flight.")
}

// isFault says whether the error is for the caller, and not a failure of ours.
func isFault(err error) bool {
	var e *awsapi.Error
	return errors.As(err, &e)
}

func errPolicy(format string, args ...any) error {
	return sqs.ErrInvalidAttributeValue("Invalid value for the parameter Policy: %s.", fmt.Sprintf(format, args...))
}

func errBatchSize(bytes int) error {
	return sqs.ErrBatchRequestTooLong("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", MaxMessageSize, bytes)
}

func errNoResource(parameter string) error {
	return sqs.ErrResourceNotFoundException("The resource that you specified for the %s parameter doesn't exist.", parameter)
}

func errOverLimit(n int) error {
	return sqs.ErrOverLimit("Too many messages in flight: a queue can have at most %d. Delete those that were processed.", n)
}
