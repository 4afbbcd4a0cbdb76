package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	benchResources = 10_000
	benchLatency   = 5 * time.Millisecond
)

// slowCloudControl answers ListResources and GetResource, each after a while.
func slowCloudControl(b *testing.B) *httptest.Server {
	b.Helper()
	describe := func(n int) map[string]string {
		p, _ := json.Marshal(map[string]any{
			"QueueName": fmt.Sprintf("queue-%05d", n), "Arn": fmt.Sprintf("arn:aws:sqs:eu-west-1:111122223333:queue-%05d", n),
			"VisibilityTimeout": n % 900, "Tags": []map[string]string{{"Key": "team", "Value": "payments"}, {"Key": "stage", "Value": "production"}},
		})
		return map[string]string{"Identifier": fmt.Sprintf("queue-%05d", n), "Properties": string(p)}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Identifier, NextToken string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		time.Sleep(benchLatency)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		out := map[string]any{"TypeName": queueKind}
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetResource") {
			n, _ := strconv.Atoi(strings.TrimPrefix(in.Identifier, "queue-"))
			out["ResourceDescription"] = describe(n)
		} else {
			from, _ := strconv.Atoi(in.NextToken)
			list := []map[string]string{}
			for n := from; n < min(from+100, benchResources); n++ {
				list = append(list, describe(n))
			}
			out["ResourceDescriptions"] = list
			if from+100 < benchResources {
				out["NextToken"] = strconv.Itoa(from + 100)
			}
		}
		_ = json.NewEncoder(w).Encode(out)
	}))
	b.Cleanup(srv.Close)
	return srv
}

