package exporter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// keptConfigs is how many configurations are kept, the one in force among them.
const keptConfigs = 100

// StoredConfig is a configuration that is or was in force.
type StoredConfig struct {
	// Revision counts from 1; 0 stands for the empty configuration before the first.
	Revision  int64
	Text      string // as it was given
	CreatedAt time.Time
	CreatedBy string // the id of the caller's key
	// Dropped are the scopes that the revision before selected and this one does not, of
	// kinds that it has, at most 1000. PutConfig alone tells them.
	Dropped []ScopeKey

	parsed *config.Config
}

// Parsed returns the configuration, never nil. It is not to be changed.
func (c *StoredConfig) Parsed() *config.Config {
	if c.parsed == nil {
		return &config.Config{}
	}
	return c.parsed
}

// configs keeps the configuration in force, parsed.
type configs struct {
	mu      sync.Mutex
	current *StoredConfig
}

// Config returns the configuration in force; before the first it is empty, with
// revision 0.
func (x *Exporter) Config(ctx context.Context) (*StoredConfig, error) {
	s, err := loadState(ctx, x.db)
	if err != nil {
		return nil, err
	}
	x.configs.mu.Lock()
	defer x.configs.mu.Unlock()
	if c := x.configs.current; c != nil && c.Revision == s.configRevision {
		return c, nil
	}
	c := &StoredConfig{}
	if s.configRevision > 0 {
		if c, err = x.ConfigRevision(ctx, s.configRevision); err != nil {
			return nil, err
		}
	}
	x.configs.current = c
	return c, nil
}

// ConfigRevision returns a configuration that is or was in force.
func (x *Exporter) ConfigRevision(ctx context.Context, revision int64) (*StoredConfig, error) {
	c, found, err := loadConfig(ctx, x.db, revision)
	if err != nil {
		return nil, fmt.Errorf("read configuration %d: %w", revision, err)
	}
	if !found {
		return nil, httpapi.NotFound("The exporter keeps no configuration of revision %d.", revision)
	}
	if c.parsed, err = parseConfig([]byte(c.Text)); err != nil {
		return nil, fmt.Errorf("read configuration %d: %w", revision, err)
	}
	return &c, nil
}

// parseConfig reads the text of a configuration; its warnings also tell of kinds that are misspelt.
func parseConfig(text []byte) (*config.Config, error) {
	c, err := config.Parse(text)
	if err != nil {
		return nil, err
	}
	c.Warnings = append(c.Warnings, kind.CheckNames(c)...)
	return c, nil
}

// Configs lists the configurations that are kept, the newest first, from before a
// revision, or from the newest for 0; at most limit.
func (x *Exporter) Configs(ctx context.Context, before int64, limit int) ([]StoredConfig, error) {
	if before == 0 {
		before = 1 << 62
	}
	list, err := listConfigs(ctx, x.db, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list configurations: %w", err)
	}
	return list, nil
}

// checkListing refuses parameters and models that the lists of their kinds do not take.
func checkListing(c *config.Config) error {
	for i := range c.Resources {
		r := &c.Resources[i]
		path := fmt.Sprintf("resources[%d].selector.aws.", r.Index)
		if err := reader.CheckParameters(r.Kind, r.ListParameters); err != nil {
			return httpapi.Invalid("The configuration is not usable:\n%s%s", path, err)
		}
		for _, region := range slices.Sorted(maps.Keys(r.Models)) {
			for j, model := range r.Models[region] {
				if err := reader.CheckModel(r.Kind, model); err != nil {
					return httpapi.Invalid("The configuration is not usable:\n%sregions_config.%s.resources_models[%d]: %s", path, region, j, err)
				}
			}
		}
	}
	return nil
}

// PutConfig puts a configuration in force: its next revision, or the one that is
// already if the text is the same. base, if not negative, is the revision that it
// is to follow: it is refused if another is in force. An *httpapi.Error says what is wrong with
// the text, with paths.
func (x *Exporter) PutConfig(ctx context.Context, text []byte, by string, base int64) (*StoredConfig, error) {
	parsed, err := parseConfig(text)
	if bad, ok := errors.AsType[*config.Errors](err); ok {
		return nil, httpapi.Invalid("The configuration is not usable:\n%s", bad.Error())
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if err := checkListing(parsed); err != nil {
		return nil, err
	}
	c := &StoredConfig{Text: string(text), CreatedAt: x.now(), CreatedBy: by, parsed: parsed}
	var before string
	var accounts []Account
	err = x.db.Update(ctx, func(tx *store.Tx) error {
		s, err := loadState(ctx, tx)
		if err != nil {
			return err
		}
		if base >= 0 && base != s.configRevision {
			return httpapi.Invalid("The configuration is not put in force: it was made from revision %d, and revision %d is in force now. Look at the changes between the two and try again.", base, s.configRevision)
		}
		last, found, err := loadConfig(ctx, tx, s.configRevision)
		if err != nil {
			return err
		}
		if found && last.Text == c.Text {
			c.Revision, c.CreatedAt, c.CreatedBy = last.Revision, last.CreatedAt, last.CreatedBy
			return nil
		}
		before = last.Text
		if accounts, err = listAccounts(ctx, tx); err != nil {
			return err
		}
		c.Revision = s.configRevision + 1
		if err := insertConfig(ctx, tx, *c); err != nil {
			return err
		}
		if err := dropConfigs(ctx, tx, c.Revision-keptConfigs); err != nil {
			return err
		}
		return setConfigRevision(ctx, tx, c.Revision)
	})
	if err != nil {
		return nil, fmt.Errorf("store the configuration: %w", err)
	}
	if old, err := config.Parse([]byte(before)); err == nil { // there was one
		c.Dropped = droppedScopes(old, parsed, accounts)
	}
	return c, nil
}

// droppedScopes are those that a configuration selected and the next one does not, of kinds
// that the next one has.
func droppedScopes(before, next *config.Config, accounts []Account) []ScopeKey {
	accounts = slices.DeleteFunc(slices.Clone(accounts), func(a Account) bool { return !a.Enabled })
	wanted, kinds := map[ScopeKey]bool{}, next.Kinds()
	for _, key := range wantedScopes(next, accounts) {
		wanted[key] = true
	}
	dropped := slices.DeleteFunc(wantedScopes(before, accounts), func(key ScopeKey) bool {
		return wanted[key] || !slices.Contains(kinds, key.Kind)
	})
	return dropped[:min(len(dropped), config.MaxDropped)]
}
