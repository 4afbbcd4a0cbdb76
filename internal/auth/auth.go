package auth

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Options say which master key to use.
type Options struct {
	// MasterKey is the master key itself, 32 bytes, as from RIALTO_SECRET_KEY; see
	// ParseMasterKey. Nil: it is in KeyFile.
	MasterKey []byte
	// KeyFile is the path of the key file, KeyFileName in the data directory. It is
	// made, with mode 0600, when the database is new.
	KeyFile string
	// Logger takes what nobody can be told of. Nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Auth holds the keys and clients of an installation. Its methods are safe for
// concurrent use. What one node changes, that node honours at once and others
// within a second.
type Auth struct {
	db     *store.DB
	log    *slog.Logger
	now    func() time.Time
	sealer *Sealer

	internalKey []byte // makes in-process credentials
	secretKey   []byte // hashes client secrets
	clientToken []byte // signs the tokens of service clients
	restToken   []byte // signs the bearer tokens of access keys

	keys    *cache[string, storedKey]
	secrets *cache[string, secretState]
	admin   *cache[struct{}, bool]
}

// Open reads the master key, making one for a new database, and refuses a key
// other than the one that the database's secrets were made with.
func Open(ctx context.Context, db *store.DB, o Options) (*Auth, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	master, err := openMasterKey(ctx, db, o)
	if err != nil {
		return nil, err
	}
	return &Auth{
		db: db, log: o.Logger, now: o.Now,
		sealer:      newSealer(deriveKey(master, "seal")),
		internalKey: deriveKey(master, "internal-credentials"),
		secretKey:   deriveKey(master, "client-secret"),
		clientToken: deriveKey(master, "client-token"),
		restToken:   deriveKey(master, "rest-token"),
		keys:        newCache[string, storedKey](o.Now),
		secrets:     newCache[string, secretState](o.Now),
		admin:       newCache[struct{}, bool](o.Now),
	}, nil
}

// Sealer encrypts the secrets that other packages keep.
func (a *Auth) Sealer() *Sealer { return a.sealer }

func openMasterKey(ctx context.Context, db *store.DB, o Options) ([]byte, error) {
	stored, err := masterCheck(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("read the secret key's check value: %w", err)
	}
	key, origin, err := findMasterKey(o, stored != "")
	if err != nil {
		return nil, err
	}
	check := hex.EncodeToString(deriveKey(key, "check")[:16])
	if stored == "" {
		if stored, err = insertMasterCheck(ctx, db, check, o.Now()); err != nil {
			return nil, fmt.Errorf("store the secret key's check value: %w", err)
		}
	}
	if subtle.ConstantTimeCompare([]byte(stored), []byte(check)) != 1 {
		return nil, fmt.Errorf("the secret key in %s is not the one that this database's secrets were made with; "+
			"start with the first key (its check value begins %.8s, this one's %.8s)", origin, stored, check)
	}
	return key, nil
}

// findMasterKey also says where the key came from. It makes a key file only for
// a new database: for another one a new key could not be the right one.
func findMasterKey(o Options, known bool) (key []byte, origin string, err error) {
	if o.MasterKey != nil {
		if len(o.MasterKey) != MasterKeySize {
			return nil, "", fmt.Errorf("secret key: %d bytes, want %d", len(o.MasterKey), MasterKeySize)
		}
		return o.MasterKey, "RIALTO_SECRET_KEY", nil
	}
	if o.KeyFile == "" {
		return nil, "", errors.New("no secret key: set RIALTO_SECRET_KEY, or give a data directory to keep a key file in")
	}
	key, err = readKeyFile(o.KeyFile)
	if !errors.Is(err, errNoKeyFile) {
		return key, o.KeyFile, err
	}
	if known {
		return nil, "", fmt.Errorf("this database's secrets were made with a key that is not here: "+
			"copy the first node's %s to %s, or set RIALTO_SECRET_KEY to its content", KeyFileName, o.KeyFile)
	}
	key, err = createKeyFile(o.KeyFile)
	return key, o.KeyFile, err
}
