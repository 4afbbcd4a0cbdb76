package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// createArchive makes an archive and returns the subscription that fills it.
func createArchive(t testing.TB, x *fixture, a Archive) *Subscription {
	t.Helper()
	if a.Bus == (event.BusRef{}) {
		a.Bus = defaultRef
	}
	made, err := x.CreateArchive(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return archiveSubscription(t, x, made)
}

func archiveSubscription(t testing.TB, x *fixture, a Archive) *Subscription {
	t.Helper()
	for _, r := range x.snapshotOf(a.Bus).byName {
		if r.arn == ruleARN(a.Bus, a.ruleName()) && len(r.subscriptions) == 1 {
			return r.subscriptions[0]
		}
	}
	t.Fatalf("archive %s has no subscription", a.Name)
	return nil
}

// happened is an event of the default bus.
func happened(id string, at time.Time, detail string) *event.Record {
	e := event.Event{
		ID: id, Source: "shop", DetailType: "订单 🚚", Account: testAccount, Region: testRegion, Time: at,
		Resources: []string{"arn:aws:ec2:eu-west-1:111122223333:instance/i-1"}, Detail: []byte(detail),
	}
	return &event.Record{Bus: defaultRef, ID: id, Accepted: testNow, JSON: e.AppendJSON(nil)}
}

func archive(t testing.TB, x *fixture, sub *Subscription, recs ...*event.Record) {
	t.Helper()
	for _, rec := range recs {
		if err := x.Archive(t.Context(), rec, sub); err != nil {
			t.Fatal(err)
		}
	}
}

// held says how many events an archive holds and their size, by its own count and
// by counting them.
func held(t testing.TB, x *fixture, name string) (events, bytes int64) {
	t.Helper()
	a, err := x.DescribeArchive(t.Context(), testAccount, testRegion, name)
	if err != nil {
		t.Fatal(err)
	}
	var n, size int64
	err = x.db.QueryRow(t.Context(), `SELECT count(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM archived_events WHERE archive_id = $1`, a.id).Scan(&n, &size)
	if err != nil {
		t.Fatal(err)
	}
	if a.Events != n || a.Bytes != size {
		t.Errorf("archive %s counts %d events of %d bytes and holds %d of %d", name, a.Events, a.Bytes, n, size)
	}
	return n, size
}

func TestEventsAreArchivedOnceHoweverOftenTheyCome(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		first, second := createArchive(t, x, Archive{Name: "first"}), createArchive(t, x, Archive{Name: "second"})
		var size int64
		recs := make([]*event.Record, 200)
		for i := range recs {
			recs[i] = happened(fmt.Sprint("id-", i), testNow.Add(time.Duration(i%7)*time.Second), `{"文":"`+strings.Repeat("🛒 订单 ", i)+`"}`)
			size += int64(len(recs[i].JSON))
		}
		var wg sync.WaitGroup
		for i := range 3 * len(recs) {
			wg.Go(func() {
				for _, sub := range []*Subscription{first, second} {
					if err := x.Archive(t.Context(), recs[i%len(recs)], sub); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, name := range []string{"first", "second"} {
			if n, bytes := held(t, x, name); n != 200 || bytes != size {
				t.Errorf("%s holds %d events of %d bytes, want 200 of %d", name, n, bytes, size)
			}
		}
		a, err := x.DescribeArchive(t.Context(), testAccount, testRegion, "first")
		if err != nil {
			t.Fatal(err)
		}
		stored, err := selectArchived(t.Context(), x.db, a.id, archiveCursor{at: 0}, testNow.Add(time.Hour), 1000, 1<<30)
		if err != nil || len(stored) != len(recs) {
			t.Fatal(len(stored), err)
		}
		byID := map[string][]byte{}
		for _, e := range stored {
			if byID[e.id], err = unpackEvent(e.body, e.size); err != nil {
				t.Error(err)
			}
		}
		for _, rec := range recs {
			if !bytes.Equal(byID[rec.ID], rec.JSON) {
				t.Errorf("stored %s, want %s", byID[rec.ID], rec.JSON)
			}
		}
	})
}

func TestTheArchivesOwnPatternDecidesAndNoReplayedEventMatches(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		createArchive(t, x, Archive{Name: "all"})
		createArchive(t, x, Archive{Name: "shop", Pattern: ` {"source": ["shop"] , "detail-type":[{"prefix":"订"}]} `})
		createArchive(t, x, Archive{Name: "own", Pattern: `{"$or":[{"source":["shop"]},{"source":["x"]}],"replay-name":[{"exists":false}]}`})
		rec := happened("1", testNow, `{}`)
		want := []string{"Events-Archive-all/Events-Archive-all", "Events-Archive-own/Events-Archive-own", "Events-Archive-shop/Events-Archive-shop"}
		if diff := cmp.Diff(want, matched(t, x, rec)); diff != "" {
			t.Error(diff)
		}
		if got := matched(t, x, record(defaultRef, "other")); !cmp.Equal(got, want[:1]) {
			t.Error(got)
		}
		ev, err := event.Parse(rec.JSON)
		if err != nil {
			t.Fatal(err)
		}
		ev.ReplayName = "again"
		rec.JSON = ev.AppendJSON(nil)
		if got := matched(t, x, rec); len(got) > 0 {
			t.Errorf("a replayed event matches %v", got)
		}
		rec.ReplayRules = []string{ruleARN(defaultRef, "Events-Archive-all")}
		if got := matched(t, x, rec); len(got) > 0 {
			t.Errorf("a replayed event for the archive's rule matches %v", got)
		}
		for _, r := range x.snapshotOf(defaultRef).byName {
			for _, sub := range r.subscriptions {
				if ok, err := sub.Matches(rec); ok || err != nil {
					t.Errorf("a catch-up reader of %s takes a replayed event: %v", r.arn, err)
				}
				if body, err := sub.Render(rec); err != nil || !bytes.Equal(body, rec.JSON) {
					t.Errorf("%s renders %s, %v: an archive keeps the event", r.arn, body, err)
				}
			}
		}
	})
}

func TestNoPatternLetsAReplayedEventIntoAnArchive(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	rec := happened("1", testNow, `{}`)
	ev, err := event.Parse(rec.JSON)
	if err != nil {
		t.Fatal(err)
	}
	ev.ReplayName = "again"
	replayed := &event.Record{Bus: defaultRef, ID: "2", JSON: ev.AppendJSON(nil)}
	for i, c := range []struct{ pattern, rule string }{
		{`{"source":["shop"]}`, `{"source":["shop"],"replay-name":[{"exists":false}]}`},
		{`{"source":["shop"]}}`, `{"source":["shop"],"replay-name":[{"exists":false}]}`}, // AWS takes any text behind a pattern
		{`{"source":["shop"]} 垃圾 🚮 }`, `{"source":["shop"],"replay-name":[{"exists":false}]}`},
		{`{"source":["shop"]},"x":["y"]}`, `{"source":["shop"],"replay-name":[{"exists":false}]}`},
		{`{"source":["shop"],"replay-name":[ {"exists":false} ]} }`, `{"source":["shop"],"replay-name":[ {"exists":false} ]}`},
		{`{"$or":[{"replay-name":[{"exists":false}]},{"source":["shop"]}]}`, `{"$or":[{"replay-name":[{"exists":false}]},{"source":["shop"]}],"replay-name":[{"exists":false}]}`},
		{`{"$or":[{"replay-name":["again"]},{"source":["shop"]}]}`, ""},
		{`{"$or":[{"x":["y"]},{"$or":[{"source":["shop"]},{"replay-name":[""]}]}]}`, ""},
		{`{"source":["shop"],"replay-name":["again"]} }`, ""},
		{`{"source":["shop"],"replay\u002dname":["again"]}`, ""},
		{`{"source":["shop"],"replay-name":[{"exists":false},"again"]}`, ""},
		{`{"source":["shop"],"replay-name":[{"exists":false}],"replay-name":["again"]}`, ""},
		{`{"source":["shop"],"replay-name":{"x":["again"]}}`, ""},
	} {
		a := Archive{Name: fmt.Sprint("a", i), Bus: defaultRef, Pattern: c.pattern}
		_, err := x.CreateArchive(t.Context(), a)
		if c.rule == "" {
			if !awsapi.HasCode(err, "InvalidEventPatternException") {
				t.Errorf("%s is accepted: %v", c.pattern, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if r, err := x.Rule(t.Context(), defaultRef, a.ruleName()); err != nil || r.Pattern != c.rule {
			t.Errorf("of %s the rule has %s, %v", c.pattern, r.Pattern, err)
		}
		if got := matched(t, x, rec); len(got) != 1 {
			t.Errorf("%s: an event goes to %v", c.pattern, got)
		}
		if got := matched(t, x, replayed); len(got) > 0 {
			t.Errorf("%s: a replayed event goes to %v", c.pattern, got)
		}
		if err := x.DeleteArchive(t.Context(), testAccount, testRegion, a.Name); err != nil {
			t.Error(err)
		}
	}
}

func FuzzArchivePattern(f *testing.F) {
	for _, text := range []string{
		`{"source":["shop"]}`, `{"source":["shop"]} }`, `{"$or":[{"source":["shop"]},{"replay-name":["again"]}]}`,
		`{"replay-name":[{"exists":false}]}`, `{"detail":{"名":[{"prefix":"张"}]}}`,
	} {
		f.Add(text)
	}
	b := &Buses{limits: Limits{}.withDefaults()}
	live := happened("1", testNow, `{"名":"张三"}`).JSON
	replayed := bytes.Replace(live, []byte(`"resources"`), []byte(`"replay-name":"again","resources"`), 1)
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || b.checkArchivePattern(text) != nil {
			return
		}
		own, err := compilePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		rule, err := compilePattern(Archive{Pattern: text}.rulePattern())
		if err != nil {
			t.Fatalf("the rule of an archive with pattern %s: %v", text, err)
		}
		if matched, err := rule.Match(replayed); matched || err != nil {
			t.Errorf("a replayed event matches the rule of %s: %v", text, err)
		}
		want, err := own.Match(live)
		if got, ruleErr := rule.Match(live); got != want || (err == nil) != (ruleErr == nil) {
			t.Errorf("the pattern %s matches: %t, %v; its rule: %t, %v", text, want, err, got, ruleErr)
		}
	})
}

func TestArchivesHaveAQuotaOfTheirOwn(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		x := open(t, db, func(o *Options) { o.Limits = Limits{Rules: 1, Archives: 2} })
		putRule(t, x, defaultRef, "own", `{"source":["a"]}`)
		createArchive(t, x, Archive{Name: "a"})
		createArchive(t, x, Archive{Name: "b"})
		_, err := x.CreateArchive(t.Context(), Archive{Bus: defaultRef, Name: "c"})
		if !awsapi.HasCode(err, "LimitExceededException") {
			t.Error(err)
		}
		if _, err := x.PutRule(t.Context(), Rule{Bus: defaultRef, Name: "more", Pattern: `{"source":["a"]}`}, nil); !awsapi.HasCode(err, "LimitExceededException") {
			t.Error(err)
		}
	})
}

