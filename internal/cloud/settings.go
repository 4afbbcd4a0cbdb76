package cloud

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// The rate budget of an account where none is set. AWS: EC2 refills 20
// DescribeInstances calls a second per account and region; this leaves most of
// it to the account's owner. Deliveries and the queues of sources are not held to
// it: AWS throttles those itself, and they are tried again.
const (
	DefaultRequestsPerSecond = 10
	DefaultBurst             = 40
)

// Budget is a service's rate budget; 0 stands for the account's.
type Budget struct {
	RequestsPerSecond float64 `json:"requests_per_second,omitempty"`
	Burst             int     `json:"burst,omitempty"`
}

// budgetServices are the services that have budgets.
var budgetServices = []string{
	serviceEC2, serviceCloudControl, serviceCloudFormation, serviceLoadBalancers, serviceCertificates, serviceCaches,
}

// The limits of a rate budget.
const (
	minRequestsPerSecond = 0.001
	maxRequestsPerSecond = 10_000
	maxBurst             = 10_000
)

// Settings say how a real account is reached. With neither role, profile nor
// access key, the SDK's usual chain finds the credentials.
type Settings struct {
	// AccountID is 12 digits.
	AccountID   string
	Description string
	// RoleARN is a role of that account to assume; ExternalID is what its trust
	// policy may ask for.
	RoleARN    string
	ExternalID string
	// Profile names a profile of the shared AWS configuration files.
	Profile string
	// AccessKeyID is a static access key; its secret is given to Put and never
	// returned. Not together with Profile.
	AccessKeyID string
	// EndpointURL replaces AWS's own endpoints; empty for AWS.
	EndpointURL string
	// Regions are those that may be reached; empty for all.
	Regions []string
	// RequestsPerSecond and Burst are the account's rate budget for the reads of each
	// service, in all regions together; 0 for the defaults. AWS's throttling halves
	// the rate, which then grows back to this one within a minute.
	RequestsPerSecond float64
	Burst             int
	// Budgets are the rate budgets of services that have one of their own: of ec2,
	// cloudcontrol, cloudformation, elasticloadbalancing, acm and elasticache.
	Budgets   map[string]Budget
	CreatedAt time.Time
	UpdatedAt time.Time

	sealed []byte
}

// budgets returns a budget for each service.
func (s *Settings) budgets() map[string]*budget {
	m := map[string]*budget{}
	for _, service := range budgetServices {
		r, b := s.RequestsPerSecond, s.Burst
		if own, ok := s.Budgets[service]; ok {
			r, b = cmp.Or(own.RequestsPerSecond, r), cmp.Or(own.Burst, b)
		}
		m[service] = newBudget(cmp.Or(r, DefaultRequestsPerSecond), cmp.Or(b, DefaultBurst))
	}
	return m
}

// homeRegion is where calls go that belong to no region, such as those to STS.
func (s *Settings) homeRegion() string {
	if len(s.Regions) > 0 {
		return s.Regions[0]
	}
	partition, _, _ := strings.Cut(strings.TrimPrefix(s.RoleARN, "arn:"), ":")
	return event.GlobalRegion(partition)
}

// checkRegion returns ErrRegion for a region that the settings leave out.
func (s *Settings) checkRegion(region string) error {
	// A region comes from the ARNs of users and becomes part of a host's name.
	if !event.IsRegion(region) {
		return fmt.Errorf("account %s: %w: %q does not look like us-east-1", s.AccountID, ErrRegion, region)
	}
	if len(s.Regions) == 0 || slices.Contains(s.Regions, region) {
		return nil
	}
	return fmt.Errorf("account %s: %w: %s is not one of %s", s.AccountID, ErrRegion, region, strings.Join(s.Regions, ", "))
}

