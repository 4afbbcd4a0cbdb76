package resource

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

// failure is a handler's error as callers are told it: an *Error, also of a service behind. Others are
// wrapped with what was done.
func failure(typeName, doing string, err error) error {
	if err == nil || CodeOf(err) != "" {
		return err
	}
	if e, ok := errors.AsType[*awsapi.Error](err); ok {
		return Errorf(codeOf(e), "%s", e.Message)
	}
	return fmt.Errorf("%s %s: %w", doing, typeName, err)
}

// codeOf is the handler's error code for an error of the service behind.
func codeOf(e *awsapi.Error) ErrorCode {
	switch {
	case has(e.Code, "Throttl", "TooManyRequests", "RequestLimit"):
		return Throttling
	case has(e.Code, "AccessDenied", "AuthorizationError", "Unauthorized"):
		return AccessDenied
	case has(e.Code, "LimitExceeded"):
		return ServiceLimitExceeded
	case has(e.Code, "NotFound", "NonExistent", "DoesNotExist"):
		return NotFound
	case has(e.Code, "AlreadyExist", "NameExists", "Conflict"):
		if has(e.Code, "AlreadyExist", "NameExists") || has(e.Message, "already exist") {
			return AlreadyExists
		}
		return ResourceConflict
	case has(e.Code, "ConcurrentModification", "InUse"):
		return ResourceConflict
	case e.Fault:
		return ServiceInternalError
	}
	return InvalidRequest
}

func has(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// commaList writes names as AWS's messages do: [a, b].
func commaList(names []string) string { return "[" + strings.Join(names, ", ") + "]" }
