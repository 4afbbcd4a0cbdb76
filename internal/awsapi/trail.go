package awsapi

import (
	"context"
	"sync"

	"github.com/rialto-bus/rialto/internal/store"
)

// recording is what one call leaves for the trail. The handler makes one for each call that
// is recorded and puts it into the call's context.
type recording struct {
	mu  sync.Mutex
	out any // what the call will answer, from Answers
}

type recordingKey struct{}

// Answers tells the trail what the call in ctx will answer. out is the operation's output,
// such as *lambda.CreateFunctionOutput; it is read when the transaction of the change ends, so
// its fields must be set by then, inside the function given to Update at the latest. A
// context without a recorded call is left alone. Operations that answer nothing need no call.
func Answers(ctx context.Context, out any) {
	r, _ := ctx.Value(recordingKey{}).(*recording)
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out = out
}

// Untrailed returns ctx for those transactions of a call that are not its change, such as
// preparation before it or clearing up in parts after it: the first other one carries the
// call's event.
func Untrailed(ctx context.Context) context.Context {
	return store.WithHook(ctx, nil)
}
