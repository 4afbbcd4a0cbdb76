package runtime

import (
	"encoding/json"
	"regexp"
	"testing"
)

func TestPythonFiles(t *testing.T) {
	r := newRig(t)
	needs(t, r, "python3.12")
	const echo = "def handler(event, context):\n    return {'got': event}\n"
	cases := []struct {
		name, handler string
		files         map[string]string
		payload, want string // as TestNodeFiles has it
	}{
		{"a module", "app.handler", map[string]string{"app.py": echo}, `{"a":"库存 📦"}`, `{"got": {"a": "库存 📦"}}`},
		{"in a folder by a slash", "src/app.handler", map[string]string{"src/app.py": echo}, `1`, `{"got": 1}`},
		{"in a package by a dot", "src.app.handler", map[string]string{"src/__init__.py": "", "src/app.py": "from . import words\ndef handler(e, c):\n    return words.word\n", "src/words.py": "word = 'w'\n"}, `1`, `"w"`},
		{"imports a neighbour", "app.handler", map[string]string{"app.py": "import json, other\ndef handler(e, c):\n    return other.n\n", "other.py": "n = 3\n"}, `1`, `3`},
		{"an object that can be called", "app.handler", map[string]string{"app.py": "class H:\n    def __call__(self, e, c):\n        return 'called'\nhandler = H()\n"}, `1`, `"called"`},
		{"no return", "app.handler", map[string]string{"app.py": "def handler(e, c):\n    pass\n"}, `1`, `null`},
		{"decimals", "app.handler", map[string]string{"app.py": "from decimal import Decimal\ndef handler(e, c):\n    return [Decimal('1.5'), Decimal('2')]\n"}, `1`, `[1.5, 2]`},
		{"throws", "app.handler", map[string]string{"app.py": "def deep():\n    raise ValueError('too far 📦')\ndef handler(e, c):\n    deep()\n"}, `1`,
			`!{"errorMessage": "too far \\ud83d\\udce6", "errorType": "ValueError", "requestId": "[-0-9a-f]+", "stackTrace": \["  File \\".*/app.py\\", line 4, in handler\\n    deep\(\)\\n", "  File .*line 2, in deep.*"\]}`},
		{"error of its own kind", "app.handler", map[string]string{"app.py": "class Late(Exception):\n    pass\ndef handler(e, c):\n    raise Late\n"}, `1`, `!{"errorMessage": "", "errorType": "Late",.*`},
		{"what JSON cannot say", "app.handler", map[string]string{"app.py": "def handler(e, c):\n    return {1, 2}\n"}, `1`,
			`!{"errorMessage": "Unable to marshal response: Object of type set is not JSON serializable", "errorType": "Runtime.MarshalError", "requestId": "[-0-9a-f]+", "stackTrace": \[\]}`},
		{"event that is no JSON", "app.handler", map[string]string{"app.py": echo}, `{`, `!{"errorMessage": "Unable to unmarshal input: .*", "errorType": "Runtime.UnmarshalError".*`},
		{"no module", "missing.handler", map[string]string{"app.py": echo}, `1`, `!{"errorMessage": "Unable to import module 'missing': No module named 'missing'", "errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": \[\]}`},
		{"no neighbour", "app.handler", map[string]string{"app.py": "import nowhere\n"}, `1`, `!{"errorMessage": "Unable to import module 'app': No module named 'nowhere'", "errorType": "Runtime.ImportModuleError".*`},
		{"no handler", "app.other", map[string]string{"app.py": echo}, `1`, `!{"errorMessage": "Handler 'other' missing on module 'app'", "errorType": "Runtime.HandlerNotFound".*`},
		{"broken module", "app.handler", map[string]string{"app.py": "def handler(e, c:\n"}, `1`, `!{"errorMessage": "Syntax error in module 'app': .*\(app.py, line 1\)", "errorType": "Runtime.UserCodeSyntaxError".*`},
		{"no dot", "app", map[string]string{"app.py": echo}, `1`, `!{"errorMessage": "Bad handler 'app': not enough values to unpack \(expected 2, got 1\)", "errorType": "Runtime.MalformedHandlerName".*`},
		{"throws while it loads", "app.handler", map[string]string{"app.py": "raise RuntimeError('not today')\n"}, `1`, `!{"errorMessage": "not today", "errorType": "RuntimeError".*app.py.*`},
		{"sets a timeout for all sockets", "app.handler", map[string]string{"app.py": "import socket\nsocket.setdefaulttimeout(0.001)\ndef handler(e, c):\n    return 'ok'\n"}, `1`, `"ok"`},
		{"exits", "app.handler", map[string]string{"app.py": "import sys\ndef handler(e, c):\n    sys.exit(5)\n"}, `1`, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [-0-9a-f]+ Error: Runtime exited with error: exit status 5"}`},
		{"killed", "app.handler", map[string]string{"app.py": "import os\ndef handler(e, c):\n    os.kill(os.getpid(), 9)\n"}, `1`, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [-0-9a-f]+ Error: Runtime exited with error: signal: killed"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkAnswer(t, r.run(t, function(t, "python3.12", c.handler, c.files), c.payload), c.want)
		})
	}
}

