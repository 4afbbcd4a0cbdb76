package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// ConnectionState says whether a connection can authorize calls.
type ConnectionState string

// The states that a connection can be found in. AWS has more, which it passes
// through on the way.
const (
	// ConnectionAuthorized: the credentials are good, or need no asking.
	ConnectionAuthorized ConnectionState = "AUTHORIZED"
	// ConnectionAuthorizing: a first token is being asked for.
	ConnectionAuthorizing ConnectionState = "AUTHORIZING"
	// ConnectionDeauthorized: the credentials were removed, or were refused.
	ConnectionDeauthorized ConnectionState = "DEAUTHORIZED"
	// ConnectionDeauthorizing and ConnectionDeleting are what AWS answers while it
	// does so.
	ConnectionDeauthorizing ConnectionState = "DEAUTHORIZING"
	ConnectionDeleting      ConnectionState = "DELETING"
)

// Connection is how API destinations are authorized, without its secrets.
type Connection struct {
	// ID is a UUID, the last part of the ARN.
	ID              string
	Account, Region string
	Name            string
	// Description is nil when none was given.
	Description *string
	State       ConnectionState
	// StateReason says why the state is not AUTHORIZED; may be empty.
	StateReason string
	// SecretARN names the secret in AWS's form; it cannot be read.
	SecretARN string
	// Shown is the authorization with all secrets left out. After deauthorization
	// only its Type is left.
	Shown Credentials
	// Version grows with each change of the authorization.
	Version              int64
	CreatedAt, ChangedAt time.Time
	// AuthorizedAt is when a token or the credentials were last good; the zero Unix
	// time if never.
	AuthorizedAt time.Time

	sealed []byte // nil once deauthorized
}

// ARN returns the connection's ARN.
func (c Connection) ARN() string {
	return "arn:" + event.Partition(c.Region) + ":events:" + c.Region + ":" + c.Account + ":connection/" + c.Name + "/" + c.ID
}

// purpose binds sealed credentials to their connection.
func (c Connection) purpose() string { return "connection:" + c.ID }

// ConnectionChange is what creating or updating a connection sets. Nil members
// leave what is there.
type ConnectionChange struct {
	Description *string
	// Type is empty to keep it.
	Type       AuthorizationType
	Basic      *BasicChange
	APIKey     *APIKeyChange
	OAuth      *OAuthChange
	Invocation *ConnectionParameters
}

func (c *ConnectionChange) authorization() bool {
	return c.Type != "" || c.Basic != nil || c.APIKey != nil || c.OAuth != nil || c.Invocation != nil
}

// CreateConnection creates a connection. With OAuth it is AUTHORIZING until a
// token was fetched, otherwise AUTHORIZED at once. AWS:
// ResourceAlreadyExistsException, LimitExceededException.
func (b *Buses) CreateConnection(ctx context.Context, caller Caller, name string, change ConnectionChange) (Connection, error) {
	now := b.now().UTC()
	c := Connection{
		ID: uuid.NewString(), Account: caller.Account, Region: caller.Region, Name: name,
		Description: change.Description, CreatedAt: now, ChangedAt: now, AuthorizedAt: time.Unix(0, 0).UTC(),
	}
	if err := checkText("Description", change.Description); err != nil {
		return c, err
	}
	if err := b.authorizeAnew(&c, Credentials{Type: change.Type}, change); err != nil {
		return c, err
	}
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		awsapi.Made(ctx, c)
		created, err := insertConnection(ctx, tx, c)
		if err != nil {
			return err
		}
		if !created {
			return alreadyExists("Connection %s already exists.", name)
		}
		n, err := countConnections(ctx, tx, c.Account, c.Region)
		if err != nil {
			return err
		}
		if n > b.limits.Connections {
			return limitExceeded()
		}
		return b.askForToken(ctx, tx, c)
	})
	if err != nil {
		return c, fmt.Errorf("create connection %s: %w", name, err)
	}
	return c, nil
}

// authorizeAnew gives the connection changed credentials: sealed, with a new
// version, in the state that follows.
func (b *Buses) authorizeAnew(c *Connection, old Credentials, change ConnectionChange) error {
	credentials := old.with(change)
	if err := b.checkCredentials(credentials, change); err != nil {
		return err
	}
	plain, err := encodeCredentials(credentials)
	if err != nil {
		return err
	}
	c.sealed = b.secrets.Seal(c.purpose(), plain)
	c.Shown = credentials.withoutSecrets()
	c.Version++
	c.StateReason = ""
	if c.SecretARN == "" {
		c.SecretARN = c.newSecretARN()
	}
	if credentials.Type == AuthOAuth {
		c.State = ConnectionAuthorizing
		return nil
	}
	c.State, c.AuthorizedAt = ConnectionAuthorized, b.now().UTC()
	return nil
}

// newSecretARN makes up an ARN in the form of Secrets Manager's.
func (c Connection) newSecretARN() string {
	id := uuid.NewString()
	return "arn:" + event.Partition(c.Region) + ":secretsmanager:" + c.Region + ":" + c.Account +
		":secret:events!connection/" + c.Name + "/" + id + "-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:6]
}

