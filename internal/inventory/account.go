package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// CloudAccount is an AWS account connected to a project. The pair is the unit:
// one account may be connected to several projects, each with its own webhook,
// options and syncs.
type CloudAccount struct {
	// ID is a UUID.
	ID        string
	ProjectID string
	// AccountID is 12 digits.
	AccountID   string
	Description string
	// Regions are those that a full sync lists; with none, it lists all regions of
	// the account.
	Regions []string
	Options AccountOptions
	// ConnectedAt fixes the time of day of the syncs.
	ConnectedAt time.Time
	DeletedAt   time.Time

	// WebhookID and ClientID are empty while the account is not monitored.
	WebhookID   string
	ClientID    string
	MonitoredAt time.Time

	// UnreadAt and UnreadWhy say when events were last taken at their word
	// because the account could not be read, and why.
	UnreadAt  time.Time
	UnreadWhy string
}

// AccountOptions say how a cloud account's instances become servers.
type AccountOptions struct {
	// AddressPreference is "public" or "private": which of an instance's
	// addresses clients dial, the other standing in where it has none.
	AddressPreference string `json:"address_preference"`
	// CanonicalNameFrom is empty or "tag:KEY".
	CanonicalNameFrom string `json:"canonical_name_from"`
	// TagInclude and TagExclude are selectors over instance tags.
	TagInclude string `json:"tag_include"`
	TagExclude string `json:"tag_exclude"`
	// SyncInterval is 5 minutes to 24 hours.
	SyncInterval time.Duration `json:"sync_interval"`
	// RemovalThreshold is the percentage of the account's servers, 0 to 100, above
	// which a sync holds its removals until they are confirmed.
	RemovalThreshold int `json:"removal_threshold"`
	// TrustEvents: take events at their word, without reading the cloud.
	TrustEvents bool `json:"trust_events"`
	// RouteSiblings: hand events of another account to the cloud account of the
	// same project that has it.
	RouteSiblings bool `json:"route_siblings"`
}

// DefaultAccountOptions are those of a cloud account that sets none.
func DefaultAccountOptions() AccountOptions {
	return AccountOptions{AddressPreference: "private", SyncInterval: 24 * time.Hour, RemovalThreshold: 30}
}

// The bounds of a sync interval.
const (
	MinSyncInterval = 5 * time.Minute
	MaxSyncInterval = 24 * time.Hour
)

const maxRegions = 64

func (a *CloudAccount) validate() error {
	if !accountForm.MatchString(a.AccountID) {
		return invalid("account_id %q is not 12 digits.", a.AccountID)
	}
	if err := checkDescription(a.Description); err != nil {
		return err
	}
	if len(a.Regions) > maxRegions {
		return invalid("regions names %d regions, more than the %d allowed; with none, all are listed.", len(a.Regions), maxRegions)
	}
	for i, r := range a.Regions {
		if !event.IsRegion(r) {
			return invalid("Region %q does not look like us-east-1.", r)
		}
		if slices.Contains(a.Regions[:i], r) {
			return invalid("Region %s is there twice.", r)
		}
	}
	return a.Options.validate()
}

func (o *AccountOptions) validate() error {
	if o.AddressPreference != "public" && o.AddressPreference != "private" {
		return invalid("address_preference must be public or private, not %q.", o.AddressPreference)
	}
	if o.CanonicalNameFrom != "" {
		key, ok := strings.CutPrefix(o.CanonicalNameFrom, "tag:")
		if !ok || key == "" || len(key) > 512 {
			return invalid("canonical_name_from must be empty or tag:KEY, such as tag:Name, not %q.", o.CanonicalNameFrom)
		}
	}
	for name, s := range map[string]string{"tag_include": o.TagInclude, "tag_exclude": o.TagExclude} {
		if _, err := ParseSelector(s); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if o.SyncInterval < MinSyncInterval || o.SyncInterval > MaxSyncInterval {
		return invalid("sync_interval must be from %s to %s, not %s.", MinSyncInterval, MaxSyncInterval, o.SyncInterval)
	}
	if o.RemovalThreshold < 0 || o.RemovalThreshold > 100 {
		return invalid("removal_threshold_percent must be from 0 to 100, not %d.", o.RemovalThreshold)
	}
	return nil
}

// excludes reports whether the tag selectors leave an instance out.
func (o *AccountOptions) excludes(tags map[string]string) bool {
	include, err := ParseSelector(o.TagInclude)
	if err == nil && !include.Matches(tags) {
		return true
	}
	exclude, err := ParseSelector(o.TagExclude)
	return err == nil && !exclude.Empty() && exclude.Matches(tags)
}

// ConnectAccount connects an AWS account to a project. Its first full sync runs
// at once, the next ones every SyncInterval from then. It returns ErrInvalid,
// ErrExists or ErrNotFound.
func (v *Inventory) ConnectAccount(ctx context.Context, project string, a CloudAccount) (CloudAccount, error) {
	if err := a.validate(); err != nil {
		return CloudAccount{}, err
	}
	a.ID, a.ConnectedAt = uuid.NewString(), v.now()
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		p, err := projectNamed(ctx, tx, project)
		if err != nil {
			return err
		}
		a.ProjectID = p.ID
		made, err := insertAccount(ctx, tx, a)
		if err != nil {
			return err
		}
		if !made {
			return refuse(ErrExists, "Account %s is connected to project %s already.", a.AccountID, project)
		}
		if err := adoptServers(ctx, tx, a); err != nil {
			return err
		}
		if err := v.announce(ctx, tx, a, "cloud_account.added", nil); err != nil {
			return err
		}
		return v.o.Work.Enqueue(ctx, tx, work.NewJob{Queue: queueSync, Key: a.ID}, work.NewJob{Queue: queuePurge, Key: queuePurge})
	})
	if err != nil {
		return CloudAccount{}, fmt.Errorf("connect account %s: %w", a.AccountID, err)
	}
	return a, nil
}

