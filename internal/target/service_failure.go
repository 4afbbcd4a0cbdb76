package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// awsService is a service as AWS's SDK names it in failures, and what is known of
// its errors.
type awsService struct {
	name string
	api  *awsapi.API
}

var (
	serviceQueues    = awsService{"AmazonSQS", sqs.API}
	serviceTopics    = awsService{"AmazonSNS", sns.API}
	serviceFunctions = awsService{"AWSLambda", lambda.API}
	serviceLogs      = awsService{"AWSLogs", logs.API}
	serviceBuses     = awsService{"AmazonEventBridge", events.API}
)

// serviceAnswer is how a service refused a call.
type serviceAnswer struct {
	code, message, requestID string
	status                   int
	fault                    bool
	// skewed: the service did not accept the time by our clock.
	skewed bool
}

// text is a refusal as AWS's SDK prints it, and dead letters quote it.
func (e *serviceAnswer) text(service awsService) string {
	return fmt.Sprintf("%s (Service: %s; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)", e.message, service.name, e.status, e.code, e.requestID)
}

// serviceFailure says what an error of a service means for the delivery, whether
// the service is the box's or one of AWS. The request id is that of a call of the
// box.
func serviceFailure(ctx context.Context, service awsService, err error, requestID string) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*awsapi.Error](err); ok {
		return service.boxAnswer(e, requestID).failure(service)
	}
	if answer, ok := sdkAnswer(err); ok {
		return answer.failure(service)
	}
	return unansweredFailure(ctx, service, err)
}

// boxAnswer is the box's refusal as AWS would send it: with the query protocol's
// code where the service has one.
func (service awsService) boxAnswer(e *awsapi.Error, requestID string) *serviceAnswer {
	answer := &serviceAnswer{code: e.Code, message: e.Message, requestID: requestID, status: e.Status, fault: e.Fault}
	modelled := service.api.Errors[e.Code]
	if modelled.QueryCode != "" {
		answer.code = modelled.QueryCode
	}
	switch {
	case answer.status != 0:
	case modelled.Status != 0:
		answer.status = modelled.Status
	case e.Fault:
		answer.status = http.StatusInternalServerError
	default:
		answer.status = http.StatusBadRequest
	}
	return answer
}

// unknownError is the SDK's code for an answer that has none.
const unknownError = "UnknownError"

// sdkAnswer is AWS's refusal as the SDK read it.
func sdkAnswer(err error) (*serviceAnswer, bool) {
	answer := &serviceAnswer{code: unknownError}
	resp, answered := errors.AsType[*awshttp.ResponseError](err)
	if answered {
		answer.status, answer.requestID = resp.HTTPStatusCode(), resp.ServiceRequestID()
		answer.message = http.StatusText(answer.status)
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		answer.code, answer.message, answer.fault = e.ErrorCode(), e.ErrorMessage(), e.ErrorFault() == smithy.FaultServer
		// The SDK marks a refused signature when the answer's date is minutes from ours.
		skewed, marked := errors.AsType[interface {
			error
			RetryableError() bool
		}](err)
		answer.skewed = marked && skewed.RetryableError()
		return answer, true
	}
	return answer, answered && answer.status >= http.StatusMultipleChoices
}

// How services call what is missing and what is not allowed.
var (
	missingCodes = []string{
		"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NotFound", "NotFoundException", "ResourceNotFoundException",
		"KMS.DisabledException", "KmsDisabled", "KMSDisabled", // a disabled key counts as a missing queue or topic
	}
	deniedCodes = []string{
		"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnrecognizedClientException", "InvalidSignatureException",
		"IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "ExpiredToken", "ExpiredTokenException",
		"OptInRequired", "NotAuthorizedForSourceException", "NotAuthorizedForDetailTypeException",
	}
)

// failure tells refusals apart. AWS: a missing resource and a missing permission
// are final, throttling and faults are not.
func (e *serviceAnswer) failure(service awsService) *Failure {
	f := &Failure{Status: e.status, Message: e.text(service)}
	switch {
	case slices.Contains(missingCodes, e.code):
		f.Code = CodeNoResource
	case strings.Contains(e.code, "Throttl") || e.code == "OverLimit" || e.status == http.StatusTooManyRequests:
		f.Code, f.Retryable = CodeThrottling, true
	case e.skewed: // the SDK signs by the service's time from now on
		f.Code, f.Retryable = CodeSDKClientError, true
	case slices.Contains(deniedCodes, e.code) || e.status == http.StatusForbidden:
		f.Code = CodeNoPermissions
	case e.fault || e.status >= http.StatusInternalServerError || e.status == http.StatusRequestTimeout,
		e.status == http.StatusConflict: // a function that is just being updated, for example
		f.Code, f.Retryable = CodeErrorFromTarget, true
	case e.code == unknownError: // such as a redirect, which is not followed
		f.Code = CodeErrorFromTarget
	default:
		f.Code = CodeInvalidParameter
	}
	return f
}

// unansweredFailure is for calls to which the service gave no answer that says
// what happened.
func unansweredFailure(ctx context.Context, service awsService, err error) *Failure {
	timeout, isTimeout := errors.AsType[net.Error](err)
	_, isParameter := errors.AsType[*smithy.InvalidParamsError](err)
	_, isGarbled := errors.AsType[*smithy.DeserializationError](err)
	f := &Failure{Message: fmt.Sprintf("%s could not be called: %v", service.name, err), Retryable: true}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return AsFailure(ctx.Err())
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || isTimeout && timeout.Timeout():
		f.Code, f.Message = CodeTimeout, fmt.Sprintf("%s did not answer within %s.", service.name, Timeout)
	case isParameter:
		f.Code, f.Retryable = CodeSDKClientError, false
	case isNetwork(err):
		f.Code = CodeConnectionFailure
	case isGarbled:
		f.Code = CodeErrorFromTarget
	default:
		f.Code = CodeInternalError
	}
	return f
}

// isNetwork reports whether the SDK could not send a request or read its answer.
func isNetwork(err error) bool {
	if e, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok && e.ConnectionError() {
		return true
	}
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, io.ErrUnexpectedEOF)
}

// hasCode reports whether a service refused with the code.
func hasCode(err error, code string) bool {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode() == code
	}
	return awsapi.HasCode(err, code)
}
