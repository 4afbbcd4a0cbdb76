package event

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlainRunEndsAtTheFirstByteThatIsNotPlain(t *testing.T) {
	for length := range 20 {
		for at := range length + 1 {
			for c := range 256 {
				text := []byte(strings.Repeat("é", length))[:length]
				want := length
				if at < length {
					text[at] = byte(c)
					if c < ' ' || c == '"' || c == '\\' {
						want = at
					}
				}
				if got := PlainRun(text); got != want {
					t.Fatalf("PlainRun(%q) = %d, want %d", text, got, want)
				}
				if got := PlainRun(string(text)); got != want {
					t.Fatalf("PlainRun of the string %q = %d, want %d", text, got, want)
				}
			}
		}
	}
}

func BenchmarkPlainRun(b *testing.B) {
	text := strings.Repeat("abcdefghij klmnopqrst uvwxyz 0123456789 ", 25)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if PlainRun(text) != len(text) {
			b.Fatal("not plain")
		}
	}
}

func TestDetailsAreEscapedNoMoreThanTheyMustBe(t *testing.T) {
	for name, tt := range map[string]struct{ detail, want string }{
		"plain text":            {`{"a":"é 订单 🛒"}`, `{"a":"é 订单 🛒"}`},
		"other letters":         {`{"\u00e9":"\u8ba2\u5355"}`, `{"é":"订单"}`},
		"a pair of surrogates":  {`["\ud83d\uDED2!"]`, `["🛒!"]`},
		"half a pair":           {`["\ud83d","\ude92x","\ud83d\u0041"]`, `["\ud83d","\ude92x","\ud83dA"]`},
		"a slash":               {`["a\/b"]`, `["a/b"]`},
		"quotes stay":           {`["\"","\\","\u0022\u005c"]`, `["\"","\\","\"\\"]`},
		"control characters":    {`["\n\t\b","\u0000\u001f"]`, `["\n\t\b","\u0000\u001f"]`},
		"white space stays too": {` { "a b" : "c \u0064\\" , "e" : [ ] } `, `{"a b":"c d\\","e":[]}`},
	} {
		if got := string(AppendCompact(nil, []byte(tt.detail))); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// What is written means the same as what was read.
func FuzzCompactDetails(f *testing.F) {
	for _, seed := range []string{`{"a":"\u00e9\/\ud83d\ude92"}`, `{"\ud83d":["\u0000\"",1.50]}`, `{"a":"\\\\\u0022"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, detail []byte) {
		var before, after any
		if json.Unmarshal(detail, &before) != nil {
			_ = AppendCompact(nil, detail) // and does not stop
			return
		}
		compact := AppendCompact(nil, detail)
		if err := json.Unmarshal(compact, &after); err != nil {
			t.Fatalf("%s becomes %s: %v", detail, compact, err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s becomes %s: %s", detail, compact, diff)
		}
		if again := AppendCompact(nil, compact); !bytes.Equal(again, compact) {
			t.Errorf("%s becomes %s, then %s", detail, compact, again)
		}
	})
}
