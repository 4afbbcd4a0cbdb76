package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/app"
)

const (
	demoAccount = "000000000000"
	demoProject = "web"
	// demoRegion has the rule that calls the webhook; demoSecond forwards to it.
	demoRegion = "us-east-1"
	demoSecond = "eu-west-1"
	demoCount  = 3
	// demoPatience is how long the demo waits for a change before it calls it
	// missing.
	demoPatience = 10 * time.Second
	demoPattern  = `{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"],"detail":{"state":["pending","terminated"]}}`
)

func newDemo(s *streams) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Play the whole story against a temporary server",
		Long: `Start a real server on a temporary directory, connect a rule to the inventory's
webhook, launch and terminate instances in two regions through the AWS SDK, and
check that the inventory follows. Then follow Lambda functions with the exporter: its
queue and the event rule are deployed as stacks, a function is created, changed and
deleted, and the catalog's entity must follow; an event is lost on purpose, and the
full sync must find it. Exits with 1 if something does not.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), s) },
	}
}

func runDemo(ctx context.Context, s *streams) (err error) {
	dir, err := os.MkdirTemp("", "rialto-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	config := app.NewConfig()
	config.Listen, config.DataDir, config.LogLevel, config.EventLogBytes = "127.0.0.1:0", dir, "warn", 256<<20
	logger, err := app.NewLogger(config, s.err)
	if err != nil {
		return err
	}
	server, err := app.Start(ctx, config, logger)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		err = errors.Join(err, server.Wait(serving))
	}()
	d := &demo{s: s, url: server.LocalURL(), start: time.Now(), seen: map[string]time.Time{}}
	// The keys of the environment are for other servers, and may be of another account.
	d.api = &client{server: d.url, anonymous: true}
	d.stepf("A server on a temporary directory serves at %s", d.url)
	return d.play(ctx)
}

// demo is one run of the story.
type demo struct {
	s     *streams
	url   string
	api   *client
	start time.Time

	mu   sync.Mutex
	seen map[string]time.Time // when the stream of events first showed what, such as "server.added i-0abc"
	lost error                // what ended the stream of events
	news chan struct{}
}

// span is from one sighting to another.
type span struct{ from, to string }

func (d *demo) stepf(format string, args ...any) {
	fmt.Fprintf(d.s.out, "%7s  %s\n", time.Since(d.start).Round(time.Millisecond), fmt.Sprintf(format, args...))
}

func (d *demo) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d.news = make(chan struct{}, 1)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	watcher.Go(func() { d.watch(watching) })

	destination, err := d.connect(ctx)
	if err != nil {
		return err
	}
	if err := d.rules(ctx, destination); err != nil {
		return err
	}
	instances := map[string][]string{}
	for _, region := range []string{demoRegion, demoSecond} {
		if instances[region], err = d.launch(ctx, region); err != nil {
			return err
		}
	}
	for _, region := range []string{demoRegion, demoSecond} {
		if err := d.terminate(ctx, region, instances[region]); err != nil {
			return err
		}
	}
	if err := d.playExporter(ctx); err != nil {
		return err
	}
	d.stepf("Done: inventory and catalog were right after every change")
	fmt.Fprint(d.s.out, "\nNext: 'rialto serve', and the README's ten minutes with the AWS CLI.\n")
	return nil
}

// connect makes project, cloud account and webhook, and in the bus the
// connection and the API destination that call it.
func (d *demo) connect(ctx context.Context) (destination string, err error) {
	if err := d.api.do(ctx, http.MethodPost, teamPath("projects"), map[string]any{"name": demoProject}, nil); err != nil {
		return "", fmt.Errorf("create project %s: %w", demoProject, err)
	}
	account, err := addAccount(ctx, d.api, demoProject, accountRequest{AccountID: demoAccount, Provider: "aws", Regions: []string{demoRegion, demoSecond}})
	if err != nil {
		return "", fmt.Errorf("add account %s: %w", demoAccount, err)
	}
	m, err := monitorAccount(ctx, d.api, demoProject, account.row.ID)
	if err != nil {
		return "", fmt.Errorf("monitor account %s: %w", demoAccount, err)
	}
	d.stepf("Project %s follows account %s in %s and %s; its webhook is ready", demoProject, demoAccount, demoRegion, demoSecond)

	return d.createDestination(ctx, demoRegion, m.row)
}

// createDestination makes the connection and the API destination that call the
// webhook.
func (d *demo) createDestination(ctx context.Context, region string, m monitor) (arn string, err error) {
	events := d.events(region)
	connection, err := events.CreateConnection(ctx, &eventbridge.CreateConnectionInput{
		Name: aws.String("inventory"), AuthorizationType: ebtypes.ConnectionAuthorizationTypeOauthClientCredentials,
		AuthParameters: &ebtypes.CreateConnectionAuthRequestParameters{OAuthParameters: &ebtypes.CreateConnectionOAuthRequestParameters{
			AuthorizationEndpoint: aws.String(d.url + "/v1/oauth_token"),
			HttpMethod:            ebtypes.ConnectionOAuthHttpMethodPost,
			ClientParameters:      &ebtypes.CreateConnectionOAuthClientRequestParameters{ClientID: &m.ClientID, ClientSecret: &m.ClientSecret},
			OAuthHttpParameters: &ebtypes.ConnectionHttpParameters{BodyParameters: []ebtypes.ConnectionBodyParameter{
				{Key: aws.String("grant_type"), Value: aws.String("client_credentials")},
			}},
		}},
	})
	if err != nil {
		return "", fmt.Errorf("create the connection: %w", err)
	}
	out, err := events.CreateApiDestination(ctx, &eventbridge.CreateApiDestinationInput{
		Name: aws.String("inventory"), ConnectionArn: connection.ConnectionArn,
		InvocationEndpoint: &m.WebhookURL, HttpMethod: ebtypes.ApiDestinationHttpMethodPost,
	})
	if err != nil {
		return "", fmt.Errorf("create the API destination: %w", err)
	}
	return *out.ApiDestinationArn, nil
}

// rules makes the rule that calls the webhook, and one in the second region that
// forwards to the first.
func (d *demo) rules(ctx context.Context, destination string) error {
	home := "arn:aws:events:" + demoRegion + ":" + demoAccount + ":event-bus/default"
	for region, target := range map[string]string{demoRegion: destination, demoSecond: home} {
		if err := d.putRule(ctx, region, target); err != nil {
			return err
		}
	}
	d.stepf("Rules: %s calls the webhook by an API destination with OAuth, %s forwards to %s", demoRegion, demoSecond, demoRegion)
	return nil
}

// putRule makes the rule that sends state changes to a target.
func (d *demo) putRule(ctx context.Context, region, target string) error {
	events := d.events(region)
	if _, err := events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("ec2"), EventPattern: aws.String(demoPattern)}); err != nil {
		return fmt.Errorf("put the rule in %s: %w", region, err)
	}
	out, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("ec2"), Targets: []ebtypes.Target{
		{Id: aws.String("inventory"), Arn: &target, RoleArn: aws.String("arn:aws:iam::" + demoAccount + ":role/events")},
	}})
	if err != nil {
		return fmt.Errorf("put the target in %s: %w", region, err)
	}
	if out.FailedEntryCount != 0 {
		return fmt.Errorf("put the target in %s: %s", region, aws.ToString(out.FailedEntries[0].ErrorMessage))
	}
	return nil
}

func (d *demo) launch(ctx context.Context, region string) ([]string, error) {
	out, err := d.ec2(region).RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(demoCount), MaxCount: aws.Int32(demoCount),
	})
	if err != nil {
		return nil, fmt.Errorf("run instances in %s: %w", region, err)
	}
	ids := make([]string, 0, demoCount)
	for _, i := range out.Instances {
		ids = append(ids, *i.InstanceId)
	}
	d.stepf("%s: launched %d instances", region, len(ids))
	lag, err := d.await(ctx, spans(ids, "pending ", "server.added "))
	if err != nil {
		return nil, fmt.Errorf("%s: launched instances are missing from the inventory: %w", region, err)
	}
	if err := d.check(ctx, region, ids, true); err != nil {
		return nil, err
	}
	d.stepf("%s: all %d are in the inventory, INACTIVE until an agent enrolls; from event to change %s", region, len(ids), lag)
	return ids, nil
}

func (d *demo) terminate(ctx context.Context, region string, ids []string) error {
	gone, stay := ids[:1], ids[1:]
	if _, err := d.ec2(region).TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: gone}); err != nil {
		return fmt.Errorf("terminate %s in %s: %w", gone[0], region, err)
	}
	d.stepf("%s: terminated %s", region, gone[0])
	lag, err := d.await(ctx, spans(gone, "terminated ", "server.removed "))
	if err != nil {
		return fmt.Errorf("%s: a terminated instance is still in the inventory: %w", region, err)
	}
	if err := d.check(ctx, region, gone, false); err != nil {
		return err
	}
	if err := d.check(ctx, region, stay, true); err != nil {
		return err
	}
	d.stepf("%s: it is gone from the inventory, %d remain; from event to change %s", region, len(stay), lag)
	return nil
}

// check compares the inventory's list with what it should hold.
func (d *demo) check(ctx context.Context, region string, ids []string, present bool) error {
	servers, err := listAll[server](ctx, d.api, teamPath("projects", demoProject, "servers"))
	if err != nil {
		return err
	}
	listed := map[string]server{}
	for _, sv := range servers {
		listed[sv.InstanceID] = sv
	}
	for _, id := range ids {
		sv, ok := listed[id]
		switch {
		case ok != present:
			return fmt.Errorf("check failed: instance %s of %s is listed: %t, want %t", id, region, ok, present)
		case ok && sv.State != "INACTIVE":
			return fmt.Errorf("check failed: server %s is %s before an agent enrolled", id, sv.State)
		case ok && sv.InstanceDetails.Region != region:
			return fmt.Errorf("check failed: server %s is listed in region %s, want %s", id, sv.InstanceDetails.Region, region)
		}
	}
	return nil
}

// spans are from one event of each thing to another.
func spans(things []string, from, to string) []span {
	list := make([]span, len(things))
	for i, thing := range things {
		list[i] = span{from + thing, to + thing}
	}
	return list
}

// await waits until both ends of each span were seen and returns the longest.
func (d *demo) await(ctx context.Context, list []span) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		if lag, ok := d.lag(list); ok {
			return lag, nil
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.lost != nil {
				return 0, fmt.Errorf("follow events: %w", d.lost)
			}
			return 0, fmt.Errorf("waited %s", demoPatience)
		case <-d.news:
		}
	}
}

func (d *demo) lag(list []span) (longest time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range list {
		from, to := d.seen[s.from], d.seen[s.to]
		if from.IsZero() || to.IsZero() {
			return 0, false
		}
		longest = max(longest, to.Sub(from))
	}
	return longest.Round(100 * time.Microsecond), true
}

// watched is what the demo reads of an event.
type watched struct {
	DetailType string `json:"detail-type"`
	Detail     struct {
		InstanceID string `json:"instance-id"`
		State      string `json:"state"`
		Server     struct {
			InstanceID string `json:"instance_id"`
		} `json:"server"`
		Identifier        string `json:"identifier"` // an entity's
		EventName         string `json:"eventName"`
		RequestParameters struct {
			FunctionName string `json:"functionName"`
		} `json:"requestParameters"`
	} `json:"detail"`
}

// what is the event's name among the sightings; empty for what the demo does not follow.
func (e *watched) what() string {
	d := &e.Detail
	switch e.DetailType {
	case "EC2 Instance State-change Notification":
		return d.State + " " + d.InstanceID
	case "server.added", "server.removed":
		return e.DetailType + " " + d.Server.InstanceID
	case "entity.created", "entity.updated", "entity.deleted":
		return e.DetailType + " " + d.Identifier
	case "AWS API Call via CloudTrail":
		call, _, _ := strings.Cut(d.EventName, "20") // CloudTrail: the date of the API is part of Lambda's names
		return call + " " + d.RequestParameters.FunctionName
	}
	return ""
}

// watch notes when the stream of events shows what happens to resources, and when
// the records say that they followed.
func (d *demo) watch(ctx context.Context) {
	err := d.api.stream(ctx, "/v1/events/stream", func(data []byte) error {
		var message struct {
			Event watched `json:"event"`
		}
		if err := json.Unmarshal(data, &message); err != nil {
			return err
		}
		what := message.Event.what()
		if what == "" {
			return nil
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, ok := d.seen[what]; !ok { // a forwarded event is seen twice
			d.seen[what] = time.Now()
		}
		select {
		case d.news <- struct{}{}:
		default:
		}
		return nil
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost = err
}

var demoCredentials = credentials.NewStaticCredentialsProvider(demoAccount, "demo", "")

func (d *demo) events(region string) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: region, BaseEndpoint: &d.url, Credentials: demoCredentials})
}

func (d *demo) ec2(region string) *ec2.Client {
	return ec2.New(ec2.Options{Region: region, BaseEndpoint: &d.url, Credentials: demoCredentials})
}
