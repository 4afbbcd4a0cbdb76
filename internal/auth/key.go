package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// Errors of access keys.
var (
	// ErrNoKey says that there is no access key of that id.
	ErrNoKey = errors.New("access key does not exist")
	// ErrKeyEnded says that a key was revoked or has expired.
	ErrKeyEnded = errors.New("access key is no longer valid")
	// ErrTooManyKeys says that an account has MaxKeys keys.
	ErrTooManyKeys = errors.New("too many access keys")
)

const (
	// MaxKeys is how many valid access keys an account may have.
	MaxKeys = 500
	// MaxOverlap is the longest that a replaced key or secret may stay valid.
	MaxOverlap = 30 * 24 * time.Hour
	// DefaultOverlap is how long it stays valid where nothing is said.
	DefaultOverlap = 48 * time.Hour

	maxDescription = 256

	keyPrefix      = "RLTO" // of stored keys' ids, as AWS's have AKIA
	internalPrefix = "RLTI" // of in-process credentials' ids
)

// Key is an access key, without its secret.
type Key struct {
	ID          string // RLTO and 16 characters
	Account     string
	Role        Role
	Description string
	CreatedBy   string // id of the key that made it; empty for the command line
	CreatedAt   time.Time
	ExpiresAt   time.Time // zero: never
	RevokedAt   time.Time // zero: not revoked
	ReplacedBy  string    // id of the key that rotation made; empty otherwise
}

// Valid reports whether the key may be used at that time.
func (k *Key) Valid(at time.Time) bool { return stillValid(k.ExpiresAt, k.RevokedAt, at) }

func stillValid(expires, revoked, at time.Time) bool {
	return revoked.IsZero() && (expires.IsZero() || at.Before(expires))
}

// NewKey says what key to make.
type NewKey struct {
	Account     string // 12 digits
	Role        Role
	Description string // at most 256 characters
	CreatedBy   string // id of the key that asks for it; empty: the command line
}

func (n NewKey) check() error {
	if !IsAccount(n.Account) {
		return fmt.Errorf("account %q: want 12 digits", n.Account)
	}
	if _, err := ParseRole(string(n.Role)); err != nil {
		return err
	}
	if !utf8.ValidString(n.Description) || strings.ContainsRune(n.Description, 0) {
		return errors.New("description: not valid text")
	}
	if utf8.RuneCountInString(n.Description) > maxDescription {
		return fmt.Errorf("description: longer than %d characters", maxDescription)
	}
	return nil
}

// storedKey is a key with its secret as stored.
type storedKey struct {
	Key
	sealed []byte
	secret string // opened; not in SQL
}

// CreateKey makes an access key. The secret, 40 characters, is returned here and
// never again.
func (a *Auth) CreateKey(ctx context.Context, n NewKey) (key Key, secret string, err error) {
	if err := n.check(); err != nil {
		return Key{}, "", fmt.Errorf("create access key: %w", err)
	}
	made := a.newKey(n)
	err = a.db.Update(ctx, func(tx *store.Tx) error { return a.addKey(ctx, tx, &made) })
	if err != nil {
		return Key{}, "", fmt.Errorf("create access key: %w", err)
	}
	return made.Key, made.secret, nil
}

// newKey makes the key's id and secret, sealed for its id.
func (a *Auth) newKey(n NewKey) storedKey {
	k := storedKey{Key: Key{
		ID: keyPrefix + randomID(), Account: n.Account, Role: n.Role, Description: n.Description,
		CreatedBy: n.CreatedBy, CreatedAt: a.now().UTC().Truncate(time.Millisecond),
	}}
	raw := make([]byte, 30)
	_, _ = rand.Read(raw) // never fails
	k.secret = base64.StdEncoding.EncodeToString(raw)
	k.sealed = a.sealer.Seal(keyPurpose(k.ID), []byte(k.secret))
	return k
}

func keyPurpose(id string) string { return "access-key/" + id }

// randomID is 80 random bits in 16 capital letters and digits.
func randomID() string {
	raw := make([]byte, 10)
	_, _ = rand.Read(raw) // never fails
	return base32.StdEncoding.EncodeToString(raw)
}

func (a *Auth) addKey(ctx context.Context, tx *store.Tx, k *storedKey) error {
	n, err := countKeys(ctx, tx, k.Account, k.CreatedAt)
	if err != nil {
		return err
	}
	if n >= MaxKeys {
		return fmt.Errorf("%w: account %s has %d; revoke some first", ErrTooManyKeys, k.Account, n)
	}
	tx.OnCommit(a.admin.changed)
	return insertKey(ctx, tx, k)
}

// ListKeys returns the keys of an account, or of all for an empty one, the oldest
// first; ended ones too.
func (a *Auth) ListKeys(ctx context.Context, account string) ([]Key, error) {
	keys, err := selectKeys(ctx, a.db, account)
	if err != nil {
		return nil, fmt.Errorf("list access keys: %w", err)
	}
	return keys, nil
}

