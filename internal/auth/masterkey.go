package auth

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// MasterKeySize is the size of the master key in bytes.
const MasterKeySize = 32

// KeyFileName is the name of the key file in the data directory.
const KeyFileName = "secret.key"

// errNoKeyFile says that there is no key file where one was expected.
var errNoKeyFile = errors.New("no key file")

// ParseMasterKey reads a master key as RIALTO_SECRET_KEY and the key file hold
// it: 32 bytes in base64 (standard or URL alphabet, padding optional) or in hex.
func ParseMasterKey(s string) ([]byte, error) {
	s = strings.TrimSpace(s)
	if len(s) == hex.EncodedLen(MasterKeySize) {
		if key, err := hex.DecodeString(s); err == nil {
			return key, nil
		}
	}
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	key, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil || len(key) != MasterKeySize {
		return nil, fmt.Errorf("secret key: want %d bytes in base64 or hex, such as `openssl rand -base64 32` prints", MasterKeySize)
	}
	return key, nil
}

// readKeyFile reads the master key from path; errNoKeyFile where there is none.
func readKeyFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoKeyFile
	}
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" { // Windows has no such bits
		return nil, fmt.Errorf("key file %s can be read by others (mode %04o): run chmod 600 on it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	key, err := ParseMasterKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

// createKeyFile makes a new master key and writes it to path, durably and only
// if nothing is there. When another process was faster, it returns that one's key.
func createKeyFile(path string) ([]byte, error) {
	key := make([]byte, MasterKeySize)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, KeyFileName+".*") // made with mode 0600
	if err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	// A link, unlike a rename, does not replace what another process has put there.
	if err := os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) {
		return readKeyFile(path)
	} else if err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	return key, nil
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it cannot sync directories
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// deriveKey makes the key of one purpose from the master key (HKDF-SHA256), so
// that what is made for one purpose is worth nothing for another.
func deriveKey(master []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, master, nil, "rialto/"+purpose, sha256.Size)
	if err != nil {
		panic("auth: " + err.Error()) // only for lengths that no hash can make
	}
	return key
}
