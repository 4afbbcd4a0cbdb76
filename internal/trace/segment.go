package trace

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// errBroken says that an earlier piece of the segment could not be written.
var errBroken = errors.New("the segment is broken")

// segments are the files that hold the entries.
type segments struct {
	dir    string
	limit  int64 // for all but the one that is written
	most   int   // of them
	hasher hasher

	// The writer's own.
	file    *os.File
	broken  bool
	retryAt time.Time // when the disk is tried again
	buf     []byte

	mu    sync.Mutex
	list  []*segment // oldest first
	next  uint64     // number of the next
	total int64
	gaps  []Gap  // of earlier processes
	own   uint64 // number of the first of this process
}

// segment is one file.
type segment struct {
	number uint64
	path   string
	size   int64
	open   bool
	hashes []uint64  // of the ids in it, while it is written
	filter filter    // of the ids in it, afterwards; nil while that is not known
	first  time.Time // of its entries; zero while that is not known
}

const segmentName = "%016d.trace"

// retryAfter is how long a disk that took no more is left alone.
const retryAfter = 5 * time.Second

func openSegments(dir string, limit int64, most int, h hasher) (*segments, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	s := &segments{dir: dir, limit: limit, most: most, hasher: h, next: 1}
	for _, f := range files {
		var number uint64
		if n, err := fmt.Sscanf(f.Name(), segmentName, &number); n != 1 || err != nil || f.Name() != fmt.Sprintf(segmentName, number) {
			continue
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.list = append(s.list, &segment{number: number, path: filepath.Join(dir, f.Name()), size: info.Size()})
		s.total += info.Size()
		s.next = max(s.next, number+1)
	}
	slices.SortFunc(s.list, func(a, b *segment) int { return int(int64(a.number - b.number)) })
	s.own = s.next
	return s, nil
}

// write appends a chunk to the segment that is open, or to a new one. After an error
// all is refused with errBroken until the segment's last chunk, and for a while.
func (s *segments) write(c chunk, now time.Time) error {
	if s.broken {
		s.broken = !c.last || now.Before(s.retryAt)
		return errBroken
	}
	err := s.append(c)
	if err != nil {
		s.broken, s.retryAt = !c.last, now.Add(retryAfter)
		return fmt.Errorf("write a trace: %w", err)
	}
	return nil
}

func (s *segments) append(c chunk) error {
	if s.file == nil {
		if err := s.create(); err != nil {
			return err
		}
	}
	s.buf = appendBlock(s.buf[:0], c.buf)
	_, err := s.file.Write(s.buf)
	if cap(s.buf) > 4*flushBytes {
		s.buf = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.list[len(s.list)-1]
	if err != nil {
		// What was written of the chunk is cut off, so that it takes no room.
		err = errors.Join(err, s.file.Truncate(last.size), s.file.Close())
		s.file = nil
		last.end()
		if last.size == int64(segmentHeader) {
			return errors.Join(err, s.drop(len(s.list)-1))
		}
		return err
	}
	last.size += int64(len(c.buf) + blockHeader)
	s.total += int64(len(c.buf) + blockHeader)
	last.hashes = append(last.hashes, c.hashes...)
	if last.first.IsZero() {
		last.first = c.first
	}
	if c.last {
		last.end()
		err = s.file.Close()
		s.file = nil
	}
	return err
}

// end replaces the hashes of a segment that is written no more. Callers hold mu.
func (x *segment) end() { x.filter, x.hashes, x.open = newFilter(x.hashes), nil, false }

// create opens the next segment, for which the oldest make room.
func (s *segments) create() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.list) > 0 && (s.total > s.limit || len(s.list) >= s.most) {
		if err := s.drop(0); err != nil {
			return err
		}
	}
	path := filepath.Join(s.dir, fmt.Sprintf(segmentName, s.next))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		s.next++ // should another have made it
		return err
	}
	if _, err := f.Write(appendSegmentHeader(nil)); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	s.list = append(s.list, &segment{number: s.next, path: path, size: int64(segmentHeader), open: true})
	s.total += int64(segmentHeader)
	s.file = f
	s.next++
	return nil
}

