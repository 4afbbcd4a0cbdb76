package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFloodIsLoggedInOrder(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	const n = 50_000
	in := call1(fmt.Sprintf(`{"do":"flood","size":%d,"text":"%s"}`, n, strings.Repeat("📦", 10)))
	in.Tail = true
	out, err := r.Invoke(t.Context(), fn, in)
	if err != nil || string(out.Payload) != `"flooded"` {
		t.Fatalf("%s %v", out.Payload, err)
	}
	if len(out.LogTail) > 4096 || !strings.Contains(string(out.LogTail), fmt.Sprintf("line %d ", n-1)) || !strings.Contains(string(out.LogTail), "\tInit Duration: ") {
		t.Errorf("the tail has %d bytes: %s", len(out.LogTail), out.LogTail)
	}
	text := r.logs.wait(t, "REPORT RequestId: ")
	next := 0
	for line := range strings.Lines(text) {
		if number, ok := strings.CutPrefix(line, "line "); ok {
			if !strings.HasPrefix(number, itoa(next)+" ") {
				t.Fatalf("line %d is %s", next, line)
			}
			next++
		}
	}
	if next != n {
		t.Errorf("%d lines", next)
	}
	r.logs.mu.Lock()
	defer r.logs.mu.Unlock()
	for _, events := range r.logs.streams {
		if !slices.IsSortedFunc(events, func(a, b LogEvent) int { return a.At.Compare(b.At) }) {
			t.Error("not in order of time")
		}
	}
}

func TestHangingLogStoreHoldsUpNoFunction(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	free := make(chan struct{})
	r.logs.set(func(string, []LogEvent) error { <-free; return nil })
	const n = 100_000 // lines, more than there is room for
	if out := r.run(t, fn, fmt.Sprintf(`{"do":"flood","size":%d,"text":"%s"}`, n, strings.Repeat("x", 50))); string(out.Payload) != `"flooded"` {
		t.Fatalf("%s", out.Payload)
	}
	for range 3 {
		r.answer(t, fn, `{"do":"who"}`, &who{})
	}
	close(free)
	text := r.logs.wait(t, "lines of this log were lost here")
	lost := int(r.Stats().LogLinesLost)
	kept := strings.Count(text, "\n") - strings.Count(text, "[rialto]")
	if lost == 0 || kept >= n {
		t.Errorf("%d lines are kept and %d lost", kept, lost)
	}
	r.answer(t, fn, `{"do":"log","text":"it goes on\n"}`, new(string))
	r.logs.wait(t, "it goes on\n")
}

func TestFailingLogStoreIsTriedAgainAndSaidOnce(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	failures := make(chan struct{}, 100)
	r.logs.set(func(string, []LogEvent) error {
		failures <- struct{}{}
		return errors.New("the disk is full")
	})
	r.answer(t, fn, `{"do":"log","text":"one\n"}`, new(string))
	<-failures
	<-failures
	r.logs.set(nil)
	r.logs.wait(t, "one\n", "REPORT")
	r.stop()
	if got := strings.Count(r.warn.String(), "the disk is full"); got != 1 {
		t.Errorf("said %d times: %s", got, r.warn)
	}
	if !strings.Contains(r.warn.String(), "stored again") {
		t.Errorf("not said: %s", r.warn)
	}
}

func TestStopDoesNotWaitForAFailingLogStore(t *testing.T) {
	t.Parallel()
	r, fn := newRig(t), compiled(t)
	r.logs.set(func(string, []LogEvent) error { return errors.New("the disk is full") })
	r.answer(t, fn, `{"do":"log","text":"one\n"}`, new(string))
	begun := time.Now()
	r.stop()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if r.Stats().LogLinesLost == 0 {
		t.Error("no line was lost")
	}
}

