package bus

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/awsapi"
)

// DynamicPath returns the path into the original event that a value of
// HTTPParameters or a MessageGroupID stands for; nil if it stands for itself.
// AWS: a path is a whole value, never a part of one. The error says that it looks
// like a path and is none.
func DynamicPath(value string) (*inputtransform.Path, error) {
	if value != "$" && !strings.HasPrefix(value, "$.") && !strings.HasPrefix(value, "$[") {
		return nil, nil
	}
	return inputtransform.ParsePath(value)
}

func checkDynamic(parameter, id, value string) error {
	if _, err := DynamicPath(value); err != nil {
		return awsapi.ValidationException("Parameter %s of target %s is not valid. Reason: %s is not a JSON path.", parameter, id, value)
	}
	return nil
}

// The limits of HTTP parameters, in characters. AWS names the first, of names and
// values of headers and query parameters; for the values of a path it has none, so
// that of the endpoint is taken.
const (
	maxHTTPParameter = 512
	maxPathParameter = 2048
	// maxHTTPParameters is how many of a kind a target may have: as many as AWS lets
	// a connection have.
	maxHTTPParameters = 100
)

// headerText is the form of a header's value: printable ASCII, tabs within.
var headerText = regexp.MustCompile(`^[\t\x20-\x7e]*$`)

func checkHTTPParameters(t *RuleTarget) error {
	p := t.HTTPParameters
	if p == nil {
		return nil
	}
	for _, l := range []struct {
		list  string
		n     int
		check func(*RuleTarget) error
	}{
		{"PathParameterValues", len(p.Path), checkPathParameters},
		{"HeaderParameters", len(p.Headers), checkHeaderParameters},
		{"QueryStringParameters", len(p.Query), checkQueryParameters},
	} {
		if l.n > maxHTTPParameters {
			return invalidHTTPParameter(l.list, t.ID, fmt.Sprintf("there are %d, more than the %d allowed.", l.n, maxHTTPParameters))
		}
		if err := l.check(t); err != nil {
			return err
		}
	}
	return nil
}

func checkPathParameters(t *RuleTarget) error {
	for _, value := range t.HTTPParameters.Path {
		if strings.TrimSpace(value) == "" {
			return awsapi.ValidationException("Parameter HttpParameters.PathParameterValues of target %s must not hold blank values.", t.ID)
		}
		if err := checkHTTPParameter("PathParameterValues", t.ID, value, maxPathParameter); err != nil {
			return err
		}
	}
	return nil
}

func checkHeaderParameters(t *RuleTarget) error {
	headers := t.HTTPParameters.Headers
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value := headers[name]
		if !headerToken.MatchString(name) || len(name) > maxHTTPParameter {
			return invalidHTTPParameter("HeaderParameters", t.ID, "the name of a header is up to 512 letters, digits and !#$%&'*+-.^_`|~.")
		}
		if !headerText.MatchString(value) {
			return invalidHTTPParameter("HeaderParameters", t.ID, "the value of a header is printable ASCII.")
		}
		if err := checkHTTPParameter("HeaderParameters", t.ID, value, maxHTTPParameter); err != nil {
			return err
		}
	}
	return nil
}

func checkQueryParameters(t *RuleTarget) error {
	query := t.HTTPParameters.Query
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if name == "" || utf8.RuneCountInString(name) > maxHTTPParameter {
			return invalidHTTPParameter("QueryStringParameters", t.ID, "the name of a query parameter is up to 512 characters.")
		}
		if err := checkHTTPParameter("QueryStringParameters", t.ID, query[name], maxHTTPParameter); err != nil {
			return err
		}
	}
	return nil
}

func checkHTTPParameter(list, id, value string, limit int) error {
	if utf8.RuneCountInString(value) > limit {
		return invalidHTTPParameter(list, id, fmt.Sprintf("a value is up to %d characters.", limit))
	}
	return checkDynamic("HttpParameters."+list, id, value)
}

func invalidHTTPParameter(list, id, reason string) error {
	return awsapi.ValidationException("Parameter HttpParameters.%s of target %s is not valid. Reason: %s", list, id, reason)
}
