package jq

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What a program raises may be all of its input, and is shown and kept in many
// places.
func TestMessagesOfErrorsAreBounded(t *testing.T) {
	e := evaluator(t, Options{})
	long := strings.Repeat("生产", 100_000)
	for _, text := range []string{`error(.)`, `halt_error`, `[.] | error`, `reduce 1 as $x (.; error(.))`} {
		o := e.First(t.Context(), compile(t, text), long)
		raised, ok := errors.AsType[*RuntimeError](o.Err)
		if !ok {
			t.Fatalf("%s: %v", text, o.Err)
		}
		if n := len(raised.Message); n > maxMessage+10 || !strings.Contains(raised.Message, " … ") || strings.Contains(raised.Message, "\uFFFD") {
			t.Errorf("%s: a message of %d bytes that ends with %q", text, n, raised.Message[len(raised.Message)-10:])
		}
	}
	if o := e.First(t.Context(), compile(t, `error("生产")`), nil); o.Err == nil || !strings.Contains(o.Err.Error(), "生产") || strings.Contains(o.Err.Error(), "…") {
		t.Errorf("a short message: %v", o.Err)
	}
}

func TestMessagesOfSyntaxErrorsAreBounded(t *testing.T) {
	for _, text := range []string{`. ` + strings.Repeat("a", 30_000), strings.Repeat("a", 30_000), `$` + strings.Repeat("a", 30_000)} {
		_, err := Compile(text)
		if err == nil || len(err.Error()) > maxMessage+100 {
			t.Errorf("%.10s…: an error of %d bytes", text, len(err.Error()))
		}
	}
}

// What takes the square of its length to compile is refused where it is long, or not
// looked at.
func TestProgramsThatWouldTakeLongToCompile(t *testing.T) {
	for text, want := range map[string]string{
		`"` + strings.Repeat(`\(.)`, 7000) + `"`:       "values in it",
		`@json "` + strings.Repeat(`\(.)`, 7000) + `"`: "values in it",
		`.` + strings.Repeat(`?`, 32_000):              "? follow one term",
	} {
		if _, err := Compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10s…: %v, want an error that says %q", text, err, want)
		}
	}
	for _, text := range []string{`"` + strings.Repeat(`a\(.)`, 900) + `"`, `.` + strings.Repeat(`?`, 900)} {
		compile(t, text)
	}
	class := strings.Repeat(`\\pL|`, 5000)
	if n := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			compile(b, `test("`+class+`")`)
		}
	}).AllocedBytesPerOp(); n > 10<<20 {
		t.Errorf("compiling a large regular expression takes %d bytes", n)
	}
	for _, text := range []string{`test("` + class + `")`, strings.Repeat(`test("`+strings.Repeat("a?", 240)+`")|`, 20) + `.`} {
		if p := compile(t, text); p.cheapUpTo > 0 {
			t.Errorf("%.20s… is cheap", text)
		}
	}
}

// Programs that always take nearly as long as they may are not stopped, and must
// leave workers to others all the same.
func TestProgramsThatTakeLongLeaveWorkersToOthers(t *testing.T) {
	e := evaluator(t, Options{Workers: 2, Timeout: 2 * time.Second})
	long := compile(t, `now as $t | until(now - $t > 1.2; .)`)
	if o := e.First(t.Context(), long, nil); o.Err != nil {
		t.Fatal(o.Err)
	}
	if good, bad := e.pool.split([]*Program{long, compile(t, `reduce 1 as $x (0; .)`)}, []int{0, 1}); len(good) != 1 || len(bad) != 1 || bad[0] != 0 {
		t.Errorf("good %v, bad %v", good, bad)
	}
}