// BenchmarkFullSyncFromSlowCloudControl measures a full sync of 10,000 resources, the
// first and one that finds them as they are, beside a bare client that reads the same
// with as many calls at once.
func BenchmarkFullSyncFromSlowCloudControl(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		ctx := b.Context()
		db, err := store.Open(ctx, store.Options{DataDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		keys, err := auth.Open(ctx, db, auth.Options{KeyFile: filepath.Join(b.TempDir(), "secret.key")})
		if err != nil {
			b.Fatal(err)
		}
		srv := slowCloudControl(b)
		accounts := cloud.Open(db, cloud.Options{
			BoxEndpoint: func() string { return srv.URL }, BoxCredentials: keys.InternalCredentials, Sealer: keys.Sealer(),
		})
		x, ev := benchExporter(b, db, accounts, reader.New(reader.Options{Cloud: accounts}))
		b.StartTimer()
		bare := readBarely(b, srv.URL)
		b.ReportMetric(benchResources/bare.Seconds(), "bare-resources/s")
		for _, what := range []string{"first", "same"} {
			took := benchRun(b, x, benchResources)
			b.ReportMetric(benchResources/took.Seconds(), what+"-resources/s")
			b.ReportMetric(bare.Seconds()/took.Seconds(), what+"-of-bare")
		}
		b.StopTimer()
		accounts.Close()
		if err := errors.Join(ev.Close(), db.Close()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// benchExporter is an exporter of queues into a catalog.
func benchExporter(b *testing.B, db *store.DB, accounts Cloud, r Reader) (*Exporter, *jq.Evaluator) {
	b.Helper()
	ctx := b.Context()
	ev := jq.New(jq.Options{})
	c := catalog.New(catalog.Options{DB: db, Jobs: work.New(db, "bench", nil), JQ: ev})
	if _, err := c.CreateBlueprint(ctx, catalog.Writer{By: "bench"}, []byte(`{"identifier": "queue", "title": "Queue", "schema": {"properties": {
		"arn": {"type": "string"}, "timeout": {"type": "number"}, "tags": {"type": "array"}}}}`)); err != nil {
		b.Fatal(err)
	}
	x := New(Options{DB: db, Sink: CatalogSink(c), Cloud: accounts, Reader: r, JQ: ev, Jobs: work.New(db, "bench", nil), Node: "bench"})
	config := `{"resources": [{"kind": "AWS::SQS::Queue", "port": {"entity": {"mappings": [{"identifier": ".QueueName", "title": ".QueueName", "blueprint": "queue",
		"properties": {"arn": ".Arn", "timeout": ".VisibilityTimeout", "tags": "[.Tags[]? | .Key + \"=\" + .Value]"}}]}}}]}`
	_, err := x.PutConfig(ctx, []byte(config), "bench", -1)
	if err == nil {
		_, err = x.PutAccount(ctx, Account{Account: syncAccount, HomeRegion: syncRegion, Enabled: true})
	}
	if err == nil {
		err = x.takeOver(ctx)
	}
	if err != nil {
		b.Fatal(err)
	}
	x.reads.begin()
	return x, ev
}

// wholePages lists a number of queues whole, at once.
type wholePages int

// Get is not called where everything is listed whole.
func (wholePages) Get(context.Context, reader.Scope, string) (reader.Resource, error) {
	return reader.Resource{}, errors.New("nothing is to be read")
}

// List answers with a page.
func (n wholePages) List(_ context.Context, _ reader.Scope, q reader.ListQuery) (page reader.Page, err error) {
	const size = 1000
	from, _ := strconv.Atoi(q.Next)
	for i := from; i < min(from+size, int(n)); i++ {
		name := fmt.Sprintf("queue-%06d", i)
		page.Resources = append(page.Resources, reader.Resource{Identifier: name, Properties: map[string]any{
			"QueueName": name, "Arn": "arn:aws:sqs:eu-west-1:111122223333:" + name, "VisibilityTimeout": float64(i % 900),
			"Tags": []any{map[string]any{"Key": "team", "Value": "payments"}, map[string]any{"Key": "stage", "Value": "production"}},
		}})
	}
	if page.Whole = true; from+size < int(n) {
		page.Next = strconv.Itoa(from + size)
	}
	return page, nil
}

func benchRun(b *testing.B, x *Exporter, n int64) time.Duration {
	b.Helper()
	began := time.Now()
	_, err := x.RunSync(b.Context(), NewSync{})
	if err != nil {
		b.Fatal(err)
	}
	run, _, err := x.dueRun(b.Context())
	if err == nil {
		err = x.runSync(b.Context(), &run)
	}
	if err != nil || run.Status != SyncSucceeded || run.Totals.Listed != n {
		b.Fatalf("%+v: %v", run, err)
	}
	return time.Since(began)
}

// readBarely lists the resources, and reads each, with as many calls at once as a scope makes.
func readBarely(b *testing.B, url string) time.Duration {
	b.Helper()
	client := cloudcontrol.New(cloudcontrol.Options{
		Region: syncRegion, BaseEndpoint: aws.String(url), HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * minGets}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: syncAccount, SecretAccessKey: "secret"}, nil
		}),
	})
	began := time.Now()
	todo := make(chan string, 2*minGets)
	var all sync.WaitGroup
	for range minGets {
		all.Go(func() {
			for id := range todo {
				if _, err := client.GetResource(b.Context(), &cloudcontrol.GetResourceInput{TypeName: aws.String(queueKind), Identifier: &id}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	var next *string
	for {
		page, err := client.ListResources(b.Context(), &cloudcontrol.ListResourcesInput{TypeName: aws.String(queueKind), NextToken: next})
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range page.ResourceDescriptions {
			todo <- *r.Identifier
		}
		if next = page.NextToken; next == nil {
			break
		}
	}
	close(todo)
	all.Wait()
	return time.Since(began)
}

// BenchmarkQueueSendDuringFullSync measures how long sending a message to a queue on
// the same database takes: idle, and while a full sync stores 100,000 entities as fast
// as it can, the first time and when all are as they were.
func BenchmarkQueueSendDuringFullSync(b *testing.B) {
	const n = 100_000
	for b.Loop() {
		b.StopTimer()
		ctx := b.Context()
		db, err := store.Open(ctx, store.Options{DataDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		x, ev := benchExporter(b, db, nil, wholePages(n))
		queues := queue.New(db, queue.Options{BaseURL: func() string { return "http://127.0.0.1" }})
		ctx = awsapi.WithCaller(ctx, awsapi.Caller{Account: syncAccount, Region: syncRegion, Role: string(auth.Admin)})
		made, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q")})
		if err != nil {
			b.Fatal(err)
		}
		send := func() time.Duration {
			began := time.Now()
			if _, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: made.QueueUrl, MessageBody: aws.String("hello")}); err != nil {
				b.Fatal(err)
			}
			return time.Since(began)
		}
		p99 := func(until <-chan struct{}) (time.Duration, time.Duration) {
			var all []time.Duration
			for {
				select {
				case <-until:
					slices.Sort(all)
					return all[len(all)/2], all[len(all)*99/100]
				default:
					all = append(all, send())
				}
			}
		}
		b.StartTimer()
		quiet := make(chan struct{})
		time.AfterFunc(5*time.Second, func() { close(quiet) })
		i50, i99 := p99(quiet)
		b.ReportMetric(ms(i50), "idle-p50-ms")
		b.ReportMetric(ms(i99), "idle-p99-ms")
		for _, what := range []string{"first", "same"} {
			done := make(chan struct{})
			var took time.Duration
			go func() {
				defer close(done)
				took = benchRun(b, x, n)
			}()
			d50, d99 := p99(done)
			b.ReportMetric(ms(d50), what+"-p50-ms")
			b.ReportMetric(ms(d99), what+"-p99-ms")
			b.ReportMetric(float64(d99)/float64(i99), what+"-p99-ratio")
			b.ReportMetric(n/took.Seconds(), what+"-resources/s")
		}
		b.StopTimer()
		if err := errors.Join(ev.Close(), db.Close()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
