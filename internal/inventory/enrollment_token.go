package inventory

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
)

// EnrollmentToken lets servers enroll in a project, any number of them. The token
// itself is shown once and kept as a salted hash.
type EnrollmentToken struct {
	// ID is a UUID.
	ID          string
	ProjectID   string
	Description string
	// CreatedBy is the access key of its maker.
	CreatedBy  string
	IssuedAt   time.Time
	DeletedAt  time.Time
	LastUsedAt time.Time
	// Uses counts the enrollments that succeeded.
	Uses int64

	salt, hash []byte
}

// tokenText is what a token's base64 holds: all that an agent needs.
type tokenText struct {
	URL    string `json:"url"`
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// maxTokens bounds a project's enrollment tokens.
const maxTokens = 100

func (t tokenText) encode() (string, error) {
	b, err := json.Marshal(t)
	return base64.StdEncoding.EncodeToString(b), err
}

// decodeToken reads an enrollment token as it was shown.
func decodeToken(s string) (tokenText, error) {
	var t tokenText
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil || t.URL == "" || t.ID == "" || t.Secret == "" {
		return t, refuse(ErrCredential, "This is not an enrollment token: it should be the base64 text that creating one has shown.")
	}
	return t, nil
}

// CreateEnrollmentToken makes a token for a project. Its text, the base64 of an
// object with the server's URL and the secret, is returned here and never again.
func (v *Inventory) CreateEnrollmentToken(ctx context.Context, project, description, keyID string) (EnrollmentToken, string, error) {
	if err := checkDescription(description); err != nil {
		return EnrollmentToken{}, "", err
	}
	t := EnrollmentToken{ID: uuid.NewString(), Description: description, CreatedBy: keyID, IssuedAt: v.now(), salt: make([]byte, 16)}
	_, _ = rand.Read(t.salt) // never fails
	secret := rand.Text()
	t.hash = hashToken(t.salt, secret)
	text, err := tokenText{URL: v.o.PublicURL(), ID: t.ID, Secret: secret}.encode()
	if err != nil {
		return EnrollmentToken{}, "", err
	}
	err = v.db.Update(ctx, func(tx *store.Tx) error {
		p, err := projectNamed(ctx, tx, project)
		if err != nil {
			return err
		}
		t.ProjectID = p.ID
		list, err := listTokens(ctx, tx, p.ID)
		if err != nil {
			return err
		}
		if len(list) >= maxTokens {
			return invalid("Project %s has %d enrollment tokens already; delete some.", project, len(list))
		}
		return insertToken(ctx, tx, t)
	})
	if err != nil {
		return EnrollmentToken{}, "", fmt.Errorf("create enrollment token: %w", err)
	}
	return t, text, nil
}

// hashToken is enough for secrets that we make ourselves: theirs are 130 random
// bits, which a slow hash would not make harder to guess.
func hashToken(salt []byte, secret string) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte(secret))
	return h.Sum(nil)
}

// EnrollmentTokens lists a project's tokens without their secrets.
func (v *Inventory) EnrollmentTokens(ctx context.Context, project string) ([]EnrollmentToken, error) {
	p, err := projectNamed(ctx, v.db, project)
	if err != nil {
		return nil, err
	}
	list, err := listTokens(ctx, v.db, p.ID)
	if err != nil {
		return nil, fmt.Errorf("list enrollment tokens of %s: %w", project, err)
	}
	return list, nil
}

// EnrollmentToken returns one of a project's tokens, without its secret.
func (v *Inventory) EnrollmentToken(ctx context.Context, project, id string) (EnrollmentToken, error) {
	list, err := v.EnrollmentTokens(ctx, project)
	if err != nil {
		return EnrollmentToken{}, err
	}
	for _, t := range list {
		if t.ID == id {
			return t, nil
		}
	}
	return EnrollmentToken{}, notFound("Enrollment token %s does not exist in project %s.", id, project)
}

// DeleteEnrollmentToken ends a token. Servers that enrolled with it stay.
func (v *Inventory) DeleteEnrollmentToken(ctx context.Context, project, id string) error {
	return v.db.Update(ctx, func(tx *store.Tx) error {
		p, err := projectNamed(ctx, tx, project)
		if err != nil {
			return err
		}
		found, err := deleteToken(ctx, tx, p.ID, id, v.now())
		if err == nil && !found {
			err = notFound("Enrollment token %s does not exist in project %s.", id, project)
		}
		return err
	})
}

// checkToken checks a token's secret. It takes as long for a token that is not
// there as for a wrong secret, and says the same. It only reads, so that those
// who guess do not keep writers waiting.
func checkToken(ctx context.Context, q store.Querier, id, secret string) (EnrollmentToken, error) {
	t, found, err := loadToken(ctx, q, id)
	if err != nil {
		return t, err
	}
	if !found {
		t.salt, t.hash = make([]byte, 16), make([]byte, sha256.Size)
	}
	same := subtle.ConstantTimeCompare(t.hash, hashToken(t.salt, secret)) == 1
	if !found || !same || !t.DeletedAt.IsZero() {
		return t, refuse(ErrCredential, "The enrollment token is not valid or was deleted; get a new one from the project.")
	}
	return t, nil
}