func TestRetentionCountsFromIngestion(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		now := testNow
		x := open(t, db, func(o *Options) { o.Now = func() time.Time { return now } })
		kept, ages := createArchive(t, x, Archive{Name: "kept"}), createArchive(t, x, Archive{Name: "ages", RetentionDays: 2})
		for i := range 2*sweepChunk + 10 {
			rec := happened(fmt.Sprint("old-", i), testNow.Add(time.Hour*24*365), `{}`) // its own time does not count
			rec.Accepted = testNow.Add(-49 * time.Hour)
			archive(t, x, ages, rec)
			archive(t, x, kept, rec)
		}
		young := happened("young", testNow.AddDate(-3, 0, 0), `{}`)
		young.Accepted = testNow.Add(-47 * time.Hour)
		archive(t, x, ages, young)

		now = testNow.Add(-24 * time.Hour) // the clock was set back
		if err := x.sweepArchives(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, _ := held(t, x, "ages"); n != 2*sweepChunk+11 {
			t.Errorf("%d events are left before their time", n)
		}
		now = testNow
		if err := x.sweepArchives(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, size := held(t, x, "ages"); n != 1 || size != int64(len(young.JSON)) {
			t.Errorf("%d events of %d bytes are left", n, size)
		}
		if n, _ := held(t, x, "kept"); n != 2*sweepChunk+10 {
			t.Errorf("an archive without retention holds %d events", n)
		}
		if _, err := x.UpdateArchive(t.Context(), testAccount, testRegion, "kept", ArchiveChange{RetentionDays: new(int32(1<<31 - 1))}); err != nil {
			t.Fatal(err)
		}
		if err := x.sweepArchives(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, _ := held(t, x, "kept"); n != 2*sweepChunk+10 {
			t.Errorf("the longest retention leaves %d events", n)
		}
	})
}

func TestOneTransactionDeletesNoMoreThanItsBounds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		sub := createArchive(t, x, Archive{Name: "a"})
		var sizes []int
		for i, n := range []int{100, 5000, 100, 100, 100} { // the oldest first
			rec := happened(fmt.Sprint(i), testNow, `{"长":"`+strings.Repeat("x", n)+`"}`)
			rec.Accepted = testNow.Add(time.Duration(i-100) * time.Second)
			archive(t, x, sub, rec)
			sizes = append(sizes, len(rec.JSON))
		}
		archiveID, _, err := selectArchiveOfSubscription(t.Context(), x.db, sub.ID)
		if err != nil {
			t.Fatal(err)
		}
		oldest := func(limit, maxBytes int) []int64 {
			ids, err := selectOldest(t.Context(), x.db, archiveID, testNow.Add(-97*time.Second), limit, maxBytes)
			if err != nil {
				t.Fatal(err)
			}
			return ids
		}
		for _, c := range []struct{ limit, maxBytes, want int }{
			{10, 1 << 20, 3}, {2, 1 << 20, 2}, {10, sizes[0], 1}, {10, sizes[0] + sizes[1], 2}, {10, 1, 1},
		} {
			if got := oldest(c.limit, c.maxBytes); len(got) != c.want {
				t.Errorf("up to %d events of %d bytes: %v, want %d", c.limit, c.maxBytes, got, c.want)
			}
		}
		ids := oldest(10, 1<<20)
		for range 2 { // another node has deleted them already
			err := x.db.UpdateReadCommitted(t.Context(), func(tx *store.Tx) error { return deleteArchived(t.Context(), tx, ids) })
			if err != nil {
				t.Fatal(err)
			}
		}
		if n, size := held(t, x, "a"); n != 2 || size != int64(sizes[3]+sizes[4]) {
			t.Errorf("%d events of %d bytes are left", n, size)
		}
	})
}