// Connection describes a connection. AWS: ResourceNotFoundException.
func (b *Buses) Connection(ctx context.Context, caller Caller, name string) (Connection, error) {
	return findConnection(ctx, b.db, caller, name)
}

func findConnection(ctx context.Context, q store.Querier, caller Caller, name string) (Connection, error) {
	c, ok, err := selectConnection(ctx, q, caller, name)
	if err != nil {
		return c, fmt.Errorf("read connection %s: %w", name, err)
	}
	if !ok {
		return c, noConnection(name)
	}
	return c, nil
}

func noConnection(name string) error {
	return notFound("Failed to describe the connection(s). Connection '%s' does not exist.", name)
}

// ListConnections returns the connections whose names have the prefix, by name;
// those in the state only, if it is not empty.
func (b *Buses) ListConnections(ctx context.Context, caller Caller, prefix string, state ConnectionState, page Page) ([]Connection, string, error) {
	after, err := page.after(connectionPages)
	if err != nil {
		return nil, "", err
	}
	found, err := selectConnections(ctx, b.db, caller, prefix, string(state), after, page.limit()+1)
	if err != nil {
		return nil, "", fmt.Errorf("list connections: %w", err)
	}
	found, next := cutPage(found, page, connectionPages, func(c Connection) string { return c.Name })
	return found, next, nil
}

// UpdateConnection changes what change names. New credentials must be complete
// together with those that are there.
func (b *Buses) UpdateConnection(ctx context.Context, caller Caller, name string, change ConnectionChange) (Connection, error) {
	return b.changeConnection(ctx, caller, name, func(tx *store.Tx, c *Connection) error {
		if err := checkText("Description", change.Description); err != nil {
			return err
		}
		if change.Description != nil {
			c.Description = change.Description
		}
		if !change.authorization() {
			return nil
		}
		old, err := b.credentials(*c)
		if errors.Is(err, ErrNotAuthorized) {
			old = Credentials{Type: c.Shown.Type}
		} else if err != nil {
			return err
		}
		if err := b.authorizeAnew(c, old, change); err != nil {
			return err
		}
		return b.askForToken(ctx, tx, *c)
	})
}

// DeauthorizeConnection removes the connection's credentials; it has to be
// updated to be of use again.
func (b *Buses) DeauthorizeConnection(ctx context.Context, caller Caller, name string) (Connection, error) {
	return b.changeConnection(ctx, caller, name, func(_ *store.Tx, c *Connection) error {
		c.State, c.StateReason = ConnectionDeauthorized, ""
		c.Shown, c.SecretARN, c.sealed = Credentials{Type: c.Shown.Type}, "", nil
		c.Version++
		return nil
	})
}

func (b *Buses) changeConnection(ctx context.Context, caller Caller, name string, edit func(*store.Tx, *Connection) error) (Connection, error) {
	var changed Connection
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		c, err := findConnection(ctx, tx, caller, name)
		if err != nil {
			return err
		}
		if err := edit(tx, &c); err != nil {
			return err
		}
		c.ChangedAt = b.now().UTC()
		changed = c
		awsapi.Made(ctx, changed)
		return updateConnection(ctx, tx, c)
	})
	if err != nil {
		return changed, fmt.Errorf("change connection %s: %w", name, err)
	}
	return changed, nil
}

// DeleteConnection deletes a connection and returns it as it was. AWS: its API
// destinations stay and are of no use.
func (b *Buses) DeleteConnection(ctx context.Context, caller Caller, name string) (Connection, error) {
	var deleted Connection
	err := b.db.Update(ctx, func(tx *store.Tx) (err error) {
		if deleted, err = findConnection(ctx, tx, caller, name); err != nil {
			return err
		}
		awsapi.Made(ctx, deleted)
		return deleteConnection(ctx, tx, deleted.ID)
	})
	if err != nil {
		return deleted, fmt.Errorf("delete connection %s: %w", name, err)
	}
	return deleted, nil
}

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// ErrNotAuthorized says that a connection has no credentials, because it was
// deauthorized or deleted.
var ErrNotAuthorized = errors.New("the connection is not authorized")

// credentials opens the connection's credentials, ErrNotAuthorized if it has none.
func (b *Buses) credentials(c Connection) (Credentials, error) {
	if c.sealed == nil {
		return Credentials{}, fmt.Errorf("connection %s: %w", c.Name, ErrNotAuthorized)
	}
	plain, err := b.secrets.Open(c.purpose(), c.sealed)
	if err != nil {
		return Credentials{}, fmt.Errorf("open credentials of connection %s: %w", c.Name, err)
	}
	opened, err := decodeCredentials(plain, c.Shown.Type)
	if err != nil {
		return Credentials{}, fmt.Errorf("read credentials of connection %s: %w", c.Name, err)
	}
	opened.ConnectionARN, opened.Version = c.ARN(), c.Version
	return opened, nil
}
