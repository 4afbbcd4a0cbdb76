// Command gofunction is the compiled function of the tests: what it does is in its event.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Text string `json:"text"`
	Size int    `json:"size"`
	URL  string `json:"url"`
}

var calls int

func handle(ctx context.Context, raw json.RawMessage) (any, error) {
	calls++
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	switch e.Do {
	case "echo":
		return raw, nil
	case "who":
		return map[string]any{"pid": os.Getpid(), "calls": calls}, nil
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"id": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "custom": lc.ClientContext.Custom, "env": os.Environ(),
			"left": time.Until(deadline).Milliseconds(), "name": lambdacontext.FunctionName, "stream": lambdacontext.LogStreamName,
			"trace": ctx.Value("x-amzn-trace-id"), "dir": must(os.Getwd()),
		}, nil
	case "fail":
		return nil, errors.New(e.Text)
	case "panic":
		panic(e.Text)
	case "exit":
		os.Exit(e.Size)
	case "hang":
		<-make(chan int)
	case "children": // one in the group and one that leaves it; both say who they are
		return startChildren()
	case "childrenThenHang":
		pids, err := startChildren()
		if err != nil {
			return nil, err
		}
		fmt.Println("children", pids[0], pids[1])
		select {}
	case "large":
		return strings.Repeat("x", e.Size), nil
	case "log":
		for line := range strings.Lines(e.Text) {
			fmt.Fprint(os.Stderr, line)
		}
		return "logged", nil
	case "flood":
		for i := range e.Size {
			fmt.Printf("line %d %s\n", i, e.Text)
		}
		return "flooded", nil
	case "meet": // returns when the file is there, having said that it is here
		if err := os.WriteFile(e.URL+"."+fmt.Sprint(os.Getpid()), nil, 0o600); err != nil {
			return nil, err
		}
		for ctx.Err() == nil {
			if _, err := os.Stat(e.URL); err == nil {
				return os.Getpid(), nil
			}
			time.Sleep(time.Millisecond)
		}
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("nobody knows how to %q", e.Do)
}

func startChildren() ([]int, error) {
	stays := exec.Command("sleep", "1000")
	leaves := exec.Command("setsid", "sleep", "1000")
	if err := errors.Join(stays.Start(), leaves.Start()); err != nil {
		return nil, err
	}
	return []int{stays.Process.Pid, leaves.Process.Pid}, nil
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

func main() {
	switch os.Getenv("START") {
	case "exit":
		fmt.Println("no start today")
		os.Exit(3)
	case "once": // fails the first time
		if _, err := os.Stat(os.Getenv("MARK")); err != nil {
			_ = os.WriteFile(os.Getenv("MARK"), nil, 0o600)
			os.Exit(4)
		}
	case "hang":
		select {}
	}
	lambda.Start(handle)
}
