package inventory

import (
	"errors"
	"fmt"
)

// The kinds of refusal. Errors of this package that are a caller's doing wrap
// one of them and carry a text that the caller may read; any other error is
// the server's own trouble.
var (
	// ErrInvalid: the request does not make sense as it stands.
	ErrInvalid = errors.New("invalid request")
	// ErrNotFound: the thing named does not exist, or was deleted.
	ErrNotFound = errors.New("does not exist")
	// ErrExists: a thing of that name or number is there already.
	ErrExists = errors.New("already exists")
	// ErrRevoked: the server that an agent speaks for was removed; it has to
	// enroll anew.
	ErrRevoked = errors.New("server authorization revoked")
	// ErrCredential: an enrollment token, signature or key is not accepted.
	ErrCredential = errors.New("credential not accepted")
	// ErrForbidden: the credential is good, but not for this.
	ErrForbidden = errors.New("forbidden")
)

// refusal is an error for the caller: a kind from above and a text.
type refusal struct {
	kind error
	text string
}

// Error returns what is told to the caller.
func (r *refusal) Error() string { return r.text }

// Unwrap returns the Err variable that it is of.
func (r *refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind: kind, text: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error { return refuse(ErrInvalid, format, args...) }

func notFound(format string, args ...any) error { return refuse(ErrNotFound, format, args...) }
