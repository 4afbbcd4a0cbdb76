package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// maxWaiting is how much of a log waits to be stored, each line counted with
	// lineOverhead more. Then its function waits for up to logPatience, and then lines are lost.
	maxWaiting   = 1 << 20
	lineOverhead = 26
	logPatience  = 250 * time.Millisecond
	// maxLogBatch is how many lines are stored at once, AWS: 10,000 and 1 MiB.
	maxLogBatch = 10_000
	// gather is how long lines are gathered before they are stored.
	gather = 50 * time.Millisecond
	// putTimeout is for one try at storing lines, giveUpLogs for all.
	putTimeout = 5 * time.Second
	giveUpLogs = time.Minute
	// maxLogSpan is less than the day that AWS lets the lines of a batch be apart.
	maxLogSpan = 23 * time.Hour
)

// stream is the log of one execution environment: of a process, or of two where the
// first failed to initialize.
type stream struct {
	pool                           *Pool
	function                       string // its ARN
	account, region, group, name   string
	id                             string // ends the name
	format, appLevel, systemLevel  string
	functionName, functionsVersion string

	mu       sync.Mutex
	begun    bool // its first line is written
	waiting  []LogEvent
	size     int
	lost     int  // lines, since the last that was not
	dropping bool // lines are lost until half of the room is free
	storing  bool // a goroutine does
	over     bool // nothing more is stored
	lastAt   time.Time
	room     chan struct{} // told when lines were taken out
	tail     []byte        // of the invocation
}

func (p *Pool) newStream(fn *Function) *stream {
	id := newID()
	return &stream{
		pool: p, function: fn.ARN, account: fn.Account, region: fn.Region, group: fn.LogGroup, id: id,
		// AWS: 2026/02/20/[$LATEST]0123456789abcdef0123456789abcdef.
		name:   p.opt.Now().UTC().Format("2006/01/02/") + "[" + fn.Version + "]" + id,
		format: fn.LogFormat, appLevel: fn.ApplicationLogLevel, systemLevel: fn.SystemLogLevel,
		functionName: fn.Name, functionsVersion: fn.Version, room: make(chan struct{}, 1),
	}
}

// line adds what a function wrote, if its log is to have it.
func (s *stream) line(message string) {
	if s.format == FormatJSON && !levelAtLeast(levelOf(message), s.appLevel) {
		return
	}
	s.add(message)
}

// add adds a message. Where the store is slow, it waits a little, and then counts the
// message as lost.
func (s *stream) add(message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail = appendTail(s.tail, message)
	if s.over {
		s.pool.counts.lostLines.Add(1)
		return
	}
	if !s.dropping && s.size+len(message)+lineOverhead > maxWaiting {
		s.awaitRoomLocked()
	}
	if s.dropping && s.size > maxWaiting/2 {
		s.lost++
		s.pool.counts.lostLines.Add(1)
		return
	}
	s.noteLostLocked()
	s.appendLocked(message)
}

// awaitRoomLocked waits until half of the room is free, or says that lines are to be lost.
func (s *stream) awaitRoomLocked() {
	timer := time.NewTimer(logPatience)
	defer timer.Stop()
	for s.size > maxWaiting/2 {
		s.mu.Unlock()
		select {
		case <-s.room:
			s.mu.Lock()
		case <-timer.C:
			s.mu.Lock()
			s.dropping = true
			return
		}
	}
}

func (s *stream) noteLostLocked() {
	if s.lost > 0 {
		s.appendLocked(fmt.Sprintf("[rialto] %d lines of this log were lost here, because they could not be stored as fast as they came.\n", s.lost))
	}
	s.lost, s.dropping = 0, false
}

func (s *stream) appendLocked(message string) {
	if now := s.pool.opt.Now(); now.After(s.lastAt) {
		s.lastAt = now // AWS: in order of time
	}
	s.waiting = append(s.waiting, LogEvent{s.lastAt, message})
	s.size += len(message) + lineOverhead
	if !s.storing {
		s.storing = true
		s.pool.wg.Go(s.store)
	}
}

// store stores what waits, until nothing does.
func (s *stream) store() {
	for {
		timer := time.NewTimer(gather)
		select {
		case <-timer.C:
		case <-s.pool.stopping:
			timer.Stop()
		}
		batch := s.next()
		if len(batch) == 0 {
			return
		}
		if !s.put(batch) {
			return
		}
	}
}

// next takes out what is stored at once; nothing means that it is all stored.
func (s *stream) next() []LogEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.noteLostLocked()
	}
	n, size := 0, 0
	for n < len(s.waiting) && n < maxLogBatch && s.waiting[n].At.Sub(s.waiting[0].At) < maxLogSpan {
		size += len(s.waiting[n].Message) + lineOverhead
		if size > maxWaiting && n > 0 {
			size -= len(s.waiting[n].Message) + lineOverhead
			break
		}
		n++
	}
	batch := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	s.size -= size
	if len(s.waiting) == 0 {
		s.waiting = nil // the batch has the memory
	}
	s.storing = n > 0
	select {
	case s.room <- struct{}{}:
	default:
	}
	return batch
}

// put stores a batch, in several tries if it must be. It returns false if nothing more
// is to be stored, as the server stops.
func (s *stream) put(batch []LogEvent) bool {
	deadline := time.Now().Add(giveUpLogs)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := s.try(batch)
		if err == nil {
			s.pool.logsAreStored()
			return true
		}
		s.pool.logsFail(s.group, err)
		if !s.pause(min(pause, time.Until(deadline))) {
			return s.lose(len(batch))
		}
	}
}

// lose counts lines as lost, and all that wait if the server stops. Then it returns false.
func (s *stream) lose(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.pool.stopping:
		n += len(s.waiting)
		s.waiting, s.size, s.over = nil, 0, true
	default:
	}
	s.lost += n
	s.pool.counts.lostLines.Add(int64(n))
	return !s.over
}

// try has a context of its own: lines outlive the invocation and are stored while the
// server stops.
func (s *stream) try(batch []LogEvent) error {
	ctx, cancel := context.WithTimeout(context.Background(), putTimeout)
	defer cancel()
	return s.pool.opt.Logs.Put(ctx, s.account, s.region, s.group, s.name, batch)
}

// pause returns false if there should be no other try.
func (s *stream) pause(d time.Duration) bool {
	if d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.pool.stopping:
		return false
	}
}

// logsFail says once that logs cannot be stored, until they can.
func (p *Pool) logsFail(group string, err error) {
	if !p.counts.logsFail.Swap(true) {
		p.opt.Logger.Warn("logs of functions cannot be stored; they wait, and what is too much is lost", "group", group, "error", err)
	}
}

func (p *Pool) logsAreStored() {
	if p.counts.logsFail.Load() && p.counts.logsFail.Swap(false) {
		p.opt.Logger.Info("logs of functions are stored again", "lines lost since the start", p.counts.lostLines.Load())
	}
}

// appendTail keeps the last bytes of a log.
func appendTail(tail []byte, message string) []byte {
	tail = append(tail, message...)
	if len(tail) > 4*logTailBytes {
		tail = append(tail[:0], tail[len(tail)-logTailBytes:]...)
	}
	return tail
}

// takeTail returns the last 4 KB since it was called before.
func (s *stream) takeTail() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	tail := s.tail
	s.tail = nil
	return tail[max(0, len(tail)-logTailBytes):]
}
