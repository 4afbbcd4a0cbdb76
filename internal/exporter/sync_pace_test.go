package exporter

import (
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

func TestTransactionsOfAFullSyncAreShortWhereOthersWaitForThemAndCallsAreFew(t *testing.T) {
	t.Parallel()
	here, elsewhere := catalogSink{}, &crashingSink{}
	for _, test := range []struct {
		name    string
		dialect store.Dialect
		sink    Sink
		each    time.Duration
		want    int
	}{
		{"others write beside it", store.Postgres, here, time.Second, maxWrite},
		{"few where each takes long", store.SQLite, here, time.Second, minWrite},
		{"as many as are done in time", store.SQLite, here, writerTime / 10, 10},
		{"no more than fit", store.SQLite, here, time.Nanosecond, applyBatch},
		{"a call's worth for a sink elsewhere", store.SQLite, elsewhere, time.Second, minCall},
	} {
		p := newPace(test.dialect, test.sink)
		for range 2000 {
			p.took(1, test.each)
		}
		if got := p.size(); got != test.want {
			t.Errorf("%s: %d resources, want %d", test.name, got, test.want)
		}
	}
}
