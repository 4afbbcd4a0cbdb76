package event

import (
	"strings"
	"testing"
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
