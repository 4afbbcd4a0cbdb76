package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	hostsPerCluster = 200
	spareClusters   = 100 // of hosts that are created while it is measured
	fillAtOnce      = 100 // entities of one call that fills
	upsertAtOnce    = 20  // of one call that is measured. Port: the most of a bulk upsert
	upserters       = 4
	searchesOfKind  = 300 // in one pair
)

// catalog measures writing and searching entities where there are many already, on SQLite
// and, where its programs or RIALTO_TEST_POSTGRES are, on PostgreSQL. A search is measured
// beside the SQL that a programmer would have written for it, on the same tables and rows.
func (b *bench) catalog(ctx context.Context) error {
	dir, err := b.temp("catalog")
	if err != nil {
		return err
	}
	if err := b.catalogOn(ctx, "SQLite", store.Options{DataDir: filepath.Join(dir, "sqlite")}); err != nil {
		return fmt.Errorf("SQLite: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	url, stop, err := b.postgres(ctx)
	if err != nil || url == "" {
		return err
	}
	err = b.catalogOn(ctx, "PostgreSQL", store.Options{URL: url})
	return errors.Join(err, stop())
}

// hosts is a catalog of hosts in clusters, under measurement.
type hosts struct {
	db    *store.DB
	c     *catalog.Catalog
	count int
	made  atomic.Int64 // beyond count
}

func (b *bench) catalogOn(ctx context.Context, name string, o store.Options) (err error) {
	db, err := store.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	h := &hosts{db: db, count: b.entities, c: catalog.New(catalog.Options{DB: db, Jobs: work.New(db, "bench", nil)})}
	if err := h.fill(ctx); err != nil {
		return err
	}
	if db.Dialect() == store.Postgres {
		if err := h.analyze(ctx, o.URL); err != nil {
			return err
		}
	}
	if err := b.upserts(ctx, h, name); err != nil {
		return err
	}
	for _, q := range h.queries() {
		if err := b.search(ctx, h, name, q); err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
	}
	return nil
}

const (
	clusterBlueprint = `{"identifier": "cluster", "title": "Cluster", "schema": {"properties": {"zone": {"type": "string"}}, "required": []}}`
	hostBlueprint    = `{"identifier": "host", "title": "Host", "schema": {"properties": {
		"name": {"type": "string"}, "owner": {"type": "string", "format": "user"}, "tier": {"type": "string", "enum": ["gold", "silver", "bronze"]},
		"cost": {"type": "number"}, "cpus": {"type": "number"}, "launched": {"type": "string", "format": "date-time"}, "public": {"type": "boolean"},
		"tags": {"type": "array", "items": {"type": "string"}}, "notes": {"type": "string"}}, "required": []},
		"relations": {"cluster": {"target": "cluster", "required": false, "many": false}}}`
)

// The writers of the hosts: one in ten thousand is of the second.
const (
	usualWriter = "port-ocean/aws/1.2.3/main/exporter"
	rareWriter  = "port-aws-exporter/0.1 (accountid/123456789012 region/eu-west-1)"
	rareEvery   = 10_000
)

var firstLaunch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// fill makes the entities, a few calls at once.
func (h *hosts) fill(ctx context.Context) error {
	for _, raw := range []string{clusterBlueprint, hostBlueprint} {
		if _, err := h.c.CreateBlueprint(ctx, catalog.Writer{By: "bench"}, json.RawMessage(raw)); err != nil {
			return err
		}
	}
	if err := h.each(ctx, h.count/hostsPerCluster+spareClusters, func(i int) catalog.EntityChange {
		return upsert("cluster", clusterName(i), map[string]any{"zone": fmt.Sprint("zone-", i%7)}, nil)
	}); err != nil {
		return err
	}
	return h.each(ctx, h.count, h.host)
}

func (h *hosts) each(ctx context.Context, count int, entity func(int) catalog.EntityChange) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	for range upserters {
		running.Go(func() {
			for {
				from := int(next.Add(fillAtOnce)) - fillAtOnce
				if from >= count || ctx.Err() != nil {
					return
				}
				changes := map[string][]catalog.EntityChange{}
				for i := from; i < min(from+fillAtOnce, count); i++ {
					w := writerOf(i)
					changes[w] = append(changes[w], entity(i))
				}
				for w, list := range changes {
					if err := h.apply(ctx, w, list); err != nil {
						cancel(err)
						return
					}
				}
				if from%(500*fillAtOnce) == 0 {
					fmt.Fprintf(os.Stderr, "\r%d of %d entities", from, count)
					if err := h.dropEvents(ctx); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	running.Wait()
	fmt.Fprint(os.Stderr, "\r")
	return context.Cause(ctx)
}

func writerOf(i int) string {
	if i%rareEvery == 0 {
		return rareWriter
	}
	return usualWriter
}

func (h *hosts) apply(ctx context.Context, writer string, changes []catalog.EntityChange) error {
	results, err := h.c.Apply(ctx, catalog.Writer{By: "bench", Datasource: writer}, changes, catalog.ApplyOptions{})
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	return err
}

// dropEvents empties the outbox: no relay runs here.
func (h *hosts) dropEvents(ctx context.Context) error {
	return h.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM outbox`)
		return err
	})
}

func clusterName(i int) string { return fmt.Sprintf("cluster-%05d", i) }

func (h *hosts) cluster(i int) string {
	if i < h.count {
		return clusterName(i / hostsPerCluster)
	}
	return clusterName(h.count/hostsPerCluster + i%spareClusters)
}

func hostName(i int) string { return fmt.Sprintf("i-%016x", uint64(i)*0x9E3779B97F4A7C15) }

func upsert(blueprint, identifier string, properties, relations map[string]any) catalog.EntityChange {
	return catalog.EntityChange{Blueprint: blueprint, Upsert: true, Entity: catalog.EntityInput{
		Identifier: catalog.Given(identifier), Title: catalog.Given(identifier), Properties: properties, Relations: relations,
	}}
}

func (h *hosts) host(i int) catalog.EntityChange {
	return upsert("host", hostName(i), map[string]any{
		"name": fmt.Sprintf("host-%07d.example.com", i), "owner": fmt.Sprintf("user-%d@example.com", i%10_000),
		"tier": []string{"gold", "silver", "bronze"}[i%3], "cost": float64(i) / 8, "cpus": float64(i % 64), "public": i%2 == 0,
		"launched": firstLaunch.Add(time.Duration(i) * time.Minute).Format(time.RFC3339),
		"tags":     []any{fmt.Sprint("team-", i%50), fmt.Sprint("cost-center-", i%200)},
		"notes":    fmt.Sprintf("The host number %d, which was made to be found again among the others.", i),
	}, map[string]any{"cluster": h.cluster(i)})
}

// upserts measures how many entities are created and changed a second.
func (b *bench) upserts(ctx context.Context, h *hosts, name string) error {
	for _, kind := range []struct {
		what   string
		entity func() catalog.EntityChange
	}{
		{"created", func() catalog.EntityChange { return h.host(h.count + int(h.made.Add(1)) - 1) }},
		{"changed in one property", func() catalog.EntityChange {
			e := h.host(h.usual())
			e.Merge, e.Entity.Relations, e.Entity.Title = true, nil, catalog.Optional{}
			e.Entity.Properties = map[string]any{"cpus": float64(rand.IntN(1 << 20))}
			return e
		}},
		{"written again as they are", func() catalog.EntityChange {
			e := h.host(h.usual())
			delete(e.Entity.Properties, "cpus") // perhaps changed above
			e.Merge = true
			return e
		}},
	} {
		var rates []float64
		for range b.pairs {
			n, took, err := h.upsertFor(ctx, b.length, kind.entity)
			if err != nil {
				return err
			}
			rates = append(rates, perSecond(n, took))
			if err := h.dropEvents(ctx); err != nil {
				return err
			}
		}
		b.rows = append(b.rows, row{
			fmt.Sprintf("%s: entities %s, %d callers of %d entities a call, among %s", name, kind.what, upserters, upsertAtOnce, thousands(float64(h.count))),
			thousands(median(rates)) + " entities/s", "", "", ""})
	}
	return nil
}

// usual is the number of a host of the usual writer.
func (h *hosts) usual() int {
	i := rand.IntN(h.count)
	if writerOf(i) == rareWriter {
		i++
	}
	return i
}

func (h *hosts) upsertFor(ctx context.Context, length time.Duration, entity func() catalog.EntityChange) (n int, took time.Duration, err error) {
	var total atomic.Int64
	var running sync.WaitGroup
	var mu sync.Mutex
	start := time.Now()
	for range upserters {
		running.Go(func() {
			for time.Since(start) < length {
				changes := make([]catalog.EntityChange, 0, upsertAtOnce)
				for range upsertAtOnce {
					changes = append(changes, entity())
				}
				if e := h.apply(ctx, usualWriter, changes); e != nil {
					mu.Lock()
					err = errors.Join(err, e)
					mu.Unlock()
					return
				}
				total.Add(upsertAtOnce)
			}
		})
	}
	running.Wait()
	return int(total.Load()), time.Since(start), err
}

// search measures a kind of search and the bare query beside it, in turns.
func (b *bench) search(ctx context.Context, h *hosts, name string, q hostQuery) error {
	var bare, ours [2][]time.Duration
	var ratios [2][]float64
	found := 0
	searches := searchesOfKind
	if q.bare == "" {
		searches = 3
	}
	for n := range b.pairs {
		var one, other latencies
		for i := range searches {
			// Each of them has hosts of its own, that nobody has read lately.
			x := (n*searches + i) * 7919 % h.count
			query, _ := q.search(x)
			start := time.Now()
			page, err := h.c.Search(ctx, query, catalog.SearchOptions{Blueprint: q.blueprint})
			if refused, ok := errors.AsType[*catalog.Error](err); ok && refused.Code == catalog.CodeTooBroad && q.bare == "" {
				b.rows = append(b.rows, row{fmt.Sprintf("%s: search %s, of %s", name, q.what, thousands(float64(h.count))), "refused after " + ms(time.Since(start)), "", "", ""})
				return nil
			}
			if err != nil {
				return err
			}
			other = append(other, time.Since(start))
			found = max(found, len(page.Entities))
			if q.bare == "" {
				continue
			}
			_, args := q.search((x + h.count/2) % h.count)
			start = time.Now()
			if err := h.bare(ctx, q.bare, args); err != nil {
				return err
			}
			one = append(one, time.Since(start))
		}
		for i, p := range []float64{50, 99} {
			bare[i], ours[i] = append(bare[i], one.at(p)), append(ours[i], other.at(p))
			if q.bare != "" {
				ratios[i] = append(ratios[i], float64(other.at(p))/float64(one.at(p)))
			}
		}
	}
	r := row{
		fmt.Sprintf("%s: search %s, %d found of %s", name, q.what, found, thousands(float64(h.count))),
		fmt.Sprintf("p50 %s, p99 %s", ms(median(ours[0])), ms(median(ours[1]))), "", "", ""}
	if q.bare != "" {
		r.beside = fmt.Sprintf("bare indexed query: p50 %s, p99 %s", ms(median(bare[0])), ms(median(bare[1])))
		r.ratio = spread(ratios[0]) + " of p50, " + spread(ratios[1]) + " of p99"
	}
	b.rows = append(b.rows, r)
	return nil
}

// bare runs a query and reads its rows whole.
func (h *hosts) bare(ctx context.Context, query string, args []any) error {
	rows, err := h.db.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var identifier, properties string
		if err := rows.Scan(&id, &identifier, &properties); err != nil {
			return err
		}
	}
	return rows.Err()
}
