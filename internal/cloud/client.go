package cloud

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// attemptTime bounds one attempt of a call of Clients, its answer included.
const attemptTime = 30 * time.Second

// Clients are the SDK clients with which an account's resources in one region are
// read, held to the account's rate budget for each service. They wait out
// throttling for as long as the caller's context has time.
type Clients struct {
	CloudControl   *cloudcontrol.Client
	CloudFormation *cloudformation.Client
	EC2            *ec2.Client
	LoadBalancers  *elasticloadbalancingv2.Client
	Certificates   *acm.Client
	Caches         *elasticache.Client
}

// Clients returns the clients for a region of the account, AWS's own where it is
// configured as real and the box's where not. Ask again for each call: the settings
// may have changed. Errors are those of EC2, and ErrWrongAccount where the settings'
// keys turn out to be another account's.
func (a *Accounts) Clients(ctx context.Context, account, region string) (*Clients, error) {
	cfg, c, err := a.config(ctx, account, region)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return a.boxClients(ctx, account, cfg)
	}
	if err := c.verify(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.clients[region]; have != nil {
		return have, nil
	}
	if len(c.clients) == maxRegions {
		clear(c.clients)
	}
	// Kept, since a client remembers how far our clock is off.
	c.clients[region] = newClients(cfg, func(service string) *budget { return c.budgets[service] })
	return c.clients[region], nil
}

// CloudFormation returns a client for the stacks of an account in a region, as
// Clients does.
func (a *Accounts) CloudFormation(ctx context.Context, account, region string) (*cloudformation.Client, error) {
	c, err := a.Clients(ctx, account, region)
	if err != nil {
		return nil, err
	}
	return c.CloudFormation, nil
}

// boxKey is all that clients for the box are made of.
type boxKey struct{ account, region, endpoint, id, secret string }

// maxBoxClients bounds the clients that are kept for the box.
const maxBoxClients = 1024

// boxClients returns clients for the box, which has no rate budget.
func (a *Accounts) boxClients(ctx context.Context, account string, cfg aws.Config) (*Clients, error) {
	key, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	k := boxKey{account, cfg.Region, aws.ToString(cfg.BaseEndpoint), key.AccessKeyID, key.SecretAccessKey}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.boxes[k]; c != nil {
		return c, nil
	}
	if a.boxes == nil || len(a.boxes) == maxBoxClients {
		a.boxes = map[boxKey]*Clients{}
	}
	c := newClients(cfg, func(string) *budget { return nil })
	a.boxes[k] = c
	return c, nil
}

// The services that have a rate budget of their own.
const (
	serviceEC2            = "ec2"
	serviceCloudControl   = "cloudcontrol"
	serviceCloudFormation = "cloudformation"
	serviceLoadBalancers  = "elasticloadbalancing"
	serviceCertificates   = "acm"
	serviceCaches         = "elasticache"
)

func newClients(cfg aws.Config, of func(service string) *budget) *Clients {
	cfg.HTTPClient = timedClient{cfg.HTTPClient}
	with := func(service string) aws.Config { return withBudget(cfg, of(service), maxAttempts) }
	return &Clients{
		CloudControl: cloudcontrol.NewFromConfig(with(serviceCloudControl)), CloudFormation: cloudformation.NewFromConfig(with(serviceCloudFormation)),
		EC2: ec2.NewFromConfig(with(serviceEC2)), LoadBalancers: elasticloadbalancingv2.NewFromConfig(with(serviceLoadBalancers)),
		Certificates: acm.NewFromConfig(with(serviceCertificates)), Caches: elasticache.NewFromConfig(with(serviceCaches)),
	}
}

// timedClient bounds the time of each attempt, so that an endpoint that hangs takes
// none of those that follow.
type timedClient struct{ inner aws.HTTPClient }

// Do makes the attempt.
func (c timedClient) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), attemptTime)
	answer, err := c.inner.Do(r.WithContext(ctx))
	if err != nil {
		cancel()
		return answer, err
	}
	answer.Body = &timedBody{answer.Body, cancel}
	return answer, nil
}

// timedBody ends the attempt's time when it is closed.
type timedBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close closes the answer.
func (b *timedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
