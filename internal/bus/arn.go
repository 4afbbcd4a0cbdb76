package bus

import (
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
)

// arn is an ARN taken apart: arn:partition:service:region:account:resource.
type arn struct {
	service, region, account, resource string
}

// serviceOf returns the service that an ARN names, empty when it is no ARN.
func serviceOf(s string) string {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[5] == "" {
		return ""
	}
	return parts[2]
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	// regionForm is that of the signature's scope, so that no other can be known.
	regionForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
)

// parseARN reads an ARN that names a region and an account.
func parseARN(s string) (arn, bool) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] == "" || parts[5] == "" {
		return arn{}, false
	}
	a := arn{service: parts[2], region: parts[3], account: parts[4], resource: parts[5]}
	ok := regionForm.MatchString(a.region) && parts[1] == event.Partition(a.region) && accountForm.MatchString(a.account)
	return a, ok
}

// bus returns the name of the event bus that the ARN names, empty for others.
func (a arn) bus() string {
	name, _ := strings.CutPrefix(a.resource, "event-bus/")
	return name
}

var roleForm = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/[\x21-\x7e]+$`)

// checkRole checks a role's form and that it is the account's own. AWS: passing
// a role of another account is refused.
func checkRole(roleARN, account string) error {
	m := roleForm.FindStringSubmatch(roleARN)
	if m == nil {
		return awsapi.ValidationException("Parameter RoleArn is not valid. Reason: Provided Arn is not in correct format.")
	}
	if m[1] != account {
		return awsapi.ValidationException("Parameter RoleArn is not valid. Reason: Cross-account pass role is not allowed.")
	}
	return nil
}
