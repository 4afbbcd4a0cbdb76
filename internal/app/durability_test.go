package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tracedCalls is how many calls of each operation are made under strace.
const tracedCalls = 100

// A SIGKILL loses nothing that the kernel has, so it cannot show that a reply
// waits for the disk. Under strace the order of system calls can.
func TestEachReplyComesAfterASyncOfTheRightFile(t *testing.T) {
	t.Parallel()
	for operation, r := range traceReplies(t, serverSettings{}) {
		if r.unsynced > 0 {
			t.Errorf("%s: %d of %d replies were sent before what they acknowledge was written and synced to %s", operation, r.unsynced, r.replies, r.file)
		}
	}
}

// The test before would pass on anything if its reading of the trace were wrong.
func TestTheTraceShowsRepliesWithoutASync(t *testing.T) {
	t.Parallel()
	for operation, r := range traceReplies(t, serverSettings{NoSync: true}) {
		if r.unsynced != r.replies {
			t.Errorf("%s: %d of %d replies seem to follow a sync of %s, though syncing is off", operation, r.replies-r.unsynced, r.replies, r.file)
		}
	}
}

func TestRunningServerSaysHowItsEnginesSync(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		noSync bool
		want   string
	}{
		{false, "ready\nevent log: synced before every acknowledgement\ndatabase: journal_mode=wal synchronous=FULL\n"},
		{true, "ready\nevent log: not synced\ndatabase: journal_mode=wal synchronous=OFF\n"},
	} {
		p := startProcess(t, serverSettings{DataDir: t.TempDir(), NoSync: test.noSync})
		resp, err := http.Get(p.url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != test.want {
			t.Errorf("without syncing %t: /readyz says %q, %v; want %q", test.noSync, got, err, test.want)
		}
	}
}

// tracedReplies is what the trace says of one operation.
type tracedReplies struct {
	file     *regexp.Regexp // where the operation's data goes
	replies  int
	unsynced int
}

// traceReplies runs a server under strace, calls it one call after another, and
// reads from the trace whether each reply came after a sync.
func traceReplies(t *testing.T, s serverSettings) map[string]*tracedReplies {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	file := filepath.Join(t.TempDir(), "trace")
	command := []string{strace, "-f", "--seccomp-bpf", "-y", "-s", "400", "-e", "signal=none", "-e", "trace=read,write,pwrite64,writev,sendto,fsync,fdatasync", "-o", file}
	if out, err := exec.Command(command[0], append(command[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v: %s", err, out)
	}
	s.DataDir = t.TempDir()
	p := startProcess(t, s, command...)
	p.client().createQueue(t, "orders", 30)
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range tracedCalls {
		callTraced(t, conn, answers, "events", "PutEvents", map[string]any{"Entries": []entry{{"trace.test", "order", `{"n":1}`}}})
	}
	for range tracedCalls {
		callTraced(t, conn, answers, "sqs", "SendMessage", map[string]any{"QueueUrl": queueURL("orders"), "MessageBody": "order"})
	}
	p.stop(t)

	replies := map[string]*tracedReplies{
		"PutEvents":   {file: regexp.MustCompile(`/streams/RIALTO_EVENTS/msgs/[0-9]+\.blk$`)},
		"SendMessage": {file: regexp.MustCompile(`/rialto\.db-wal$`)},
	}
	readTrace(t, file, replies)
	for operation, r := range replies {
		if r.replies != tracedCalls {
			t.Errorf("%s: found %d replies in the trace, want %d", operation, r.replies, tracedCalls)
		}
	}
	return replies
}

// callTraced makes a call in one write, with its operation at the beginning,
// where the trace shows it.
func callTraced(t *testing.T, conn net.Conn, answers *bufio.Reader, service, operation string, in any) {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	date := time.Now().UTC().Format("20060102T150405Z")
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nX-Amz-Target: %s%s\r\nHost: %s\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Date: %s\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s",
		targetPrefixes[service], operation, conn.RemoteAddr(), date, authorization(service, date), len(body), body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", operation, resp.StatusCode, answer, err)
	}
}

var (
	// 1234  fsync(20</data/rialto.db-wal>) = 0
	// 1234  fsync(20</data/rialto.db-wal> <unfinished ...>
	callLine = regexp.MustCompile(`^(\d+) +(\w+)\(\d+<([^>]*)>(.*)$`)
	// 1234  <... fsync resumed>) = 0
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	targetName  = regexp.MustCompile(`X-Amz-Target: \w+\.(PutEvents|SendMessage)\\r\\n`)
)

const unfinished = "<unfinished ...>"

// traceReader follows one call after another through a trace.
type traceReader struct {
	replies map[string]*tracedReplies

	operation string                  // being served; empty between calls
	written   bool                    // its data
	synced    bool                    // after that
	begun     map[string]syscallBegun // by thread
}

// syscallBegun is a system call whose end the trace has not shown.
type syscallBegun struct {
	path, args string
	covers     bool // a sync that began after the data was written
}

func readTrace(t *testing.T, file string, replies map[string]*tracedReplies) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := traceReader{replies: replies, begun: map[string]syscallBegun{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r.line(lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func (r *traceReader) line(line string) {
	if m := callLine.FindStringSubmatch(line); m != nil {
		thread, name, c := m[1], m[2], syscallBegun{path: m[3], args: m[4]}
		c = r.began(name, c)
		if !strings.HasSuffix(c.args, unfinished) {
			r.ended(name, c)
			return
		}
		c.args = strings.TrimSuffix(c.args, unfinished)
		r.begun[thread] = c
		return
	}
	if m := resumedLine.FindStringSubmatch(line); m != nil {
		c, ok := r.begun[m[1]]
		if !ok {
			return
		}
		delete(r.begun, m[1])
		c.args += m[3]
		r.ended(m[2], c)
	}
}

// began looks at the beginning of a system call: that is when a reply leaves.
func (r *traceReader) began(name string, c syscallBegun) syscallBegun {
	if r.operation == "" {
		return c
	}
	switch {
	case name == "fsync" || name == "fdatasync":
		c.covers = r.written && r.replies[r.operation].file.MatchString(c.path)
	case strings.Contains(c.args, `"HTTP/1.1 200 OK`):
		r.replies[r.operation].replies++
		if !r.synced {
			r.replies[r.operation].unsynced++
		}
		r.operation = ""
	}
	return c
}

// ended looks at the end of a system call: that is when a request is there, and
// data is written or synced.
func (r *traceReader) ended(name string, c syscallBegun) {
	if name == "read" {
		if m := targetName.FindStringSubmatch(c.args); m != nil {
			r.operation, r.written, r.synced = m[1], false, false
		}
		return
	}
	if r.operation == "" {
		return
	}
	if name == "fsync" || name == "fdatasync" {
		r.synced = r.synced || c.covers && strings.HasSuffix(c.args, "= 0")
		return
	}
	if r.replies[r.operation].file.MatchString(c.path) {
		r.written = true
	}
}
