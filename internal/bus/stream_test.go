package bus

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/eventlog"
)

// waitingLog has no events; opened gets one value for each reader.
type waitingLog struct{ opened chan struct{} }

func (l waitingLog) LastSeq(context.Context) (uint64, error) { return 0, nil }

func (l waitingLog) Read(ctx context.Context, _ uint64, _ func(*eventlog.Batch) error) error {
	l.opened <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func TestNoMoreThanSoManyFollowEventsAtOnce(t *testing.T) {
	t.Parallel()
	log := waitingLog{opened: make(chan struct{})}
	stopping := make(chan struct{})
	handler := new(Buses).StreamHandler(log, stopping)
	call := func() *httptest.ResponseRecorder {
		ctx := auth.WithPrincipal(t.Context(), auth.Principal{Account: testAccount, Role: auth.Reader})
		w := httptest.NewRecorder()
		handler(w, httptest.NewRequestWithContext(ctx, "GET", "/v1/events/stream", nil))
		return w
	}
	var streams sync.WaitGroup
	for range maxStreams {
		streams.Go(func() {
			if w := call(); w.Code != http.StatusOK {
				t.Errorf("a stream was answered %d: %s", w.Code, w.Body)
			}
		})
		<-log.opened
	}
	if w := call(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one stream more was answered %d: %s", w.Code, w.Body)
	}
	close(stopping) // ends the streams, and each that comes after it at once
	streams.Wait()
	done := make(chan int)
	go func() { done <- call().Code }()
	<-log.opened
	if code := <-done; code != http.StatusOK {
		t.Errorf("after the others ended: %d", code)
	}
}