func TestPythonContextAndLogging(t *testing.T) {
	r := newRig(t)
	needs(t, r, "python3.13")
	fn := function(t, "python3.13", "app.handler", map[string]string{"app.py": `
import logging, os, sys
logger = logging.getLogger()
logger.setLevel(logging.INFO)
print('loading')
def handler(event, context):
    logger.info('two\nlines')
    logging.getLogger('lib').warning('careful %s', 1)
    logger.debug('deep')
    print('printed')
    print('to stderr', file=sys.stderr)
    try:
        raise ValueError('seen')
    except ValueError:
        logger.exception('caught')
    context.log('by context')
    print('no newline', end='')
    names = ['aws_request_id', 'function_name', 'function_version', 'invoked_function_arn', 'memory_limit_in_mb', 'log_group_name', 'log_stream_name']
    return {**{n: getattr(context, n) for n in names}, 'left': context.get_remaining_time_in_millis(), 'custom': context.client_context.custom,
        'title': context.client_context.client.app_title, 'identity': context.identity.cognito_identity_id, 'trace': os.environ['_X_AMZN_TRACE_ID'], 'path': sys.path[0], 'cwd': os.getcwd()}
`})
	in := call1(`{}`)
	in.ClientContext, in.TraceHeader, in.Tail = `{"custom":{"who":"小王 📦"},"client":{"app_title":"t"}}`, "Root=1-5e1b4151-5ac6c58f5b5dbe0d2d0b5e62", true
	out, err := r.Invoke(t.Context(), fn, in)
	if err != nil || out.FunctionError != "" {
		t.Fatalf("%v %s", err, out.Payload)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Payload, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"aws_request_id": in.RequestID, "function_name": fn.Name, "function_version": "$LATEST", "memory_limit_in_mb": "256",
		"invoked_function_arn": fn.ARN, "log_group_name": "/aws/lambda/" + fn.Name, "trace": in.TraceHeader, "title": "t", "identity": nil,
		"path": fn.Dir, "cwd": fn.Dir,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if who := got["custom"].(map[string]any)["who"]; who != "小王 📦" {
		t.Errorf("custom: %v", got["custom"])
	}
	if left := got["left"].(float64); left <= 0 || left > 20_000 {
		t.Errorf("left: %v", left)
	}
	const stamp = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`
	id := in.RequestID
	want := `^START RequestId: ` + id + ` Version: \$LATEST\n\[INFO\]\t` + stamp + `\t` + id + `\ttwo\nlines\n\[WARNING\]\t` + stamp + `\t` + id + `\tcareful 1\n` +
		`printed\nto stderr\n\[ERROR\]\t` + stamp + `\t` + id + `\tcaught\nTraceback \(most recent call last\):\n  File [^\n]+\n[^\n]+\nValueError: seen\nby context\nno newline\nEND `
	if !regexp.MustCompile(want).Match(out.LogTail) {
		t.Errorf("the tail does not match %s:\n%s", want, out.LogTail)
	}
	r.logs.wait(t, "INIT_START Runtime Version: python3.13 (python 3.", "\nloading\n")
}

func TestPythonErrorIsLoggedAsOneMessage(t *testing.T) {
	r := newRig(t)
	needs(t, r, "python3.12")
	fn := function(t, "python3.12", "app.handler", map[string]string{"app.py": "def handler(e, c):\n    raise KeyError('gone')\n"})
	r.run(t, fn, `1`)
	r.logs.wait(t, "REPORT")
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	for _, events := range r.logs.streams {
		for _, e := range events {
			if regexp.MustCompile(`^\[ERROR\] KeyError: 'gone'\nTraceback \(most recent call last\):\n  File [^\n]+ in handler\n[^\n]+\n$`).MatchString(e.Message) {
				return
			}
		}
	}
	t.Error("no message has the error with its trace")
}

func TestFilesThatMayBeOpen(t *testing.T) {
	needsLinux(t)
	r := newRig(t)
	needs(t, r, "python3.12")
	fn := function(t, "python3.12", "app.handler", map[string]string{"app.py": "import resource\ndef handler(e, c):\n    return [resource.getrlimit(r)[0] for r in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)]\n"})
	checkAnswer(t, r.run(t, fn, `1`), `[1024, 0]`)
}
