package auth

import (
	"context"
	"fmt"
	"slices"
)

// Role is what an access key may do.
type Role string

// The roles. Each may do what is said here and nothing more.
const (
	// Admin may do everything in the key's account: also make keys, inject service
	// events and what makes the server run a user's code. What is the whole
	// installation's, such as other accounts' keys, takes an admin of HomeAccount.
	Admin Role = "admin"
	// Operator may read, publish, receive and change everything else.
	Operator Role = "operator"
	// Publisher may hand in events and messages (PutEvents, SendMessage).
	Publisher Role = "publisher"
	// Reader may look.
	Reader Role = "reader"
)

// Roles are all roles, the mightiest first.
func Roles() []Role { return []Role{Admin, Operator, Publisher, Reader} }

// ParseRole reads a role's name; the error names the roles there are.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", fmt.Errorf("role %q: choose admin, operator, publisher or reader", s)
}

// Permission is a class of things that a caller of the REST API does.
type Permission string

// The permissions, with the roles of Advanced Server Access that they stand for.
const (
	// Read is to look: ASA's access_user and reporting_user.
	Read Permission = "read"
	// Publish is to hand in events and messages.
	Publish Permission = "publish"
	// Write is to change records and configuration: ASA's server_admin.
	Write Permission = "write"
	// Administer is to change who may do what, and what runs code: ASA's access_admin.
	Administer Permission = "administer"
)

// Has reports whether the role grants the permission.
func (r Role) Has(p Permission) bool {
	switch r {
	case Admin:
		return true
	case Operator:
		return p != Administer
	case Publisher:
		return p == Publish
	case Reader:
		return p == Read
	}
	return false
}

// Principal is who calls: one access key.
type Principal struct {
	KeyID   string
	Account string // 12 digits
	Role    Role

	dev bool // nobody checked who it is: everyone may do everything
}

// DefaultAccount is the account of whoever names none in dev mode.
const DefaultAccount = "000000000000"

// HomeAccount is the installation's own account. Its admins administer all
// accounts, and what the server itself holds; those of others only their own.
const HomeAccount = DefaultAccount

// Governs reports whether the caller's account may be asked to administer what
// belongs to an account: it is that account, or HomeAccount, or it is dev mode.
// What the caller may do at all is for its Role to say.
func (p Principal) Governs(account string) bool {
	return p.dev || p.Account == account || p.Account == HomeAccount
}

// IsAccount reports whether s is an AWS account id: 12 digits.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

type principalKey struct{}

// WithPrincipal returns ctx carrying who calls.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns who calls; false where nobody was authenticated.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// Source is the service on whose behalf a call is made inside the process: a
// rule that sends to a queue, for example. Resource policies are evaluated for it.
type Source struct {
	Service string // events.amazonaws.com
	ARN     string // of the rule: aws:SourceArn
	Account string // of the rule's owner: aws:SourceAccount
}

type sourceKey struct{}

// WithSource returns ctx carrying the source of an in-process call.
func WithSource(ctx context.Context, s Source) context.Context {
	return context.WithValue(ctx, sourceKey{}, s)
}

// SourceFrom returns the source of an in-process call; false where a caller
// acts for themselves.
func SourceFrom(ctx context.Context) (Source, bool) {
	s, ok := ctx.Value(sourceKey{}).(Source)
	return s, ok
}
