package app

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// nodeName returns this node's name, kept in the data directory so that a
// restarted node takes up its own leases at once.
func nodeName(dataDir string) (string, error) {
	path := filepath.Join(dataDir, "node")
	b, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read this node's name: %w", err)
	}
	name := "node-" + strings.ToLower(rand.Text()[:10])
	if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("store this node's name: %w", err)
	}
	return name, nil
}