// drop deletes a segment. Callers hold mu.
func (s *segments) drop(i int) error {
	if err := os.Remove(s.list[i].path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete a file of traces: %w", err)
	}
	s.total -= s.list[i].size
	s.list = slices.Delete(s.list, i, i+1)
	return nil
}

// close ends the segment that is written.
func (s *segments) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// holding returns the segments that may hold entries of an id, oldest first.
func (s *segments) holding(id []byte) []segment {
	h := s.hasher.hash(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	var may []segment
	for _, x := range s.list {
		switch {
		case x.open && slices.Contains(x.hashes, h), !x.open && (x.filter == nil || x.filter.mayHold(h)):
			may = append(may, segment{number: x.number, path: x.path})
		}
	}
	return may
}

// index reads the segments of earlier processes, so that those that do not hold an id
// need not be read for it; until then all of them are.
func (s *segments) index(ctx context.Context, node string, started time.Time) {
	s.mu.Lock()
	old := slices.DeleteFunc(slices.Clone(s.list), func(x *segment) bool { return x.number >= s.own })
	s.mu.Unlock()
	var torn []Gap     // whose end is when the next segment began
	var last time.Time // of the entries so far
	for _, x := range old {
		if ctx.Err() != nil {
			return
		}
		v := s.survey(x.path, node)
		s.mu.Lock()
		x.filter, x.first = newFilter(v.hashes), v.first
		s.mu.Unlock()
		if !v.first.IsZero() {
			s.endGaps(torn, v.first)
			torn = nil
			last = v.last
		}
		s.addGaps(v.gaps)
		if !v.ended {
			torn = append(torn, Gap{Node: node, From: last})
		}
	}
	s.endGaps(torn, started)
}

// surveyed is what a segment holds.
type surveyed struct {
	hashes      []uint64
	gaps        []Gap
	first, last time.Time // of its entries; zero without
	ended       bool      // it was closed in order
}

func (s *segments) survey(path, node string) (v surveyed) {
	file, err := os.ReadFile(path)
	if err != nil {
		return surveyed{ended: errors.Is(err, fs.ErrNotExist)} // dropped meanwhile
	}
	v.ended, _ = scan(file, func(d *decoder) {
		if d.raw.kind == kindGap {
			v.gaps = append(v.gaps, d.gap(node))
			return
		}
		v.hashes = append(v.hashes, s.hasher.hash(d.raw.id))
		if d.raw.parent != nil {
			v.hashes = append(v.hashes, s.hasher.hash(d.raw.parent))
		}
		v.last = time.UnixMicro(d.raw.at).UTC()
		if v.first.IsZero() {
			v.first = v.last
		}
	})
	return v
}

// endGaps keeps gaps that end at a time.
func (s *segments) endGaps(gaps []Gap, at time.Time) {
	for i := range gaps {
		gaps[i].To = at
	}
	s.addGaps(gaps)
}

func (s *segments) addGaps(gaps []Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range gaps {
		s.insertGap(g)
	}
}

// insertGap keeps the newest gaps. Callers hold mu.
func (s *segments) insertGap(g Gap) {
	at, _ := slices.BinarySearchFunc(s.gaps, g, func(a, b Gap) int { return a.To.Compare(b.To) })
	s.gaps = slices.Insert(s.gaps, at, g)
	if len(s.gaps) > maxGaps {
		s.gaps = slices.Delete(s.gaps, 0, len(s.gaps)-maxGaps)
	}
}

// kept returns how far back the entries reach, zero if none was dropped, and the gaps.
func (s *segments) kept() (since time.Time, gaps []Gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) > 0 && s.list[0].number > 1 {
		since = s.list[0].first
	}
	return since, slices.Clone(s.gaps)
}

func (s *segments) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}
