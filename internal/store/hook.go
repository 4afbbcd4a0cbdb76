package store

import "context"

// Hook is a function that belongs to the transactions of a context: see WithHook.
type Hook func(ctx context.Context, tx *Tx) error

type hookKey struct{}

// WithHook returns ctx whose Updates run hook once their own function has returned
// nil, in the same transaction: what it writes commits if and only if the rest does, and
// its error ends the transaction like one of the function's own. Where the function is
// run again, so is the hook, and it keeps to the same rules; what it notes about a commit it
// notes in tx.OnCommit. A context has one hook, the last that was set; nil takes it away.
func WithHook(ctx context.Context, hook Hook) context.Context {
	return context.WithValue(ctx, hookKey{}, hook)
}

// hookOf is the hook that ctx carries, or nil.
func hookOf(ctx context.Context) Hook {
	hook, _ := ctx.Value(hookKey{}).(Hook)
	return hook
}
