package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a custom runtime in a shell, as AWS's tutorial has it; do is what it does with an invocation.
func script(t *testing.T, do string) Function {
	t.Helper()
	if _, err := os.Stat("/usr/bin/curl"); err != nil {
		t.Skip("there is no curl")
	}
	return function(t, "provided.al2", "x.handler", map[string]string{"bootstrap": `#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
while true; do
  headers=$(mktemp)
  event=$(curl -sS -LD "$headers" "$api/invocation/next") || exit 1
  id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
  ` + do + `
done
`})
}

func TestBareRuntimeAPI(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, do, want string }{
		{"answers", `curl -sS -o /dev/null "$api/invocation/$id/response" -d "got $event"`, `got {"n":1}`},
		{"answer twice: the first counts", `curl -sS -o /dev/null "$api/invocation/$id/response" -d 1; curl -sS "$api/invocation/$id/response" -d 2`, `1`},
		{"answer to another", `curl -sS "$api/invocation/00000000-0000-0000-0000-000000000000/response" -d 2; curl -sS -o /dev/null "$api/invocation/$id/response" -d 1`, `1`},
		{"next before the answer", `c=$(curl -sS -o /dev/null -w '%{http_code}' "$api/invocation/next"); curl -sS -o /dev/null "$api/invocation/$id/response" -d $c`, `403`},
		{"a way that is none", `c=$(curl -sS -o /dev/null -w '%{http_code}' "$api/nothing"); curl -sS -o /dev/null "$api/invocation/$id/response" -d $c`, `404`},
		{"a browser's request", `c=$(curl -sS -o /dev/null -H 'Origin: http://evil.example' -w '%{http_code}' "$api/invocation/next"); curl -sS -o /dev/null "$api/invocation/$id/response" -d $c`, `403`},
		{"another host's name", `c=$(curl -sS -o /dev/null -H 'Host: evil.example' -w '%{http_code}' "$api/invocation/next"); curl -sS -o /dev/null "$api/invocation/$id/response" -d $c`, `403`},
		{"an error", `curl -sS -o /dev/null -H 'Lambda-Runtime-Function-Error-Type: Orders.Late' "$api/invocation/$id/error" -d '{"errorType":"Late","errorMessage":"m"}'`, `!{"errorType":"Late","errorMessage":"m"}`},
		{"an error that is no JSON", `curl -sS -o /dev/null -H 'Lambda-Runtime-Function-Error-Type: Orders.Late' "$api/invocation/$id/error" -d 'oh'`, `!{"errorType":"Orders.Late","errorMessage":"The function's error could not be read"}`},
		{"an empty answer", `curl -sS -o /dev/null -X POST "$api/invocation/$id/response"`, ``},
		{"init error too late", `c=$(curl -sS -o /dev/null -w '%{http_code}' "$api/init/error" -d '{}'); curl -sS -o /dev/null "$api/invocation/$id/response" -d $c`, `403`},
		{"ends", `exit 1`, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [-0-9a-f]+ Error: Runtime exited with error: exit status 1"}`},
		{"ends after the answer", `curl -sS -o /dev/null "$api/invocation/$id/response" -d 1; exit 1`, `1`},
		{"status of an answer", `curl -sS -D - "$api/invocation/$id/response" -d 1; sleep 60`, `1`},
	}
	r := newRig(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkAnswer(t, r.run(t, script(t, c.do), `{"n":1}`), c.want)
		})
	}
	t.Cleanup(func() {
		r.logs.wait(t, "HTTP/1.1 202 Accepted", `{"status":"OK"}`, `{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}`)
	})
}