var (
	accountForm    = regexp.MustCompile(`^[0-9]{12}$`)
	roleForm       = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/[\w+=,.@/-]{1,512}$`)
	externalIDForm = regexp.MustCompile(`^[\w+=,./-]{2,}$`)
	accessKeyForm  = regexp.MustCompile(`^\w{16,128}$`)
	profileForm    = regexp.MustCompile(`^[\w.@+ -]{1,128}$`)
)

// maxRegions bounds the list of an account's regions.
const maxRegions = 64

func (s *Settings) validate(secret string) error {
	if !accountForm.MatchString(s.AccountID) {
		return invalid("account id %q is not 12 digits", s.AccountID)
	}
	if utf8.RuneCountInString(s.Description) > 512 {
		return invalid("the description is longer than 512 characters")
	}
	if err := s.validateCredentials(secret); err != nil {
		return err
	}
	if s.EndpointURL != "" {
		u, err := url.Parse(s.EndpointURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || len(s.EndpointURL) > 2048 {
			return invalid("endpoint URL %q is not an http or https URL", s.EndpointURL)
		}
	}
	if len(s.Regions) > maxRegions {
		return invalid("%d regions are more than the %d allowed", len(s.Regions), maxRegions)
	}
	for i, r := range s.Regions {
		if !event.IsRegion(r) {
			return invalid("region %q does not look like us-east-1", r)
		}
		if slices.Contains(s.Regions[:i], r) {
			return invalid("region %s is there twice", r)
		}
	}
	return s.validateBudgets()
}

func (s *Settings) validateBudgets() error {
	if err := validateBudget("", s.RequestsPerSecond, s.Burst); err != nil {
		return err
	}
	for _, service := range slices.Sorted(maps.Keys(s.Budgets)) {
		if !slices.Contains(budgetServices, service) {
			return invalid("budgets.%s: %s has no budget of its own; %s have", service, service, strings.Join(budgetServices, ", "))
		}
		b := s.Budgets[service]
		if err := validateBudget("budgets."+service+".", b.RequestsPerSecond, b.Burst); err != nil {
			return err
		}
	}
	return nil
}

func validateBudget(path string, rate float64, burst int) error {
	if !(rate >= 0 && rate <= maxRequestsPerSecond) || rate > 0 && rate < minRequestsPerSecond {
		return invalid("%srequests_per_second must be from %v to %d, or 0 for the default of %d", path, minRequestsPerSecond, maxRequestsPerSecond, DefaultRequestsPerSecond)
	}
	if burst < 0 || burst > maxBurst {
		return invalid("%sburst must be from 0 (the default, %d) to %d", path, DefaultBurst, maxBurst)
	}
	return nil
}

func (s *Settings) validateCredentials(secret string) error {
	if s.RoleARN != "" {
		m := roleForm.FindStringSubmatch(s.RoleARN)
		if m == nil {
			return invalid("role ARN %q does not look like arn:aws:iam::%s:role/NAME", s.RoleARN, s.AccountID)
		}
		if m[1] != s.AccountID {
			return invalid("role ARN %q is a role of account %s, not of %s", s.RoleARN, m[1], s.AccountID)
		}
	}
	if s.ExternalID != "" && s.RoleARN == "" {
		return invalid("an external id is given without a role ARN")
	}
	if s.ExternalID != "" && (len(s.ExternalID) > 1224 || !externalIDForm.MatchString(s.ExternalID)) {
		return invalid("the external id may have 2 to 1224 letters, digits and _+=,.@:/-")
	}
	if s.Profile != "" && !profileForm.MatchString(s.Profile) {
		return invalid("profile %q is not a profile's name", s.Profile)
	}
	if s.Profile != "" && s.AccessKeyID != "" {
		return invalid("give a profile or an access key, not both")
	}
	if s.AccessKeyID != "" && !accessKeyForm.MatchString(s.AccessKeyID) {
		return invalid("access key id %q does not look like one", s.AccessKeyID)
	}
	if secret != "" && s.AccessKeyID == "" {
		return invalid("a secret access key is given without an access key id")
	}
	if len(secret) > 256 {
		return invalid("the secret access key is longer than 256 characters")
	}
	return nil
}

// Put sets how an account is reached, replacing what was set before. An empty
// secret keeps the one already held for the same access key id. A role without
// an external id gets the one it had, or a new one, for its trust policy to ask
// for. Errors of the caller's doing wrap ErrInvalid.
func (a *Accounts) Put(ctx context.Context, s Settings, secret string) (Settings, error) {
	if err := s.validate(secret); err != nil {
		return Settings{}, err
	}
	var sealed []byte
	if secret != "" {
		sealed = a.o.Sealer.Seal(sealPurpose(s.AccountID), []byte(secret))
	}
	newExternalID := uuid.NewString()
	var saved Settings
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		tx.OnCommit(func() { a.known.forget(s.AccountID) })
		saved = s
		saved.Regions, saved.Budgets = slices.Clone(s.Regions), maps.Clone(s.Budgets)
		old, found, err := loadSettings(ctx, tx, s.AccountID)
		if err != nil {
			return err
		}
		saved.UpdatedAt = a.o.Now().UTC().Truncate(time.Millisecond)
		saved.CreatedAt = saved.UpdatedAt
		if found {
			saved.CreatedAt = old.CreatedAt
			// The time is also the version by which clients see a change.
			if !saved.UpdatedAt.After(old.UpdatedAt) {
				saved.UpdatedAt = old.UpdatedAt.Add(time.Millisecond)
			}
		}
		saved.sealed = sealed
		if secret == "" && saved.AccessKeyID != "" {
			if !found || old.AccessKeyID != saved.AccessKeyID {
				return invalid("access key %s needs its secret", saved.AccessKeyID)
			}
			saved.sealed = old.sealed
		}
		if saved.RoleARN != "" && saved.ExternalID == "" {
			saved.ExternalID = newExternalID
			if found && old.RoleARN == saved.RoleARN {
				saved.ExternalID = old.ExternalID
			}
		}
		return saveSettings(ctx, tx, saved)
	})
	if err != nil {
		return Settings{}, fmt.Errorf("configure account %s: %w", s.AccountID, err)
	}
	return saved, nil
}

// Get returns an account's settings, or ErrNotConfigured.
func (a *Accounts) Get(ctx context.Context, account string) (Settings, error) {
	s, found, err := loadSettings(ctx, a.db, account)
	if err == nil && !found {
		err = ErrNotConfigured
	}
	if err != nil {
		return Settings{}, fmt.Errorf("account %s: %w", account, err)
	}
	return s, nil
}

// List returns all accounts that are configured as real, by account id.
func (a *Accounts) List(ctx context.Context) ([]Settings, error) {
	return listSettings(ctx, a.db)
}

// Delete forgets an account's settings, so that the box serves it again. It
// returns ErrNotConfigured when there are none.
func (a *Accounts) Delete(ctx context.Context, account string) error {
	err := a.db.Update(ctx, func(tx *store.Tx) error {
		tx.OnCommit(func() { a.known.forget(account) })
		found, err := deleteSettings(ctx, tx, account)
		if err == nil && !found {
			err = ErrNotConfigured
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("account %s: %w", account, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.configs[account].closeIdle()
	delete(a.configs, account)
	return nil
}

func sealPurpose(account string) string { return "cloud account " + account }
