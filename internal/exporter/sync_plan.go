package exporter

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

// planChunk is how many scopes one transaction writes.
const planChunk = 100

// unrememberedScope stands for the entities in the sink that are ours and of no
// resource.
var unrememberedScope = ScopeKey{}

// plan writes down the run's scopes: those that the configuration asks for, those
// that it no longer asks for, and the sink's own.
func (s *syncing) plan(ctx context.Context) error {
	x := s.x
	scopes, err := s.scopesOf(ctx)
	if err != nil {
		return err
	}
	// A plan that a kill has cut short is made anew: the configuration may have changed.
	if err := x.deleteRunRows(ctx, s.run.ID, "exporter_sync_scopes"); err != nil {
		return err
	}
	for i := range scopes {
		scopes[i].RunID, scopes[i].Stage, scopes[i].position = s.run.ID, stageWaiting, i+1
	}
	for chunk := range slices.Chunk(scopes, planChunk) {
		err := x.db.Update(ctx, func(tx *store.Tx) error {
			if err := x.guard(ctx, tx); err != nil {
				return err
			}
			for i := range chunk {
				if err := insertScope(ctx, tx, &chunk[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write the plan: %w", err)
		}
	}
	s.run.planned = true
	return s.save(ctx)
}

// errNothing is why there is nothing to sync.
var errNothing = errors.New("nothing to sync")

func (s *syncing) scopesOf(ctx context.Context) ([]SyncScope, error) {
	known, err := knownScopes(ctx, s.x.db)
	if err != nil {
		return nil, fmt.Errorf("count the known resources: %w", err)
	}
	wanted := wantedScopes(s.cfg, s.enabled())
	scopes := make([]SyncScope, 0, len(wanted))
	for _, k := range wanted {
		scopes = append(scopes, SyncScope{ScopeKey: k, Source: sourceConfigured, Counts: SyncTotals{Expected: known[k]}})
	}
	if !s.cfg.SkipDelete {
		scopes = append(scopes, s.unwantedScopes(known, wanted)...)
	}
	scopes = slices.DeleteFunc(scopes, func(c SyncScope) bool { return !s.run.Selection.has(c.ScopeKey) })
	if s.run.Selection.all() && !s.cfg.SkipDelete {
		scopes = append(scopes, SyncScope{ScopeKey: unrememberedScope, Source: sourceUnremembered})
	}
	if s.run.Confirms != "" {
		held, err := heldScopes(ctx, s.x.db, s.run.Confirms)
		if err != nil {
			return nil, fmt.Errorf("load what run %s held: %w", s.run.Confirms, err)
		}
		scopes = slices.DeleteFunc(scopes, func(c SyncScope) bool { return !slices.Contains(held, c.ScopeKey) })
	}
	if len(scopes) == 0 || len(scopes) == 1 && scopes[0].Source == sourceUnremembered && s.run.Confirms == "" {
		return nil, s.nothingToSync()
	}
	return scopes, nil
}

func (s *syncing) nothingToSync() error {
	switch {
	case len(s.enabled()) == 0:
		return fmt.Errorf("%w: the exporter follows no cloud account, or none that is enabled; 'rialto exporter install' adds one", errNothing)
	case len(s.cfg.Resources) == 0:
		return fmt.Errorf("%w: there is no configuration; 'rialto exporter config' puts one in force", errNothing)
	case s.run.Confirms != "":
		return fmt.Errorf("%w: what was held is no longer there", errNothing)
	case !s.run.Selection.all():
		return fmt.Errorf("%w: the configuration asks for nothing of what was selected", errNothing)
	}
	return fmt.Errorf("%w: the configuration asks for no kind in the accounts that are followed", errNothing)
}

func (s Selection) has(k ScopeKey) bool {
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return in(s.Accounts, k.Account) && in(s.Regions, k.Region) && in(s.Kinds, k.Kind)
}

// wantedScopes are the scopes that the configuration asks for, the kinds in its
// order, as entities are related to those of earlier ones; of a kind one scope of
// each account before the next, so that no account's budget holds the others up.
func wantedScopes(cfg *config.Config, accounts []Account) []ScopeKey {
	type place struct {
		ScopeKey
		nth int
	}
	var list []place
	for _, kind := range cfg.Kinds() {
		from := len(list)
		for i := range accounts {
			for nth, region := range regionsOf(cfg, &accounts[i], kind) {
				list = append(list, place{ScopeKey{accounts[i].Account, region, kind}, nth})
			}
		}
		slices.SortStableFunc(list[from:], func(a, b place) int { return cmp.Compare(a.nth, b.nth) })
	}
	keys := make([]ScopeKey, len(list))
	for i := range list {
		keys[i] = list[i].ScopeKey
	}
	return keys
}

// regionsOf are the regions, as keys have them, in which the configuration asks for
// a kind of an account.
func regionsOf(cfg *config.Config, a *Account, kind string) (regions []string) {
	for _, r := range cfg.Of(kind) {
		named := r.Regions
		if named == nil {
			named = []string{a.HomeRegion}
		}
		for _, region := range named {
			region = reader.Region(kind, region)
			if selects(r, a.Account, region, a.HomeRegion) && !slices.Contains(regions, region) {
				regions = append(regions, region)
			}
		}
	}
	return regions
}

// unwantedScopes are those of which resources are known although the configuration
// no longer asks for them, or the account is no longer followed. An account that is
// not enabled is left as it is.
func (s *syncing) unwantedScopes(known map[ScopeKey]int64, wanted []ScopeKey) []SyncScope {
	asked := make(map[ScopeKey]bool, len(wanted))
	for _, k := range wanted {
		asked[k] = true
	}
	var scopes []SyncScope
	for k, n := range known {
		if a, followed := s.accounts[k.Account]; followed && !a.Enabled {
			continue
		}
		if !asked[k] {
			scopes = append(scopes, SyncScope{ScopeKey: k, Source: sourceUnconfigured, Counts: SyncTotals{Expected: n}})
		}
	}
	slices.SortFunc(scopes, func(a, b SyncScope) int { return cmp.Compare(a.ScopeKey.String(), b.ScopeKey.String()) })
	return scopes
}

// listQueries are the lists that together hold a scope's resources: one for each
// model and each set of list parameters that a pass over it has, each once.
func listQueries(cfg *config.Config, a Account, k ScopeKey) (list []reader.ListQuery, digest string, err error) {
	seen := map[string]bool{}
	for _, r := range cfg.Of(k.Kind) {
		if !selects(r, a.Account, k.Region, a.HomeRegion) {
			continue
		}
		models := r.Models[k.Region]
		if len(models) == 0 {
			models = []string{""}
		}
		for _, model := range models {
			q := reader.ListQuery{Model: model, Parameters: r.ListParameters}
			text, err := json.Marshal([]any{q.Model, q.Parameters})
			if err != nil {
				return nil, "", fmt.Errorf("list parameters of %s: %w", k.Kind, err)
			}
			if !seen[string(text)] {
				seen[string(text)] = true
				list = append(list, q)
				digest += string(text)
			}
		}
	}
	sum := sha256.Sum256([]byte(digest))
	return list, hex.EncodeToString(sum[:8]), nil
}
