package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// DefaultRateLimit is how many invocations a second an API destination gets that
// names no limit. AWS: 300.
const DefaultRateLimit = 300

// APIDestination is an HTTP endpoint that rules can have as a target.
type APIDestination struct {
	// ID is a UUID, the last part of the ARN.
	ID              string
	Account, Region string
	Name            string
	// Description is nil when none was given.
	Description   *string
	ConnectionARN string
	// Endpoint is a URL that may hold asterisks for path values; without a scheme
	// it is https.
	Endpoint string
	// Method is one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
	Method string
	// RateLimit is the most invocations in a second.
	RateLimit int
	// Active says that the connection is authorized.
	Active               bool
	CreatedAt, ChangedAt time.Time
}

// ARN returns the API destination's ARN.
func (d APIDestination) ARN() string {
	return "arn:" + event.Partition(d.Region) + ":events:" + d.Region + ":" + d.Account + ":api-destination/" + d.Name + "/" + d.ID
}

// APIDestinationChange is what creating or updating an API destination sets. Nil
// members leave what is there.
type APIDestinationChange struct {
	Description, ConnectionARN, Endpoint, Method *string
	RateLimit                                    *int32
}

func (d *APIDestination) apply(change APIDestinationChange) {
	if change.Description != nil {
		d.Description = change.Description
	}
	set(&d.ConnectionARN, change.ConnectionARN)
	set(&d.Endpoint, change.Endpoint)
	set(&d.Method, change.Method)
	if change.RateLimit != nil {
		d.RateLimit = int(*change.RateLimit)
	}
}

// CreateAPIDestination creates an API destination. AWS:
// ResourceAlreadyExistsException, ResourceNotFoundException for the connection,
// LimitExceededException.
func (b *Buses) CreateAPIDestination(ctx context.Context, caller Caller, name string, change APIDestinationChange) (APIDestination, error) {
	now := b.now().UTC()
	d := APIDestination{
		ID: uuid.NewString(), Account: caller.Account, Region: caller.Region, Name: name,
		RateLimit: DefaultRateLimit, CreatedAt: now, ChangedAt: now,
	}
	d.apply(change)
	if err := b.checkAPIDestination(d); err != nil {
		return d, err
	}
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		if err := b.connect(ctx, tx, &d); err != nil {
			return err
		}
		awsapi.Made(ctx, d)
		created, err := insertAPIDestination(ctx, tx, d)
		if err != nil {
			return err
		}
		if !created {
			return alreadyExists("An api-destination '%s' already exists.", name)
		}
		n, err := countAPIDestinations(ctx, tx, d.Account, d.Region)
		if err == nil && n > b.limits.APIDestinations {
			return limitExceeded()
		}
		return err
	})
	if err != nil {
		return d, fmt.Errorf("create API destination %s: %w", name, err)
	}
	return d, nil
}

func (b *Buses) checkAPIDestination(d APIDestination) error {
	if err := checkText("Description", d.Description); err != nil {
		return err
	}
	return b.checkEndpoint("InvocationEndpoint", d.Endpoint)
}

// connect checks that the destination's connection exists beside it.
func (b *Buses) connect(ctx context.Context, tx *store.Tx, d *APIDestination) error {
	a, ok := parseARN(d.ConnectionARN)
	if !ok || a.region != d.Region || a.account != d.Account {
		return awsapi.ValidationException("Parameter ConnectionArn is not valid. Reason: the connection must be of account %s in %s.", d.Account, d.Region)
	}
	c, ok, err := selectConnectionByID(ctx, tx, lastPart(d.ConnectionARN))
	if err != nil {
		return err
	}
	if !ok || c.ARN() != d.ConnectionARN {
		return notFound("Connection '%s' does not exist.", d.ConnectionARN)
	}
	d.Active = c.State == ConnectionAuthorized
	return nil
}

// APIDestination describes an API destination. AWS: ResourceNotFoundException.
func (b *Buses) APIDestination(ctx context.Context, caller Caller, name string) (APIDestination, error) {
	return findAPIDestination(ctx, b.db, caller, name)
}

