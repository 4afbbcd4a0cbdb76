package inventory

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// MachineFacts collects what an agent can find out about the machine that it runs
// on: its host name, operating system, ways to log in and public SSH host keys.
// Version is the agent's own.
func MachineFacts(version string) (AgentFacts, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return AgentFacts{}, fmt.Errorf("find out the host name: %w", err)
	}
	f := AgentFacts{Hostname: hostname, OSType: runtime.GOOS, Version: version, Services: []string{"ssh"}}
	if f.OSType == "windows" {
		f.Services = []string{"rdp"}
		return f, nil
	}
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		f.OS = osName(b)
	}
	f.SSHHostKeys = sshHostKeys("/etc/ssh")
	return f, nil
}

// osName reads PRETTY_NAME from an os-release file; empty if there is none.
func osName(file []byte) string {
	lines := bufio.NewScanner(bytes.NewReader(file))
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// sshHostKeys reads the public host keys in a directory: type and key, without
// the comments.
func sshHostKeys(dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "ssh_host_*_key.pub"))
	if err != nil {
		return nil
	}
	slices.Sort(files)
	var keys []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if p := strings.Fields(string(b)); len(p) >= 2 {
			keys = append(keys, p[0]+" "+p[1])
		}
	}
	return keys
}
