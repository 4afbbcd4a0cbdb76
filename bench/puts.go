package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rialto-bus/rialto/internal/eventlog"
)

// recordSize is what an event of the puts takes in the log, in bytes.
const recordSize = detailSize + 320

// puts compares PutEvents over HTTP with the event log alone under the same
// callers: what lies between is the cost of being EventBridge.
func (b *bench) puts(ctx context.Context) (err error) {
	s, err := b.serveProfiled(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	// The router matches every event, none is delivered.
	if err := s.queueRule("idle", "nothing has this type"); err != nil {
		return err
	}
	var http, appended, raw, toAppend, toRaw, processor []float64
	for range b.pairs {
		rate, perBatch, err := b.appendRate(ctx)
		if err != nil {
			return err
		}
		appended = append(appended, rate)
		used := s.cpuTime()
		if rate, err = b.putRate(s); err != nil {
			return err
		}
		http = append(http, rate)
		processor = append(processor, (s.cpuTime()-used).Seconds()*1e6/(rate*b.length.Seconds()))
		if rate, err = b.rawRate(perBatch); err != nil {
			return err
		}
		raw = append(raw, rate)
		n := len(http) - 1
		toAppend, toRaw = append(toAppend, http[n]/appended[n]), append(toRaw, http[n]/raw[n])
	}
	what := fmt.Sprintf("durable PutEvents over HTTP, %d clients × %d entries of 1 KB", callers, entriesPerCall)
	b.rows = append(b.rows,
		row{what, thousands(median(http)) + " events/s", "event log alone, appended in process by the same callers: " + thousands(median(appended)) + " events/s", spread(toAppend), "≥ 0.6"},
		row{what, thousands(median(http)) + " events/s", "write + fdatasync of batches as large as the log's: " + thousands(median(raw)) + " events/s", spread(toRaw), ""},
		row{"the server's processor time per event", fmt.Sprintf("%.1f µs", median(processor)),
			fmt.Sprintf("all %d processors of the machine would do %s events/s", runtime.NumCPU(), thousands(float64(runtime.NumCPU())*1e6/median(processor))), "", ""})
	return nil
}

// serveProfiled is the real program, or this one where a profile is wanted.
func (b *bench) serveProfiled(ctx context.Context) (*server, error) {
	if b.profile != "" {
		return b.serveWatched(ctx)
	}
	return b.serve(ctx)
}

// putRate saturates the server and returns the events acknowledged per second.
func (b *bench) putRate(s *server) (float64, error) {
	start := time.Now()
	counts := make([]int, callers)
	err := s.each(func(caller int, l *line) error {
		r, err := newPutRequest(s.host(), "order placed")
		if err != nil {
			return err
		}
		for time.Since(start) < b.length {
			if err := l.put(r); err != nil {
				return err
			}
			counts[caller] += entriesPerCall
		}
		return nil
	})
	total := 0
	for _, n := range counts {
		total += n
	}
	return perSecond(total, time.Since(start)), err
}

// appendRate is the event log alone, in this process. It also returns how many
// events shared a batch.
func (b *bench) appendRate(ctx context.Context) (rate float64, perBatch int, err error) {
	dir, err := b.temp("log")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	log, err := eventlog.Open(ctx, eventlog.Options{Dir: dir, Name: "bench", MaxBytes: 32 << 30})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	entries := make([][]byte, entriesPerCall)
	for i := range entries {
		entries[i] = bytes.Repeat([]byte{byte('a' + i)}, recordSize)
	}
	start := time.Now()
	counts, errs := make([]int, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for time.Since(start) < b.length && errs[i] == nil {
				errs[i] = log.Append(ctx, entries)
				counts[i] += entriesPerCall
			}
		})
	}
	wg.Wait()
	took, total := time.Since(start), 0
	for _, n := range counts {
		total += n
	}
	batches, err := log.LastSeq(ctx)
	if err := errors.Join(errors.Join(errs...), err); err != nil {
		return 0, 0, err
	}
	return perSecond(total, took), total / int(batches), nil
}

// rawRate writes batches to a file, each followed by an fdatasync.
func (b *bench) rawRate(perBatch int) (rate float64, err error) {
	f, err := os.Create(filepath.Join(b.dir, "raw"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	batch := bytes.Repeat([]byte{'x'}, perBatch*recordSize)
	start, total := time.Now(), 0
	for time.Since(start) < b.length {
		if _, err := f.Write(batch); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		total += perBatch
	}
	return perSecond(total, time.Since(start)), nil
}