func findAPIDestination(ctx context.Context, q store.Querier, caller Caller, name string) (APIDestination, error) {
	d, ok, err := selectAPIDestination(ctx, q, caller, name)
	if err != nil {
		return d, fmt.Errorf("read API destination %s: %w", name, err)
	}
	if !ok {
		return d, notFound("Failed to describe the api-destination(s). An api-destination '%s' does not exist.", name)
	}
	return d, nil
}

// ListAPIDestinations returns the API destinations whose names have the prefix, by
// name; those of the connection only, if it is not empty.
func (b *Buses) ListAPIDestinations(ctx context.Context, caller Caller, prefix, connectionARN string, page Page) ([]APIDestination, string, error) {
	after, err := page.after(apiDestinationPages)
	if err != nil {
		return nil, "", err
	}
	found, err := selectAPIDestinations(ctx, b.db, caller, prefix, connectionARN, after, page.limit()+1)
	if err != nil {
		return nil, "", fmt.Errorf("list API destinations: %w", err)
	}
	found, next := cutPage(found, page, apiDestinationPages, func(d APIDestination) string { return d.Name })
	return found, next, nil
}

// UpdateAPIDestination changes what change names.
func (b *Buses) UpdateAPIDestination(ctx context.Context, caller Caller, name string, change APIDestinationChange) (APIDestination, error) {
	var updated APIDestination
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		d, err := findAPIDestination(ctx, tx, caller, name)
		if err != nil {
			return err
		}
		d.apply(change)
		d.ChangedAt = b.now().UTC()
		if err := b.checkAPIDestination(d); err != nil {
			return err
		}
		if change.ConnectionARN != nil {
			if err := b.connect(ctx, tx, &d); err != nil {
				return err
			}
		}
		updated = d
		awsapi.Made(ctx, updated)
		return updateAPIDestination(ctx, tx, d)
	})
	if err != nil {
		return updated, fmt.Errorf("update API destination %s: %w", name, err)
	}
	return updated, nil
}

// DeleteAPIDestination deletes an API destination. AWS: rules keep it as a target.
func (b *Buses) DeleteAPIDestination(ctx context.Context, caller Caller, name string) error {
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		d, err := findAPIDestination(ctx, tx, caller, name)
		if err != nil {
			return err
		}
		return deleteAPIDestination(ctx, tx, d.ID)
	})
	if err != nil {
		return fmt.Errorf("delete API destination %s: %w", name, err)
	}
	return nil
}

// Invocation is all that is needed to call an API destination now: where, how
// fast, and the connection's current credentials in the clear. It must not be
// logged or kept.
type Invocation struct {
	ARN string
	// Endpoint is an http or https URL that may hold asterisks for path values.
	Endpoint string
	// Method is one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
	Method string
	// RateLimit is the most invocations in a second.
	RateLimit   int
	Credentials Credentials
}

// ErrNoDestination says that there is no API destination with that ARN.
var ErrNoDestination = errors.New("the API destination does not exist")

// Invocation returns what is needed to call an API destination now. It returns
// ErrNoDestination, or ErrNotAuthorized when its connection was deauthorized or
// deleted. Credentials that a token endpoint refused are still returned: the
// refusal may have been its mistake.
func (b *Buses) Invocation(ctx context.Context, apiDestinationARN string) (*Invocation, error) {
	d, ok, err := selectAPIDestinationByID(ctx, b.db, lastPart(apiDestinationARN))
	if err != nil {
		return nil, fmt.Errorf("read API destination %s: %w", apiDestinationARN, err)
	}
	if !ok || d.ARN() != apiDestinationARN {
		return nil, fmt.Errorf("%s: %w", apiDestinationARN, ErrNoDestination)
	}
	c, ok, err := selectConnectionByID(ctx, b.db, lastPart(d.ConnectionARN))
	if err != nil {
		return nil, fmt.Errorf("read connection of %s: %w", apiDestinationARN, err)
	}
	if !ok {
		return nil, fmt.Errorf("the connection of %s was deleted: %w", apiDestinationARN, ErrNotAuthorized)
	}
	credentials, err := b.credentials(c)
	if err != nil {
		return nil, err
	}
	return &Invocation{ARN: apiDestinationARN, Endpoint: d.Endpoint, Method: d.Method, RateLimit: d.RateLimit, Credentials: credentials}, nil
}
