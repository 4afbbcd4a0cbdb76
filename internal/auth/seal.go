package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
)

// ErrUnseal says that sealed bytes were changed, belong to another purpose or
// were sealed under another key.
var ErrUnseal = errors.New("the stored secret cannot be decrypted")

// sealFormat is the first byte of what Seal returns.
const sealFormat = 1

// Sealer encrypts the secrets that must be stored readable: AES-256-GCM, with
// what the secret is for bound in. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

func newSealer(key []byte) *Sealer {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("auth: " + err.Error()) // deriveKey makes 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("auth: " + err.Error())
	}
	return &Sealer{aead: aead}
}

// Seal encrypts plain. Open needs the same purpose, which names what the secret
// is and whose, such as "connection/<id>": so a sealed value that is moved to
// another row does not open there.
func (s *Sealer) Seal(purpose string, plain []byte) (sealed []byte) {
	return s.aead.Seal([]byte{sealFormat}, nil, plain, []byte(purpose)) //nolint:gosec // the cipher makes the nonce itself
}

// Open decrypts what Seal returned; ErrUnseal if it cannot be trusted.
func (s *Sealer) Open(purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealFormat {
		return nil, ErrUnseal
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], []byte(purpose))
	if err != nil {
		return nil, ErrUnseal
	}
	return plain, nil
}