func TestFailuresOfACompiledFunction(t *testing.T) {
	cases := []struct{ name, payload, want, logged string }{
		{"error", `{"do":"fail","text":"no stock 📦"}`, `!{"errorMessage":"no stock 📦","errorType":"errorString"}`, ""},
		{"panic", `{"do":"panic","text":"nil map"}`, `!{"errorMessage":"nil map","errorType":"string","stackTrace":\[.*`, ""},
		{"exit", `{"do":"exit","size":9}`, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [-0-9a-f]+ Error: Runtime exited with error: exit status 9"}`,
			"Error: Runtime exited with error: exit status 9\nRuntime.ExitError\nEND RequestId: "},
		{"exit in peace", `{"do":"exit"}`, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [-0-9a-f]+ Error: Runtime exited without providing a reason"}`, "Status: error\tError Type: Runtime.ExitError"},
		{"answer too large", `{"do":"large","size":6291555}`, `!{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size \(6291556 bytes\)."}`, ""},
	}
	r := newRig(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fn := compiled(t)
			checkAnswer(t, r.run(t, fn, c.payload), c.want)
			if c.logged != "" {
				r.logs.wait(t, c.logged)
			}
			var again who // whatever happened, the function goes on
			r.answer(t, fn, `{"do":"who"}`, &again)
		})
	}
}

func TestLargestAnswerAndPayload(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	if out := r.run(t, fn, `{"do":"large","size":6291554}`); out.FunctionError != "" || len(out.Payload) != MaxResponse {
		t.Errorf("%s, %d bytes", out.FunctionError, len(out.Payload))
	}
	text := `{"do":"who","text":"` + strings.Repeat("x", MaxPayload-22) + `"}`
	if out := r.run(t, fn, text); len(text) != MaxPayload || out.FunctionError != "" {
		t.Errorf("%d bytes: %s", len(text), out.Payload)
	}
	if _, err := r.Invoke(t.Context(), fn, call1(text+" ")); !errors.Is(err, ErrPayloadTooLarge) {
		t.Error(err)
	}
}

func TestTimeoutKillsTheProcessAndWhatItStarted(t *testing.T) {
	t.Parallel()
	needsLinux(t)
	r, fn := newRig(t), compiled(t)
	fn.Timeout = 2 * time.Second
	in := call1(`{"do":"childrenThenHang"}`)
	in.Tail = true
	out, err := r.Invoke(t.Context(), fn, in)
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, out, `!{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: `+in.RequestID+` Error: Task timed out after 2.00 seconds"}`)
	if out.Duration != fn.Timeout {
		t.Errorf("it took %s", out.Duration)
	}
	want := `\nchildren (\d+) (\d+)\n\d{4}-\d\d-\d\dT[\d:.]+Z ` + in.RequestID + ` Task timed out after 2.00 seconds\n\nEND RequestId: ` + in.RequestID +
		`\nREPORT RequestId: ` + in.RequestID + `\tDuration: 2000.00 ms\tBilled Duration: \d+ ms\tMemory Size: 256 MB\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\tStatus: timeout\t\n$`
	found := regexp.MustCompile(want).FindStringSubmatch(string(out.LogTail))
	if found == nil {
		t.Fatalf("the tail does not match %s:\n%s", want, out.LogTail)
	}
	for _, pid := range found[1:] {
		awaitGone(t, atoi(t, pid))
	}
}

func TestEndOfAProcessEndsWhatItStarted(t *testing.T) {
	t.Parallel()
	needsLinux(t)
	r, fn := newRig(t), compiled(t)
	var pids []int
	r.answer(t, fn, `{"do":"children"}`, &pids)
	for _, pid := range pids {
		if syscall.Kill(pid, 0) != nil {
			t.Fatalf("%d is gone already", pid)
		}
	}
	r.run(t, fn, `{"do":"exit","size":1}`)
	for _, pid := range pids {
		awaitGone(t, pid)
	}
}

