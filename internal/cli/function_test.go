package cli

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/rogpeppe/go-internal/testscript"
)

func scriptFunction(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: function NAME")
	}
	var code bytes.Buffer
	z := zip.NewWriter(&code)
	_, err := z.Create("bootstrap")
	ts.Check(err)
	ts.Check(z.Close())
	client := lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(ts.Getenv("RIALTO_SERVER")), Credentials: scriptCredentials})
	_, err = client.CreateFunction(context.Background(), &lambda.CreateFunctionInput{
		FunctionName: &args[0], Runtime: types.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Code: &types.FunctionCode{ZipFile: code.Bytes()},
	})
	ts.Check(err)
}

func scriptLogs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: logs NAME LINE…")
	}
	ts.Check(newFunctionLog(ts.Getenv("RIALTO_SERVER"), args[0]).put(context.Background(), time.Now().Add(-time.Second), args[1:]...))
}

// functionLog writes what a function might log.
type functionLog struct {
	client *cloudwatchlogs.Client
	group  string
}

func newFunctionLog(server, name string) functionLog {
	return functionLog{
		cloudwatchlogs.New(cloudwatchlogs.Options{Region: "us-east-1", BaseEndpoint: &server, Credentials: scriptCredentials}), "/aws/lambda/" + name,
	}
}

// put writes lines at the time, and makes the group and the stream if need be.
func (l functionLog) put(ctx context.Context, at time.Time, lines ...string) error {
	stream := "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef"
	_, _ = l.client.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &l.group})
	_, _ = l.client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &l.group, LogStreamName: &stream})
	in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: &l.group, LogStreamName: &stream}
	for i, line := range lines {
		in.LogEvents = append(in.LogEvents, logtypes.InputLogEvent{Timestamp: aws.Int64(at.UnixMilli() + int64(i)), Message: &line})
	}
	_, err := l.client.PutLogEvents(ctx, in)
	return err
}

// A line is told once, whether its group is there from the start or it comes in late.
func TestFollowedLogsTellEachLineOnce(t *testing.T) {
	t.Parallel()
	server, stop, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	code, client := bytes.Buffer{}, lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(server.URL()), Credentials: scriptCredentials})
	z := zip.NewWriter(&code)
	if _, err := z.Create("bootstrap"); err != nil {
		t.Fatal(err)
	}
	_ = z.Close()
	_, err = client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: aws.String("orders"), Runtime: types.RuntimeProvidedal2023, Handler: aws.String("bootstrap"),
		Role: aws.String("arn:aws:iam::000000000000:role/r"), Code: &types.FunctionCode{ZipFile: code.Bytes()},
	})
	if err != nil {
		t.Fatal(err)
	}

	ctx, interrupt := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- Run(ctx, []string{"function", "logs", "orders", "--follow", "-o", "json", "--server", server.URL()}, nil, in, io.Discard)
		_ = in.Close()
	}()
	log, lines, now := newFunctionLog(server.URL(), "orders"), json.NewDecoder(out), time.Now()
	for _, step := range []struct {
		at   time.Time
		line string
	}{{now, "first"}, {now, "上海 🛒"}, {now.Add(-2 * time.Second), "late"}, {now.Add(time.Second), "last"}} {
		if err := log.put(t.Context(), step.at, step.line); err != nil {
			t.Fatal(err)
		}
		var got shownLine
		if err := lines.Decode(&got); err != nil || got.Message != step.line || !got.At.Equal(step.at.Truncate(time.Millisecond)) {
			t.Errorf("%s at %s: told %+v, %v", step.line, step.at, got, err)
		}
	}
	interrupt()
	if rest, err := io.ReadAll(io.MultiReader(lines.Buffered(), out)); err != nil || len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("told twice: %s %v", rest, err)
	}
	if code := <-ended; code != ExitFailed {
		t.Errorf("interrupted with exit code %d", code)
	}
}
