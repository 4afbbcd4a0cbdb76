package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/rialto-bus/rialto/internal/app"
	"github.com/rialto-bus/rialto/internal/jq"
)

// TestMain makes the test binary serve as the program rialto in scripts. What its
// user's environment says about servers and keys is not of the tests.
func TestMain(m *testing.M) {
	jq.Main()
	if filepath.Base(os.Args[0]) != "rialto" {
		for _, name := range []string{
			"RIALTO_SERVER", "RIALTO_ACCESS_KEY_ID", "RIALTO_SECRET_ACCESS_KEY",
			"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
		} {
			_ = os.Unsetenv(name)
		}
	}
	testscript.Main(m, map[string]func(){
		"rialto": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// The scripts are sessions at a terminal, one story each. Beside the commands of
// testscript they have:
//
//	fails CODE COMMAND…     runs a command that must fail with an exit code
//	server [DIR]            starts a server and points rialto at it
//	field NAME FILE PATH    sets variable NAME from a JSON file, PATH such as 0.id
//	launch NAME REGION N    launches instances; NAME is the first's id
//	terminate REGION ID     terminates an instance
//	connect FILE REGION     leads state changes to the webhook of a monitor file
//	queuerule NAME          leads the events of a source to the queue of its name
//	deleterule NAME         deletes that rule
//	createqueue NAME        creates a queue
//	received QUEUE TEXT     waits for a message with the text
//	await REGEXP COMMAND…   runs rialto until what it prints matches
//	archive NAME            makes an archive of all events
//	replay NAME ARCHIVE N   replays an archive once it holds N events
//	call TOKEN CLIENT SECRET URL FILE   calls a source's endpoint with a token from a URL
//	queue NAME REGION BODY… makes a queue and sends messages to it
//	function NAME           makes a function that is never invoked
//	logs NAME LINE…         writes lines to the log of a function
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"queuerule": scriptQueueRule, "deleterule": scriptDeleteRule, "createqueue": scriptCreateQueue, "received": scriptReceived,
			"fails": scriptFails, "server": scriptServer, "field": scriptField, "launch": scriptLaunch, "terminate": scriptTerminate,
			"connect": scriptConnect, "await": scriptAwait, "archive": scriptArchive, "replay": scriptReplay, "call": scriptCall, "queue": scriptQueue,
			"function": scriptFunction, "logs": scriptLogs,
		},
	})
}

func setUpScript(e *testscript.Env) error {
	samples, err := filepath.Abs(filepath.Join("..", "..", "examples", "events"))
	if err != nil {
		return err
	}
	e.Setenv("EVENTS", samples)
	e.Setenv("EXAMPLES", filepath.Join(filepath.Dir(samples), "exporter"))
	// Nobody listens at port 1.
	e.Setenv("RIALTO_SERVER", "http://127.0.0.1:1")
	return nil
}

// startServer serves on a directory until stop is called.
func startServer(dir string) (server *app.App, stop func() error, err error) {
	c := app.NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", dir, 64<<20
	ctx, cancel := context.WithCancel(context.Background())
	if server, err = app.Start(ctx, c, slog.New(slog.DiscardHandler)); err != nil {
		cancel()
		return nil, nil, err
	}
	return server, func() error { cancel(); return server.Wait(ctx) }, nil
}

func scriptFails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND [ARGUMENT…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("it ended with %v, want exit status %s", err, args[0])
	}
}

func scriptServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: server [DIR]")
	}
	dir := ts.MkAbs("rialto-data")
	if len(args) == 1 {
		dir = ts.MkAbs(args[0])
	}
	server, stop, err := startServer(dir)
	ts.Check(err)
	ts.Defer(func() { ts.Check(stop()) })
	ts.Setenv("RIALTO_SERVER", server.LocalURL())
}

func scriptField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field NAME FILE PATH")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	for part := range strings.SplitSeq(args[2], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(x) {
				ts.Fatalf("%s has no element %s", args[1], args[2])
			}
			v = x[i]
		default:
			v = nil
		}
	}
	if v == nil {
		ts.Fatalf("%s has no %s", args[1], args[2])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func scriptEC2(ts *testscript.TestScript, region string) *ec2.Client {
	return ec2.New(ec2.Options{Region: region, BaseEndpoint: aws.String(ts.Getenv("RIALTO_SERVER")), Credentials: scriptCredentials})
}

var scriptCredentials = credentials.NewStaticCredentialsProvider(demoAccount, "any", "")

func scriptLaunch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: launch NAME REGION N")
	}
	n, err := strconv.ParseInt(args[2], 10, 32)
	ts.Check(err)
	out, err := scriptEC2(ts, args[1]).RunInstances(context.Background(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(int32(n)), MaxCount: aws.Int32(int32(n)),
	})
	ts.Check(err)
	ts.Setenv(args[0], *out.Instances[0].InstanceId)
}

func scriptTerminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: terminate REGION ID")
	}
	_, err := scriptEC2(ts, args[0]).TerminateInstances(context.Background(), &ec2.TerminateInstancesInput{InstanceIds: args[1:]})
	ts.Check(err)
}

// scriptConnect does what the demo does: a connection, an API destination and a rule.
func scriptConnect(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: connect FILE REGION")
	}
	var m monitor
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &m))
	d := &demo{url: ts.Getenv("RIALTO_SERVER")}
	destination, err := d.createDestination(context.Background(), args[1], m)
	ts.Check(err)
	ts.Check(d.putRule(context.Background(), args[1], destination))
}

// awaitTime is how long await waits.
const awaitTime = 20 * time.Second

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || args[1] != "rialto" {
		ts.Fatalf("usage: await REGEXP rialto ARGUMENT…")
	}
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(awaitTime)
	for {
		err := ts.Exec("rialto", args[2:]...)
		out := ts.ReadFile("stdout")
		if err == nil && want.MatchString(out) {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("waited in vain for %s; the last answer was: %v\n%s", args[0], err, out)
		case <-tick.C:
		}
	}
}
