package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rialto-bus/rialto/internal/app"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

func (b *bench) build(ctx context.Context) error {
	b.program = filepath.Join(b.dir, "rialto")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.program, "github.com/rialto-bus/rialto/cmd/rialto")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// server is a program under measurement in a process of its own.
type server struct {
	*client
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	dir    string
}

// serve starts the real program on a new data directory.
func (b *bench) serve(ctx context.Context) (*server, error) {
	dir, err := b.temp("data")
	if err != nil {
		return nil, err
	}
	return startServer(ctx, dir, b.program, "serve", "--listen", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "rialto"))
}

// serveWatched starts this program as the server, with the hooks that tell when
// events reach lanes and targets.
func (b *bench) serveWatched(ctx context.Context) (*server, error) {
	dir, err := b.temp("data")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, dir, self, "-observe", filepath.Join(dir, "rialto"), "-profile", b.profile)
}

func startServer(ctx context.Context, dir string, command ...string) (*server, error) {
	s := &server{dir: dir, cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	s.cmd.Env = append(os.Environ(), "RIALTO_LOG_LEVEL=warn")
	s.cmd.Stderr = os.Stderr
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.stdout = bufio.NewReader(stdout)
	url, err := readURL(s.stdout)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.client = newClient(url)
	return s, nil
}

// readURL finds the URL that a server prints when it serves.
func readURL(out *bufio.Reader) (string, error) {
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("the server did not say where it serves: %w", err)
		}
		for word := range strings.FieldsSeq(line) {
			if strings.HasPrefix(word, "http://") {
				return strings.TrimRight(word, ".,"), nil
			}
		}
	}
}

func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	go func() { _, _ = io.Copy(io.Discard, s.stdout) }()
	return errors.Join(s.cmd.Wait(), os.RemoveAll(s.dir))
}

// cpuTime is what the server's process has used so far; 0 where the system does
// not tell it.
func (s *server) cpuTime() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, fields, _ := strings.Cut(string(stat), ") ") // behind the name, which may hold spaces
	var user, system int64
	if f := strings.Fields(fields); len(f) > 12 {
		user, _ = strconv.ParseInt(f[11], 10, 64)
		system, _ = strconv.ParseInt(f[12], 10, 64)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // Linux counts in hundredths
}

// watched is what the hooks saw since the last report.
type watched struct {
	HandedOver, Delivered latencies
}

// report asks a watched server for what its hooks saw, and resets it.
func (s *server) report() (w watched, err error) {
	if _, err := fmt.Fprintln(s.stdin, "report"); err != nil {
		return w, err
	}
	line, err := s.stdout.ReadBytes('\n')
	if err != nil {
		return w, err
	}
	return w, json.Unmarshal(line, &w)
}

// watcher measures, inside the server, how long events took since they were sent.
type watcher struct {
	mu sync.Mutex
	watched
}

var sentMark = []byte(`"sent":`)

// sentDigits is how many digits a time in nanoseconds has until the year 2286.
const sentDigits = 19

// since returns how long ago the event was sent; false for one that was not now, or
// that a replay sends again.
func since(rec *event.Record) (time.Duration, bool) {
	if strings.HasPrefix(rec.Origin, event.OriginReplay) {
		return 0, false
	}
	now := time.Now().UnixNano()
	i := bytes.LastIndex(rec.JSON, sentMark)
	if i < 0 || len(rec.JSON) < i+len(sentMark)+sentDigits {
		return 0, false
	}
	sent, err := strconv.ParseInt(string(rec.JSON[i+len(sentMark):i+len(sentMark)+sentDigits]), 10, 64)
	return time.Duration(now - sent), err == nil
}

func (w *watcher) handedOver(rec *event.Record) {
	if d, ok := since(rec); ok {
		w.mu.Lock()
		w.HandedOver = append(w.HandedOver, d)
		w.mu.Unlock()
	}
}

// watchedRule is the rule whose deliveries are measured.
const watchedRule = "watched"

func (w *watcher) delivered(rec *event.Record, sub *bus.Subscription) {
	if d, ok := since(rec); ok && sub.RuleName == watchedRule {
		w.mu.Lock()
		w.Delivered = append(w.Delivered, d)
		w.mu.Unlock()
	}
}

// serveObserved is the watched server's process.
func serveObserved(ctx context.Context, dir, profile string) (err error) {
	c := app.NewConfig()
	c.Listen, c.DataDir, c.LogLevel = "127.0.0.1:0", dir, "warn"
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	w := &watcher{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a, err := app.StartObserved(ctx, c, logger, app.Observer{HandedOver: w.handedOver, Delivered: w.delivered})
	if err != nil {
		return err
	}
	if profile != "" {
		f, err := os.Create(filepath.Join(profile, "server.pprof"))
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	fmt.Println(a.URL())
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			w.mu.Lock()
			out, err := json.Marshal(w.watched)
			w.watched = watched{}
			w.mu.Unlock()
			if err != nil {
				break
			}
			fmt.Printf("%s\n", out)
		}
		cancel() // whoever started this is gone
	}()
	return a.Wait(ctx)
}
