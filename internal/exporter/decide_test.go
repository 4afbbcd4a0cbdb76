package exporter

import (
	"errors"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		if s == "" {
			return time.Time{}
		}
		v, err := time.Parse(time.TimeOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.AddDate(2026, 4, 0)
	}
	here := func(first, upsert, deleted string) *Resource {
		return &Resource{Present: true, Ticket: 5, FirstAt: at(first), ReadAt: at(first), UpsertAt: at(upsert), DeleteAt: at(deleted)}
	}
	away := func(upsert, deleted string) *Resource {
		return &Resource{Ticket: 5, UpsertAt: at(upsert), DeleteAt: at(deleted)}
	}
	denied := errors.New("denied")
	for _, c := range []struct {
		name   string
		before *Resource
		read   Read
		named  string
		now    string
		want   verdict
		after  time.Duration
	}{
		{"what is found counts", nil, Read{Ticket: 9, Found: true}, "", "12:00:00", found, 0},
		{"a read that began earlier changes nothing", here("11:00:00", "", ""), Read{Ticket: 4, Found: true}, "", "12:00:00", stale, 0},
		{"not even if it found nothing", here("11:00:00", "", ""), Read{Ticket: 4}, "", "12:00:00", stale, 0},
		{"the same read once more is the same", here("11:00:00", "", ""), Read{Ticket: 5, Found: true}, "", "12:00:00", found, 0},
		{"what is not found is gone", here("11:00:00", "", ""), Read{Ticket: 9}, "", "12:00:00", gone, 0},
		{"but not within minutes of its first read", here("11:58:00", "", ""), Read{Ticket: 9}, "", "12:00:00", undecided, 2 * time.Second},
		{"nor of an event that says it lives", here("11:00:00", "11:58:00", ""), Read{Ticket: 9}, "", "12:00:00", undecided, 2 * time.Second},
		{"nor of the event that this read answers", nil, Read{Ticket: 9, UpsertAt: at("11:59:59")}, "", "12:00:00", undecided, 2 * time.Second},
		{"the grace ends when it does", nil, Read{Ticket: 9, UpsertAt: at("11:55:01")}, "", "12:00:00", undecided, time.Second},
		{"after it, not found is gone", nil, Read{Ticket: 9, UpsertAt: at("11:55:00")}, "", "12:00:00", gone, 0},
		{"an event of a delete ends the grace", here("11:58:00", "11:58:00", ""), Read{Ticket: 9, DeleteAt: at("11:59:00")}, "", "12:00:00", gone, 0},
		{"within the same second it does too, and it is looked at again", here("11:59:00", "11:59:00", ""), Read{Ticket: 9, DeleteAt: at("11:59:00")}, "", "12:00:00", gone, sameSecond},
		{"one from before it was made does not", here("11:59:00", "11:59:00", ""), Read{Ticket: 9, DeleteAt: at("11:58:59")}, "", "12:00:00", undecided, 2 * time.Second},
		{"one by another name is looked at again", here("11:00:00", "", ""), Read{Ticket: 9, DeleteAt: at("11:59:00"), ByName: true}, "", "12:00:00", gone, sameSecond},
		{"so is one of which an earlier read was told so", here("11:00:00", "", "11:59:00"), Read{Ticket: 9}, "", "12:00:00", gone, sameSecond},
		{"and one that is made, as an event says that is older", away("11:58:00", "11:59:00"), Read{Ticket: 9, UpsertAt: at("11:58:00")}, "", "12:00:00", gone, sameSecond},
		{"but not again and again", away("11:58:00", "11:59:00"), Read{Ticket: 9}, "", "12:00:00", gone, 0},
		{"one that is deleted and found is looked at again", here("11:00:00", "", ""), Read{Ticket: 9, Found: true, DeleteAt: at("11:59:00")}, "", "12:00:00", found, 2 * time.Second},
		{"unless it was made since", here("11:00:00", "11:59:30", "11:59:00"), Read{Ticket: 9, Found: true}, "", "12:00:00", found, 0},
		{"or an hour has passed", here("11:00:00", "", "10:59:00"), Read{Ticket: 9, Found: true}, "", "12:00:00", found, 0},
		{"one that was deleted by another name is looked at again", nil, Read{Ticket: 9, Found: true}, "11:59:00", "12:00:00", found, 2 * time.Second},
		{"what is gone stays gone", away("11:00:00", "11:30:00"), Read{Ticket: 9}, "", "12:00:00", gone, 0},
		{"what is found again is there again", away("11:00:00", "11:30:00"), Read{Ticket: 9, Found: true, UpsertAt: at("11:40:00")}, "", "12:00:00", found, 0},
		{"denied: the event of a delete is believed", here("11:00:00", "11:00:00", ""), Read{Ticket: 9, Unread: denied, DeleteAt: at("11:59:00")}, "", "12:00:00", gone, 0},
		{"denied: not one from before the last read", here("11:30:00", "11:00:00", ""), Read{Ticket: 9, Unread: denied, DeleteAt: at("11:20:00")}, "", "12:00:00", unmoved, 0},
		{"denied: not one from before the last upsert", here("11:00:00", "11:30:00", ""), Read{Ticket: 9, Unread: denied, DeleteAt: at("11:20:00")}, "", "12:00:00", unmoved, 0},
		{"denied: an upsert says that it lives, and no more", here("11:00:00", "", ""), Read{Ticket: 9, Unread: denied, UpsertAt: at("11:59:00")}, "", "12:00:00", unread, 0},
		{"denied: a tombstone holds back an older upsert", away("", "11:59:00"), Read{Ticket: 9, Unread: denied, UpsertAt: at("11:58:00")}, "", "12:00:00", gone, 0},
		{"denied: a delete of what nobody knows is remembered", nil, Read{Ticket: 9, Unread: denied, DeleteAt: at("11:59:00")}, "", "12:00:00", gone, 0},
		{"denied: a read without an event moves nothing", here("11:00:00", "11:00:00", ""), Read{Ticket: 9, Unread: denied}, "", "12:00:00", unmoved, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decide(c.before, c.read, at(c.named), at(c.now))
			if got.verdict != c.want || got.after != c.after {
				t.Errorf("verdict %d after %s (%s), want %d after %s", got.verdict, got.after, got.why, c.want, c.after)
			}
		})
	}
}

func TestRechecksEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	before := &Resource{Present: true, Ticket: 1, FirstAt: now, UpsertAt: now, Rechecks: maxRechecks}
	if d := decide(before, Read{Ticket: 2}, time.Time{}, now); d.verdict != gone {
		t.Errorf("a clock that does not go on keeps a resource for ever: %+v", d)
	}
	before.DeleteAt = now
	if d := decide(before, Read{Ticket: 2, Found: true}, time.Time{}, now); d.after != 0 {
		t.Errorf("what is found is looked at for ever: %+v", d)
	}
	for n, total := 0, time.Duration(0); ; n++ {
		if d := recheckDelay(n); d < 2*time.Second || d > createGrace {
			t.Fatalf("recheck %d is after %s", n, d)
		}
		if total += recheckDelay(n); total > lingerFor {
			if n >= maxRechecks {
				t.Errorf("%d rechecks do not span %s", n, lingerFor)
			}
			break
		}
	}
}

func TestShortName(t *testing.T) {
	t.Parallel()
	for identifier, want := range map[string]string{
		"orders": "orders",
		"arn:aws:lambda:eu-west-1:123456789012:function:orders":                               "orders",
		"arn:aws:sns:eu-west-1:123456789012:订单":                                               "订单",
		"https://sqs.eu-west-1.amazonaws.com/123456789012/orders":                             "orders",
		"arn:aws:ecs:eu-west-1:123456789012:service/main/web|main":                            "web",
		"arn:aws:cloudformation:eu-west-1:123456789012:stack/base/1b2c":                       "base",
		"arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/front/50dc6c49": "front",
		"i-0abc": "i-0abc", "ends/": "ends/", "": "",
	} {
		if got := shortName(identifier); got != want {
			t.Errorf("shortName(%q) = %q, want %q", identifier, got, want)
		}
	}
}

// TestWhatARecordMayNotHaveMeantIsLookedAtAgain: a record says that another resource was
// deleted, by the name of an entity that this one has too. This one is found then, but not
// by the next read, for it is new.
func TestWhatARecordMayNotHaveMeantIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
		w.x.o.Now = func() time.Time { return now }
		if err := w.x.takeOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		read := func(found bool) Read {
			r := w.x.newRead(thing("new"))
			if r.Found = found; found {
				r.Properties = map[string]any{"Name": "shared", "Size": 1}
			}
			return r
		}
		made := read(true)
		made.UpsertAt = now
		w.apply([]Read{made}, Created)
		now = now.Add(10 * time.Second)
		told := read(true)
		told.DeleteAt, told.ByName = now, true
		w.apply([]Read{told}, Unchanged)
		now = w.resource(thing("new")).RecheckAt
		w.apply([]Read{read(false)}, Deleted)
		known := w.resource(thing("new"))
		if known.RecheckAt.IsZero() {
			t.Fatal("it was taken for gone for good, by a record that meant another")
		}
		now = known.RecheckAt
		w.apply([]Read{read(true)}, Created)
		if w.entity("thing", "shared") == nil {
			t.Error("the entity is not there")
		}
	})
}
