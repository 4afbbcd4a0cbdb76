package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// instances is how many instances the inventory benchmark terminates, one by one.
const instances = 100

// inventory measures how long a terminated instance stays in the inventory: from
// the TerminateInstances call, over event, rule, API destination and webhook, to
// the event that says that the row is gone.
func (b *bench) inventory(ctx context.Context) (err error) {
	s, err := b.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.followInstances(ctx); err != nil {
		return err
	}
	w := &recordWatch{seen: map[string]chan time.Time{}}
	if err := w.start(ctx, s); err != nil {
		return err
	}
	cloud := ec2.New(ec2.Options{Region: region, BaseEndpoint: &s.url, Credentials: credentials.NewStaticCredentialsProvider(account, "bench", "")})
	var gone latencies
	for range instances {
		took, err := w.terminateOne(ctx, cloud)
		if err != nil {
			return err
		}
		gone = append(gone, took)
	}
	b.rows = append(b.rows, row{
		fmt.Sprintf("TerminateInstances call → server gone from the inventory and its event seen, %d instances one by one", instances),
		fmt.Sprintf("p50 %s, p99 %s", ms(gone.at(50)), ms(gone.at(99))),
		"of which the box's instance is shutting down 20 ms", "", ""})
	return nil
}

// followInstances makes a project that follows the box's account by a rule that
// calls its webhook.
func (s *server) followInstances(ctx context.Context) error {
	const projects = "/v1/teams/default/projects"
	var a struct {
		ID string `json:"id"`
	}
	var m struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		WebhookURL   string `json:"webhook_url"`
	}
	if err := s.rest(ctx, http.MethodPost, projects, map[string]any{"name": "web"}, nil); err != nil {
		return err
	}
	if err := s.rest(ctx, http.MethodPost, projects+"/web/cloud_accounts", map[string]any{"account_id": account, "provider": "aws", "regions": []string{region}}, &a); err != nil {
		return err
	}
	if err := s.rest(ctx, http.MethodPost, projects+"/web/cloud_accounts/"+a.ID+"/monitor", nil, &m); err != nil {
		return err
	}
	connection, err := s.call("events", "CreateConnection", map[string]any{
		"Name": "inventory", "AuthorizationType": "OAUTH_CLIENT_CREDENTIALS",
		"AuthParameters": map[string]any{"OAuthParameters": map[string]any{
			"AuthorizationEndpoint": s.url + "/v1/oauth_token", "HttpMethod": "POST",
			"ClientParameters": map[string]string{"ClientID": m.ClientID, "ClientSecret": m.ClientSecret},
		}},
	})
	if err != nil {
		return err
	}
	destination, err := s.call("events", "CreateApiDestination", map[string]any{
		"Name": "inventory", "ConnectionArn": connection["ConnectionArn"], "HttpMethod": "POST", "InvocationEndpoint": m.WebhookURL,
	})
	if err != nil {
		return err
	}
	return s.rule("instances", "EC2 Instance State-change Notification", destination["ApiDestinationArn"].(string))
}

// recordWatch reads the stream of events for those of the inventory and the catalog.
type recordWatch struct {
	mu   sync.Mutex
	seen map[string]chan time.Time // by detail type, and instance or entity
}

func (w *recordWatch) slot(detailType, instance string) chan time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := detailType + " " + instance
	if w.seen[key] == nil {
		w.seen[key] = make(chan time.Time, 16)
	}
	return w.seen[key]
}

func (w *recordWatch) start(ctx context.Context, s *server) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/events/stream", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return fmt.Errorf("the stream of events answered %s", resp.Status)
	}
	go w.read(resp.Body)
	return nil
}

// read ends with the stream's context.
func (w *recordWatch) read(body io.ReadCloser) {
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 2<<20)
	for lines.Scan() {
		now := time.Now()
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		var message struct {
			Event struct {
				DetailType string `json:"detail-type"`
				Detail     struct {
					Server struct {
						InstanceID string `json:"instance_id"`
					} `json:"server"`
					Identifier string `json:"identifier"` // an entity's
				} `json:"detail"`
			} `json:"event"`
		}
		if json.Unmarshal([]byte(data), &message) != nil {
			continue
		}
		d := message.Event.Detail
		about := d.Server.InstanceID + d.Identifier
		if about == "" {
			continue // other events have neither
		}
		select {
		case w.slot(message.Event.DetailType, about) <- now:
		default:
		}
	}
}

// terminateOne launches an instance, waits until the inventory has it, and
// returns how long it stays there once it is terminated.
func (w *recordWatch) terminateOne(ctx context.Context, cloud *ec2.Client) (time.Duration, error) {
	out, err := cloud.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	if err != nil {
		return 0, err
	}
	id := *out.Instances[0].InstanceId
	if _, err := w.await(ctx, "server.added", id); err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := cloud.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
		return 0, err
	}
	at, err := w.await(ctx, "server.removed", id)
	return at.Sub(start), err
}

func (w *recordWatch) await(ctx context.Context, detailType, instance string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	select {
	case at := <-w.slot(detailType, instance):
		return at, nil
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("no %s for %s", detailType, instance)
	}
}
