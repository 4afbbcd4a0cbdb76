// Command rialto is an EventBridge-compatible event bus and the records that
// follow it, in one program. See README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/rialto-bus/rialto/internal/cli"
	"github.com/rialto-bus/rialto/internal/jq"
)

func main() {
	jq.Main() // a worker process is one from here on
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends a stop that takes too long
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	os.Exit(code)
}
