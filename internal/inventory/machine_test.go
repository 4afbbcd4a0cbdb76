package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMachineFactsAreAccepted(t *testing.T) {
	f, err := MachineFacts("1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.validate(); err != nil {
		t.Errorf("the facts of this machine are refused: %v: %+v", err, f)
	}
}

func TestOSName(t *testing.T) {
	for file, want := range map[string]string{
		"NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n": "Debian GNU/Linux 13 (trixie)",
		"PRETTY_NAME='Alpine Linux v3.22'":                                "Alpine Linux v3.22",
		"NAME=x":                                                          "",
	} {
		if got := osName([]byte(file)); got != want {
			t.Errorf("%q: %q, want %q", file, got, want)
		}
	}
}

func TestSSHHostKeysLoseTheirComments(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"ssh_host_rsa_key.pub": "ssh-rsa AAAA root@web\n", "ssh_host_ed25519_key.pub": "ssh-ed25519 BBBB\n",
		"ssh_host_ed25519_key": "private", "ssh_host_empty_key.pub": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := sshHostKeys(dir), []string{"ssh-ed25519 BBBB", "ssh-rsa AAAA"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
