package bus

import (
	"errors"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
)

// The refusals below are AWS's, word for word where they were recorded.

func notFound(format string, args ...any) error {
	return events.ErrResourceNotFoundException(format, args...)
}

func alreadyExists(format string, args ...any) error {
	return events.ErrResourceAlreadyExistsException(format, args...)
}

func limitExceeded() error {
	return events.ErrLimitExceededException("The requested resource exceeds the maximum number allowed.")
}

func noBus(name string) error { return notFound("Event bus %s does not exist.", name) }

func noRule(ref event.BusRef, rule string) error {
	return notFound("Rule %s does not exist on EventBus %s.", rule, ref.Name)
}

// checkText refuses a text with the character U+0000, which PostgreSQL cannot keep.
// A nil text is none.
func checkText(parameter string, text *string) error {
	if text == nil || strings.IndexByte(*text, 0) < 0 {
		return nil
	}
	return awsapi.ValidationException("Parameter %s is not valid. Reason: it must not hold the character U+0000.", parameter)
}

// refused says whether err is a refusal that its caller is told of, and not a
// failure of ours.
func refused(err error) bool {
	var e *awsapi.Error
	return errors.As(err, &e)
}
