package exporter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/jq"
)

// mapTime bounds what all expressions take together for one resource: others are stored with it.
const mapTime = 20 * time.Second

var errMapTime = errors.New("its expressions took too long together")

// mapped is what the configuration makes of a read.
type mapped struct {
	// ignored: no pass is for the resource's kind, region and account.
	ignored bool
	// selected: at least one pass selects the resource.
	selected bool
	// entities are those of all passes, in their order. Of what several passes make of one
	// entity, each is written.
	entities []config.Entity
	hash     string
	// problem is what is missing in the entities, in words; empty for nothing.
	problem string
	// err says why nothing certain can be said of the resource; retry, that this may be
	// otherwise the next time.
	err   error
	retry bool
}

// refs are the entities, each once.
func (m *mapped) refs() []catalog.EntityRef {
	var list []catalog.EntityRef
	seen := map[catalog.EntityRef]bool{}
	for _, e := range m.entities {
		ref := catalog.EntityRef{Blueprint: e.Blueprint, Identifier: e.Identifier}
		if !seen[ref] {
			seen[ref] = true
			list = append(list, ref)
		}
	}
	return list
}

// mapAll maps reads, several at once.
func (x *Exporter) mapAll(ctx context.Context, cfg *config.Config, reads []Read) ([]mapped, error) {
	accounts, err := x.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	homes := make(map[string]string, len(accounts))
	for _, a := range accounts {
		homes[a.Account] = a.HomeRegion
	}
	out := make([]mapped, len(reads))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range reads {
		if !reads[i].Found || reads[i].Unread != nil {
			continue
		}
		g.Go(func() error {
			out[i] = x.mapOne(ctx, cfg, homes[reads[i].Account], &reads[i])
			return ctx.Err()
		})
	}
	return out, g.Wait()
}

func (x *Exporter) mapOne(ctx context.Context, cfg *config.Config, home string, r *Read) mapped {
	ctx, cancel := context.WithTimeoutCause(ctx, x.mapTime, errMapTime)
	defer cancel()
	m := mapped{ignored: true}
	text, err := json.Marshal(r.Properties)
	if err != nil {
		m.err = fmt.Errorf("the resource's properties are not JSON: %w", err)
		return m
	}
	sum := sha256.Sum256(text)
	m.hash = hex.EncodeToString(sum[:16])
	for _, pass := range cfg.Of(r.Kind) {
		if home == "" || !selects(pass, r.Account, r.Region, home) {
			continue
		}
		m.ignored = false
		got, err := pass.Map(ctx, x.o.JQ, r.Properties)
		if err != nil {
			m.err = errors.Join(m.err, err)
			m.retry = m.retry || ctx.Err() != nil || errors.Is(err, jq.ErrTimeout) || errors.Is(err, jq.ErrWorker) || errors.Is(err, jq.ErrClosed)
			continue
		}
		if !got.Selected {
			continue
		}
		m.selected = true
		m.entities = append(m.entities, got.Entities...)
		if len(got.Problems) > 0 && m.problem == "" {
			m.problem = got.Problems[0].String()
			if n := len(got.Problems) - 1; n > 0 {
				m.problem += fmt.Sprintf(" (and %d more)", n)
			}
		}
	}
	return m
}

// change is what is asked of the sink for an entity.
func toChange(e *config.Entity, cause *catalog.Cause) catalog.EntityChange {
	in := catalog.EntityInput{Identifier: catalog.Given(e.Identifier), Properties: e.Properties, Relations: e.Relations}
	if e.Title != nil {
		in.Title = catalog.Given(*e.Title)
	}
	if e.Icon != nil {
		in.Icon = catalog.Given(*e.Icon)
	}
	if e.Team != nil {
		in.Team = catalog.Given(e.Team)
	}
	return catalog.EntityChange{Blueprint: e.Blueprint, Identifier: e.Identifier, Entity: in, Upsert: true, Merge: true, Cause: cause}
}
