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
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// TestAWSSDKArchivesAndReplays keeps and replays events as a user's program does.
func TestAWSSDKArchivesAndReplays(t *testing.T) {
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
	made, err := client.CreateArchive(ctx, &eventbridge.CreateArchiveInput{
		ArchiveName: aws.String("a"), EventSourceArn: aws.String(defaultRef.ARN()), Description: aws.String("订单 🚚"),
		EventPattern: aws.String(`{"source":["shop"]}`), RetentionDays: aws.Int32(3),
	})
	if err != nil || made.State != types.ArchiveStateEnabled || !made.CreationTime.Equal(testNow.Truncate(time.Second)) {
		t.Fatal(made, err)
	}
	rec := happened("1", testNow.Add(-time.Hour), `{"状态":"已付款"}`)
	subs, err := x.Match(rec, nil)
	if err != nil || len(subs) != 1 || subs[0].Target.Kind != KindArchive {
		t.Fatal(subs, err)
	}
	archive(t, x, subs[0], rec)
	a, err := client.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: aws.String("a")})
	if err != nil || a.EventCount != 1 || a.SizeBytes != int64(len(rec.JSON)) || *a.RetentionDays != 3 || *a.Description != "订单 🚚" || *a.EventPattern != `{"source":["shop"]}` {
		t.Error(a, err)
	}
	updated, err := client.UpdateArchive(ctx, &eventbridge.UpdateArchiveInput{ArchiveName: aws.String("a"), RetentionDays: aws.Int32(0)})
	if err != nil || *updated.ArchiveArn != *made.ArchiveArn {
		t.Error(updated, err)
	}
	list, err := client.ListArchives(ctx, &eventbridge.ListArchivesInput{EventSourceArn: aws.String(defaultRef.ARN())})
	if err != nil || len(list.Archives) != 1 || *list.Archives[0].RetentionDays != 0 {
		t.Error(list, err)
	}
	start := func(name string, until time.Time) (*eventbridge.StartReplayOutput, error) {
		return client.StartReplay(ctx, &eventbridge.StartReplayInput{
			ReplayName: &name, EventSourceArn: made.ArchiveArn, EventStartTime: aws.Time(testNow.Add(-2 * time.Hour)), EventEndTime: &until,
			Destination: &types.ReplayDestination{Arn: aws.String(defaultRef.ARN()), FilterArns: []string{subs[0].RuleARN}},
		})
	}
	var notValid interface{ ErrorCode() string }
	if _, err := start("r", testNow.Add(-3*time.Hour)); !errors.As(err, &notValid) || notValid.ErrorCode() != "ValidationException" {
		t.Error(err)
	}
	started, err := start("r", testNow)
	if err != nil || started.State != types.ReplayStateStarting || !started.ReplayStartTime.Equal(testNow.Truncate(time.Second)) {
		t.Fatal(started, err)
	}
	var exists *types.ResourceAlreadyExistsException
	if _, err := start("r", testNow); !errors.As(err, &exists) {
		t.Error(err)
	}
	runJobs(t, x)
	awaitReplay(t, x, "r", ReplayCompleted)
	r, err := client.DescribeReplay(ctx, &eventbridge.DescribeReplayInput{ReplayName: aws.String("r")})
	if err != nil || r.State != types.ReplayStateCompleted || !r.EventLastReplayedTime.Equal(testNow.Add(-time.Hour).Truncate(time.Second)) ||
		r.ReplayEndTime == nil || len(r.Destination.FilterArns) != 1 || !r.EventEndTime.Equal(testNow.Truncate(time.Second)) {
		t.Error(r, err)
	}
	replays, err := client.ListReplays(ctx, &eventbridge.ListReplaysInput{State: types.ReplayStateCompleted})
	if err != nil || len(replays.Replays) != 1 || *replays.Replays[0].EventSourceArn != *made.ArchiveArn {
		t.Error(replays, err)
	}
	var illegal *types.IllegalStatusException
	if _, err := client.CancelReplay(ctx, &eventbridge.CancelReplayInput{ReplayName: aws.String("r")}); !errors.As(err, &illegal) {
		t.Error(err)
	}
	if _, err := client.DeleteArchive(ctx, &eventbridge.DeleteArchiveInput{ArchiveName: aws.String("a")}); err != nil {
		t.Error(err)
	}
	var missing *types.ResourceNotFoundException
	if _, err := client.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: aws.String("a")}); !errors.As(err, &missing) || missing.ErrorMessage() != "Archive a does not exist." {
		t.Error(err)
	}
}
