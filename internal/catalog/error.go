package catalog

import (
	"fmt"
	"net/http"
)

// The codes of errors. Port: clients branch on not_found and identifier_taken, and
// look for has_dependents in the text.
const (
	CodeNotFound        = "not_found"
	CodeIdentifierTaken = "identifier_taken"
	CodeHasDependents   = "has_dependents"
	CodeInvalidRequest  = "invalid_request"
	CodeValidation      = "validation_error"
	CodeTooLarge        = "too_large"
	CodeTooBroad        = "query_too_broad"
)

// Error is a refusal that is told to the caller: nothing was changed.
type Error struct {
	Status  int    // HTTP status
	Code    string // one of the Code constants
	Message string // what is wrong, with which field of which thing
	// Details has more for a program, such as the problems of a validation; nil if
	// there is nothing more.
	Details any
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Problem is one thing that is wrong with a blueprint or an entity.
type Problem struct {
	Path    string `json:"path"` // properties.arn
	Message string `json:"message"`
}

func notFound(format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

// noEntity says that there is none of that name.
func noEntity(identifier, blueprint string) *Error {
	return notFound("Entity %q of blueprint %q does not exist.", shorten(identifier), blueprint)
}

func taken(format string, args ...any) *Error {
	return &Error{Status: http.StatusConflict, Code: CodeIdentifierTaken, Message: fmt.Sprintf(format, args...)}
}

// invalid is a request that makes no sense as it stands.
func invalid(format string, args ...any) *Error {
	return &Error{Status: http.StatusUnprocessableEntity, Code: CodeInvalidRequest, Message: fmt.Sprintf(format, args...)}
}

// hasDependents is a delete of something that other things need. Port: the text
// has the word has_dependents, which clients look for.
func hasDependents(format string, args ...any) *Error {
	return &Error{
		Status: http.StatusConflict, Code: CodeHasDependents,
		Message: "has_dependents: " + fmt.Sprintf(format, args...),
	}
}
