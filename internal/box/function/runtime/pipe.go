package runtime

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

const (
	// maxLine is how long a line of a log may be; a longer one becomes several.
	maxLine = 256 << 10
	// lastOutput is how long reading what a process wrote before it ended may take.
	lastOutput = 2 * time.Second
)

// pipe carries what a process writes to stdout and stderr into its log, both through
// one pipe, so that their order is kept. What happens to the process at a moment, as the start and
// the end of an invocation, is put into the same pipe as a mark: thus it takes its
// place between the lines without anyone waiting for them.
type pipe struct {
	out      *stream
	lines    lines
	token    []byte // what is written as a mark: short, so at once or not at all
	reader   *os.File
	writer   *os.File // for marks
	childEnd *os.File
	marks    chan func() // what to do at the next marks
	done     chan struct{}

	mu     sync.Mutex // marks and what is to be done at them are in the same order
	closed bool
}

// openPipe makes a named pipe, since its ends must not share their flags: what a
// function sets on its stdout would hold for the server's end too.
func openPipe(path string, out *stream, joins bool) (*pipe, error) {
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	defer os.Remove(path)
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	writer, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		reader.Close()
		return nil, err
	}
	child, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		reader.Close()
		writer.Close()
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	p := &pipe{
		out: out, reader: reader, writer: writer, childEnd: os.NewFile(uintptr(child), path),
		marks: make(chan func(), 64), done: make(chan struct{}),
	}
	mark := "\x00" + newID()
	p.token = []byte(mark + "\n")
	p.lines = lines{mark: []byte(mark), joins: joins, emit: out.line}
	go p.read() // finish waits for it
	return p, nil
}

// then calls f when all that the process has written until now is in the log.
func (p *pipe) then(f func()) {
	if !p.put(f, false) {
		<-p.done
		f()
	}
}

// put puts a mark into the pipe, the last one if so said. It returns false after that.
func (p *pipe) put(f func(), last bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.closed = last
	p.marks <- f
	_, _ = p.writer.Write(p.token) // fails when reading was given up, which then does what is to be done
	return true
}

// finish returns when all is read that was written by processes which are gone. No
// other may be waited for: one may have left the group and hold the pipe open.
func (p *pipe) finish() {
	p.childEnd.Close()
	timer := time.AfterFunc(lastOutput, func() { _ = p.reader.SetReadDeadline(time.Now()) })
	defer timer.Stop()
	p.put(nil, true)
	<-p.done
	p.writer.Close()
	p.reader.Close()
}

func (p *pipe) read() {
	defer close(p.done)
	chunk := make([]byte, 32<<10)
	for {
		n, err := p.reader.Read(chunk)
		if p.lines.feed(chunk[:n], p.atMark) {
			return
		}
		if err != nil {
			p.giveUp(err)
			return
		}
	}
}

// atMark does what is to be done at a mark, and returns true at the last one.
func (p *pipe) atMark() bool {
	f := <-p.marks
	if f == nil {
		return true
	}
	f()
	return false
}

// giveUp does what is to be done at marks that are not going to be read.
func (p *pipe) giveUp(err error) {
	p.reader.Close() // who waits to write a mark waits no longer
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.lines.flush()
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) {
		p.out.pool.opt.Logger.Error("the output of a function's process could not be read", "function", p.out.function, "error", err)
	}
	for {
		select {
		case f := <-p.marks:
			if f != nil {
				f()
			}
		default:
			return
		}
	}
}

// lines takes a stream of bytes apart into lines and marks.
type lines struct {
	mark  []byte // a line that ends with it is none
	joins bool   // a NUL before a newline means that the same message goes on
	emit  func(message string)

	held    []byte // begun and not ended
	message []byte // lines of a message that goes on
}

// feed takes more bytes and calls atMark for each mark, until that returns true.
func (l *lines) feed(b []byte, atMark func() bool) bool {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.hold(b)
			return false
		}
		l.hold(b[:i])
		b = b[i+1:]
		line, marked := bytes.CutSuffix(l.held, l.mark)
		if marked {
			l.held = line
			l.flush()
			if atMark() {
				return true
			}
			continue
		}
		if cut, goesOn := bytes.CutSuffix(line, []byte{0}); l.joins && goesOn && len(l.message)+len(cut) < maxLine {
			l.message = append(append(l.message, cut...), '\n')
			l.held = l.held[:0]
			continue
		}
		l.send()
	}
}

// hold keeps bytes of a line. Those of a line that is too long are sent, but for so
// many that may be the beginning of a mark.
func (l *lines) hold(b []byte) {
	for len(b) > 0 {
		n := min(len(b), maxLine+len(l.mark)-len(l.held))
		l.held = append(l.held, b[:n]...)
		b = b[n:]
		if len(l.held) < maxLine+len(l.mark) {
			return
		}
		cut := maxLine
		for cut > maxLine-utf8.UTFMax && !utf8.RuneStart(l.held[cut]) {
			cut--
		}
		rest := bytes.Clone(l.held[cut:])
		l.held = l.held[:cut]
		l.send()
		l.held = append(l.held, rest...)
	}
}

// flush sends what has no newline yet.
func (l *lines) flush() {
	if len(l.held)+len(l.message) > 0 {
		l.send()
	}
}

func (l *lines) send() {
	l.message = append(append(l.message, l.held...), '\n')
	l.emit(string(bytes.ToValidUTF8(l.message, []byte("\uFFFD"))))
	l.message, l.held = l.message[:0], l.held[:0]
}
