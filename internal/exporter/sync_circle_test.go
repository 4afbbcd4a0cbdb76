package exporter

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// circling is a cloud whose lists go back to the page with number to after that with number from.
type circling struct {
	Reader
	from, to int
}

// List answers with a page of one resource; its token is its number.
func (c circling) List(ctx context.Context, _ reader.Scope, q reader.ListQuery) (reader.Page, error) {
	n := 0
	if q.Next != "" {
		fmt.Sscan(q.Next, &n)
	}
	next := n + 1
	if n == c.from {
		next = c.to
	}
	id := numbered(n)
	return reader.Page{
		Resources: []reader.Resource{{Identifier: id, Properties: map[string]any{"Name": id}}}, Whole: true, Next: fmt.Sprint(next),
	}, ctx.Err()
}

func TestAListWhosePagesGoRoundInACircleFails(t *testing.T) {
	t.Parallel()
	for _, c := range []circling{{from: 1, to: 1}, {from: 2, to: 1}, {from: 5, to: 3}, {from: 30, to: 1}} {
		t.Run(fmt.Sprintf("from page %d to %d", c.from, c.to), func(t *testing.T) {
			t.Parallel()
			w := newSyncWorld(t, storetest.SQLite(t))
			c.Reader = w.x.o.Reader
			w.x.o.Reader = c
			if s := w.scope(w.endedRun(t), queueKind); s.Status != scopeFailed || !strings.Contains(s.Error, "does not end") {
				t.Errorf("the scope is %s: %s", s.Status, s.Error)
			}
		})
	}
}

// endedRun is a full sync that has come to an end by itself.
func (w *syncWorld) endedRun(t *testing.T) SyncRun {
	t.Helper()
	if _, err := w.x.RunSync(t.Context(), NewSync{}); err != nil {
		t.Fatal(err)
	}
	run, _, err := w.x.dueRun(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := w.x.runSync(ctx, &run); err != nil {
		t.Fatalf("the run does not end: %v", err)
	}
	return w.run(run.ID)
}