// TestStraysThatStartOthersEndToo has something that left the group go on starting what leaves it too,
// while what the process left behind is looked for.
func TestStraysThatStartOthersEndToo(t *testing.T) {
	t.Parallel()
	needsLinux(t)
	r, fn := newRig(t), function(t, "provided.al2023", "x", map[string]string{"bootstrap": `#!/bin/sh
setsid sh -c 'i=0; while [ $i -lt 500 ]; do setsid sleep 1000 & i=$((i+1)); done' &
sleep 0.05
exit 1
`})
	if out := r.run(t, fn, `{}`); out.FunctionError != unhandled {
		t.Errorf("the function answers %s", out.Payload)
	}
	if left := processesOf(t, fn); len(left) > 0 {
		t.Errorf("%d processes are left: %v", len(left), left)
	}
}

// processesOf returns the numbers of all processes that have the function's environment.
func processesOf(t *testing.T, fn Function) (pids []string) {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		if env, err := os.ReadFile(name); err == nil && bytes.Contains(env, []byte("AWS_LAMBDA_FUNCTION_NAME="+fn.Name+"\x00")) {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

func TestNoSignalIsSentToANumberThatMayBeAnothers(t *testing.T) {
	t.Parallel()
	other := exec.Command("sleep", "1000")
	other.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	(&process{os: other.Process, reaped: true}).signal(syscall.SIGKILL)
	if err := other.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err == nil || err.Error() != "signal: terminated" {
		t.Errorf("it ended with %v", err)
	}
}

// A process whose Runtime API cannot be opened leaves no pipe behind.
func TestCleaningUpEndsWhatWasPrepared(t *testing.T) {
	t.Parallel()
	p := New(Options{Dir: t.TempDir(), Logs: &logs{}})
	s := &process{pool: p, dir: t.TempDir()}
	var err error
	if s.pipe, err = openPipe(filepath.Join(s.dir, "output"), &stream{pool: p}, false); err != nil {
		t.Fatal(err)
	}
	s.cleanUp()
	select {
	case <-s.pipe.done:
	default:
		t.Error("the pipe is still read")
	}
	if _, err := s.pipe.reader.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("it is still open: %v", err)
	}
}

// TestInit holds AWS's rules for functions that fail before they ask for work.
func TestInit(t *testing.T) {
	r := newRig(t)
	t.Run("a failure at both tries", func(t *testing.T) {
		fn := compiled(t)
		fn.Environment = map[string]string{"START": "exit"}
		in := call1(`1`)
		out, err := r.Invoke(t.Context(), fn, in)
		if err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, out, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: `+in.RequestID+` Error: Runtime exited with error: exit status 3"}`)
		text := r.logs.wait(t, "REPORT RequestId: "+in.RequestID)
		want := `INIT_START [^\n]+\nno start today\nINIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError\t\n` +
			`START RequestId: ` + in.RequestID + ` Version: \$LATEST\nno start today\nINIT_REPORT Init Duration: [\d.]+ ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError\t\n` +
			`RequestId: ` + in.RequestID + ` Error: Runtime exited with error: exit status 3\nRuntime.ExitError\nEND`
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the log does not match %s:\n%s", want, text)
		}
	})
	t.Run("a failure at the first try", func(t *testing.T) {
		fn := compiled(t)
		fn.Environment = map[string]string{"START": "once", "MARK": filepath.Join(t.TempDir(), "mark")}
		var got who
		if out := r.answer(t, fn, `{"do":"who"}`, &got); out.Duration == 0 {
			t.Error("it took no time")
		}
	})
	t.Run("says that it cannot, and stays", func(t *testing.T) {
		fn := script(t, "")
		bootstrap := `#!/bin/sh
curl -sS -o /dev/null -H 'Lambda-Runtime-Function-Error-Type: Orders.NoTable' http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/init/error -d '{"errorMessage":"no table","errorType":"NoTable"}'
exec sleep 1000
`
		if err := os.WriteFile(filepath.Join(fn.Dir, "bootstrap"), []byte(bootstrap), 0o755); err != nil {
			t.Fatal(err)
		}
		checkAnswer(t, r.run(t, fn, `1`), `!{"errorMessage":"no table","errorType":"NoTable"}`)
		r.logs.wait(t, "Status: error\tError Type: Orders.NoTable\t\n")
	})
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no bootstrap":                {nil, `!{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: [-0-9a-f]+ Error: Couldn't find valid bootstrap\(s\): \[.*/bootstrap\]"}`},
		"a bootstrap that is no file": {map[string]string{"bootstrap/x": ""}, `!{"errorType":"Runtime.InvalidEntrypoint".*`},
		"no right to run it":          {map[string]string{"bootstrap": "echo"}, `!{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: [-0-9a-f]+ Error: fork/exec .*/bootstrap: permission denied"}`},
		"no program":                  {map[string]string{"bootstrap": "#!\x00"}, `!{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: [-0-9a-f]+ Error: fork/exec .*/bootstrap: .*"}`},
	} {
		t.Run(name, func(t *testing.T) {
			checkAnswer(t, r.run(t, function(t, "provided", "x", c.files), `1`), c.want)
		})
	}
}

