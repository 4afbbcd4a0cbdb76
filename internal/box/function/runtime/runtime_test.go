package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/aws/aws-lambda-go/lambdacontext" // testdata/gofunction is compiled with it, which go mod does not see
	"github.com/google/uuid"
	"go.uber.org/goleak"
)

// goFunction is the path of testdata/gofunction, compiled.
var goFunction string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gofunction-")
	if err != nil {
		panic(err)
	}
	goFunction = filepath.Join(dir, "bootstrap")
	build := exec.Command("go", "build", "-o", goFunction, "./testdata/gofunction")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, out))
	}
	code := m.Run()
	os.RemoveAll(dir)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// logs keeps what is logged, by stream.
type logs struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew with each change
	streams map[string][]LogEvent
	groups  map[string]bool
	order   []string
	put     func(stream string, events []LogEvent) error // nil: succeeds
}

func (l *logs) Put(ctx context.Context, account, region, group, stream string, events []LogEvent) error {
	l.mu.Lock()
	put := l.put
	l.mu.Unlock()
	if put != nil {
		if err := put(stream, events); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams, l.groups = map[string][]LogEvent{}, map[string]bool{}
	}
	if l.streams[stream] == nil {
		l.order = append(l.order, stream)
	}
	l.streams[stream] = append(l.streams[stream], events...)
	l.groups[group] = true
	if l.changed != nil {
		close(l.changed)
	}
	l.changed = make(chan struct{})
	return nil
}

func (l *logs) set(put func(stream string, events []LogEvent) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put = put
}

// text is everything that was logged, stream after stream.
func (l *logs) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, name := range l.order {
		for _, e := range l.streams[name] {
			b.WriteString(e.Message)
		}
	}
	return b.String()
}

// wait returns the log's text once it holds all of what is wanted.
func (l *logs) wait(t *testing.T, want ...string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		text, missing := l.text(), ""
		for _, w := range want {
			if !strings.Contains(text, w) {
				missing = w
			}
		}
		if missing == "" {
			return text
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the log never held %q:\n%s", missing, l.text())
		}
	}
}

// rig is a pool that runs, with its log.
type rig struct {
	*Pool
	logs *logs
	dir  string
	warn *bytes.Buffer
	stop func()
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{logs: &logs{}, dir: t.TempDir(), warn: &bytes.Buffer{}}
	o := Options{Dir: r.dir, Logs: r.logs, Logger: slog.New(slog.NewTextHandler(r.warn, nil))}
	for _, f := range change {
		f(&o)
	}
	r.Pool = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			text := r.logs.text()
			t.Logf("log:\n%s\nwarnings:\n%s", text[max(0, len(text)-4000):], r.warn)
		}
	})
	return r
}

// function returns a function made of files; a text that begins with #! is executable.
func function(t *testing.T, runtime, handler string, files map[string]string) Function {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return Function{
		ARN: "arn:aws:lambda:eu-west-1:000000000000:function:" + t.Name(), Name: strings.ReplaceAll(t.Name(), "/", "-"),
		Account: "000000000000", Region: "eu-west-1", Version: "$LATEST", Revision: "1",
		Runtime: runtime, Handler: handler, Dir: dir, Timeout: 20 * time.Second, MemoryMB: 256,
	}
}

// compiled returns a function that runs testdata/gofunction.
func compiled(t *testing.T) Function {
	t.Helper()
	fn := function(t, "provided.al2023", "bootstrap", nil)
	if err := os.Link(goFunction, filepath.Join(fn.Dir, "bootstrap")); err != nil {
		if err := copyFile(goFunction, filepath.Join(fn.Dir, "bootstrap")); err != nil {
			t.Fatal(err)
		}
	}
	return fn
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

func call1(payload string) Invocation {
	return Invocation{RequestID: uuid.NewString(), Payload: []byte(payload)}
}

// run invokes the function and expects no error of ours.
func (r *rig) run(t *testing.T, fn Function, payload string) Result {
	t.Helper()
	out, err := r.Invoke(t.Context(), fn, call1(payload))
	if err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	return out
}

// answer is run for what must succeed, and decodes what the function answers.
func (r *rig) answer(t *testing.T, fn Function, payload string, into any) Result {
	t.Helper()
	out := r.run(t, fn, payload)
	if out.FunctionError != "" {
		t.Fatalf("%s: %s: %s", payload, out.FunctionError, out.Payload)
	}
	if err := json.Unmarshal(out.Payload, into); err != nil {
		t.Fatalf("%s: %s: %v", payload, out.Payload, err)
	}
	return out
}

type who struct{ PID, Calls int }

func needs(t *testing.T, r *rig, runtime string) {
	t.Helper()
	if err := r.Available(runtime); errors.Is(err, ErrNoInterpreter) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func itoa(n int) string { return strconv.Itoa(n) }

// needsLinux skips what other systems have no way to do.
func needsLinux(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("this system does not show the environment of processes, nor ends them with their parent")
	}
}
