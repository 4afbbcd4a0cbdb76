package function

import (
	"fmt"
	"net/http"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
)

// The errors below carry AWS's codes and messages, as its service sends them.

func errNoFunction(arn string) error {
	return lambda.ErrResourceNotFoundException("Function not found: %s", arn)
}

func errExists(name string) error {
	return lambda.ErrResourceConflictException("Function already exist: %s", name)
}

// errParameter is AWS's error of a parameter that is well-formed and not acceptable.
func errParameter(format string, args ...any) error {
	return lambda.ErrInvalidParameterValueException(format, args...)
}

// errUnsupported says that a part of Lambda is not served here.
func errUnsupported(parameter, why string) error {
	return errParameter("%s is not supported by Rialto: %s", parameter, why)
}

// errRevision is the error of a RevisionId that is out of date. api is the call that tells the current one.
func errRevision(api string) error {
	return lambda.ErrPreconditionFailedException("The RevisionId provided does not match the latest RevisionId. Call the %s API to retrieve the latest RevisionId", api)
}

// errConstraint is AWS's error of a value beyond what the model allows, where the
// model leaves that to the service.
func errConstraint(value any, member, rule string) error {
	return awsapi.ValidationException("1 validation error detected: Value '%v' at '%s' failed to satisfy constraint: Member must %s", value, member, rule)
}

func errDenied(who, action, arn, why string) error {
	return &awsapi.Error{
		Code:    "AccessDeniedException",
		Message: fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", who, action, arn, why),
		Status:  http.StatusForbidden,
	}
}

// errDisabled is the error of what runs users' code where that is switched off.
func errDisabled() *awsapi.Error {
	return &awsapi.Error{
		Code: "AccessDeniedException",
		Message: "Functions are switched off on this server, because they run code as the server's own user and are no sandbox. " +
			"They are on by default only where the server listens on a loopback address. To switch them on, start it with --functions or RIALTO_FUNCTIONS=true.",
		Status: http.StatusForbidden,
	}
}
