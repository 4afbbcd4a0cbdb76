package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// testServer is a server that stops with the test.
func testServer(t *testing.T) (url string) {
	t.Helper()
	server, stop, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("the server stopped with: %v", err)
		}
	})
	return server.LocalURL()
}

// rialto runs a command line and returns what it printed.
func rialto(t *testing.T, stdin string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e strings.Builder
	code = Run(t.Context(), args, strings.NewReader(stdin), &o, &e)
	return code, o.String(), e.String()
}

// startTail follows events until the test ends; the lines come as they are
// printed.
func startTail(t *testing.T, args ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended, lines := make(chan int, 1), make(chan string, 1000)
	go func() {
		ended <- Run(ctx, append([]string{"tail"}, args...), strings.NewReader(""), w, t.Output())
		w.Close()
	}()
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(r); in.Scan(); {
			lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != ExitOK {
			t.Errorf("tail that is interrupted ends with %d", code)
		}
		for range lines { // until it is closed
		}
	})
	return lines
}

func TestTailShowsEventsAsTheyArrive(t *testing.T) {
	t.Parallel()
	url := testServer(t)
	follow := map[string]<-chan string{
		"all":  startTail(t, "--server", url),
		"json": startTail(t, "--server", url, "-o", "json", "--pattern", `{"detail":{"n":[{"numeric":[">=",0]}]}}`),
		"bus":  startTail(t, "--server", url, "--bus", "arn:aws:events:eu-west-1:000000000000:event-bus/default"),
	}
	put := func(n int) {
		event := fmt.Sprintf(`{"id":"order-%d","source":"shop","detail-type":"order 订单 🛒","region":"eu-west-1","time":"2026-01-02T03:04:05Z","detail":{"n": %d}}
			{"id":"other-%d","source":"other","detail-type":"other","region":"us-east-1","detail":{}}`, n, n, n)
		if code, _, errOut := rialto(t, event, "put", "-", "--server", url); code != ExitOK {
			t.Fatalf("put ended with %d: %s", code, errOut)
		}
	}
	// A stream shows what comes after it was opened: events are put until it does.
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for name, lines := range follow {
		var line string
		for n := 0; line == ""; n++ {
			put(n)
			select {
			case line = <-lines:
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s: no event was shown", name)
			}
		}
		switch name {
		case "json":
			var shown struct {
				Bus   string
				Event struct {
					ID, Source string
					Detail     struct{ N int }
				}
			}
			err := json.Unmarshal([]byte(line), &shown)
			if e := shown.Event; err != nil || shown.Bus != "arn:aws:events:eu-west-1:000000000000:event-bus/default" || e.ID != fmt.Sprint("order-", e.Detail.N) || e.Source != "shop" {
				t.Errorf("-o json shows %s: %v", line, err)
			}
		case "bus":
			if !strings.HasPrefix(line, `2026-01-02T03:04:05Z  eu-west-1/default  shop  order 订单 🛒  {"n":`) {
				t.Errorf("the bus shows %q", line)
			}
		case "all":
			other := line
			for !strings.Contains(other, "us-east-1/default  other  other  {}") {
				select {
				case other = <-lines:
				case <-deadline:
					t.Fatal("the other region's event was not shown")
				}
			}
		}
	}
}

func TestTailSaysWhenTheServerEnds(t *testing.T) {
	t.Parallel()
	server, stop, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	type end struct {
		code   int
		errOut string
	}
	out, w := io.Pipe()
	ended := make(chan end, 1)
	go func() {
		var errOut strings.Builder
		code := Run(t.Context(), []string{"tail", "--server", server.LocalURL()}, strings.NewReader(""), w, &errOut)
		w.Close()
		ended <- end{code, errOut.String()}
	}()
	seen := make(chan struct{})
	go func() {
		in := bufio.NewScanner(out)
		in.Scan()
		close(seen)
		for in.Scan() {
		}
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for open := false; !open; {
		rialto(t, `{"source":"shop","detail-type":"order","detail":{}}`, "put", "-", "--server", server.LocalURL())
		select {
		case <-seen:
			open = true
		case <-tick.C:
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if e := <-ended; e.code != ExitFailed || !strings.Contains(e.errOut, "the server ended the stream") {
		t.Errorf("tail ended with %d: %s", e.code, e.errOut)
	}
}