// Account returns a cloud account of a project, or ErrNotFound.
func (v *Inventory) Account(ctx context.Context, project, id string) (CloudAccount, error) {
	return accountIn(ctx, v.db, project, id)
}

// accountIn finds a cloud account by its UUID or by its 12 digits.
func accountIn(ctx context.Context, q store.Querier, project, id string) (CloudAccount, error) {
	p, err := projectNamed(ctx, q, project)
	if err != nil {
		return CloudAccount{}, err
	}
	list, err := listAccounts(ctx, q, p.ID)
	if err != nil {
		return CloudAccount{}, fmt.Errorf("load cloud account %s: %w", id, err)
	}
	for _, a := range list {
		if a.ID == id || a.AccountID == id {
			return a, nil
		}
	}
	return CloudAccount{}, notFound("Cloud account %s does not exist in project %s.", id, project)
}

// Accounts lists a project's cloud accounts, the first connected first.
func (v *Inventory) Accounts(ctx context.Context, project string) ([]CloudAccount, error) {
	p, err := projectNamed(ctx, v.db, project)
	if err != nil {
		return nil, err
	}
	list, err := listAccounts(ctx, v.db, p.ID)
	if err != nil {
		return nil, fmt.Errorf("list cloud accounts of %s: %w", project, err)
	}
	return list, nil
}

// UpdateAccount sets a cloud account's description, regions and options.
func (v *Inventory) UpdateAccount(ctx context.Context, project, id string, change func(*CloudAccount)) (CloudAccount, error) {
	var a CloudAccount
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if a, err = accountIn(ctx, tx, project, id); err != nil {
			return err
		}
		change(&a)
		if err := a.validate(); err != nil {
			return err
		}
		if err := saveAccount(ctx, tx, a); err != nil {
			return err
		}
		return v.scheduleSync(ctx, tx, a)
	})
	return a, err
}

// DisconnectAccount ends the syncs and the real-time credential of a cloud
// account. Its servers stay, marked as orphaned.
func (v *Inventory) DisconnectAccount(ctx context.Context, project, id string) error {
	return v.db.Update(ctx, func(tx *store.Tx) error {
		a, err := accountIn(ctx, tx, project, id)
		if err != nil {
			return err
		}
		if err := v.stopMonitor(ctx, tx, &a); err != nil {
			return err
		}
		a.DeletedAt = v.now()
		if err := saveAccount(ctx, tx, a); err != nil {
			return err
		}
		if _, err := v.o.Work.Cancel(ctx, tx, queueSync, a.ID); err != nil {
			return err
		}
		return v.announce(ctx, tx, a, "cloud_account.removed", nil)
	})
}

// errDisconnected: the cloud account is no longer of its project.
var errDisconnected = errors.New("the cloud account was disconnected")

// connected returns the cloud account as it is now, or errDisconnected. What was
// read of the cloud is applied in the transaction that asks: reads take long, and
// those of an account that was disconnected meanwhile add no servers.
func connected(ctx context.Context, tx *store.Tx, id string) (CloudAccount, error) {
	a, found, err := loadAccount(ctx, tx, id)
	if err == nil && (!found || !a.DeletedAt.IsZero()) {
		err = errDisconnected
	}
	return a, err
}

// scheduleSync sees to it that the account's job runs at its next time, or at
// once while runs wait.
func (v *Inventory) scheduleSync(ctx context.Context, tx *store.Tx, a CloudAccount) error {
	job := work.NewJob{Queue: queueSync, Key: a.ID, RunAt: nextSync(a, v.now()), Replace: true}
	waiting, err := countOpenRuns(ctx, tx, a.ID)
	if err != nil {
		return err
	}
	if waiting > 0 {
		job.RunAt = time.Time{}
	}
	return v.o.Work.Enqueue(ctx, tx, job)
}

// nextSync is the first time after now that lies a whole number of intervals
// after the connection.
func nextSync(a CloudAccount, now time.Time) time.Time {
	if now.Before(a.ConnectedAt) {
		return a.ConnectedAt
	}
	passed := int64(now.Sub(a.ConnectedAt) / a.Options.SyncInterval)
	return a.ConnectedAt.Add(time.Duration(passed+1) * a.Options.SyncInterval)
}
