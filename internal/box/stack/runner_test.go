package stack

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// slow makes things that take as long as the test says.
type slow struct {
	*cloud
	begun   chan string
	release chan struct{}
}

func (s *slow) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	if r.Desired["Value"] != "slow" || r.Again {
		return s.cloud.Create(ctx, r)
	}
	s.begun <- r.Desired["Name"].(string)
	select {
	case <-s.release:
	case <-ctx.Done():
		// As a handler that was cut off after it had made something.
		if _, err := s.cloud.Create(context.WithoutCancel(ctx), r); err != nil {
			return nil, err
		}
		return nil, ctx.Err()
	}
	return s.cloud.Create(ctx, r)
}

// running is a process whose jobs run.
func running(t *testing.T, db *store.DB, s *slow) (p *process, stop func()) {
	t.Helper()
	schema, err := resource.ParseSchema([]byte(thingSchema))
	if err != nil {
		t.Fatal(err)
	}
	jobs := work.New(db, "test", nil)
	g := resource.New(db, jobs, resource.Options{})
	g.Add(resource.Type{Name: "Test::Unit::Thing", Schema: schema, Handler: s})
	p = &process{t: t, cloud: s.cloud}
	p.Stacks = New(db, jobs, Options{Registry: g, Types: g, Sealer: plain{}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	ctx, cancel := context.WithCancel(context.Background())
	p.ctx = awsapi.WithCaller(ctx, awsapi.Caller{Account: account, Region: region, Role: awsapi.RoleAdmin})
	var wg sync.WaitGroup
	wg.Go(func() { _ = jobs.Run(ctx) })
	return p, func() { cancel(); wg.Wait() }
}

// inBubble runs f with a database on a clock that goes on only when everyone waits.
func inBubble(t *testing.T, f func(t *testing.T, db *store.DB)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(context.Background(), store.Options{DataDir: dir, UnsafeNoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		f(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func newSlow() *slow {
	return &slow{cloud: newCloud(), begun: make(chan string, 10), release: make(chan struct{})}
}

func TestAStackThatIsDeletedWhileItIsMadeLeavesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, db *store.DB) {
		s := newSlow()
		p, stop := running(t, db, s)
		defer stop()
		id := p.begin("shop", things("A Value: slow", "B Value: b", "C Value: c, Needs: [!Ref A]"))
		<-s.begun
		p.drop("shop")
		p.is(id, DeleteInProgress)
		close(s.release)
		synctest.Wait()
		p.is(id, DeleteComplete)
		p.exist()
	})
}

func TestACreationThatOutlastsItsTimeIsCutOffAndRolledBack(t *testing.T) {
	inBubble(t, func(t *testing.T, db *store.DB) {
		s := newSlow()
		p, stop := running(t, db, s)
		defer stop()
		id := p.begin("shop", things("A Value: slow", "B Value: b"), func(in *createInput) { in.TimeoutInMinutes = new(int32(5)) })
		<-s.begun
		time.Sleep(4 * time.Minute)
		p.is(id, CreateInProgress)
		p.exist("b")
		time.Sleep(2 * time.Minute)
		p.is(id, RollbackComplete)
		p.exist()
		if got := p.told(id); !slices.Contains(got, "A CREATE_FAILED: Resource creation cancelled") {
			t.Errorf("told %q", got)
		}
	})
}

func TestAServerThatStopsGoesOnWithItsStacksWhenItStarts(t *testing.T) {
	inBubble(t, func(t *testing.T, db *store.DB) {
		s := newSlow()
		p, stop := running(t, db, s)
		id := p.begin("shop", things("A Value: slow", "B Value: b, Needs: [!Ref A]"))
		<-s.begun
		stop()
		p, stop = running(t, db, s)
		defer stop()
		time.Sleep(time.Minute)
		p.is(id, CreateComplete)
		p.exist("slow", "b")
	})
}
