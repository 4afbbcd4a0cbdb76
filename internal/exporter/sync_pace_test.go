package exporter

import (
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

func TestTransactionsOfAFullSyncAreAsShortAsCommitsMakeWorthwhile(t *testing.T) {
	for name, c := range map[string]struct {
		each, commit time.Duration
		want         int
	}{
		"quick":        {each: 50 * time.Microsecond, commit: 200 * time.Microsecond, want: 8},
		"much to do":   {each: time.Millisecond, commit: 200 * time.Microsecond, want: minWrite},
		"a slow disk":  {each: 200 * time.Microsecond, commit: 5 * time.Millisecond, want: 12},
		"nothing new":  {each: time.Microsecond, commit: 200 * time.Microsecond, want: applyBatch},
		"slow at both": {each: 5 * time.Millisecond, commit: 20 * time.Millisecond, want: minWrite},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPace(store.SQLite, catalogSink{})
			for range 1000 {
				p.took(3, 3*c.each)
				p.committed(c.commit)
			}
			// The mean of what was late comes near what it is of.
			if got := p.size(); got < c.want-1 || got > c.want+1 {
				t.Errorf("%d resources in a transaction, want about %d", got, c.want)
			}
		})
	}
	elsewhere := newPace(store.SQLite, &distantSink{})
	for range 1000 {
		elsewhere.took(1, time.Second)
	}
	if got := elsewhere.size(); got != minCall {
		t.Errorf("%d resources in a call to a sink elsewhere, want %d", got, minCall)
	}
	if got := newPace(store.Postgres, catalogSink{}).size(); got != maxWrite {
		t.Errorf("%d resources in a transaction of PostgreSQL", got)
	}
}
