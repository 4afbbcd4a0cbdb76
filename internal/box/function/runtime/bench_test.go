package runtime

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"testing"
)

// discard keeps no logs.
type discard struct{}

func (discard) Put(context.Context, string, string, string, string, []LogEvent) error { return nil }

// BenchmarkInvoke is a warm invocation of a compiled function, without the API and
// the store of logs, beside a line through cat.
func BenchmarkInvoke(b *testing.B) {
	payload := `{"do":"echo","text":"` + strings.Repeat("x", 1000) + `"}`
	b.Run("function", func(b *testing.B) {
		p := New(Options{Dir: b.TempDir(), Logs: discard{}})
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		dir := b.TempDir()
		if err := copyFile(goFunction, dir+"/bootstrap"); err != nil {
			b.Fatal(err)
		}
		fn := Function{ARN: "a", Name: "echo", Account: "000000000000", Region: "eu-west-1", Runtime: "provided.al2023", Dir: dir}
		for b.Loop() {
			if out, err := p.Invoke(b.Context(), fn, call1(payload)); err != nil || out.FunctionError != "" {
				b.Fatal(err, out)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	})
	b.Run("cat", func(b *testing.B) {
		cmd := exec.Command("cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		out := bufio.NewReader(stdout)
		for b.Loop() {
			if _, err := in.Write([]byte(payload + "\n")); err != nil {
				b.Fatal(err)
			}
			if _, err := out.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
	})
}
