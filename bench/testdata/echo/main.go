// Command echo is the function of the benchmark: it answers what it gets. Started by hand
// it does the same with lines on its standard input, which is as little as
// a process can do.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

func main() {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		lambda.Start(func(_ context.Context, event json.RawMessage) (json.RawMessage, error) { return event, nil })
		return
	}
	if err := echoLines(); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func echoLines() error {
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil // the benchmark is over
		}
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
	}
}
