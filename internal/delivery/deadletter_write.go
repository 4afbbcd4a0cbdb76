package delivery

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// letterChunkBytes bounds the events and bodies that one transaction stores as dead
	// letters, unless one letter alone has more; jobChunk bounds their number.
	letterChunkBytes = 1 << 20
	// letterTime bounds how long one transaction of theirs may take.
	letterTime = 10 * time.Second
)

// letterWriter stores dead letters, what comes from many deliveries at once in one
// transaction. Whoever has one to store stores those of the others too, while
// nobody else does.
type letterWriter struct {
	store letterStore
	turn  chan struct{} // filled by whoever stores
	added atomic.Int64  // bytes stored since the bounds were looked after
	grown chan struct{} // told that these are many
	grow  int64         // how many are many

	mu      sync.Mutex
	waiting []*waitingLetter
}

// waitingLetter is one on its way into the store.
type waitingLetter struct {
	letter *DeadLetter
	done   chan struct{} // closed once it is stored or failed
	id     int64
	err    error
}

func newLetterWriter(s letterStore, limit int64) *letterWriter {
	return &letterWriter{store: s, turn: make(chan struct{}, 1), grown: make(chan struct{}, 1), grow: limit/100 + 1}
}

// add stores the letter and returns its id, that of the one that is there already if
// the event came before.
func (w *letterWriter) add(ctx context.Context, l *DeadLetter) (id int64, err error) {
	mine := &waitingLetter{letter: l, done: make(chan struct{})}
	w.mu.Lock()
	w.waiting = append(w.waiting, mine)
	w.mu.Unlock()
	for {
		select {
		case <-mine.done:
			return mine.id, mine.err
		case w.turn <- struct{}{}:
			w.storeNext(ctx)
			<-w.turn
		case <-ctx.Done():
			if w.withdraw(mine) {
				return 0, ctx.Err()
			}
			<-mine.done // it is being stored
			return mine.id, mine.err
		}
	}
}

// withdraw reports whether the letter was still waiting.
func (w *letterWriter) withdraw(mine *waitingLetter) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.waiting, mine)
	if i < 0 {
		return false
	}
	w.waiting = slices.Delete(w.waiting, i, i+1)
	return true
}

// take takes the letters of one transaction.
func (w *letterWriter) take() []*waitingLetter {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size := 0, int64(0)
	for n < min(len(w.waiting), jobChunk) && (n == 0 || size+w.waiting[n].letter.Size <= letterChunkBytes) {
		size += w.waiting[n].letter.Size
		n++
	}
	chunk := slices.Clone(w.waiting[:n])
	w.waiting = slices.Delete(w.waiting, 0, n)
	return chunk
}

// storeNext stores what waits, as much as one transaction takes. The end of ctx does
// not end it: the letters are others' too.
func (w *letterWriter) storeNext(ctx context.Context) {
	chunk := w.take()
	if len(chunk) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), letterTime)
	defer cancel()
	err := w.storeChunk(ctx, chunk)
	if err != nil && len(chunk) > 1 && !store.IsFull(err) && ctx.Err() == nil {
		w.storeEach(ctx, chunk)
		return
	}
	for _, l := range chunk {
		l.err = err
		close(l.done)
	}
}

// storeEach stores letters one by one, so that one that the database refuses does not
// keep back those beside it.
func (w *letterWriter) storeEach(ctx context.Context, chunk []*waitingLetter) {
	for _, l := range chunk {
		l.err = w.storeChunk(ctx, []*waitingLetter{l})
		close(l.done)
	}
}

func (w *letterWriter) storeChunk(ctx context.Context, chunk []*waitingLetter) error {
	letters := make([]*DeadLetter, len(chunk))
	for i, l := range chunk {
		letters[i] = l.letter
	}
	ids, added, err := w.store.insert(ctx, letters)
	if err != nil {
		return fmt.Errorf("store %d dead letters: %w", len(chunk), err)
	}
	for i, l := range chunk {
		l.id = ids[i]
	}
	if w.added.Add(added) >= w.grow {
		select {
		case w.grown <- struct{}{}:
		default:
		}
	}
	return nil
}