func TestInitTakesAsLongAsTheFunctionMay(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the ten seconds of an initialization")
	}
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	fn.Environment, fn.Timeout = map[string]string{"START": "hang"}, time.Second
	in := call1(`1`)
	out, err := r.Invoke(t.Context(), fn, in)
	if err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, out, `!{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: `+in.RequestID+` Error: Task timed out after 1.00 seconds"}`)
	r.logs.wait(t, "\tPhase: init\tStatus: timeout\t\n", "\tPhase: invoke\tStatus: timeout\t\n", "\tStatus: timeout\t\n")
}

func TestRuntimesThatAreNotHere(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"java21", "dotnet8", "ruby3.4", "go1.x", "python2.7", "nodejs", "nodejs20", "provided.al2024", ""} {
		if err := r.Available(name); !errors.Is(err, ErrUnknownRuntime) {
			t.Errorf("%q: %v", name, err)
		}
		fn := compiled(t)
		fn.Runtime = name
		if _, err := r.Invoke(t.Context(), fn, call1(`1`)); !errors.Is(err, ErrUnknownRuntime) {
			t.Errorf("%q: %v", name, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	for _, name := range []string{"nodejs20.x", "python3.12"} {
		if err := New(Options{}).Available(name); !errors.Is(err, ErrNoInterpreter) || !strings.Contains(err.Error(), "PATH") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestEnvironmentIsClean(t *testing.T) {
	t.Setenv("SECRET_OF_THE_SERVER", "x")
	r := newRig(t, func(o *Options) {
		o.Environment = func(account, region string) []string {
			return []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_ACCESS_KEY_ID=" + account, "AWS_SECRET_ACCESS_KEY=s"}
		}
	})
	fn := compiled(t)
	fn.Environment = map[string]string{"TABLE": "库存", "LANG": "C", "AWS_REGION": "mars-1", "AWS_ENDPOINT_URL": "http://other"}
	fn.Handler = "main.handle"
	in := call1(`{"do":"context"}`)
	out, err := r.Invoke(t.Context(), fn, in)
	if err != nil || out.FunctionError != "" {
		t.Fatalf("%v %s", err, out.Payload)
	}
	var got struct {
		ID, ARN, Name, Stream, Trace, Dir string
		Env                               []string
		Left                              int
	}
	if err := json.Unmarshal(out.Payload, &got); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, pair := range got.Env {
		name, value, _ := strings.Cut(pair, "=")
		values[name] = value
	}
	for name, want := range map[string]string{
		"_HANDLER": "main.handle", "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1", "AWS_LAMBDA_FUNCTION_NAME": fn.Name,
		"AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/" + fn.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME": got.Stream, "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "LAMBDA_TASK_ROOT": fn.Dir, "TZ": ":UTC",
		"LANG": "C", "TABLE": "库存", "AWS_ENDPOINT_URL": "http://other", "AWS_ACCESS_KEY_ID": "000000000000", "AWS_SECRET_ACCESS_KEY": "s",
		"_X_AMZN_TRACE_ID": got.Trace,
	} {
		if values[name] != want {
			t.Errorf("%s is %q, want %q", name, values[name], want)
		}
		delete(values, name)
	}
	for _, name := range []string{"HOME", "TMPDIR"} {
		if !strings.HasPrefix(values[name], filepath.Join(r.dir, "processes")) {
			t.Errorf("%s is %q", name, values[name])
		}
		delete(values, name)
	}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_RUNTIME_API"} {
		delete(values, name)
	}
	if len(values) > 0 {
		t.Errorf("it also has %v", values)
	}
	if got.ID != in.RequestID || got.ARN != fn.ARN || got.Dir != fn.Dir || got.Left <= 0 || got.Left > 20_000 {
		t.Errorf("%+v", got)
	}
	if !regexp.MustCompile(`^\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}$`).MatchString(got.Stream) {
		t.Errorf("the stream is %s", got.Stream)
	}
	if !regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`).MatchString(got.Trace) {
		t.Errorf("the trace is %s", got.Trace)
	}
}

func TestNoFilesAreInherited(t *testing.T) {
	needsLinux(t)
	leaked, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leaked)
	r := newRig(t)
	fn := script(t, `files=$(for f in /proc/$$/fd/*; do echo "$f $(readlink $f)"; done); curl -sS -o /dev/null "$api/invocation/$id/response" -d "$files"`)
	out := r.run(t, fn, `1`)
	for line := range strings.Lines(string(out.Payload)) {
		path, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch number := filepath.Base(path); {
		case number == "0" && target == os.DevNull, target == filepath.Join(fn.Dir, "bootstrap"), target == "":
		case strings.HasPrefix(target, "pipe:"): // the shell's own, for what it substitutes
		case (number == "1" || number == "2") && strings.HasPrefix(target, r.dir):
		default:
			t.Errorf("it has file %s: %s", number, target)
		}
	}
	if !strings.Contains(string(out.Payload), "/fd/0 /dev/null") {
		t.Errorf("files: %s", out.Payload)
	}
}

func TestAnInterpreterThatIsGoneIsLookedForAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	needs(t, r, "python3.12")
	r.interpreters.mu.Lock()
	was := r.interpreters.found[python.name+"3.12"]
	r.interpreters.found[python.name+"3.12"] = interpreter{path: filepath.Join(t.TempDir(), "python3"), version: "python 2.7"}
	r.interpreters.mu.Unlock()
	if got, err := r.interpreters.find(python, "3.12"); err != nil || got != was {
		t.Errorf("found %v, %v, want %v", got, err, was)
	}
}

func TestReservedVariables(t *testing.T) {
	if !ReservedVariable("AWS_REGION") || ReservedVariable("AWS_LAMBDA_EXEC_WRAPPER") || ReservedVariable("TABLE") {
		t.Error("AWS_REGION is reserved, and others are not")
	}
}

func TestDirectoryHasOneServer(t *testing.T) {
	r := newRig(t)
	r.answer(t, compiled(t), `{"do":"who"}`, &who{})
	other := New(Options{Dir: r.dir, Logs: r.logs})
	if err := other.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "used by another server") {
		t.Error(err)
	}
	if _, err := other.Invoke(t.Context(), compiled(t), call1(`1`)); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

func TestHeaderJSON(t *testing.T) {
	for in, want := range map[string]string{
		"{\n \"a\": \"é 📦\"}": `{"a":"\u00e9 \ud83d\udce6"}`,
		"no\njson":            "no json",
	} {
		if got := headerJSON(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
}

// awaitGone returns when the process has ended, or is only waited for by nobody.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if gone(pid) {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("process %d is still there", pid)
		}
	}
}

func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile("/proc/" + itoa(pid) + "/stat")
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || syscall.Kill(pid, 0) != nil
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return slices.Equal(fields[0], []byte("Z"))
}
