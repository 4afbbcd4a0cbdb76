package kind

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// codes are the kinds of failure that the services' error codes stand for. What is not
// here is told apart by its form, see codeOf.
var codes = map[string]resource.ErrorCode{
	"ResourceNotFoundException":  resource.NotFound,
	"NotFoundException":          resource.NotFound,
	"QueueDoesNotExist":          resource.NotFound,
	"InvalidInstanceID.NotFound": resource.NotFound,

	"ResourceAlreadyExistsException": resource.AlreadyExists,
	"QueueNameExists":                resource.AlreadyExists,

	"AccessDenied":                resource.AccessDenied,
	"AccessDeniedException":       resource.AccessDenied,
	"AuthorizationErrorException": resource.AccessDenied,
	"UnauthorizedOperation":       resource.AccessDenied,
	"InvalidClientTokenId":        resource.InvalidCredentials,
	"UnrecognizedClientException": resource.InvalidCredentials,

	"ConcurrentModificationException": resource.ResourceConflict,
	"ConcurrentAccessException":       resource.ResourceConflict,
	"OperationAbortedException":       resource.ResourceConflict,
	"ResourceConflictException":       resource.ResourceConflict,
	"ResourceInUseException":          resource.ResourceConflict,
	"ResourceNotReadyException":       resource.ResourceConflict,
	"PreconditionFailedException":     resource.ResourceConflict,
	"IncorrectInstanceState":          resource.ResourceConflict,
	"IdempotentParameterMismatch":     resource.ResourceConflict,

	"TooManyRequestsException": resource.Throttling,
	"RequestLimitExceeded":     resource.Throttling,
	"RequestThrottled":         resource.Throttling,

	"OverLimit":                         resource.ServiceLimitExceeded,
	"CodeStorageExceededException":      resource.ServiceLimitExceeded,
	"PolicyLengthExceededException":     resource.ServiceLimitExceeded,
	"InsufficientAddressCapacity":       resource.ServiceLimitExceeded,
	"InsufficientFreeAddressesInSubnet": resource.ServiceLimitExceeded,

	"UnknownOperationException":   resource.GeneralService,
	"ServiceUnavailableException": resource.GeneralService,
}

// codeOf is the kind of failure that a service's error is. What a service has no name for is a
// request that it does not take.
func codeOf(e *awsapi.Error) resource.ErrorCode {
	if code, ok := codes[e.Code]; ok {
		return code
	}
	switch {
	case strings.HasPrefix(e.Code, "Throttl"):
		return resource.Throttling
	case strings.Contains(e.Code, "LimitExceeded"):
		return resource.ServiceLimitExceeded
	case e.Fault || e.Status >= 500:
		return resource.ServiceInternalError
	}
	return resource.InvalidRequest
}

// told is the error that the caller of a resource's operation is told, with the service's
// words. Errors that a service did not mean for callers stay what they are.
func told(operation string, err error) error {
	if e, ok := errors.AsType[*awsapi.Error](err); ok {
		return &resource.Error{Code: codeOf(e), Message: e.Message}
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// is says whether err is an *resource.Error of the code.
func is(err error, code resource.ErrorCode) bool { return err != nil && resource.CodeOf(err) == code }

// asExisting turns the conflict by which Lambda answers a create of what is there already
// into AlreadyExists.
func asExisting(err error) error {
	if e, ok := errors.AsType[*resource.Error](err); ok && e.Code == resource.ResourceConflict {
		return &resource.Error{Code: resource.AlreadyExists, Message: e.Message}
	}
	return err
}

// exists is the error of a create of what is there already. AWS: the words.
func exists(typeName, identifier string) error {
	return resource.Errorf(resource.AlreadyExists, "Resource of type '%s' with identifier '%s' already exists.", typeName, identifier)
}

// missing is the error of an operation on what is not there. AWS: the words.
func missing(typeName, identifier string) error {
	return resource.Errorf(resource.NotFound, "Resource of type '%s' with identifier '%s' was not found.", typeName, identifier)
}

// invalid is the error of a property that cannot be honoured.
func invalid(property, format string, args ...any) error {
	return resource.Errorf(resource.InvalidRequest, "Property %s %s", property, fmt.Sprintf(format, args...))
}

// unserved are properties that no operation here can carry, each with what it would take.
type unserved []struct{ property, why string }

// refuse names the first of the properties that asks for anything.
func (u unserved) refuse(m resource.Model) error {
	for _, p := range u {
		if asks(m[p.property]) {
			return invalid(p.property, "is not available here: %s.", p.why)
		}
	}
	return nil
}

// asks says whether a value asks for anything: false, an empty list and the like do not.
func asks(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != "" && v != "false"
	case []any:
		return len(v) > 0
	case map[string]any:
		for _, member := range v {
			if asks(member) {
				return true
			}
		}
		return false
	}
	return true
}
