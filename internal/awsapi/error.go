package awsapi

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is a failure that a caller of an AWS API is told of. A Service returns
// one, wrapped or not; any other error becomes InternalFailure. It is written in
// the shape of the protocol that the caller speaks.
type Error struct {
	// Code is the name of the modelled error, such as QueueDoesNotExist, or any
	// other code. The service's own table gives its form in the query protocol.
	Code    string
	Message string
	// Status is the HTTP status; 0 stands for the modelled status, or 400.
	Status int
	// Fault says that the service failed and not its caller.
	Fault bool
}

// Error returns the code and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Errorf returns an error of the caller's making with HTTP status 400.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// ValidationException is the error of a request whose values break a rule, in
// services that speak JSON.
func ValidationException(format string, args ...any) *Error {
	return &Error{Code: "ValidationException", Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// UnknownOperation is the error of an operation that the service lacks.
func UnknownOperation(service, operation string) *Error {
	return &Error{
		Code:    "UnknownOperationException",
		Message: fmt.Sprintf("The operation %s of %s is not available here.", operation, service),
		Status:  http.StatusBadRequest,
	}
}

// HasCode reports whether err is, or wraps, an Error with the code.
func HasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}
