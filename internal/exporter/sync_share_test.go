package exporter

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestAnAccountThatDoesNotAnswerLeavesTheOthersTheirTurns(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, storetest.SQLite(t))
	if _, err := w.x.PutAccount(t.Context(), Account{Account: otherSync, HomeRegion: syncRegion, Enabled: true}); err != nil {
		t.Fatal(err)
	}
	regions := make([]string, 3*scopesAtOnce)
	for i := range regions {
		regions[i] = fmt.Sprintf("eu-west-%d", i+1)
		w.cloud.putN(reader.Scope{Account: otherSync, Region: regions[i], Kind: queueKind}, 1)
	}
	w.configurePasses(syncPass{kind: queueKind, regions: regions})
	var listed atomic.Int64
	var waited atomic.Bool
	release := make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	defer open()
	w.cloud.before = func(op string, s reader.Scope) {
		switch {
		case op == "list" && s.Account == otherSync && listed.Add(1) == int64(len(regions)):
			open()
		case s.Account == syncAccount:
			select {
			case <-release:
			case <-time.After(30 * time.Second):
				waited.Store(true)
				open()
			}
		}
	}
	wantStatus(t, w.sync(nil), SyncSucceeded)
	if waited.Load() {
		t.Errorf("while an account did not answer, %d of %d regions of the other were listed", listed.Load(), len(regions))
	}
}

func TestScopesAreSharedOutInTheOrderOfThePlan(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, storetest.SQLite(t))
	w.configure(queueKind, topicKind)
	run, err := w.x.RunSync(t.Context(), NewSync{})
	if err != nil {
		t.Fatal(err)
	}
	s := &syncing{x: w.x, run: &run}
	run.epoch = w.x.tickets.epoch()
	if err := s.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.plan(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := w.x.shareScopes(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{queueKind, topicKind, ""} {
		sc, _, err := all.next(t.Context())
		if err != nil || (sc == nil) != (want == "") || sc != nil && sc.Kind != want {
			t.Errorf("the next scope is %+v, %v; want %q", sc, err, want)
		}
	}
}
