package cli

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/app"
)

// What serve prints is what a newcomer needs next, and SIGTERM ends it well.
func TestServeSaysWhatToDoNext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan int, 1)
	dir := t.TempDir()
	go func() {
		ended <- Run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--data-dir", dir, "--event-log-bytes", "67108864", "--log-level", "error"}, strings.NewReader(""), w, t.Output())
		w.Close()
	}()
	var printed []string
	in := bufio.NewScanner(r)
	for in.Scan() {
		printed = append(printed, in.Text())
		if in.Text() == "  rialto tail" {
			break
		}
	}
	text := strings.Join(printed, "\n")
	_, rest, _ := strings.Cut(text, "Rialto serves at ")
	url, _, _ := strings.Cut(rest, " ")
	for _, want := range []string{
		"(data in " + dir + ")", "Dev mode: no admin key exists", "rialto keys create --role admin",
		"export AWS_ENDPOINT_URL=" + url + " AWS_ACCESS_KEY_ID=", "export RIALTO_SERVER=" + url, "rialto inventory project create web",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("serve does not print %q:\n%s", want, text)
		}
	}
	if code, _, errOut := rialto(t, "", "inventory", "project", "create", "web", "--server", url); code != ExitOK {
		t.Errorf("what it says next ends with %d: %s", code, errOut)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
	if code := <-ended; code != ExitOK {
		t.Errorf("serve ended with %d", code)
	}
}

func TestServeOnATakenPortNamesListen(t *testing.T) {
	t.Parallel()
	address := strings.TrimPrefix(testServer(t), "http://")
	code, _, errOut := rialto(t, "", "serve", "--listen", address, "--data-dir", t.TempDir())
	if code != ExitFailed || !strings.Contains(errOut, "listen on "+address) || !strings.Contains(errOut, "choose another address with --listen") {
		t.Errorf("serve on a taken port ended with %d: %s", code, errOut)
	}
}

// Flags win over the environment, that over the file, and the file over the
// defaults.
func TestServeTakesSettingsInOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rialto.yaml")
	text := "listen: 127.0.0.1:1\ndata-dir: from-file\nlog-level: warn\nallow-outbound: [10.0.0.0/8]\ninstance-transition: 3s\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RIALTO_DATA_DIR", "from-environment")
	t.Setenv("RIALTO_LOG_LEVEL", "error")
	t.Setenv("RIALTO_ALLOW_OUTBOUND", "192.168.0.0/16,catalog.internal:8080")
	cmd := newServe(&streams{})
	if err := cmd.ParseFlags([]string{"--log-level", "debug"}); err != nil {
		t.Fatal(err)
	}
	flags := app.NewConfig()
	flags.LogLevel = "debug"
	c, err := serveConfig(cmd, flags, file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:1" || c.DataDir != "from-environment" || c.LogLevel != "debug" || c.LogFormat != "text" ||
		strings.Join(c.AllowOutbound, " ") != "192.168.0.0/16 catalog.internal:8080" || c.InstanceTransition.String() != "3s" {
		t.Errorf("the settings are %+v", c)
	}
}

// Functions are on where nothing is said only on loopback, so that off is more than unset.
func TestFunctionsAreSwitchedByFlagEnvironmentAndFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rialto.yaml")
	if err := os.WriteFile(file, []byte("functions: false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(file string, args ...string) *bool {
		t.Helper()
		cmd := newServe(&streams{})
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		flags := app.NewConfig()
		on, err := cmd.Flags().GetBool("functions")
		if err != nil {
			t.Fatal(err)
		}
		flags.Functions = &on
		c, err := serveConfig(cmd, flags, file)
		if err != nil {
			t.Fatal(err)
		}
		return c.Functions
	}
	if got := read(""); got != nil {
		t.Errorf("unset is %v", *got)
	}
	if got := read(file); got == nil || *got {
		t.Error("the file does not switch them off")
	}
	t.Setenv("RIALTO_FUNCTIONS", "true")
	if got := read(file); got == nil || !*got {
		t.Error("the environment does not win over the file")
	}
	if got := read(file, "--functions=false"); got == nil || *got {
		t.Error("the flag does not win over the environment")
	}
}
