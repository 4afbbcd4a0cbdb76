package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startNATS runs a NATS server of its own on a free port, as someone else's would be.
func startNATS(t *testing.T, change func(*server.Options)) string {
	t.Helper()
	o := &server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, MaxPayload: 8 << 20,
	}
	if change != nil {
		change(o)
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
	return ns.ClientURL()
}

func externalOptions(t *testing.T, url, name string) Options {
	o := testOptions(t)
	o.Dir, o.URL, o.Name, o.Replicas = "", url, name, 1
	o.MaxBytes = 8 << 20
	return o
}

func TestExternalServerHoldsTheLog(t *testing.T) {
	url := startNATS(t, nil)
	l := mustOpen(t, externalOptions(t, url, "a"))
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("entry ", i))
		mustAppend(t, l, want[i])
	}
	if got := readAll(t, l); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if _, known := l.SyncAlways(); known {
		t.Error("claims to know the sync setting of an external server")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, externalOptions(t, url, "a"))
	if b, err := l.Get(t.Context(), 20); err != nil || !slices.Equal(toStrings(b.Entries), want[19:]) {
		t.Errorf("get after reopening: %v", err)
	}
	ackUpTo(t, l, 20)
	if err := l.Trim(t.Context(), 11); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Get(t.Context(), 10); !errors.Is(err, ErrTrimmed) {
		t.Errorf("get a trimmed batch: %v", err)
	}
}

func TestExternalServerIsTrimmedInTime(t *testing.T) {
	l := mustOpen(t, externalOptions(t, startNATS(t, nil), "a"))
	background(t, func(ctx context.Context) error { return l.RunTrimmer(ctx, noHold) })
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { b.Ack() })
	})
	payload := string(bytes.Repeat([]byte("x"), 1<<20))
	for range 5 * 8 {
		mustAppend(t, l, payload)
	}
}

func TestNodesShareTheBatches(t *testing.T) {
	url := startNATS(t, nil)
	type got struct {
		node string
		b    *Batch
	}
	batches := make(chan got, 100)
	nodes := map[string]*Log{}
	stops := map[string]func(){}
	for _, name := range []string{"a", "b"} {
		l := mustOpen(t, externalOptions(t, url, name))
		nodes[name] = l
		stops[name] = background(t, func(ctx context.Context) error {
			return l.Consume(ctx, func(b *Batch) { batches <- got{name, b} })
		})
	}
	const count = 40
	for i := range count {
		mustAppend(t, nodes["a"], fmt.Sprint(i))
	}
	held := map[uint64]got{}
	for range count {
		g := receive(t, batches)
		if other, twice := held[g.b.Seq]; twice {
			t.Errorf("batch %d went to %s and to %s", g.b.Seq, other.node, g.node)
		}
		held[g.b.Seq] = g
	}
	// One node goes away with batches that it has not acked: the other gets them.
	left := 0
	for _, g := range held {
		if g.node == "b" {
			g.b.Ack()
		} else {
			left++
		}
	}
	if left == 0 || left == count {
		t.Fatalf("%d of %d batches went to one node", left, count)
	}
	stops["a"]()
	if err := nodes["a"].Close(); err != nil {
		t.Fatal(err)
	}
	for range left {
		g := receive(t, batches)
		if g.node != "b" || held[g.b.Seq].node != "a" {
			t.Errorf("batch %d came to %s again, first to %s", g.b.Seq, g.node, held[g.b.Seq].node)
		}
		g.b.Ack()
	}
}

func TestExternalServerThatIsNotFitIsRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*server.Options)
		o      func(*Options)
		want   string
	}{
		{"messages too small", func(o *server.Options) { o.MaxPayload = 1 << 20 }, nil, "set max_payload"},
		{"no JetStream", func(o *server.Options) { o.JetStream = false }, nil, "no JetStream"},
		{"too few servers for the replicas", nil, func(o *Options) { o.Replicas = 3 }, "3 replicas"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := externalOptions(t, startNATS(t, tt.change), "a")
			if tt.o != nil {
				tt.o(&o)
			}
			l, err := Open(t.Context(), o)
			if err == nil {
				l.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
	o := externalOptions(t, "nats://127.0.0.1:1", "a")
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), o.URL) {
		t.Errorf("nobody there: %v, want it to name the URL", err)
	}
}

func TestSystemAccountShowsWhetherExternalServerSyncs(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{true, false} {
		t.Run(fmt.Sprint("sync always ", always), func(t *testing.T) {
			url := startNATS(t, func(o *server.Options) {
				o.StoreDir, o.SyncAlways = "", false
				conf := fmt.Sprintf(`
					port: -1, max_payload: 8MB
					jetstream { store_dir: %q, sync_interval: %s }
					accounts {
						APP { jetstream: enabled, users: [{user: app, password: app}] }
						SYS { users: [{user: sys, password: sys}] }
					}
					system_account: SYS`, t.TempDir(), map[bool]string{true: "always", false: `"1m"`}[always])
				if err := o.ProcessConfigString(conf); err != nil {
					t.Fatal(err)
				}
			})
			o := externalOptions(t, strings.Replace(url, "nats://", "nats://app:app@", 1), "a")
			o.SystemURL = strings.Replace(url, "nats://", "nats://sys:sys@", 1)
			l, err := Open(t.Context(), o)
			if !always {
				if err == nil || !strings.Contains(err.Error(), "sync_interval") {
					t.Errorf("got %v, want it to name sync_interval", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if always, known := l.SyncAlways(); !always || !known {
				t.Errorf("always=%t known=%t", always, known)
			}
		})
	}
}

func TestMessagesNameNoCredentials(t *testing.T) {
	tests := map[string]string{
		"nats://host:4222":             "nats://host:4222",
		"host:4222":                    "host:4222",
		"nats://user:secret@host:4222": "nats://host:4222",
		"nats://token@host,tls://user:sec%ret@other:1": "nats://host,nats://other:1",
	}
	for in, want := range tests {
		if got := withoutSecrets(in); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestAMalformedURLIsToldWithoutItsPassword(t *testing.T) {
	t.Parallel()
	const malformed = "nats://us er:hunter2@127.0.0.1:1:x"
	system := externalOptions(t, startNATS(t, nil), "a")
	system.SystemURL = malformed
	for _, o := range []Options{externalOptions(t, malformed, "a"), system} {
		l, err := Open(t.Context(), o)
		if err == nil {
			l.Close()
			t.Fatal("it opened")
		}
		if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "127.0.0.1:1:x") {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestBatchHeldForLongDoesNotGoToAnotherNode(t *testing.T) {
	t.Parallel()
	url := startNATS(t, nil)
	open := func(name string) *Log {
		o := externalOptions(t, url, name)
		o.ackWait = 150 * time.Millisecond
		return mustOpen(t, o)
	}
	a, b := open("a"), open("b")
	slow := make(chan *Batch, 1)
	background(t, func(ctx context.Context) error { return a.Consume(ctx, func(b *Batch) { slow <- b }) })
	mustAppend(t, a, "slow")
	held := receive(t, slow)
	got := make(chan uint64, 1000)
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, func(b *Batch) { got <- b.Seq; b.Ack() })
	})
	pull := time.NewTicker(10 * time.Millisecond)
	defer pull.Stop()
	for start := time.Now(); time.Since(start) < time.Second; <-pull.C {
		select {
		case seq := <-got:
			if seq == held.Seq {
				t.Fatal("the batch went to another node while it was held")
			}
		default:
		}
	}
	held.Ack()
}
