package exporter

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// maxAccounts bounds how many cloud accounts are followed, and maxQueues their queues.
const (
	maxAccounts    = 1000
	maxQueues      = 1000
	maxDescription = 256
)

// Account is a cloud account whose resources are followed.
type Account struct {
	Account     string // 12 digits
	Description string
	// HomeRegion is the region of a pass of the configuration that names none.
	HomeRegion string
	// Enabled: one that is not is left as it is; its queues are not read and it is not
	// synced.
	Enabled              bool
	CreatedAt, UpdatedAt time.Time
}

// PutAccount has an account followed, or changes how. Its errors are *httpapi.Error
// where the account is not usable.
func (x *Exporter) PutAccount(ctx context.Context, a Account) (Account, error) {
	switch {
	case !auth.IsAccount(a.Account):
		return a, httpapi.Invalid("account %q is not an AWS account id: 12 digits.", a.Account)
	case !event.IsRegion(a.HomeRegion):
		return a, httpapi.Invalid("home_region %q is not the code of a region, such as eu-west-1.", a.HomeRegion)
	case utf8.RuneCountInString(a.Description) > maxDescription:
		return a, httpapi.Invalid("description is longer than %d characters.", maxDescription)
	}
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		list, err := listAccounts(ctx, tx)
		if err != nil {
			return err
		}
		a.CreatedAt, a.UpdatedAt = x.now(), x.now()
		known := false
		for _, old := range list {
			if old.Account == a.Account {
				a.CreatedAt, known = old.CreatedAt, true
			}
		}
		if !known && len(list) >= maxAccounts {
			return httpapi.Invalid("The exporter follows at most %d accounts.", maxAccounts)
		}
		return saveAccount(ctx, tx, a)
	})
	if err != nil {
		return a, fmt.Errorf("put account %s: %w", a.Account, err)
	}
	x.wakePollers()
	return a, nil
}

// Account returns an account that is followed; an *httpapi.Error if it is not.
func (x *Exporter) Account(ctx context.Context, account string) (Account, error) {
	a, found, err := loadAccount(ctx, x.db, account)
	if err != nil {
		return a, fmt.Errorf("read account %s: %w", account, err)
	}
	if !found {
		return a, noAccount(account)
	}
	return a, nil
}

func noAccount(account string) error {
	return httpapi.NotFound("The exporter does not follow account %q. Follow it with `rialto exporter install`.", account)
}

// Accounts lists the accounts that are followed.
func (x *Exporter) Accounts(ctx context.Context) ([]Account, error) {
	list, err := listAccounts(ctx, x.db)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// Places lists the accounts and regions of which entities are, or may have been, written,
// as Datasource takes them, each once.
func (x *Exporter) Places(ctx context.Context) ([]ScopeKey, error) {
	scopes, err := knownScopes(ctx, x.db)
	if err != nil {
		return nil, fmt.Errorf("list the regions of known resources: %w", err)
	}
	accounts, err := x.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	cfg, err := x.Config(ctx)
	if err != nil {
		return nil, err
	}
	list := wantedScopes(cfg.Parsed(), accounts)
	for _, a := range accounts {
		list = append(list, ScopeKey{Account: a.Account, Region: a.HomeRegion})
	}
	list = slices.AppendSeq(list, maps.Keys(scopes))
	for i := range list {
		list[i].Kind = ""
	}
	slices.SortFunc(list, compareScopes)
	return slices.Compact(list), nil
}

// DeleteAccount stops following an account and forgets its queues, which themselves stay
// where they are. What was exported of it stays until a full sync may remove it.
func (x *Exporter) DeleteAccount(ctx context.Context, account string) error {
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		found, err := deleteAccount(ctx, tx, account)
		if err == nil && !found {
			err = noAccount(account)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete account %s: %w", account, err)
	}
	x.wakePollers()
	return nil
}
