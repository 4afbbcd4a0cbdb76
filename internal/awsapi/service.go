package awsapi

import (
	"context"
	"slices"
)

// Protocol is one of AWS's wire protocols.
type Protocol uint8

// The protocols spoken here.
const (
	JSON     Protocol = iota + 1 // json 1.0 and 1.1: the operation is in X-Amz-Target
	Query                        // form in, XML out
	EC2                          // query's dialect of EC2
	RESTJSON                     // method and path name the operation; JSON bodies
)

// Access classes an operation by what it does, for the check of the caller's role.
type Access uint8

// The classes of operation.
const (
	Identity   Access = iota + 1 // open to every key: GetCallerIdentity
	Read                         // looks and changes nothing
	Publish                      // hands in an event or a message
	Receive                      // takes messages from a queue
	Write                        // changes state
	Administer                   // makes the server run a user's code
)

// String is the class's word in messages: identity, read, publish, receive, write or administer.
func (a Access) String() string {
	switch a {
	case Identity:
		return "identity"
	case Read:
		return "read"
	case Publish:
		return "publish"
	case Receive:
		return "receive"
	case Write:
		return "write"
	case Administer:
		return "administer"
	}
	return "unknown"
}

// API describes a service: its names on the wire, operations and errors. The
// generator writes one for each service.
type API struct {
	Name        string // signing name and IAM prefix: events
	ID          string // as SDKs call it: EventBridge
	EventSource string // as CloudTrail calls it: events.amazonaws.com
	Version     string // 2015-10-07
	Protocols   []Protocol

	TargetPrefix string // of X-Amz-Target: AWSEvents
	JSONVersion  string // 1.0 or 1.1
	ErrorPrefix  string // before __type: com.amazonaws.sqs#
	// QueryCompatible says that JSON errors carry the query protocol's code in
	// the header x-amzn-query-error.
	QueryCompatible bool
	XMLNamespace    string
	Validation      Validation // how it words what is wrong with a request
	ValidationCode  string     // of its error for that; empty: ValidationException, or ValidationError in XML
	// PathMember is the member that a request to /{account}/{name} sets, if it has
	// none: QueueUrl.
	PathMember string

	// MaxBody is the largest request body in bytes that is read.
	MaxBody int64

	Operations []Operation
	Errors     map[string]ErrorShape // by shape name
}

// ErrorShape is a modelled error.
type ErrorShape struct {
	QueryCode string // code in the query protocol; empty: the shape's name
	Status    int    // HTTP status
	Fault     bool   // the service's fault, not the sender's
	// Message is the member of its message in REST-JSON; empty: message.
	Message string
}

// Operation is one operation of an API.
type Operation struct {
	Name   string
	Access Access
	Input  *Shape
	Output *Shape
	// Wrapper is the element around the result in the query protocol: PutRuleResult.
	Wrapper string
	// Method and URI name the operation in REST-JSON: POST /2015-03-31/functions; a
	// {Name} in the URI is one segment of the path, the member of that LocationName. Status is
	// the HTTP status of success.
	Method, URI string
	Status      int
	// Data says that the operation moves what a resource carries, such as messages, and
	// changes no resource. AWS: a trail of management events does not have such calls.
	Data bool
	// TrailName is what CloudTrail calls the operation; empty: Name.
	TrailName string
	// MaxBody is the largest request body in bytes of this operation; 0: the API's.
	MaxBody int64

	// MaxSeconds is how long the answer may take where that is longer than any other
	// operation's; 0: no longer.
	MaxSeconds int

	// New returns an empty input, such as *PutRuleInput.
	New func() any
	// Invoke calls the operation's method of impl, a generated Service.
	Invoke func(ctx context.Context, impl, in any) (any, error)
}

// operation finds an operation by name.
func (a *API) operation(name string) *Operation {
	i := slices.IndexFunc(a.Operations, func(op Operation) bool { return op.Name == name })
	if i < 0 {
		return nil
	}
	return &a.Operations[i]
}

// speaks reports whether the service has the protocol.
func (a *API) speaks(p Protocol) bool {
	return slices.Contains(a.Protocols, p)
}

// Binding is an API together with what implements it. Generated packages
// return one from Bind.
type Binding struct {
	API  *API
	impl any
	// decoders replace the general JSON decoder for single operations.
	decoders map[string]func(body []byte) (any, error)
}

// NewBinding binds impl, a value of the generated Service interface of api. It
// is called by generated code; others call that package's Bind.
func NewBinding(api *API, impl any) Binding { return Binding{API: api, impl: impl} }

// WithJSONDecoder returns the binding with its own decoder for the JSON body of
// one operation: decode returns the operation's input, such as *PutEventsInput.
// What it returns is validated like any other input.
func (b Binding) WithJSONDecoder(operation string, decode func(body []byte) (any, error)) Binding {
	decoders := map[string]func([]byte) (any, error){operation: decode}
	for name, d := range b.decoders {
		if name != operation {
			decoders[name] = d
		}
	}
	b.decoders = decoders
	return b
}
