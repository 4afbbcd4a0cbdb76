package cli

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/rogpeppe/go-internal/testscript"
)

// scriptArchive makes an archive of the default bus's events but those of API calls.
func scriptArchive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: archive NAME")
	}
	_, err := scriptEvents(ts).CreateArchive(context.Background(), &eventbridge.CreateArchiveInput{
		ArchiveName: &args[0], EventSourceArn: aws.String("arn:aws:events:" + scriptRegion + ":" + demoAccount + ":event-bus/default"),
		EventPattern: aws.String(`{"detail-type":[{"anything-but":"AWS API Call via CloudTrail"}]}`),
	})
	ts.Check(err)
}

// scriptReplay waits until an archive holds as many events and starts a replay of
// all of them.
func scriptReplay(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replay NAME ARCHIVE EVENTS")
	}
	ctx, c := context.Background(), scriptEvents(ts)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(awaitTime); ; <-tick.C {
		a, err := c.DescribeArchive(ctx, &eventbridge.DescribeArchiveInput{ArchiveName: &args[1]})
		ts.Check(err)
		if count(a.EventCount) == args[2] {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("archive %s holds %d events, not %s", args[1], a.EventCount, args[2])
		}
	}
	arn := "arn:aws:events:" + scriptRegion + ":" + demoAccount + ":"
	_, err := c.StartReplay(ctx, &eventbridge.StartReplayInput{
		ReplayName: &args[0], EventSourceArn: aws.String(arn + "archive/" + args[1]),
		EventStartTime: aws.Time(time.Unix(0, 0)), EventEndTime: aws.Time(time.Now().Add(time.Hour)),
		Destination: &ebtypes.ReplayDestination{Arn: aws.String(arn + "event-bus/default")},
	})
	ts.Check(err)
}
