package loggroup

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

type noKeys struct{}

func (noKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, awsapi.ErrUnknownKey
}

// client is the SDK's own, over HTTP.
func client(t *testing.T, g *fixture) *cloudwatchlogs.Client {
	t.Helper()
	h := awsapi.New(awsapi.Config{Keys: noKeys{}, DevMode: func(context.Context) bool { return true }})
	h.Register(logs.Bind(g.Groups))
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return cloudwatchlogs.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: &srv.URL, RetryMaxAttempts: 1, HTTPClient: srv.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(account, "any", ""),
	})
}

func TestSDK(t *testing.T) {
	g := newFixture(t, storetest.SQLite(t))
	c, ctx := client(t, g), t.Context()
	group, name := aws.String("/aws/events/订单"), aws.String("default/orders")
	_, err := c.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "InvalidParameterException" || !strings.Contains(api.ErrorMessage(), "at 'logGroupName' failed to satisfy constraint") {
		t.Errorf("a name that AWS refuses: %v", err)
	}
	group = aws.String("/aws/events/orders")
	if _, err := c.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group}); err != nil {
		t.Fatal(err)
	}
	_, err = c.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group})
	if exists, ok := errors.AsType[*types.ResourceAlreadyExistsException](err); !ok {
		t.Errorf("a second group of that name: %v, %v", exists, err)
	}
	if _, err := c.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: name}); err != nil {
		t.Fatal(err)
	}
	event := func(after time.Duration, message string) types.InputLogEvent {
		return types.InputLogEvent{Timestamp: aws.Int64(g.now() + after.Milliseconds()), Message: &message}
	}
	put, err := c.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: name, LogEvents: []types.InputLogEvent{
		event(0, `{"n":1}`), event(time.Second, `{"n":2,"text":"机器 🚀"}`), event(3*time.Hour, "too new"),
	}})
	if err != nil || *put.RejectedLogEventsInfo.TooNewLogEventStartIndex != 2 {
		t.Fatalf("%+v, %v", put, err)
	}
	pages := cloudwatchlogs.NewGetLogEventsPaginator(c, &cloudwatchlogs.GetLogEventsInput{LogGroupName: group, LogStreamName: name, StartFromHead: aws.Bool(true), Limit: aws.Int32(1)},
		func(o *cloudwatchlogs.GetLogEventsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var read []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			read = append(read, *e.Message)
		}
	}
	if len(read) != 2 || read[1] != `{"n":2,"text":"机器 🚀"}` {
		t.Errorf("read %q", read)
	}
	found, err := c.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: group, FilterPattern: aws.String("{ $.n > 1 }")})
	if err != nil || len(found.Events) != 1 || *found.Events[0].LogStreamName != *name {
		t.Errorf("found %+v, %v", found, err)
	}
	streams, err := c.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: group, OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)})
	if err != nil || len(streams.LogStreams) != 1 || *streams.LogStreams[0].LastEventTimestamp != g.now()+1000 {
		t.Errorf("streams %+v, %v", streams, err)
	}
}
