package exporter

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// lockedText is a log that several may write.
type lockedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestRecordsOfARegionThatIsNotSelectedAreCountedAndSaidOnce(t *testing.T) {
	onEach(t, func(t *testing.T, w *world) {
		var log lockedText
		w.x.log = slog.New(slog.NewTextHandler(&log, nil))
		q := w.queue("events", nil)
		elsewhere := thing("far")
		elsewhere.Region = "sa-east-1"
		w.cloud.put(elsewhere, 1)
		w.cloud.put(thing("near"), 1)
		for _, record := range []string{body("far", "upsert", ""), body("far", "upsert", ""), body("nobody", "delete", "")} {
			w.send(q, strings.Replace(record, testRegion, "sa-east-1", 1))
		}
		w.send(q, body("near", "upsert", ""))
		w.run(w.x)
		of := func(region string) (f Freshness) {
			list, err := w.x.Freshness(t.Context(), FreshnessFilter{Region: region}, ScopeKey{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 1 {
				f = list[0]
			}
			return f
		}
		w.eventually("all are counted", func() bool { return of("sa-east-1").Ignored == 3 && of(testRegion).Events == 1 })
		if f := of("sa-east-1"); f.Events != 0 || f.Configured || !f.LastStoredAt.IsZero() {
			t.Errorf("where it is not selected: %+v", f)
		}
		if f := of(testRegion); f.Ignored != 0 {
			t.Errorf("where it is selected: %+v", f)
		}
		if n := w.x.SyncMeasures().Ignored; n != 3 {
			t.Errorf("the metrics count %d", n)
		}
		if n := strings.Count(log.String(), "region=sa-east-1 kind="+testKind); n != 1 {
			t.Errorf("the log says it %d times: %s", n, log.String())
		}
		if w.entity("thing", "far") != nil {
			t.Error("it has an entity all the same")
		}
		var got struct {
			List []struct{ Ignored int }
		}
		w.call("GET", "/v1/exporter/freshness?region=sa-east-1", "", 200, &got)
		if len(got.List) != 1 || got.List[0].Ignored != 3 {
			t.Errorf("the API says %+v", got)
		}
	})
}
