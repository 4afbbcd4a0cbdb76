package awsapi

import (
	"context"

	"github.com/rialto-bus/rialto/internal/event"
)

// Caller is who calls an operation and how. The handler puts one into the
// context of each call.
type Caller struct {
	AccessKeyID string
	Account     string // 12 digits
	Region      string // of the credential scope: eu-west-1
	Role        string // RoleAdmin, RoleOperator, RolePublisher or RoleReader
	Service     string // events
	Operation   string // PutRule
	RequestID   string
	SourceIP    string
	UserAgent   string
	TraceHeader string // X-Amzn-Trace-Id of the request, as it came
	// InvokedBy is the service that calls on the account's behalf, such as
	// cloudformation.amazonaws.com; empty where the account itself calls.
	InvokedBy string
}

// UserARN is who calls, as GetCallerIdentity answers: each access key is a user of its name.
func (c Caller) UserARN() string {
	return "arn:" + event.Partition(c.Region) + ":iam::" + c.Account + ":user/" + c.AccessKeyID
}

type callerKey struct{}

// WithCaller returns ctx carrying the caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller that ctx carries; without one, a Caller whose
// fields are all empty.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