// RotateKey makes a key that replaces another: of the same account, role and
// description, with an id and a secret of its own, as AWS rotates keys. The old
// one stays valid for overlap, 0 to MaxOverlap, so that its users can change over.
func (a *Auth) RotateKey(ctx context.Context, id string, overlap time.Duration, by string) (key Key, secret string, err error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Key{}, "", fmt.Errorf("overlap %v: want 0 to %v", overlap, MaxOverlap)
	}
	var made storedKey
	err = a.db.Update(ctx, func(tx *store.Tx) error {
		old, err := usableKey(ctx, tx, id, a.now())
		if err != nil {
			return err
		}
		made = a.newKey(NewKey{Account: old.Account, Role: old.Role, Description: old.Description, CreatedBy: by})
		if err := a.addKey(ctx, tx, &made); err != nil {
			return err
		}
		expires := made.CreatedAt.Add(overlap)
		if !old.ExpiresAt.IsZero() && old.ExpiresAt.Before(expires) {
			expires = old.ExpiresAt
		}
		tx.OnCommit(a.keys.changed)
		return replaceKey(ctx, tx, id, made.ID, expires)
	})
	if err != nil {
		return Key{}, "", fmt.Errorf("rotate access key %s: %w", id, err)
	}
	return made.Key, made.secret, nil
}

func usableKey(ctx context.Context, q store.Querier, id string, at time.Time) (storedKey, error) {
	k, err := selectKey(ctx, q, id)
	if err != nil {
		return k, err
	}
	if !k.Valid(at) {
		return k, ErrKeyEnded
	}
	return k, nil
}

// RevokeKey ends a key at once; one that has ended is left as it is. It stays in
// the list.
func (a *Auth) RevokeKey(ctx context.Context, id string) error {
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		if _, err := selectKey(ctx, tx, id); err != nil {
			return err
		}
		tx.OnCommit(a.keys.changed)
		return revokeKey(ctx, tx, id, a.now())
	})
	if err != nil {
		return fmt.Errorf("revoke access key %s: %w", id, err)
	}
	return nil
}

var _ awsapi.Keys = (*Auth)(nil)

// Lookup finds a key that may be used: it makes an Auth the awsapi.Keys of a
// handler. It knows the stored keys and the in-process ones.
func (a *Auth) Lookup(ctx context.Context, id string) (awsapi.Credential, error) {
	if account, ok := strings.CutPrefix(id, internalPrefix); ok && IsAccount(account) {
		_, secret := a.InternalCredentials(account)
		return credential(Principal{KeyID: id, Account: account, Role: Admin}, secret), nil
	}
	k, err := a.lookup(ctx, id)
	if errors.Is(err, ErrNoKey) || errors.Is(err, ErrKeyEnded) {
		return awsapi.Credential{}, awsapi.ErrUnknownKey
	}
	if err != nil {
		return awsapi.Credential{}, fmt.Errorf("look up access key: %w", err)
	}
	return credential(Principal{KeyID: k.ID, Account: k.Account, Role: k.Role}, k.secret), nil
}

func credential(p Principal, secret string) awsapi.Credential {
	return awsapi.Credential{
		Secret:    secret,
		Principal: awsapi.Principal{KeyID: p.KeyID, Account: p.Account, Role: string(p.Role)},
	}
}

// lookup finds a stored key that may be used; ErrNoKey or ErrKeyEnded otherwise.
func (a *Auth) lookup(ctx context.Context, id string) (storedKey, error) {
	if !strings.HasPrefix(id, keyPrefix) || len(id) != len(keyPrefix)+16 {
		return storedKey{}, ErrNoKey
	}
	k, err := a.keys.get(id, func() (storedKey, error) {
		k, err := selectKey(ctx, a.db, id)
		if err != nil {
			return k, err
		}
		plain, err := a.sealer.Open(keyPurpose(id), k.sealed)
		k.secret = string(plain)
		return k, err
	})
	if err != nil {
		return k, err
	}
	if !k.Valid(a.now()) {
		return k, ErrKeyEnded
	}
	return k, nil
}

// InternalCredentials are an access key with which the server calls its own port
// as admin of an account. They are made from the master key and stored nowhere;
// every node of an installation has the same.
func (a *Auth) InternalCredentials(account string) (id, secret string) {
	id = internalPrefix + account
	mac := hmac.New(sha256.New, a.internalKey)
	mac.Write([]byte(id))
	return id, base64.StdEncoding.EncodeToString(mac.Sum(nil)[:30])
}

// DevMode reports whether nobody has made an admin key yet. On loopback every
// caller is trusted until somebody does; a key that was revoked since does
// not open the server again. Where the database cannot be read it is false.
func (a *Auth) DevMode(ctx context.Context) bool {
	made, err := a.admin.get(struct{}{}, func() (bool, error) { return anyAdminKey(ctx, a.db) })
	if err != nil {
		if ctx.Err() == nil {
			a.log.ErrorContext(ctx, "look for an admin key", "error", err)
		}
		return false
	}
	return !made
}
