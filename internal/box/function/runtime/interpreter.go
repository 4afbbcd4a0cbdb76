package runtime

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// The clients that load a function's file and speak the Runtime API for it.
//
//go:embed client/node.mjs client/python.py
var clients embed.FS

// command is what a process of a function runs.
type command struct {
	path        string
	args        []string
	version     string // for the log
	runtimeDir  string // LAMBDA_RUNTIME_DIR
	interpreted bool
}

// family is the kind of a runtime.
type family struct {
	name      string
	client    string                       // its file, in the directory of clients
	names     func(digits string) []string // of interpreters, the best first
	probe     []string                     // arguments that print the executable's real path and its version
	arguments func(fn *Function) []string
}

var custom = map[string]bool{"provided": true, "provided.al2": true, "provided.al2023": true}

var (
	nodeRuntime   = regexp.MustCompile(`^nodejs(\d+)\.x$`)
	pythonRuntime = regexp.MustCompile(`^python(3\.\d+)$`)
)

// node is run by whatever Node the machine has: AWS's number stands for a version of
// Amazon Linux's, which is not on a developer's machine.
var node = &family{
	name: "Node.js", client: "node.mjs",
	names: func(string) []string { return []string{"node", "nodejs"} },
	probe: []string{"-e", "console.log(process.execPath); console.log('node ' + process.version)"},
	// AWS bounds the heap by the memory of the function too.
	arguments: func(fn *Function) []string {
		return []string{fmt.Sprintf("--max-old-space-size=%d", max(64, fn.MemoryMB*9/10))}
	},
}

// python is run by the very version if the machine has it, and else by its python3.
var python = &family{
	name: "Python 3", client: "python.py",
	names: func(version string) []string { return []string{"python" + version, "python3"} },
	probe: []string{"-c", "import sys, platform; assert sys.version_info >= (3, 8); print(sys.executable); print('python ' + platform.python_version())"},
	// The code's directory is only read, and text is UTF-8 as on Lambda.
	arguments: func(*Function) []string { return []string{"-B", "-X", "utf8"} },
}

// familyOf returns the family and the version of a runtime, and nil for a custom one.
func familyOf(name string) (*family, string, error) {
	if custom[name] {
		return nil, "", nil
	}
	if m := nodeRuntime.FindStringSubmatch(name); m != nil {
		return node, m[1], nil
	}
	if m := pythonRuntime.FindStringSubmatch(name); m != nil {
		return python, m[1], nil
	}
	return nil, "", fmt.Errorf("%w %q: functions are run here as provided.al2023, provided.al2, provided, nodejsN.x and python3.N", ErrUnknownRuntime, name)
}

// managed says whether one of our clients runs the function.
func (fn *Function) managed() bool { return !custom[fn.Runtime] }

// Available returns nil if functions of the runtime can be run on this machine,
// [ErrUnknownRuntime] or [ErrNoInterpreter].
func (p *Pool) Available(name string) error {
	f, version, err := familyOf(name)
	if err != nil || f == nil {
		return err
	}
	_, err = p.interpreters.find(f, version)
	return err
}

// interpreter is an executable that was found to work.
type interpreter struct{ path, version string }

// interpreters remembers those that were found. One that is missing is looked for
// again, since it may be installed, or replaced by another, while the server runs.
type interpreters struct {
	mu    sync.Mutex
	found map[string]interpreter
}

func (i *interpreters) find(f *family, version string) (interpreter, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := f.name + version
	if have, ok := i.found[key]; ok {
		if _, err := os.Stat(have.path); err == nil {
			return have, nil
		}
	}
	var reasons []error
	for _, name := range f.names(version) {
		have, err := f.try(name)
		if err == nil {
			if i.found == nil {
				i.found = map[string]interpreter{}
			}
			i.found[key] = have
			return have, nil
		}
		reasons = append(reasons, err)
	}
	return interpreter{}, fmt.Errorf("%w: there is no %s that works on the server's PATH: %w", ErrNoInterpreter, f.name, errors.Join(reasons...))
}

// try runs an interpreter to learn where it really is: what is on the PATH may be a
// script that chooses one, and needs variables which functions do not get.
func (f *family) try(name string) (interpreter, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return interpreter{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, f.probe...).Output() //nolint:gosec // the names are ours, the path the administrator's
	if err != nil {
		return interpreter{}, fmt.Errorf("%s: %w", path, err)
	}
	real, version, ok := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if real = strings.TrimSpace(real); !ok || !filepath.IsAbs(real) {
		return interpreter{}, fmt.Errorf("%s: it does not say where it is", path)
	}
	return interpreter{real, strings.TrimSpace(version)}, nil
}

// command returns what runs the function.
func (p *Pool) command(fn *Function) (*command, *failure) {
	f, version, err := familyOf(fn.Runtime)
	if err != nil {
		return nil, ownFault(err)
	}
	if f == nil {
		return bootstrap(fn)
	}
	have, err := p.interpreters.find(f, version)
	if err != nil {
		return nil, ownFault(err)
	}
	client := filepath.Join(p.clientDir(), f.client)
	args := append(append([]string{have.path}, f.arguments(fn)...), client)
	return &command{path: have.path, args: args, version: fn.Runtime + " (" + have.version + ")", runtimeDir: p.clientDir(), interpreted: true}, nil
}

// bootstrap is the executable of a custom runtime. AWS: Runtime.InvalidEntrypoint.
func bootstrap(fn *Function) (*command, *failure) {
	path := filepath.Join(fn.Dir, "bootstrap")
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && info.IsDir():
		return nil, &failure{kind: "Runtime.InvalidEntrypoint", message: "Couldn't find valid bootstrap(s): [" + path + "]"}
	case err != nil:
		return nil, ownFault(err)
	}
	return &command{path: path, args: []string{path}, version: fn.Runtime, runtimeDir: fn.Dir}, nil
}
