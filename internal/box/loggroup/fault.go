package loggroup

import (
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
)

// The errors below carry AWS's codes and messages, as its service sends them.

func errNoGroup() error {
	return logs.ErrResourceNotFoundException("The specified log group does not exist.")
}

func errNoStream() error {
	return logs.ErrResourceNotFoundException("The specified log stream does not exist.")
}

func errGroupExists() error {
	return logs.ErrResourceAlreadyExistsException("The specified log group already exists")
}

func errStreamExists() error {
	return logs.ErrResourceAlreadyExistsException("The specified log stream already exists")
}

// errParameter is AWS's error of a parameter that is well-formed and not acceptable.
func errParameter(format string, args ...any) error {
	return logs.ErrInvalidParameterException(format, args...)
}

// errUnserved refuses a member that this service would have to ignore.
func errUnserved(member, why string) error {
	return errParameter("The parameter %s is not supported here: %s.", member, why)
}

func errRetention() error {
	days := make([]string, len(retentions))
	for i, d := range retentions {
		days[i] = fmt.Sprint(d)
	}
	return errParameter("Invalid retention value. Valid values are: [%s]", strings.Join(days, ", "))
}

func errToken() error {
	return errParameter("The specified nextToken is invalid.")
}

func errFilter(format string, args ...any) error {
	return errParameter("Invalid filter pattern: %s", fmt.Sprintf(format, args...))
}

func errDenied(who, action, arn string) error {
	return awsapi.Errorf("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no resource-based policy allows the %s action", who, action, arn, action)
}
