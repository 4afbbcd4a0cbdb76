package topic

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // AWS: version 1 of signatures
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	keyBits = 2048
	// keyLife is how long the certificate is valid.
	keyLife = 20 * 365 * 24 * time.Hour
	// keyPurpose seals the private key.
	keyPurpose = "topic-signing-key"
	// maxSignatures bounds how many signatures are remembered: all endpoints of a
	// topic get the same one of a message.
	maxSignatures = 1000
)

// signer signs what goes to endpoints with the installation's key, which is made
// when it is first needed.
type signer struct {
	topics *Topics

	mu          sync.Mutex
	key         *rsa.PrivateKey
	certificate []byte // PEM
	path        string // where it is served
	signatures  map[[sha256.Size]byte]string
}

// sign signs a text in AWS's version 1, SHA-1, or 2, SHA-256. It returns the
// signature in base64 and the URL of the certificate.
func (s *signer) sign(ctx context.Context, version, text string) (signature, certificateURL string, err error) {
	if err := s.load(ctx); err != nil {
		return "", "", err
	}
	certificateURL = s.topics.baseURL() + s.path
	known := sha256.Sum256([]byte(version + "\n" + text))
	s.mu.Lock()
	signature, ok := s.signatures[known]
	s.mu.Unlock()
	if ok {
		return signature, certificateURL, nil
	}
	hash, digest := crypto.SHA1, sha1.Sum([]byte(text)) //nolint:gosec // AWS: version 1
	sum := digest[:]
	if version == "2" {
		digest := sha256.Sum256([]byte(text))
		hash, sum = crypto.SHA256, digest[:]
	}
	raw, err := rsa.SignPKCS1v15(nil, s.key, hash, sum)
	if err != nil {
		return "", "", fmt.Errorf("sign a message: %w", err)
	}
	signature = base64.StdEncoding.EncodeToString(raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signatures == nil || len(s.signatures) >= maxSignatures {
		s.signatures = map[[sha256.Size]byte]string{}
	}
	s.signatures[known] = signature
	return signature, certificateURL, nil
}

// load reads the key, or makes it. All nodes end up with the one that came first.
func (s *signer) load(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != nil {
		return nil
	}
	t := s.topics
	certificate, sealed, err := signingKey(ctx, t.db)
	if err != nil {
		return err
	}
	if certificate == "" {
		if err := t.makeKey(ctx); err != nil {
			return err
		}
		if certificate, sealed, err = signingKey(ctx, t.db); err != nil {
			return err
		}
	}
	der, err := t.opt.Sealer.Open(keyPurpose, sealed)
	if err != nil {
		return fmt.Errorf("the signing key of topics: %w", err)
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return fmt.Errorf("the signing key of topics: %w", err)
	}
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return errors.New("the certificate of topics is not PEM")
	}
	sum := sha256.Sum256(block.Bytes)
	s.path = certificatePrefix + hex.EncodeToString(sum[:16]) + ".pem"
	s.key, s.certificate = key, []byte(certificate)
	return nil
}

// makeKey makes a key with a certificate that it signs itself, and keeps them
// unless another node was first.
func (t *Topics) makeKey(ctx context.Context) error {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return fmt.Errorf("make the signing key of topics: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return fmt.Errorf("make the signing key of topics: %w", err)
	}
	now := t.opt.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Rialto"}, CommonName: "Rialto topics"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(keyLife), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make the certificate of topics: %w", err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	sealed := t.opt.Sealer.Seal(keyPurpose, x509.MarshalPKCS1PrivateKey(key))
	return t.db.Update(ctx, func(tx *store.Tx) error {
		return insertSigningKey(ctx, tx, string(certificate), sealed, t.now())
	})
}
