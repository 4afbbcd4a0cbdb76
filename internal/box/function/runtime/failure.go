package runtime

import (
	"encoding/json"
	"fmt"
)

const (
	// unhandled is the X-Amz-Function-Error of every error that a function made.
	unhandled = "Unhandled"
	// kindExit is the error's type where the process ended by itself.
	kindExit = "Runtime.ExitError"
)

// failure is why a process did not answer.
type failure struct {
	kind    string
	message string
	body    []byte // what the process said of itself, as JSON; nil for nothing
	timeout bool
	cause   error // not the function's fault but ours
}

// timedOut is the failure of what took too long.
var timedOut = &failure{kind: "Sandbox.Timedout", timeout: true}

func ownFault(err error) *failure { return &failure{cause: err} }

func (f *failure) status() string {
	if f.timeout {
		return "timeout"
	}
	return "error"
}

// text says what happened to the call.
func (f *failure) text(c *call) string {
	if f.timeout {
		return fmt.Sprintf("Task timed out after %.2f seconds", c.timeout.Seconds())
	}
	return f.message
}

// payload is what the caller gets. AWS: {"errorType":"Runtime.ExitError",
// "errorMessage":"RequestId: … Error: Runtime exited with error: exit status 1"}.
func (f *failure) payload(c *call) []byte {
	if f.body != nil {
		return f.body
	}
	return errorPayload(f.kind, "RequestId: "+c.RequestID+" Error: "+f.text(c))
}

func errorPayload(kind, message string) []byte {
	b, _ := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{kind, message})
	return b
}