func TestADeletedArchivesEventsGoInTheBackground(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx := t.Context()
		sub := createArchive(t, x, Archive{Name: "a"})
		recs := make([]*event.Record, sweepChunk+5)
		for i := range recs {
			recs[i] = happened(fmt.Sprint(i), testNow, `{}`)
		}
		archive(t, x, sub, recs...)
		old, err := x.DescribeArchive(ctx, testAccount, testRegion, "a")
		if err != nil {
			t.Fatal(err)
		}
		if err := x.DeleteArchive(ctx, testAccount, testRegion, "a"); err != nil {
			t.Fatal(err)
		}
		again := createArchive(t, x, Archive{Name: "a"})
		if n, _ := held(t, x, "a"); n != 0 {
			t.Errorf("an archive begins with %d events of another of its name", n)
		}
		// Deliveries that were under way find neither the old archive nor the new one.
		archive(t, x, sub, recs[0])
		stale := archivedEvent{archive: old.id, at: 1, id: "late", body: []byte(`{}`)}
		if err := x.archiver.add(ctx, stale); err != nil {
			t.Error(err)
		}
		archive(t, x, again, recs[1])
		runJobs(t, x)
		eventually(t, "the events of the deleted archive are gone", func() bool {
			var events, counts int
			err := x.db.QueryRow(ctx, `SELECT (SELECT count(*) FROM archived_events WHERE archive_id = $1), (SELECT count(*) FROM archive_counts WHERE archive_id = $1)`, old.id).
				Scan(&events, &counts)
			return err == nil && events == 0 && counts == 0
		})
		if n, _ := held(t, x, "a"); n != 1 {
			t.Errorf("the new archive holds %d events, want 1", n)
		}
	})
}

func TestArchivingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	sub := createArchive(t, x, Archive{Name: "a"})
	archive(t, x, sub, happened("1", testNow, `{}`)) // so that the subscription is known
	shard := <-x.archiver.shards                     // somebody else writes
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- x.Archive(ctx, happened("2", testNow, `{}`), sub) }()
	eventually(t, "the call waits", func() bool {
		x.archiver.mu.Lock()
		defer x.archiver.mu.Unlock()
		return len(x.archiver.waiting) == 1
	})
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	x.archiver.shards <- shard
	archive(t, x, sub, happened("3", testNow, `{}`))
	if n, _ := held(t, x, "a"); n != 2 {
		t.Errorf("%d events are archived, want those of the two calls that stayed", n)
	}
}

func TestOneTransactionArchivesNoMoreThanItsBounds(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	add := func(n, size int) {
		x.archiver.waiting = nil
		for range n {
			x.archiver.waiting = append(x.archiver.waiting, &archiveCall{event: archivedEvent{body: make([]byte, size)}})
		}
	}
	for _, c := range []struct{ n, size, want int }{
		{0, 0, 0},
		{archiveBatch + 1, 1, archiveBatch},
		{10, archiveBatchBytes / 4, 4},
		{3, archiveBatchBytes + 1, 1},
	} {
		add(c.n, c.size)
		if got := len(x.archiver.take()); got != c.want || len(x.archiver.waiting) != c.n-c.want {
			t.Errorf("of %d events of %d bytes %d are taken, want %d", c.n, c.size, got, c.want)
		}
	}
}

