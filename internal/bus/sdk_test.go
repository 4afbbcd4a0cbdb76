package bus

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// TestAWSSDK speaks to the buses as a user's program does.
func TestAWSSDK(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	h := awsapi.New(awsapi.Config{Keys: x.auth, DevMode: func(context.Context) bool { return true }})
	h.Register(events.Bind(x.AWS()))
	server := httptest.NewServer(h)
	defer server.Close()
	client := eventbridge.New(eventbridge.Options{
		BaseEndpoint: &server.URL, Region: testRegion, HTTPClient: server.Client(), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(testAccount, "any", ""),
	})
	ctx := t.Context()
	created, err := client.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: aws.String("orders")})
	if err != nil || *created.EventBusArn != "arn:aws:events:eu-west-1:111122223333:event-bus/orders" {
		t.Fatal(created, err)
	}
	if _, err := client.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: aws.String("r"), EventBusName: aws.String("orders"), EventPattern: aws.String(`{"detail":{"状态":["已付款"]}}`),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutTargets(ctx, &eventbridge.PutTargetsInput{
		Rule: aws.String("r"), EventBusName: aws.String("orders"),
		Targets: []types.Target{{Id: aws.String("q"), Arn: aws.String(queueARN("q")), RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(2)}}},
	}); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)
	put, err := client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{Source: aws.String("shop"), DetailType: aws.String("订单"), Detail: aws.String(`{"状态":"已付款"}`), EventBusName: created.EventBusArn, Time: &at},
		{Source: aws.String("shop"), DetailType: aws.String("订单"), Detail: aws.String(`[]`)},
	}})
	if err != nil || put.FailedEntryCount != 1 || aws.ToString(put.Entries[1].ErrorCode) != "MalformedDetail" {
		t.Fatal(put, err)
	}
	rec := x.log.take()[0]
	subs, err := x.Match(&rec, nil)
	if err != nil || len(subs) != 1 || subs[0].Target.RetryPolicy.MaximumRetryAttempts != 2 {
		t.Error(subs, err)
	}
	if e, err := event.Parse(rec.JSON); err != nil || !e.Time.Equal(at) || e.ID != *put.Entries[0].EventId {
		t.Error(e, err)
	}
	_, err = client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("missing")})
	var notFound *types.ResourceNotFoundException
	if !errors.As(err, &notFound) || notFound.ErrorMessage() != "Rule missing does not exist on EventBus default." {
		t.Error(err)
	}
	connection, err := client.CreateConnection(ctx, &eventbridge.CreateConnectionInput{
		Name: aws.String("c"), AuthorizationType: types.ConnectionAuthorizationTypeApiKey,
		AuthParameters: &types.CreateConnectionAuthRequestParameters{
			ApiKeyAuthParameters: &types.CreateConnectionApiKeyAuthRequestParameters{ApiKeyName: aws.String("X-Key"), ApiKeyValue: aws.String("hush")},
		},
	})
	if err != nil || connection.ConnectionState != types.ConnectionStateAuthorized || !connection.CreationTime.Equal(testNow.Truncate(time.Second)) {
		t.Error(connection, err)
	}
	list, err := client.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{})
	if err != nil || len(list.EventBuses) != 2 || *list.EventBuses[0].Name != "default" {
		t.Error(list, err)
	}
}
