// Package cloud reaches AWS accounts: it keeps how each real account is reached
// (role, keys, endpoint, regions, rate budget) and hands out aws-sdk-go-v2
// configurations and clients. An account that is not configured here is served
// by the box, over HTTP on our own port, like any other.
//
// It decides nothing about what is read or done there, and its endpoints are set
// by admins, so the outbound guard does not apply to them.
package cloud

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/rialto-bus/rialto/internal/store"
)

// Sealer encrypts secrets at rest. The purpose is bound to what was sealed: it
// opens under that purpose only.
type Sealer interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Options are what Open needs.
type Options struct {
	// BoxEndpoint returns the URL of our own port, asked at each use as the port
	// may be picked at start.
	BoxEndpoint func() string
	// BoxCredentials returns the access key with which we call our own port as
	// an account.
	BoxCredentials func(account string) (id, secret string)
	// Sealer keeps static secret keys.
	Sealer Sealer
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Accounts knows how each account is reached. Its methods are safe for
// concurrent use.
type Accounts struct {
	db  *store.DB
	o   Options
	box *http.Client

	known cache
	// credentialsTime is credentialsTime, but in tests.
	credentialsTime time.Duration

	mu      sync.Mutex
	configs map[string]*accountConfig // by account
	boxes   map[boxKey]*Clients
}

// accountConfig is what was made of one state of an account's settings. Its
// role credentials and its rate budgets, which are for reads, are shared by all
// regions.
type accountConfig struct {
	updatedAt time.Time
	settings  Settings
	budgets   map[string]*budget // by service
	base      aws.Config
	transport *http.Transport // nil: the SDK's client is not one of its own
	verified  atomic.Bool     // the credentials are the account's

	mu       sync.Mutex
	services map[string]*Services   // by region
	sqs      map[string]*sqs.Client // by region
	clients  map[string]*Clients    // by region
}

// credentialsBackoff is how long at most STS is left alone before it is asked again: a call that
// waits for its answer may have no more than a target's five seconds.
const credentialsBackoff = time.Second

func stsClient(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = credentialsBackoff })
	})
}

// credentialsTime bounds how long an account's credentials are waited for. All
// callers share one wait, which the SDK lets go on when they have gone.
const credentialsTime = 30 * time.Second

// idleConnections is how many connections to one host are kept.
const idleConnections = 64

// renewCredentials is how long before their end credentials are renewed: AWS would
// refuse a call that arrives after it for good, and its clock is not ours.
const renewCredentials = 5 * time.Minute

// Open returns the accounts kept in db.
func Open(db *store.DB, o Options) *Accounts {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil // our own port is never behind a proxy
	t.MaxIdleConnsPerHost = idleConnections
	return &Accounts{db: db, o: o, box: &http.Client{Transport: t, Timeout: time.Minute}, credentialsTime: credentialsTime, configs: map[string]*accountConfig{}}
}

// Close drops the idle connections.
func (a *Accounts) Close() {
	a.box.CloseIdleConnections()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.configs {
		c.closeIdle()
	}
}

func (c *accountConfig) closeIdle() {
	if c != nil && c.transport != nil {
		c.transport.CloseIdleConnections()
	}
}

// Real reports whether the account is configured as a real one; the box serves
// all others.
func (a *Accounts) Real(ctx context.Context, account string) (bool, error) {
	_, found, err := a.settings(ctx, account)
	return found, err
}

// EC2 returns a client for the account in a region. The error says what is
// wrong with the account's settings, or names a region that they leave out
// (ErrRegion).
func (a *Accounts) EC2(ctx context.Context, account, region string) (*ec2.Client, error) {
	cfg, c, err := a.config(ctx, account, region)
	if err != nil {
		return nil, err
	}
	if c != nil {
		cfg = withBudget(cfg, c.budgets[serviceEC2], faultAttempts)
	}
	return ec2.NewFromConfig(cfg), nil
}