func TestPackedEventsAreReadBack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", `{}`, strings.Repeat(`{"a":"订单 🚚"}`, 1000), string(happened("1", testNow, `{}`).JSON),
	} {
		stored := packEvent([]byte(text))
		got, err := unpackEvent(stored, len(text))
		if err != nil || string(got) != text {
			t.Errorf("%.40q came back as %.40q: %v", text, got, err)
		}
		if len(text) > 10_000 && len(stored) > len(text)/10 {
			t.Errorf("%d bytes are stored as %d", len(text), len(stored))
		}
	}
	stored := packEvent([]byte(strings.Repeat("{", 1000)))
	for _, size := range []int{-1, 999, 1001, event.MaxSize + 1} {
		if _, err := unpackEvent(stored, size); err == nil {
			t.Errorf("an event of 1000 bytes was read as one of %d", size)
		}
	}
	if _, err := unpackEvent(stored[:len(stored)/2], 1000); err == nil {
		t.Error("half an event was read")
	}
}

func FuzzUnpackEvent(f *testing.F) {
	f.Add(packEvent([]byte(strings.Repeat("{", 1000))), 1000)
	f.Add([]byte(`{"version":"0"}`), 15)
	f.Fuzz(func(t *testing.T, stored []byte, size int) {
		got, err := unpackEvent(stored, size)
		if err == nil && len(stored) > 0 && stored[0] == packed && len(got) != size {
			t.Errorf("%d bytes came back, want %d", len(got), size)
		}
	})
}

func TestAllCallersLearnThatTheyWereNotArchived(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		sub := createArchive(t, x, Archive{Name: "a"})
		archive(t, x, sub, happened("0", testNow, `{}`))
		if err := x.db.Close(); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if err := x.Archive(t.Context(), happened(fmt.Sprint(i), testNow, `{}`), sub); !errors.Is(err, store.ErrClosed) {
					t.Errorf("archiving into a closed database: %v", err)
				}
			})
		}
		wg.Wait()
	})
}
