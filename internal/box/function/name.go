package function

import (
	"context"
	"regexp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
)

// nameForms are the forms in which a request may name a function: a name, a partial ARN or an
// ARN, each perhaps with a qualifier.
var nameForms = regexp.MustCompile(`^(?:arn:aws[a-zA-Z-]*:lambda:)?(?:([a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?(?:(\d{12}):)?(?:function:)?([a-zA-Z0-9_-]+)(?::(\$LATEST|[a-zA-Z0-9_-]+))?$`)

// parseName reads how a request names a function, in the caller's account and region where it does
// not say. The qualifier is "" or $LATEST.
func parseName(ctx context.Context, name, qualifier string) (Ref, string, error) {
	m := nameForms.FindStringSubmatch(name)
	if m == nil {
		return Ref{}, "", errParameter("The function name %q is neither a name nor a function's ARN.", name)
	}
	c := awsapi.CallerFrom(ctx)
	r := Ref{Account: c.Account, Region: c.Region, Name: m[3]}
	if m[2] != "" {
		r.Account = m[2]
	}
	if m[1] != "" && m[1] != c.Region {
		return Ref{}, "", lambda.ErrResourceNotFoundException("Functions from '%s' are not reachable in this region ('%s')", m[1], c.Region)
	}
	switch {
	case m[4] == "":
	case qualifier == "":
		qualifier = m[4]
	case qualifier != m[4]:
		return Ref{}, "", errParameter("The derived qualifier from the function name does not match the specified qualifier.")
	}
	return r, qualifier, checkQualifier(r, qualifier)
}

// checkQualifier returns AWS's error of a version or an alias that is not there: there are none but $LATEST.
func checkQualifier(r Ref, qualifier string) error {
	if qualifier == "" || qualifier == latest {
		return nil
	}
	return errNoFunction(r.ARN() + ":" + qualifier)
}

// withQualifier is the ARN of the function with a qualifier, if there is one.
func withQualifier(r Ref, qualifier string) string {
	if qualifier == "" {
		return r.ARN()
	}
	return r.ARN() + ":" + qualifier
}

// qualified is the function's ARN as a caller named it.
func qualified(fn *Function, qualifier string) string { return withQualifier(fn.Ref, qualifier) }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