func TestLogOfJSON(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	needs(t, r, "nodejs20.x")
	needs(t, r, "python3.12")
	kinds := func(level, system string, fn Function) (lines []map[string]any) {
		fn.LogFormat, fn.ApplicationLogLevel, fn.SystemLogLevel = FormatJSON, level, system
		fn.ARN += level + system + fn.Runtime
		in := call1(`1`)
		in.Tail = true
		out, err := r.Invoke(t.Context(), fn, in)
		if err != nil || out.FunctionError != "" {
			t.Fatalf("%v %s", err, out.Payload)
		}
		for line := range strings.Lines(string(out.LogTail)) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			lines = append(lines, m)
		}
		return lines
	}
	names := func(lines []map[string]any) (names []string) {
		for _, l := range lines {
			if kind, ok := l["type"]; ok {
				names = append(names, fmt.Sprint(kind))
			} else {
				names = append(names, fmt.Sprint(l["level"], " ", l["message"]))
			}
		}
		return names
	}
	js := function(t, "nodejs20.x", "index.handler", map[string]string{"index.js": `exports.handler = async () => { console.log('two\nlines'); console.debug('deep'); console.warn({ a: 1 }); console.error(new TypeError('seen')); };`})
	py := function(t, "python3.12", "app.handler", map[string]string{"app.py": "import logging\nlog = logging.getLogger()\ndef handler(e, c):\n    log.info('two\\nlines', extra={'order': 1})\n    log.debug('deep')\n    log.warning('careful')\n"})
	for _, c := range []struct {
		fn            Function
		level, system string
		want          []string
	}{
		{js, "", "", []string{"platform.start", "INFO two\nlines", "WARN map[a:1]", "ERROR TypeError: seen", "platform.report"}},
		{js, "DEBUG", "DEBUG", []string{"platform.start", "INFO two\nlines", "DEBUG deep", "WARN map[a:1]", "ERROR TypeError: seen", "platform.runtimeDone", "platform.report"}},
		{js, "ERROR", "WARN", []string{"ERROR TypeError: seen"}},
		{py, "", "", []string{"platform.start", "INFO two\nlines", "WARNING careful", "platform.report"}},
		{py, "DEBUG", "INFO", []string{"platform.start", "INFO two\nlines", "DEBUG deep", "WARNING careful", "platform.report"}},
		{py, "WARN", "WARN", []string{"WARNING careful"}},
	} {
		got := names(kinds(c.level, c.system, c.fn))
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], "\n    at ") // a stack
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s %s: %q, want %q", c.fn.Runtime, c.level, c.system, got, c.want)
		}
	}
	lines := kinds("INFO", "INFO", py)
	if lines[1]["order"] != float64(1) || lines[1]["logger"] != "root" || lines[1]["requestId"] == "" {
		t.Errorf("%v", lines[1])
	}
	metrics := lines[len(lines)-1]["record"].(map[string]any)["metrics"].(map[string]any)
	if metrics["memorySizeMB"] != float64(256) || metrics["durationMs"].(float64) <= 0 {
		t.Errorf("%v", metrics)
	}
}

// split feeds the bytes in pieces of a size and returns messages, with "|" for marks.
func split(input string, size int, joins bool) (got []string) {
	l := lines{mark: []byte("\x00mark"), joins: joins, emit: func(m string) { got = append(got, m) }}
	for len(input) > 0 {
		n := min(size, len(input))
		l.feed([]byte(input[:n]), func() bool { got = append(got, "|"); return false })
		input = input[n:]
	}
	l.flush()
	return got
}

func TestLinesOfALog(t *testing.T) {
	t.Parallel()
	const mark = "\x00mark\n"
	for _, c := range []struct {
		input string
		joins bool
		want  []string
	}{
		{"a\nb\n", false, []string{"a\n", "b\n"}},
		{"a\n\n", false, []string{"a\n", "\n"}},
		{"no end", false, []string{"no end\n"}},
		{mark, false, []string{"|"}},
		{"a" + mark + "b\n" + mark + mark, false, []string{"a\n", "|", "b\n", "|", "|"}},
		{"a\x00\nb\n", true, []string{"a\nb\n"}},
		{"a\x00\nb\n", false, []string{"a\x00\n", "b\n"}},
		{"a\x00\n" + mark + "b\n", true, []string{"a\n\n", "|", "b\n"}},
		{"a\x00\nb" + mark, true, []string{"a\nb\n", "|"}},
		{"库存📦\n", false, []string{"库存📦\n"}},
		{"\xff\xfe\n", false, []string{"\uFFFD\n"}},
		{strings.Repeat("x", maxLine+10) + mark, false, []string{strings.Repeat("x", maxLine) + "\n", strings.Repeat("x", 10) + "\n", "|"}},
		{strings.Repeat("x", maxLine-1) + "📦\n", false, []string{strings.Repeat("x", maxLine-1) + "📦\n"}},
		{strings.Repeat("x", maxLine-1) + "📦 and more\n", false, []string{strings.Repeat("x", maxLine-1) + "\n", "📦 and more\n"}},
	} {
		for _, size := range []int{1, 3, 1 << 10, 1 << 20} {
			if got := split(c.input, size, c.joins); !slices.Equal(got, c.want) {
				t.Errorf("%.40q in pieces of %d: %d messages %.80q, want %d %.80q", c.input, size, len(got), got, len(c.want), c.want)
			}
		}
	}
}

func FuzzLinesOfALog(f *testing.F) {
	f.Add("a\nb\x00mark\n库存", 2, true)
	f.Add("\x00\n\x00\nx\x00mark\n", 1, true)
	f.Fuzz(func(t *testing.T, input string, size int, joins bool) {
		if size < 1 || size > 1<<20 {
			size = 1
		}
		got, whole := split(input, size, joins), split(input, len(input)+1, joins)
		if !slices.Equal(got, whole) {
			t.Errorf("in pieces of %d: %q, whole: %q", size, got, whole)
		}
		marks := 0
		for _, m := range got {
			if m == "|" {
				marks++
			} else if !utf8.ValidString(m) || !strings.HasSuffix(m, "\n") || len(m) > 2*maxLine {
				t.Errorf("%q", m)
			}
		}
		if want := strings.Count(input, "\x00mark\n"); marks != want {
			t.Errorf("%d marks, want %d", marks, want)
		}
	})
}
