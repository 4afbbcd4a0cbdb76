package instance

import (
	"net/http"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

// The errors below carry AWS's codes and messages.

func errMalformed(id string) error {
	if !strings.HasPrefix(id, "i-") {
		return awsapi.Errorf("InvalidInstanceID.Malformed", `Invalid id: "%s" (expecting "i-...")`, id)
	}
	return awsapi.Errorf("InvalidInstanceID.Malformed", `Invalid id: "%s"`, id)
}

func errNotFound(ids []string) error {
	if len(ids) == 1 {
		return awsapi.Errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", ids[0])
	}
	return awsapi.Errorf("InvalidInstanceID.NotFound", "The instance IDs '%s' do not exist", strings.Join(ids, ", "))
}

// errState is the error of an operation that an instance's state does not
// allow; done is started, stopped or rebooted.
func errState(id, done string) error {
	return awsapi.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be %s.", id, done)
}

func errDryRun() error {
	return &awsapi.Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.", Status: http.StatusPreconditionFailed}
}

// errUnsupported refuses what would need more than is here.
func errUnsupported(parameter, why string) error {
	return awsapi.Errorf("UnsupportedOperation", "The parameter %s is not available here: %s.", parameter, why)
}

func errValue(format string, args ...any) error {
	return awsapi.Errorf("InvalidParameterValue", format, args...)
}

func errCombination(format string, args ...any) error {
	return awsapi.Errorf("InvalidParameterCombination", format, args...)
}
