package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/jq"
)

// serverVariable, when set, makes the test binary a server: its value is the
// JSON of serverSettings.
const serverVariable = "RIALTO_APP_TEST_SERVER"

// serverSettings are what a test asks of a server in a process of its own.
type serverSettings struct {
	DataDir       string
	EventLogBytes int64         // 0: the default
	ClockAhead    time.Duration // how far its clock is ahead of the machine's
	NoSync        bool          // its engines do not sync
	Config        *Config       // its settings, where the defaults will not do
}

func TestMain(m *testing.M) {
	jq.Main()
	if settings := os.Getenv(serverVariable); settings != "" {
		os.Exit(serve(settings))
	}
	// No test asks a name server: names other than localhost lead nowhere.
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("tests have no name server")
	}}
	os.Exit(m.Run())
}

// serve is the server's process: it prints its process id and URL, and stops on
// SIGTERM or when whoever started it is gone.
func serve(text string) int {
	var s serverSettings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test's process
		cancel()
	}()
	c := NewConfig()
	c.Listen, c.DataDir = "127.0.0.1:0", s.DataDir
	if s.Config != nil {
		c = *s.Config
	}
	if s.EventLogBytes > 0 {
		c.EventLogBytes = s.EventLogBytes
	}
	if err := c.Validate(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	a, err := start(ctx, c, logger, hooks{
		now:    func() time.Time { return time.Now().Add(s.ClockAhead) },
		noSync: s.NoSync,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(os.Getpid(), a.URL())
	if err := a.Wait(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serverProcess is a server in a process of its own.
type serverProcess struct {
	url   string
	pid   int // of the server, also when something else runs it
	cmd   *exec.Cmd
	stdin io.Closer
}

// launch begins a server's process, as the arguments of another command if one
// is given. It does not wait until it serves.
func launch(t *testing.T, s serverSettings, command ...string) (*serverProcess, *bufio.Reader) {
	t.Helper()
	settings, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	args := append(command, os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), serverVariable+"="+string(settings))
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &serverProcess{cmd: cmd, stdin: stdin, pid: cmd.Process.Pid}
	t.Cleanup(func() { p.kill() })
	return p, bufio.NewReader(stdout)
}

// startProcess returns once the server serves.
func startProcess(t *testing.T, s serverSettings, command ...string) *serverProcess {
	t.Helper()
	p, stdout := launch(t, s, command...)
	line, err := stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	if _, err := fmt.Sscan(strings.TrimSpace(line), &p.pid, &p.url); err != nil {
		t.Fatalf("the server printed %q: %v", line, err)
	}
	return p
}

// kill ends the process as a crash does. It may be called again.
func (p *serverProcess) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended by itself
	_ = p.cmd.Wait()
	p.stdin.Close()
}

// stop ends the process as an operator does.
func (p *serverProcess) stop(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("the server did not stop well: %v", err)
	}
}

// mortal is a server in a process of its own that is killed and started again, with
// clients who wait for it meanwhile.
type mortal struct {
	settings serverSettings

	mu     sync.Mutex
	server *serverProcess // nil while there is none
	up     chan struct{}  // closed once there is one
}

func newMortal(s serverSettings) *mortal { return &mortal{settings: s, up: make(chan struct{})} }

// url waits until there is a server.
func (m *mortal) url(ctx context.Context) (string, error) {
	for {
		m.mu.Lock()
		server, up := m.server, m.up
		m.mu.Unlock()
		if server != nil {
			return server.url, nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-up:
		}
	}
}

func (m *mortal) restart(t *testing.T) {
	t.Helper()
	p := startProcess(t, m.settings)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.server = p
	close(m.up)
}

func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.server.kill()
	m.server, m.up = nil, make(chan struct{})
}