// Regions returns the regions of an account: those that its settings name, or
// else all that DescribeRegions says are enabled.
func (a *Accounts) Regions(ctx context.Context, account string) ([]string, error) {
	s, _, err := a.settings(ctx, account)
	if err != nil {
		return nil, fmt.Errorf("read the settings of account %s: %w", account, err)
	}
	if len(s.Regions) > 0 {
		return s.Regions, nil
	}
	client, err := a.EC2(ctx, account, s.homeRegion())
	if err != nil {
		return nil, err
	}
	out, err := client.DescribeRegions(ctx, &ec2.DescribeRegionsInput{})
	if err != nil {
		return nil, fmt.Errorf("list the regions of account %s: %w", account, err)
	}
	var names []string
	for _, r := range out.Regions {
		names = append(names, aws.ToString(r.RegionName))
	}
	slices.Sort(names)
	return names, nil
}

// Config returns the SDK configuration for the account in a region: AWS's own
// where the account is configured as real, and that of the box where not.
// Its calls are not held to the rate budget. Errors are those of EC2.
func (a *Accounts) Config(ctx context.Context, account, region string) (aws.Config, error) {
	cfg, _, err := a.config(ctx, account, region)
	return cfg, err
}

// config also returns what was made of a real account's settings, nil for the box.
func (a *Accounts) config(ctx context.Context, account, region string) (aws.Config, *accountConfig, error) {
	s, found, err := a.settings(ctx, account)
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("read the settings of account %s: %w", account, err)
	}
	if !found {
		return a.boxConfig(account, region), nil, nil
	}
	if err := s.checkRegion(region); err != nil {
		return aws.Config{}, nil, err
	}
	c, err := a.realConfig(ctx, s)
	if err != nil {
		return aws.Config{}, nil, fmt.Errorf("configure account %s: %w", account, err)
	}
	cfg := c.base.Copy()
	cfg.Region = region
	return cfg, c, nil
}

func (a *Accounts) boxConfig(account, region string) aws.Config {
	id, secret := a.o.BoxCredentials(account)
	return aws.Config{
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(id, secret, ""),
		BaseEndpoint: aws.String(a.o.BoxEndpoint()),
		HTTPClient:   a.box,
	}
}

// realConfig returns what was made of the account's settings, anew if they
// changed since.
func (a *Accounts) realConfig(ctx context.Context, s Settings) (*accountConfig, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.configs[s.AccountID]; c != nil && c.updatedAt.Equal(s.UpdatedAt) {
		return c, nil
	}
	c := &accountConfig{updatedAt: s.UpdatedAt, settings: s, budgets: s.budgets(), services: map[string]*Services{}, sqs: map[string]*sqs.Client{}, clients: map[string]*Clients{}}
	if err := a.load(ctx, c); err != nil {
		return nil, err
	}
	a.configs[s.AccountID].closeIdle()
	a.configs[s.AccountID] = c
	return c, nil
}

