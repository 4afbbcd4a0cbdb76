// Package reader reads the resources of cloud accounts as AWS answers them:
// through Cloud Control API for every kind, and through a service's own describe
// calls for the few kinds of which those say more.
//
// It keeps nothing and decides nothing: what a resource becomes, and what follows
// from one that is gone, is for the exporter.
package reader

import (
	"context"
	"fmt"
	"regexp"

	"github.com/rialto-bus/rialto/internal/cloud"
)

// Scope is a kind of resources in one region of an account.
type Scope struct {
	// Account is 12 digits.
	Account string
	Region  string
	// Kind is a resource type's name, such as AWS::Lambda::Function.
	Kind string
}

// String names the scope.
func (s Scope) String() string { return s.Kind + " in " + s.Account + " " + s.Region }

// Resource is one resource as AWS describes it.
type Resource struct {
	// Identifier is the canonical one: the primary identifier that Cloud Control
	// gives, or what Canonical makes of any other.
	Identifier string
	// Properties are JSON values: nil, bool, int, float64, string, []any and
	// map[string]any. nil in a list whose items need a Get.
	Properties map[string]any
}

// ListQuery says which page of which resources to list.
type ListQuery struct {
	// Model is the ResourceModel of Cloud Control's ListResources, a JSON object;
	// empty for none. Special kinds have none.
	Model string
	// Parameters are more parameters of a special kind's list call. They are not
	// changed.
	Parameters map[string]any
	// Next is the Next of the page before.
	Next string
}

// Page is a page of a list.
type Page struct {
	Resources []Resource
	// Whole says that the resources have all that Get would read.
	Whole bool
	// Next is empty on the last page.
	Next string
}

// Cloud hands out the clients of an account's services; *cloud.Accounts is one.
type Cloud interface {
	// Clients returns the clients for a region of the account.
	Clients(ctx context.Context, account, region string) (*cloud.Clients, error)
}

// Options are what New needs.
type Options struct {
	Cloud Cloud
}

// Reader reads resources. Its methods are safe for concurrent use.
type Reader struct{ o Options }

// New returns a reader.
func New(o Options) *Reader { return &Reader{o} }

// special is a kind that is read with its service's own calls.
type special struct {
	// canonical is what identifies the resource that an alias names.
	canonical func(identifier string) string
	// valid refuses what can be no canonical identifier; nil lets AWS judge.
	valid func(identifier string) bool
	get   func(ctx context.Context, c *cloud.Clients, identifier string) (Resource, error)
	// getMany reads up to many resources at once, in no order; what is not there is
	// left out.
	getMany func(ctx context.Context, c *cloud.Clients, identifiers []string) ([]Resource, error)
	many    int
	list    func(ctx context.Context, c *cloud.Clients, q ListQuery) (Page, error)
	// check refuses list parameters that the call does not have.
	check func(parameters map[string]any) error
}

// specials are the kinds of which a describe call tells more than Cloud Control.
var specials = map[string]*special{}

// kindForm is that of a resource type's name. AWS: CloudFormation.
var kindForm = regexp.MustCompile(`^[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}$`)

// maxIdentifier is how long an identifier may be. AWS: of Cloud Control.
const maxIdentifier = 1024

// Canonical returns the identifier by which a kind's resource is known here, for
// one by which it may be named elsewhere, without asking AWS: a stack's or a load
// balancer's name for its ARN, an instance's id for its ARN. Other kinds keep what
// they are given.
func Canonical(kind, identifier string) string {
	if s := specials[kind]; s != nil {
		return s.canonical(identifier)
	}
	return identifier
}

// Special reports whether the kind is read with its service's own calls, which
// take list parameters, rather than with Cloud Control's, which take models.
func Special(kind string) bool { return specials[kind] != nil }

// CheckParameters refuses list parameters that the kind's list call does not have.
// The error names the path, such as "StackStatusFilter[1]".
func CheckParameters(kind string, parameters map[string]any) error {
	if len(parameters) == 0 {
		return nil
	}
	s := specials[kind]
	if s == nil {
		return fmt.Errorf("%s takes no list_parameters: it is listed by Cloud Control, which takes resources_models", kind)
	}
	return s.check(parameters)
}

// Get reads one resource whole. The identifier may be any by which AWS or Canonical
// knows it; that of the result is canonical. Errors have a Class.
func (r *Reader) Get(ctx context.Context, s Scope, identifier string) (Resource, error) {
	c, err := r.clients(ctx, s, identifier)
	if err != nil {
		return Resource{}, err
	}
	var got Resource
	if k := specials[s.Kind]; k != nil {
		got, err = k.get(ctx, c, k.canonical(identifier))
	} else {
		got, err = getResource(ctx, c, s, identifier)
	}
	if err != nil {
		return Resource{}, failed(s, "read "+identifier, err)
	}
	return got, nil
}

// clients checks what is asked for and returns the clients to read it with.
func (r *Reader) clients(ctx context.Context, s Scope, identifiers ...string) (*cloud.Clients, error) {
	if !kindForm.MatchString(s.Kind) {
		return nil, &Error{s, "read", Unsupported, "", fmt.Errorf("kind %q does not look like AWS::Service::Type", s.Kind)}
	}
	for _, id := range identifiers {
		if id == "" || len(id) > maxIdentifier {
			return nil, &Error{s, "read", Invalid, "", fmt.Errorf("an identifier has 1 to %d bytes; this has %d", maxIdentifier, len(id))}
		}
	}
	c, err := r.o.Cloud.Clients(ctx, s.Account, Region(s.Kind, s.Region))
	if err != nil {
		return nil, failed(s, "reach the account", err)
	}
	return c, nil
}

// List reads a page of the scope's resources. Errors have a Class.
func (r *Reader) List(ctx context.Context, s Scope, q ListQuery) (Page, error) {
	c, err := r.clients(ctx, s)
	if err != nil {
		return Page{}, err
	}
	var page Page
	k := specials[s.Kind]
	switch {
	case k == nil && len(q.Parameters) > 0:
		err = invalid("%w", CheckParameters(s.Kind, q.Parameters))
	case k == nil:
		page, err = listResources(ctx, c, s, q)
	case q.Model != "" && q.Model != "{}":
		err = invalid("%s takes no resources_models: it is not listed by Cloud Control", s.Kind)
	default:
		page, err = k.list(ctx, c, q)
	}
	if err != nil {
		return Page{}, failed(s, "list", err)
	}
	return page, nil
}
