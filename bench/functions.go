package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// invokers is how many call a function at once where its rate is measured.
const invokers = 4

// functions measures Invoke of a compiled function whose processes are warm, beside the
// same program that is spoken to through pipes.
func (b *bench) functions(ctx context.Context) (err error) {
	echo := filepath.Join(b.dir, "bootstrap")
	build := exec.CommandContext(ctx, "go", "build", "-o", echo, "./bench/testdata/echo")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the function: %w\n%s", err, out)
	}
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.function("echo", echo); err != nil {
		return err
	}
	var alone, together [2][]roundTrips // invoked, through pipes
	for range b.pairs {
		for _, m := range []struct {
			callers int
			into    *[2][]roundTrips
		}{{1, &alone}, {invokers, &together}} {
			invoked, err := measureTrips(m.callers, b.length, func() (exchange, func() error, error) { return s.invoker("echo") })
			if err != nil {
				return fmt.Errorf("invoke: %w", err)
			}
			piped, err := measureTrips(m.callers, b.length, func() (exchange, func() error, error) { return pipeTo(ctx, echo) })
			if err != nil {
				return fmt.Errorf("pipe: %w", err)
			}
			m.into[0], m.into[1] = append(m.into[0], invoked), append(m.into[1], piped)
		}
	}
	p50, p99 := func(t roundTrips) float64 { return t.at(50).Seconds() * 1000 }, func(t roundTrips) float64 { return t.at(99).Seconds() * 1000 }
	b.rows = append(b.rows,
		row{"Invoke of a warm compiled function, 1 KB, one caller", tripsText(alone[0], p50, p99),
			"the same to such a process through pipes: " + tripsText(alone[1], p50, p99), spread(tripRatios(alone, p50)) + " of p50", ""},
		row{fmt.Sprintf("Invoke of warm compiled functions, 1 KB, %d callers", invokers), thousands(medianOf(together[0], roundTrips.rate)) + " invocations/s, " + tripsText(together[0], p50, p99),
			fmt.Sprintf("%d such processes through pipes: %s round trips/s, %s", invokers, thousands(medianOf(together[1], roundTrips.rate)), tripsText(together[1], p50, p99)),
			spread(tripRatios(together, roundTrips.rate)) + " of the rate", ""})
	return nil
}

// roundTrips are those of one run.
type roundTrips struct {
	latencies
	length time.Duration
}

func (t roundTrips) rate() float64 { return perSecond(len(t.latencies), t.length) }

func medianOf(runs []roundTrips, of func(roundTrips) float64) float64 {
	var values []float64
	for _, t := range runs {
		values = append(values, of(t))
	}
	return median(values)
}

func tripsText(runs []roundTrips, p50, p99 func(roundTrips) float64) string {
	return fmt.Sprintf("p50 %.3f ms, p99 %.3f ms", medianOf(runs, p50), medianOf(runs, p99))
}

// tripRatios are of the first to the second in each pair.
func tripRatios(pairs [2][]roundTrips, of func(roundTrips) float64) (ratios []float64) {
	for i := range pairs[0] {
		ratios = append(ratios, of(pairs[0][i])/of(pairs[1][i]))
	}
	return ratios
}

// exchange sends what it is given and returns what comes back.
type exchange func(payload []byte) ([]byte, error)

// measureTrips has so many callers exchange a payload of 1 KB for a time, each with a
// process that is warm.
func measureTrips(callers int, length time.Duration, connect func() (exchange, func() error, error)) (roundTrips, error) {
	payload := []byte(`{"note":"` + strings.Repeat("abcdefghij klmnopqrst uvwxyz 0123456789 ", 26)[:1013] + `"}`)
	trips, errs := make([]latencies, callers), make([]error, callers)
	var warm, all sync.WaitGroup
	warm.Add(callers)
	var begun time.Time
	start := make(chan struct{})
	for i := range callers {
		all.Go(func() {
			trip, end, err := connect()
			if err == nil {
				_, err = trip(payload)
				defer func() { errs[i] = errors.Join(errs[i], end()) }()
			}
			errs[i] = err
			warm.Done()
			if <-start; err == nil {
				trips[i], errs[i] = exchangeUntil(begun.Add(length), trip, payload)
			}
		})
	}
	warm.Wait()
	begun = time.Now()
	close(start)
	all.Wait()
	out := roundTrips{length: time.Since(begun)}
	for _, l := range trips {
		out.latencies = append(out.latencies, l...)
	}
	return out, errors.Join(errs...)
}

func exchangeUntil(end time.Time, trip exchange, payload []byte) (out latencies, err error) {
	for now := time.Now(); now.Before(end); {
		answer, err := trip(payload)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(answer, payload) {
			return nil, fmt.Errorf("it answered %.200s", answer)
		}
		after := time.Now()
		out = append(out, after.Sub(now))
		now = after
	}
	return out, nil
}

// pipeTo starts the program as a process that echoes lines.
func pipeTo(ctx context.Context, program string) (exchange, func() error, error) {
	cmd := exec.CommandContext(ctx, program)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	out := bufio.NewReaderSize(stdout, 64<<10)
	var line []byte
	trip := func(payload []byte) ([]byte, error) {
		line = append(append(line[:0], payload...), '\n')
		if _, err := in.Write(line); err != nil {
			return nil, err
		}
		answer, err := out.ReadSlice('\n')
		return bytes.TrimSuffix(answer, []byte{'\n'}), err
	}
	return trip, func() error { return errors.Join(in.Close(), cmd.Wait()) }, nil
}

// invoker calls a function over one connection.
func (c *client) invoker(name string) (exchange, func() error, error) {
	l, err := dial(c.host())
	if err != nil {
		return nil, nil, err
	}
	var request []byte
	trip := func(payload []byte) ([]byte, error) {
		request = append(append(request[:0], restHead(c.host(), "lambda", "/2015-03-31/functions/"+name+"/invocations", len(payload))...), payload...)
		return l.do(request)
	}
	return trip, l.conn.Close, nil
}

// restHead is the head of a request to a REST service.
func restHead(host, service, path string, length int) string {
	return strings.Replace(head(host, service, "", length), "POST / ", "POST "+path+" ", 1)
}

// function creates a function of a compiled program.
func (c *client) function(name, program string) error {
	code, err := zipOf(program)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{
		"FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": "arn:aws:iam::" + account + ":role/function",
		"Code": map[string]any{"ZipFile": code},
	})
	if err != nil {
		return err
	}
	l, err := dial(c.host())
	if err != nil {
		return err
	}
	defer l.conn.Close()
	_, err = l.do(append([]byte(restHead(c.host(), "lambda", "/2015-03-31/functions", len(body))), body...))
	if err != nil && !strings.Contains(err.Error(), `"FunctionName"`) { // made is 201
		return fmt.Errorf("CreateFunction: %w", err)
	}
	return nil
}

// zipOf packs a program as a function's bootstrap.
func zipOf(program string) ([]byte, error) {
	f, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate}
	h.SetMode(0o755)
	w, err := z.CreateHeader(h)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, f); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
