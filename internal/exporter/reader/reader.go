// Package reader reads the resources of cloud accounts as AWS answers them:
// through Cloud Control API for every kind, and through a service's own describe
// calls for the few kinds of which those say more.
//
// It keeps nothing and decides nothing: what a resource becomes, and what follows
// from one that is gone, is for the exporter.
package reader

import (
	"context"
	"errors"
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
	// Identifier is the canonical one, the type's primary identifier: what has several
	// parts has them joined with |.
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
	// Regions returns the regions of the account that may be reached.
	Regions(ctx context.Context, account string) ([]string, error)
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
	// canonical is what identifies the resource that an alias names; nil: the alias.
	canonical func(identifier string) string
	// valid refuses what can be no canonical identifier; nil lets AWS judge.
	valid func(identifier string) bool
	get   func(ctx context.Context, c *cloud.Clients, identifier string) (Resource, error)
	// getMany reads up to many resources at once, by identifier; what is not there is
	// left out. The error is about all that it has no answer for.
	getMany func(ctx context.Context, c *cloud.Clients, identifiers []string) (map[string]Answer, error)
	many    int
	list    func(ctx context.Context, c *cloud.Clients, q ListQuery) (Page, error)
	// input is the list call's.
	input func() any
}

// name returns the identifier that stands for an alias.
func (k *special) name(identifier string) string {
	if k.canonical == nil {
		return identifier
	}
	return k.canonical(identifier)
}

// specialOf returns how a kind is read of which a describe call tells more than
// Cloud Control, or nil.
func specialOf(kind string) *special {
	switch kind {
	case stackKind:
		return &stack
	case "AWS::EC2::Instance":
		return &instance
	case "AWS::ElasticLoadBalancingV2::LoadBalancer":
		return &loadBalancer
	case "AWS::ACM::Certificate":
		return &certificate
	case "AWS::ElastiCache::CacheCluster":
		return &cacheCluster
	}
	return nil
}

// kindForm is that of a resource type's name. AWS: CloudFormation.
var kindForm = regexp.MustCompile(`^[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}$`)

// maxIdentifier is how long an identifier may be. AWS: of Cloud Control.
const maxIdentifier = 1024

// Special reports whether the kind is read with its service's own calls, which
// take list parameters, rather than with Cloud Control's, which take models.
func Special(kind string) bool { return specialOf(kind) != nil }

// CheckParameters refuses list parameters that the kind's list call does not have.
// The error names the path, such as list_parameters.StackStatusFilter[1].
func CheckParameters(kind string, parameters map[string]any) error {
	if len(parameters) == 0 {
		return nil
	}
	k := specialOf(kind)
	if k == nil {
		return invalid("list_parameters: %s has none: it is listed by Cloud Control, which takes resources_models", kind)
	}
	return setParameters(k.input(), parameters)
}

// CheckModel refuses what is no ResourceModel of Cloud Control's list call.
func CheckModel(kind, model string) error {
	if model == "" || model == "{}" {
		return nil
	}
	if Special(kind) {
		return invalid("%s takes no resources_models: it is not listed by Cloud Control", kind)
	}
	if _, err := parseProperties(model); err != nil {
		return invalid("the resource model %q is no JSON object", model)
	}
	return nil
}

// Get reads one resource whole. The identifier may be any by which AWS knows it: a
// stack's or a load balancer's name, the ARN of what has an id. That of the result
// is canonical. Errors have a Class.
func (r *Reader) Get(ctx context.Context, s Scope, identifier string) (Resource, error) {
	c, err := r.clients(ctx, s, identifier)
	if err != nil {
		return Resource{}, err
	}
	got, err := get(ctx, c, s, identifier)
	if err != nil {
		return Resource{}, failed(s, "read "+identifier, err)
	}
	return got, nil
}

func get(ctx context.Context, c *cloud.Clients, s Scope, identifier string) (Resource, error) {
	k := specialOf(s.Kind)
	if k == nil {
		return getResource(ctx, c, s, identifier)
	}
	name := k.name(identifier)
	if k.valid != nil && !k.valid(name) {
		return Resource{}, invalid("%q does not look like an identifier of the kind", name)
	}
	return k.get(ctx, c, name)
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
	if errors.Is(err, cloud.ErrRegion) && Global(s.Kind) {
		// AWS: Cloud Control tells of global resources in any region.
		c, err = r.elsewhere(ctx, s.Account, err)
	}
	if err != nil {
		return nil, failed(s, "reach the account", err)
	}
	return c, nil
}

// elsewhere returns the clients for the first of the account's regions.
func (r *Reader) elsewhere(ctx context.Context, account string, refused error) (*cloud.Clients, error) {
	regions, err := r.o.Cloud.Regions(ctx, account)
	if err != nil {
		return nil, err
	}
	if len(regions) == 0 {
		return nil, refused
	}
	return r.o.Cloud.Clients(ctx, account, regions[0])
}

// List reads a page of the scope's resources. Errors have a Class.
func (r *Reader) List(ctx context.Context, s Scope, q ListQuery) (Page, error) {
	c, err := r.clients(ctx, s)
	if err != nil {
		return Page{}, err
	}
	page, err := list(ctx, c, s, q)
	if err != nil {
		return Page{}, failed(s, "list", err)
	}
	return page, nil
}

func list(ctx context.Context, c *cloud.Clients, s Scope, q ListQuery) (Page, error) {
	if err := errors.Join(CheckParameters(s.Kind, q.Parameters), CheckModel(s.Kind, q.Model)); err != nil {
		return Page{}, err
	}
	if k := specialOf(s.Kind); k != nil {
		return k.list(ctx, c, q)
	}
	return listResources(ctx, c, s, q)
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
