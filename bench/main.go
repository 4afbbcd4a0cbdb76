// Command bench starts the real program, measures it and prints a table.
//
// Every figure stands beside one of the same run that says what the machine allows:
// ratios can be compared between machines and days, absolute figures cannot.
//
//	go run ./bench                 everything, about two minutes
//	go run ./bench -only puts      one of puts, traces, delivery, inventory, neighbours, replays, functions, catalog, exporter
//	go run ./bench -quick          shorter and noisier
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/rialto-bus/rialto/internal/jq"
)

func main() {
	jq.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of the benchmarks.
type bench struct {
	dir     string // for data and the program, deleted afterwards
	program string // the real one, built
	pairs   int    // interleaved pairs that medians are taken of
	length  time.Duration
	profile string // where the server's CPU profiles go; empty for none
	// entities is how many the catalog has when it is measured.
	entities int
	rows     []row
}

// row is a line of the table.
type row struct{ what, measured, beside, ratio, aim string }

var parts = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"puts", (*bench).puts},
	{"traces", (*bench).traces},
	{"delivery", (*bench).delivery},
	{"inventory", (*bench).inventory},
	{"neighbours", (*bench).neighbours},
	{"replays", (*bench).replays},
	{"functions", (*bench).functions},
	{"catalog", (*bench).catalog},
	{"exporter", (*bench).exporter},
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "run one of puts, traces, delivery, inventory, neighbours, replays, functions, catalog and exporter")
	quick := flags.Bool("quick", false, "shorter runs, noisier figures")
	dir := flags.String("dir", "", "directory on the disk to measure (default the temporary one)")
	profile := flags.String("profile", "", "directory for CPU profiles of the server")
	entities := flags.Int("entities", 1_000_000, "how many entities the catalog has when it is measured")
	observe := flags.String("observe", "", "internal: serve on this data directory and report latencies")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *observe != "" {
		return serveObserved(ctx, *observe, *profile)
	}
	b := &bench{pairs: 5, length: 3 * time.Second, profile: *profile, entities: *entities}
	if *quick {
		b.pairs, b.length = 3, time.Second
	}
	if b.dir, err = os.MkdirTemp(*dir, "rialto-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	known := false
	for _, p := range parts {
		if *only != "" && *only != p.name {
			continue
		}
		known = true
		fmt.Fprintf(os.Stderr, "%s…\n", p.name)
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if !known {
		return fmt.Errorf("there is no benchmark %q", *only)
	}
	b.print(os.Stdout)
	return nil
}

func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d CPUs, %s, load average %s, medians of %d interleaved pairs of %s\n\n",
		runtime.Version(), runtime.NumCPU(), processor(), loadAverage(), b.pairs, b.length)
	fmt.Fprintln(w, "| what | measured | beside it in the same run | ratio | aim |\n|---|---|---|---|---|")
	for _, r := range b.rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", r.what, r.measured, r.beside, r.ratio, r.aim)
	}
}

// processor is the processor's name, where the system tells it.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Fields(string(b))[0]
}

// temp returns a new directory on the disk that is measured.
func (b *bench) temp(name string) (string, error) {
	return os.MkdirTemp(b.dir, filepath.Base(name)+"-")
}
