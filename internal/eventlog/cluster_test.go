package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// freeAddresses are loopback addresses that nobody listened on a moment ago.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs
}

// startCluster runs three NATS servers that know one another, configured as an operator would.
func startCluster(t *testing.T) (url string, servers []*server.Server) {
	t.Helper()
	routes := freeAddresses(t, 3)
	var urls []string
	for i, route := range routes {
		o := &server.Options{NoSigs: true, NoLog: true}
		conf := fmt.Sprintf(`
			server_name: n%d, listen: "127.0.0.1:-1", max_payload: 8MB
			jetstream { store_dir: %q, sync_interval: always }
			cluster { name: test, listen: %q, routes: ["nats://%s"] }`,
			i, t.TempDir(), route, strings.Join(routes, `", "nats://`))
		if err := o.ProcessConfigString(conf); err != nil {
			t.Fatal(err)
		}
		ns, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		go ns.Start()
		t.Cleanup(func() {
			ns.Shutdown()
			ns.WaitForShutdown()
		})
		if !ns.ReadyForConnections(engineStartTimeout) {
			t.Fatal("NATS did not start")
		}
		servers, urls = append(servers, ns), append(urls, ns.ClientURL())
	}
	return strings.Join(urls, ","), servers
}

// openCluster opens the log once the cluster has found its leader.
func openCluster(t *testing.T, o Options) *Log {
	t.Helper()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for start := time.Now(); ; <-retry.C {
		l, err := Open(t.Context(), o)
		if err == nil {
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
			return l
		}
		if time.Since(start) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

func TestClusterGoesOnWithoutOneServer(t *testing.T) {
	t.Parallel()
	url, servers := startCluster(t)
	o := externalOptions(t, url, "a")
	o.Replicas = 0
	l := openCluster(t, o)
	if got := l.stream.CachedInfo().Config.Replicas; got != 3 {
		t.Errorf("%d replicas, want 3", got)
	}
	consumed := make(chan string, 1000)
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { consumed <- string(b.Entries[0]); b.Ack() })
	})
	var want []string
	for i := range 30 {
		if i == 10 {
			servers[0].Shutdown()
			servers[0].WaitForShutdown()
		}
		want = append(want, fmt.Sprint("entry ", i))
		if err := appendUntilStored(t, l, want[i]); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, id := range want {
		for !seen[id] {
			seen[receive(t, consumed)] = true
		}
	}
	// A batch whose confirmation was lost with the server is there twice.
	if got := slices.Compact(readAll(t, l)); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestClusterThrottlesWhenFull(t *testing.T) {
	t.Parallel()
	url, _ := startCluster(t)
	o := externalOptions(t, url, "a")
	o.Replicas = 0
	l := openCluster(t, o)
	payload := bytes.Repeat([]byte("x"), 1<<20)
	var err error
	for n := 0; err == nil && n < 10; n++ {
		err = l.Append(t.Context(), [][]byte{payload})
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	ackUpTo(t, l, mustStats(t, l).Last)
	background(t, func(ctx context.Context) error { return l.RunTrimmer(ctx, noHold) })
	if err := appendUntilStored(t, l, "after"); err != nil {
		t.Fatal(err)
	}
}