func (a *Accounts) load(ctx context.Context, c *accountConfig) error {
	s := c.settings
	// What the SDK would log comes back as an error, too.
	opts := []func(*config.LoadOptions) error{config.WithRegion(s.homeRegion()), config.WithLogger(logging.Nop{})}
	if s.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(s.Profile))
	}
	if s.AccessKeyID != "" {
		secret, err := a.o.Sealer.Open(sealPurpose(s.AccountID), s.sealed)
		if err != nil {
			return fmt.Errorf("open the secret key: %w", err)
		}
		opts = append(opts, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(s.AccessKeyID, string(secret), "")))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return err
	}
	// Put around the client only now: the SDK builds it with AWS_CA_BUNDLE and
	// the like, which a client given to LoadDefaultConfig would not get.
	if sdk, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		c.transport = sdk.GetTransport()
		// Full syncs make more calls at once than the SDK keeps connections for.
		c.transport.MaxIdleConnsPerHost = idleConnections
		cfg.HTTPClient = oneCall{c.transport}
	}
	if s.EndpointURL != "" {
		cfg.BaseEndpoint = aws.String(s.EndpointURL)
		cfg.ConfigSources = append([]any{onlyEndpoint{}}, cfg.ConfigSources...)
	} else if cfg.BaseEndpoint != nil && sameHost(*cfg.BaseEndpoint, a.o.BoxEndpoint()) {
		// AWS_ENDPOINT_URL is how people reach us with the AWS CLI. Inherited by
		// our own process it would turn a real account into ourselves.
		cfg.BaseEndpoint = nil
	}
	if s.RoleARN != "" {
		cfg.Credentials = stscreds.NewAssumeRoleProvider(stsClient(cfg), s.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "rialto"
			if s.ExternalID != "" {
				o.ExternalID = aws.String(s.ExternalID)
			}
		})
	}
	cfg.Credentials = aws.NewCredentialsCache(&namedCredentials{account: s.AccountID, inner: cfg.Credentials, time: a.credentialsTime}, func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = renewCredentials
	})
	c.base = cfg
	return nil
}

// onlyEndpoint, among the SDK's sources of configuration, keeps its clients from
// preferring the endpoints of single services that the environment or a profile
// names, as AWS_ENDPOINT_URL_SQS does.
type onlyEndpoint struct{}

// GetIgnoreConfiguredEndpoints has the SDK ignore them.
func (onlyEndpoint) GetIgnoreConfiguredEndpoints(context.Context) (ignore, found bool, err error) {
	return true, true, nil
}

func sameHost(a, b string) bool {
	ua, errA := url.Parse(a)
	ub, errB := url.Parse(b)
	return errA == nil && errB == nil && ua.Host != "" && ua.Host == ub.Host
}

// Identity asks AWS who we are in the account, and checks that it is the account
// that the settings are for. It returns the caller's ARN.
func (a *Accounts) Identity(ctx context.Context, account string) (string, error) {
	s, found, err := loadSettings(ctx, a.db, account)
	if err != nil {
		return "", err
	}
	if !found {
		return "", fmt.Errorf("account %s: %w", account, ErrNotConfigured)
	}
	c, err := a.realConfig(ctx, s)
	if err != nil {
		return "", fmt.Errorf("configure account %s: %w", account, err)
	}
	return c.identity(ctx)
}

// identity asks AWS who we are, and checks that it is the account that the settings
// are for.
func (c *accountConfig) identity(ctx context.Context) (string, error) {
	account := c.settings.AccountID
	out, err := stsClient(c.base).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask AWS who we are in account %s: %w", account, err)
	}
	if got := aws.ToString(out.Account); got != account {
		return "", fmt.Errorf("the credentials for account %s lead to account %s: %w", account, got, ErrWrongAccount)
	}
	c.verified.Store(true)
	return aws.ToString(out.Arn), nil
}

// verify makes sure, once, that the credentials are the account's: in another one
// nothing would be found, and be taken for deleted. A role says which account it is
// of, and an endpoint of one's own may have no STS.
func (c *accountConfig) verify(ctx context.Context) error {
	if c.settings.RoleARN != "" || c.settings.EndpointURL != "" || c.verified.Load() {
		return nil
	}
	_, err := c.identity(ctx)
	return err
}

// oneCall makes calls without following redirects: what is signed and sent is
// for the endpoint that the settings name.
type oneCall struct{ transport *http.Transport }

// Do makes the call.
func (c oneCall) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context())
		r.Body = plainBody{r.Body}
	}
	return c.transport.RoundTrip(r)
}

// plainBody hides the WriteTo of the SDK's request bodies: the SDK closes a body
// once the answer begins, and WriteTo then fails, for which the transport would
// close the connection under the rest of the answer.
type plainBody struct{ io.ReadCloser }
