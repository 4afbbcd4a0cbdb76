package runtime

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestNodeFiles(t *testing.T) {
	r := newRig(t)
	needs(t, r, "nodejs20.x")
	const echo = `exports.handler = async (event) => ({ got: event });`
	cases := []struct {
		name, handler string
		files         map[string]string
		payload       string
		want          string // the answer, or with a ! the error's payload, as a pattern
	}{
		{"async in CommonJS", "index.handler", map[string]string{"index.js": echo}, `{"a":"库存 📦"}`, `{"got":{"a":"库存 📦"}}`},
		{".cjs", "index.handler", map[string]string{"index.cjs": echo}, `1`, `{"got":1}`},
		{".mjs", "index.handler", map[string]string{"index.mjs": `export const handler = async (e) => e + 1;`}, `1`, `2`},
		{".mjs that awaits", "index.handler", map[string]string{"index.mjs": `const n = await Promise.resolve(40); export const handler = async (e) => e + n;`}, `2`, `42`},
		{"default export", "index.handler", map[string]string{"index.mjs": `export default { handler: async () => 'default' };`}, `1`, `"default"`},
		{"type module", "index.handler", map[string]string{"index.js": `export const handler = async () => 'esm';`, "package.json": `{"type":"module"}`}, `1`, `"esm"`},
		{"in a folder", "src/app.handler", map[string]string{"src/app.js": echo}, `[]`, `{"got":[]}`},
		{"nested export", "index.api.get", map[string]string{"index.js": `exports.api = { get: async () => 'got' };`}, `1`, `"got"`},
		{"requires a neighbour and a package", "index.handler", map[string]string{
			"index.js": `const a = require('./a'); const p = require('pkg'); exports.handler = async () => a + p;`,
			"a.js":     `module.exports = 'a';`, "node_modules/pkg/index.js": `module.exports = 'p';`}, `1`, `"ap"`},
		{"no return", "index.handler", map[string]string{"index.js": `exports.handler = async () => {};`}, `1`, `null`},
		{"callback", "index.handler", map[string]string{"index.js": `exports.handler = (e, c, cb) => { setTimeout(() => cb(null, 'called'), 5); };`}, `1`, `"called"`},
		{"callback waits for the event loop", "index.handler", map[string]string{"index.js": `exports.handler = (e, c, cb) => { const r = { n: 0 }; cb(null, r); setTimeout(() => { r.n = 1; }, 20); };`}, `1`, `{"n":1}`},
		{"callback that does not wait", "index.handler", map[string]string{"index.js": `exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); cb(null, 'now'); };`}, `1`, `"now"`},
		{"callback with an error", "index.handler", map[string]string{"index.js": `exports.handler = (e, c, cb) => cb(new TypeError('no'));`}, `1`, `!{"errorType":"TypeError","errorMessage":"no","trace":\["TypeError: no",.*\]}`},
		{"callback with words", "index.handler", map[string]string{"index.js": `exports.handler = (e, c, cb) => cb('words');`}, `1`, `!{"errorType":"string","errorMessage":"words","trace":\[\]}`},
		{"never answers", "index.handler", map[string]string{"index.js": `exports.handler = () => {};`}, `1`, `null`},
		{"promise that nobody keeps", "index.handler", map[string]string{"index.js": `exports.handler = () => new Promise(() => {});`}, `1`, `null`},
		{"context.succeed", "index.handler", map[string]string{"index.js": `exports.handler = (e, c) => c.succeed('old');`}, `1`, `"old"`},
		{"throws", "index.handler", map[string]string{"index.js": `exports.handler = async () => { throw new RangeError('too far 📦'); };`}, `1`, `!{"errorType":"RangeError","errorMessage":"too far 📦","trace":\["RangeError: too far 📦",.*index.js.*\]}`},
		{"throws at once", "index.handler", map[string]string{"index.js": `exports.handler = () => { throw new Error('sync'); };`}, `1`, `!{"errorType":"Error","errorMessage":"sync".*`},
		{"error of its own kind", "index.handler", map[string]string{"index.js": `class Late extends Error { constructor(m) { super(m); this.name = 'Late'; } }; exports.handler = async () => { throw new Late('x'); };`}, `1`, `!{"errorType":"Late","errorMessage":"x".*`},
		{"nobody catches", "index.handler", map[string]string{"index.js": `exports.handler = () => new Promise(() => setTimeout(() => { throw new Error('lost'); }, 1));`}, `1`, `!{"errorType":"Error","errorMessage":"lost".*`},
		{"nobody handles", "index.handler", map[string]string{"index.js": `exports.handler = () => new Promise(() => { Promise.reject(new Error('lost')); });`}, `1`, `!{"errorType":"Runtime.UnhandledPromiseRejection","errorMessage":"Error: lost".*`},
		{"what JSON cannot say", "index.handler", map[string]string{"index.js": `exports.handler = async () => { const a = {}; a.a = a; return a; };`}, `1`, `!{"errorType":"Runtime.MarshalError","errorMessage":"Unable to stringify response body".*`},
		{"big integer", "index.handler", map[string]string{"index.js": `exports.handler = async () => 1n;`}, `1`, `!{"errorType":"Runtime.MarshalError".*`},
		{"no file", "missing.handler", map[string]string{"index.js": echo}, `1`, `!{"errorType":"Runtime.ImportModuleError","errorMessage":"Error: Cannot find module 'missing'.*`},
		{"no neighbour", "index.handler", map[string]string{"index.js": `require('./nowhere');`}, `1`, `!{"errorType":"Runtime.ImportModuleError".*nowhere.*`},
		{"no export", "index.other", map[string]string{"index.js": echo}, `1`, `!{"errorType":"Runtime.HandlerNotFound","errorMessage":"index.other is undefined or not exported".*`},
		{"export that is none", "index.handler", map[string]string{"index.js": `exports.handler = 5;`}, `1`, `!{"errorType":"Runtime.HandlerNotFound","errorMessage":"index.handler is not a function".*`},
		{"broken file", "index.handler", map[string]string{"index.js": `exports.handler = (`}, `1`, `!{"errorType":"Runtime.UserCodeSyntaxError","errorMessage":"SyntaxError.*`},
		{"broken module", "index.handler", map[string]string{"index.mjs": `export const handler = (`}, `1`, `!{"errorType":"Runtime.UserCodeSyntaxError","errorMessage":"SyntaxError.*`},
		{"no dot", "index", map[string]string{"index.js": echo}, `1`, `!{"errorType":"Runtime.MalformedHandlerName","errorMessage":"Bad handler".*`},
		{"throws while it loads", "index.handler", map[string]string{"index.js": `throw new Error('not today');`}, `1`, `!{"errorType":"Error","errorMessage":"not today".*`},
		{"exits", "index.handler", map[string]string{"index.js": `exports.handler = async () => process.exit(7);`}, `1`, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [-0-9a-f]+ Error: Runtime exited with error: exit status 7"}`},
		{"exits in peace", "index.handler", map[string]string{"index.js": `exports.handler = async () => process.exit(0);`}, `1`, `!{"errorType":"Runtime.ExitError","errorMessage":"RequestId: [-0-9a-f]+ Error: Runtime exited without providing a reason"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkAnswer(t, r.run(t, function(t, "nodejs20.x", c.handler, c.files), c.payload), c.want)
		})
	}
}

// checkAnswer compares an answer with what is wanted: with a ! before it, it is a
// pattern for the payload of an error.
func checkAnswer(t *testing.T, out Result, want string) {
	t.Helper()
	pattern, fails := strings.CutPrefix(want, "!")
	switch {
	case !fails && (out.FunctionError != "" || string(out.Payload) != want):
		t.Errorf("%s %s, want %s", out.FunctionError, out.Payload, want)
	case fails && (out.FunctionError != "Unhandled" || !regexp.MustCompile("^"+pattern+"$").Match(out.Payload)):
		t.Errorf("%q %s, want %s", out.FunctionError, out.Payload, pattern)
	case fails && !json.Valid(out.Payload):
		t.Errorf("not JSON: %s", out.Payload)
	}
}

func TestNodeContextAndConsole(t *testing.T) {
	r := newRig(t)
	needs(t, r, "nodejs22.x")
	fn := function(t, "nodejs22.x", "index.handler", map[string]string{"index.js": `
console.log('loading');
exports.handler = async (event, context) => {
  console.log('two\nlines', { a: 1 }); console.warn('careful'); console.error(new Error('seen')); console.debug('deep');
  process.stdout.write('no newline');
  return { ...context, left: context.getRemainingTimeInMillis(), trace: process.env._X_AMZN_TRACE_ID, env: process.env.AWS_EXECUTION_ENV };
};`})
	in := call1(`{}`)
	in.ClientContext, in.TraceHeader, in.Tail = "{\"custom\": {\"who\":\n \"小王\"}}", "Root=1-5e1b4151-5ac6c58f5b5dbe0d2d0b5e62", true
	in.FunctionARN = fn.ARN + ":$LATEST"
	out, err := r.Invoke(t.Context(), fn, in)
	if err != nil || out.FunctionError != "" {
		t.Fatalf("%v %s", err, out.Payload)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Payload, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"awsRequestId": in.RequestID, "functionName": fn.Name, "functionVersion": "$LATEST", "memoryLimitInMB": "256",
		"invokedFunctionArn": in.FunctionARN, "logGroupName": "/aws/lambda/" + fn.Name, "callbackWaitsForEmptyEventLoop": true,
		"trace": in.TraceHeader, "env": "AWS_Lambda_nodejs22.x",
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if custom := got["clientContext"].(map[string]any)["custom"].(map[string]any)["who"]; custom != "小王" {
		t.Errorf("client context: %v", got["clientContext"])
	}
	if left := got["left"].(float64); left <= 0 || left > 20_000 {
		t.Errorf("left: %v", left)
	}
	tail := string(out.LogTail)
	const stamp = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`
	for _, want := range []string{
		`^START RequestId: ` + in.RequestID + ` Version: \$LATEST\n`,
		stamp + `\t` + in.RequestID + `\tINFO\ttwo\nlines { a: 1 }\n`, stamp + `\t` + in.RequestID + `\tWARN\tcareful\n`,
		`\tERROR\tError: seen\n    at `, `\tDEBUG\tdeep\n`, `no newline\nEND RequestId: ` + in.RequestID + "\nREPORT RequestId: " + in.RequestID +
			`\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 256 MB\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms\t\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(tail) {
			t.Errorf("the tail does not match %s:\n%s", want, tail)
		}
	}
	r.logs.wait(t, "INIT_START Runtime Version: nodejs22.x (node v", "\tINFO\tloading\n")
}
