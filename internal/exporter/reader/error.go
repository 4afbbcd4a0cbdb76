package reader

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/rialto-bus/rialto/internal/cloud"
)

// Class is what an error says about a resource or a scope.
type Class int

// The classes of errors.
const (
	// Failed is all that may be otherwise the next time: faults of a service or of
	// the network, credentials that have ended, a time that was over.
	Failed Class = iota
	// NotFound says that there is no such resource.
	NotFound
	// Denied says that we may not read it, or have no credentials.
	Denied
	// Throttled says that AWS refused the rate of calls, or our budget was used up,
	// for as long as there was time.
	Throttled
	// Unsupported says that the kind is not known, or cannot be read or listed.
	Unsupported
	// RegionOff says that the account does not have the region enabled, or its
	// settings leave it out.
	RegionOff
	// Invalid says that AWS refuses what was asked: an identifier that cannot be, a
	// model or parameters of a list.
	Invalid
)

var classNames = [...]string{"failed", "not_found", "denied", "throttled", "unsupported", "region_off", "invalid"}

// String returns the class's name, in snake case.
func (c Class) String() string { return classNames[c] }

// Error says why a read failed.
type Error struct {
	Scope Scope
	// Op is what was being done.
	Op    string
	Class Class
	// Code is AWS's error code; empty where AWS did not answer.
	Code string
	Err  error
}

// Error names the scope, what was being done, the class and the cause.
func (e *Error) Error() string {
	// The SDK joins why it gave up to what AWS said, on a line of its own.
	return e.Scope.String() + ": " + e.Op + " (" + e.Class.String() + "): " + strings.ReplaceAll(e.Err.Error(), "\n", "; ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of an error of Get, GetMany or List; Failed for any
// other.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Failed
}

// refusal is an error whose class is known where it is made.
type refusal struct {
	class Class
	err   error
}

// Error returns the cause's text.
func (r *refusal) Error() string { return r.err.Error() }

// Unwrap returns the cause.
func (r *refusal) Unwrap() error { return r.err }

func invalid(format string, args ...any) error {
	return &refusal{Invalid, fmt.Errorf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &refusal{NotFound, fmt.Errorf(format, args...)}
}

// failed makes an Error of one that AWS, the SDK or we made.
func failed(s Scope, op string, err error) error {
	e := &Error{Scope: s, Op: op, Err: err}
	e.Code = codeOf(err)
	e.Class = classOf(s, err)
	return e
}

// codeOf is the code of what AWS answered; empty where it did not.
func codeOf(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func classOf(s Scope, err error) Class {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.class
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Failed
	case errors.Is(err, cloud.ErrRegion):
		return RegionOff
	case errors.Is(err, cloud.ErrWrongAccount):
		return Denied
	case errors.Is(err, cloud.ErrBudget), cloud.Throttled(err):
		return Throttled
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		if cloud.Unreadable(err) {
			return Denied
		}
		return Failed
	}
	return classOfAnswer(s, api)
}

// codes are the classes of AWS's error codes.
var codes = map[string]Class{
	// Cloud Control
	"ResourceNotFoundException": NotFound, "TypeNotFoundException": Unsupported, "UnsupportedActionException": Unsupported,
	"PrivateTypeException": Unsupported, "InvalidRequestException": Invalid, "ValidationException": Invalid,
	"InvalidCredentialsException": Denied,
	// EC2
	"InvalidInstanceID.NotFound": NotFound, "InvalidInstanceID.Malformed": Invalid, "InvalidParameterValue": Invalid,
	"InvalidParameterCombination": Invalid, "InvalidParameter": Invalid, "MissingParameter": Invalid, "UnknownParameter": Invalid,
	// Elastic Load Balancing
	"LoadBalancerNotFound": NotFound, "LoadBalancerNotFoundException": NotFound, "ValidationError": Invalid,
	// ACM
	"InvalidArnException": Invalid, "InvalidArgsException": Invalid, "InvalidParameterException": Invalid,
	// ElastiCache
	"CacheClusterNotFound": NotFound, "CacheClusterNotFoundFault": NotFound, "InvalidARN": Invalid,
	// what a service that is not there answers
	"UnknownOperationException": Unsupported, "InvalidAction": Unsupported, "UnknownOperation": Unsupported,
	// all
	"AccessDenied": Denied, "AccessDeniedException": Denied, "UnauthorizedOperation": Denied, "UnauthorizedAccess": Denied,
	"NotAuthorized": Denied, "NotAuthorizedException": Denied, "UnauthorizedException": Denied, "AuthorizationError": Denied,
	"AuthorizationErrorException": Denied, "Client.UnauthorizedOperation": Denied, "InsufficientPrivilegesException": Denied,
	"SignatureDoesNotMatch": Denied, "IncompleteSignature": Denied, "MissingAuthenticationToken": Denied,
	"MissingAuthenticationTokenException": Denied, "InvalidSignatureException": Denied, "PendingVerification": Denied, "Blocked": Denied,
	"AuthFailure": Denied, "InvalidClientTokenId": Denied, "UnrecognizedClientException": Denied,
	"OptInRequired": RegionOff, "RegionDisabledException": RegionOff, "RegionDisabled": RegionOff,
}

// unknownKeys are the codes with which AWS does not know the access key. AWS:
// so do the regions that an account has not opted in to.
var unknownKeys = map[string]bool{
	"AuthFailure": true, "InvalidClientTokenId": true, "UnrecognizedClientException": true, "InvalidCredentialsException": true,
}

// handlerCode is how Cloud Control words what a kind's handler said.
var handlerCode = regexp.MustCompile(`HandlerErrorCode: ([A-Za-z]+)`)

var handlerCodes = map[string]Class{
	"NotFound": NotFound, "AccessDenied": Denied, "InvalidCredentials": Denied, "InvalidRequest": Invalid,
}

func classOfAnswer(s Scope, api smithy.APIError) Class {
	code, message := api.ErrorCode(), api.ErrorMessage()
	switch {
	case s.Kind == stackKind && code == "ValidationError" && strings.Contains(message, "does not exist"):
		return NotFound
	case s.Kind == bucketKind && elsewhere(message):
		return NotFound
	}
	if unknownKeys[code] && optIn[Region(s.Kind, s.Region)] {
		return RegionOff
	}
	if m := handlerCode.FindStringSubmatch(message); m != nil {
		if class, ok := handlerCodes[m[1]]; ok {
			return class
		}
	}
	class := codes[code]
	switch {
	case class != Failed:
		return class
	case denial(message):
		return Denied
	}
	return Failed
}

const bucketKind = "AWS::S3::Bucket"

// elsewhere reports whether a message says that a bucket is in another region. AWS:
// the list of buckets has those of all regions, and each is read in its own.
func elsewhere(message string) bool {
	return strings.Contains(message, "Status Code: 301") || strings.Contains(message, "PermanentRedirect") ||
		strings.Contains(message, "AuthorizationHeaderMalformed") || strings.Contains(message, "is in this region: ")
}

// denial reports whether a message says that we may not. AWS: handlers of many
// kinds put another service's refusal into a general error.
func denial(message string) bool {
	return strings.Contains(message, "is not authorized to perform") || strings.Contains(message, "AccessDenied") ||
		strings.Contains(message, "UnauthorizedOperation")
}
