package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	"golang.org/x/sync/errgroup"
)

const (
	syncAccount = "111122223333"
	syncLatency = 5 * time.Millisecond
	// crowd is how many resources are synced while a queue is measured.
	crowd   = 100_000
	records = 300
	// unheld is a rate budget that holds nothing back, in requests/s.
	unheld = 10_000
)

// exporter measures full syncs, event records, and what a full sync costs a queue.
func (b *bench) exporter(ctx context.Context) error {
	for _, e := range []endpoint{{10_000, syncLatency, 4}, {2_000, 100 * time.Millisecond, 32}} {
		if err := b.syncRate(ctx, e); err != nil {
			return fmt.Errorf("full sync of %d resources: %w", e.resources, err)
		}
	}
	if err := b.recordTime(ctx); err != nil {
		return fmt.Errorf("event records: %w", err)
	}
	if err := b.syncNeighbour(ctx); err != nil {
		return fmt.Errorf("a queue beside a full sync: %w", err)
	}
	return nil
}

// endpoint is a Cloud Control endpoint.
type endpoint struct {
	resources int
	latency   time.Duration
	// readers is how many resources of a scope the exporter reads at once there.
	readers int
}

// syncing starts a server whose exporter follows an account of the endpoint.
func (b *bench) syncing(ctx context.Context, c *cloudControl) (*server, error) {
	s, err := b.serveProfiled(ctx)
	if err != nil {
		return nil, err
	}
	err = s.rest(ctx, http.MethodPut, "/v1/cloud/accounts/"+c.account, map[string]any{
		"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "bench", "endpoint_url": c.server.URL, "regions": []string{region},
		"requests_per_second": unheld, "burst": unheld,
		"budgets": map[string]any{"cloudcontrol": map[string]any{"requests_per_second": unheld, "burst": unheld}},
	}, nil)
	if err == nil {
		err = s.follow(ctx, c.account)
	}
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// follow has the exporter follow an account: topics by Cloud Control, as entities.
func (s *server) follow(ctx context.Context, account string) error {
	text := map[string]string{"type": "string"}
	return errors.Join(
		s.rest(ctx, http.MethodPost, "/v1/blueprints", map[string]any{
			"identifier": "topic", "title": "Topic", "schema": map[string]any{"required": []string{}, "properties": map[string]any{
				"name": text, "display": text, "key": text, "fifo": map[string]string{"type": "boolean"}, "tags": map[string]string{"type": "object"},
			}},
		}, nil),
		s.rest(ctx, http.MethodPut, "/v1/exporter/sync_settings", map[string]any{"interval": "0s"}, nil), // when it is told to
		s.rest(ctx, http.MethodPut, "/v1/exporter/accounts/"+account, map[string]any{"home_region": region, "enabled": true}, nil),
		s.rest(ctx, http.MethodPut, "/v1/exporter/config", map[string]any{"config": map[string]any{"resources": []any{map[string]any{
			"kind": cloudKind,
			"port": map[string]any{"entity": map[string]any{"mappings": []any{map[string]any{
				"identifier": ".TopicArn", "title": ".TopicName", "blueprint": "topic",
				"properties": map[string]string{
					"name": ".TopicName", "display": ".DisplayName", "key": ".KmsMasterKeyId", "fifo": ".FifoTopic",
					"tags": "[.Tags[]? | {key: .Key, value: .Value}] | from_entries",
				},
			}}}},
		}}}}, nil))
}

// sync runs a full sync and returns how long it took.
func (s *server) sync(ctx context.Context) (time.Duration, error) {
	var run struct {
		ID     string  `json:"id"`
		Status string  `json:"status"`
		Error  *string `json:"error"`
	}
	start := time.Now()
	if err := s.rest(ctx, http.MethodPost, "/v1/exporter/sync_runs", map[string]any{}, &run); err != nil {
		return 0, err
	}
	for run.Status == "waiting" || run.Status == "running" {
		time.Sleep(50 * time.Millisecond)
		if err := s.rest(ctx, http.MethodGet, "/v1/exporter/sync_runs/"+run.ID, nil, &run); err != nil {
			return 0, err
		}
	}
	if run.Status != "succeeded" {
		return 0, fmt.Errorf("run %s ended as %s: %s", run.ID, run.Status, aws.ToString(run.Error))
	}
	return time.Since(start), nil
}

// syncRate compares full syncs with a bare client that lists and reads the same
// resources, as many at once.
func (b *bench) syncRate(ctx context.Context, e endpoint) (err error) {
	c := newCloudControl(syncAccount, e.resources, e.latency)
	defer c.server.Close()
	s, err := b.syncing(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	stages := []struct {
		what                 string
		changed              bool
		synced, bare, ratios []float64
	}{
		{what: "that are new", changed: true}, {what: "none changed"}, {what: "all changed", changed: true},
	}
	for i := range b.pairs + 1 {
		for j := range stages {
			stage := &stages[j]
			if (i == 0) != (j == 0) {
				continue // all are new once
			}
			if stage.changed {
				c.generation.Add(1)
			}
			bare, err := c.readAll(ctx, e.readers)
			if err != nil {
				return err
			}
			took, err := s.sync(ctx)
			if err != nil {
				return err
			}
			stage.bare, stage.synced = append(stage.bare, perSecond(e.resources, bare)), append(stage.synced, perSecond(e.resources, took))
			stage.ratios = append(stage.ratios, bare.Seconds()/took.Seconds())
		}
	}
	var count struct {
		Count int `json:"count"`
	}
	if err := s.rest(ctx, http.MethodGet, "/v1/blueprints/topic/entities-count", nil, &count); err != nil {
		return err
	}
	if count.Count != e.resources {
		return fmt.Errorf("the catalog has %d entities after %d resources were synced", count.Count, e.resources)
	}
	for _, stage := range stages {
		b.rows = append(b.rows, row{
			fmt.Sprintf("full sync of %s resources %s, from a Cloud Control endpoint that takes %s a call", thousands(float64(e.resources)), stage.what, e.latency),
			thousands(median(stage.synced)) + " resources/s",
			fmt.Sprintf("a bare client, as many reads at once (%d): %s resources/s", e.readers, thousands(median(stage.bare))), spread(stage.ratios), "≥ 0.7"})
	}
	return nil
}

// readAll lists and reads all resources with the SDK and nothing else.
func (c *cloudControl) readAll(ctx context.Context, readers int) (time.Duration, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 2 * readers
	defer transport.CloseIdleConnections()
	client := cloudcontrol.New(cloudcontrol.Options{
		Region: region, BaseEndpoint: &c.server.URL, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "bench", ""),
	})
	start := time.Now()
	var g errgroup.Group
	g.SetLimit(readers)
	pages := cloudcontrol.NewListResourcesPaginator(client, &cloudcontrol.ListResourcesInput{TypeName: aws.String(cloudKind)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, errors.Join(err, g.Wait())
		}
		for _, d := range page.ResourceDescriptions {
			g.Go(func() error {
				out, err := client.GetResource(ctx, &cloudcontrol.GetResourceInput{TypeName: aws.String(cloudKind), Identifier: d.Identifier})
				if err != nil {
					return err
				}
				var properties map[string]any
				return json.Unmarshal([]byte(*out.ResourceDescription.Properties), &properties)
			})
		}
	}
	err := g.Wait()
	return time.Since(start), err
}

// recordTime measures how long it takes from an event record's message to its
// entity's event, and beside it the two calls that it leads to.
func (b *bench) recordTime(ctx context.Context) (err error) {
	c := newCloudControl(syncAccount, records, 0)
	defer c.server.Close()
	s, err := b.syncing(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, err := s.call("sqs", "CreateQueue", map[string]any{"QueueName": "records"}); err != nil {
		return err
	}
	queue := "arn:aws:sqs:" + region + ":" + account + ":records"
	err = errors.Join(
		s.rest(ctx, http.MethodPut, "/v1/exporter/accounts/"+account, map[string]any{"home_region": region, "enabled": true}, nil),
		s.rest(ctx, http.MethodPut, "/v1/exporter/accounts/"+account+"/queues", map[string]any{"queue": queue}, nil))
	if err != nil {
		return err
	}
	w := &recordWatch{seen: map[string]chan time.Time{}}
	if err := w.start(ctx, s); err != nil {
		return err
	}
	var took, bare latencies
	for i := range records {
		start := time.Now()
		if err := s.sendRecord(c, i); err != nil {
			return err
		}
		at, err := w.await(ctx, "entity.created", c.arn(i))
		if err != nil {
			return err
		}
		took = append(took, at.Sub(start))
		one, err := s.upsertBare(ctx, c, i)
		if err != nil {
			return err
		}
		bare = append(bare, one)
	}
	b.rows = append(b.rows, row{
		fmt.Sprintf("SendMessage of an event record → its entity stored and its event seen, %d one by one", records),
		fmt.Sprintf("p50 %s, p99 %s", ms(took.at(50)), ms(took.at(99))),
		fmt.Sprintf("GetResource, and an upsert by the catalog's API: p50 %s, p99 %s", ms(bare.at(50)), ms(bare.at(99))),
		fmt.Sprintf("%.1f of p50", float64(took.at(50))/float64(bare.at(50))), ""})
	return nil
}

func (s *server) sendRecord(c *cloudControl, i int) error {
	body, err := json.Marshal(map[string]any{
		"resource_type": cloudKind, "account": c.account, "region": fmt.Sprintf("%q", region), "identifier": ".topic", "action": `"upsert"`, "topic": c.arn(i),
	})
	if err != nil {
		return err
	}
	_, err = s.call("sqs", "SendMessage", map[string]any{"QueueUrl": s.url + "/" + account + "/records", "MessageBody": string(body)})
	return err
}

// upsertBare reads a resource and writes an entity for it, one call each.
func (s *server) upsertBare(ctx context.Context, c *cloudControl, i int) (time.Duration, error) {
	client := cloudcontrol.New(cloudcontrol.Options{Region: region, BaseEndpoint: &c.server.URL, Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", "")})
	start := time.Now()
	if _, err := client.GetResource(ctx, &cloudcontrol.GetResourceInput{TypeName: aws.String(cloudKind), Identifier: aws.String(c.arn(i))}); err != nil {
		return 0, err
	}
	err := s.rest(ctx, http.MethodPost, "/v1/blueprints/topic/entities?upsert=true&merge=true", map[string]any{
		"identifier": fmt.Sprintf("bare-%d", i), "title": "bare", "properties": map[string]any{"name": "bare", "fifo": false},
	}, nil)
	return time.Since(start), err
}

// syncNeighbour measures SendMessage of an idle server, and during a full sync of many
// resources that are all new.
func (b *bench) syncNeighbour(ctx context.Context) (err error) {
	c := newCloudControl(syncAccount, crowd, syncLatency)
	defer c.server.Close()
	s, err := b.syncing(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if _, err := s.call("sqs", "CreateQueue", map[string]any{"QueueName": "neighbour"}); err != nil {
		return err
	}
	idle, err := s.sendUntil(time.After(b.length))
	if err != nil {
		return err
	}
	ended := make(chan time.Time)
	var synced error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(ended)
		_, synced = s.sync(ctx)
	})
	busy, err := s.sendUntil(ended)
	wg.Wait()
	if err := errors.Join(err, synced); err != nil {
		return err
	}
	b.rows = append(b.rows, row{
		fmt.Sprintf("SendMessage while a full sync stores %s new entities", thousands(crowd)),
		fmt.Sprintf("p50 %s, p99 %s", ms(busy.at(50)), ms(busy.at(99))),
		fmt.Sprintf("the server idle: p50 %s, p99 %s", ms(idle.at(50)), ms(idle.at(99))),
		fmt.Sprintf("%.1f of p99", float64(busy.at(99))/float64(idle.at(99))), "≤ 3"})
	return nil
}

// sendUntil sends messages, one after the other, until end.
func (s *server) sendUntil(end <-chan time.Time) (l latencies, err error) {
	for {
		select {
		case <-end:
			return l, nil
		default:
		}
		start := time.Now()
		if _, err := s.call("sqs", "SendMessage", map[string]any{"QueueUrl": s.url + "/" + account + "/neighbour", "MessageBody": "x"}); err != nil {
			return nil, err
		}
		l = append(l, time.Since(start))
	}
}
