package awsapi

import "net/http"

// The roles of an access key.
const (
	RoleAdmin     = "admin"     // everything
	RoleOperator  = "operator"  // everything but what runs users' code
	RolePublisher = "publisher" // PutEvents and SendMessage
	RoleReader    = "reader"    // looks and changes nothing
)

// Allowed reports whether a role may call operations of a class. Taking messages
// off a queue is not reading: it hides them from others.
func Allowed(role string, access Access) bool {
	if access == Identity {
		return role != ""
	}
	switch role {
	case RoleAdmin:
		return true
	case RoleOperator:
		return access != Administer
	case RolePublisher:
		return access == Publish
	case RoleReader:
		return access == Read
	}
	return false
}

// authorize refuses a caller whose role does not allow the operation.
func authorize(api *API, op *Operation, c Caller) error {
	if Allowed(c.Role, op.Access) {
		return nil
	}
	action := api.Name + ":" + op.Name
	e := Errorf(api.deniedCode(),
		"User: %s is not authorized to perform: %s because no identity-based policy allows the %s action",
		c.UserARN(), action, action)
	if !api.speaks(JSON) || api.QueryCompatible {
		e.Status = http.StatusForbidden
	}
	return e
}

// deniedCode is of the error for what a role does not allow. Of the services here
// SNS has a name of its own for it.
func (a *API) deniedCode() string {
	const own = "AuthorizationErrorException"
	if _, ok := a.Errors[own]; ok {
		return own
	}
	return "AccessDeniedException"
}
