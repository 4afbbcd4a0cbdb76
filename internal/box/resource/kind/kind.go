// Package kind has the resource types that the account in a box backs with its own services:
// event buses, queues, topics, functions, log groups and instances. Each has a schema, in
// schemas/, and a handler that calls the service's API as the caller of the request, so that what
// a stack or Cloud Control does is checked and leaves its trail like any call.
//
// It keeps nothing: what a resource is, its service says. It knows no SQL, no stacks and no
// progress of requests.
//
// Where AWS leaves a choice, or its choice rests on what is not here, these types decide as follows:
//   - A create that may have been cut off finds by the name what it made. What has that name and other properties
//     than those asked for is somebody else's: AlreadyExists.
//   - Create-only are also the properties of an instance that AWS changes by operations that are not here.
//   - A property that no operation here can carry is refused by name, unless it asks for nothing.
//   - QueuePolicy and TopicPolicy are replaced when none of the queues or topics stays that they were made with. Deleting one
//     leaves alone what another one has put in its place since.
package kind

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// Types returns the types. Their handlers call d. An error says which schema is not one.
func Types(d resource.Dispatcher) ([]resource.Type, error) {
	a := api{d}
	var types []resource.Type
	for _, t := range []struct {
		name    string
		handler resource.Handler
		ref     func(resource.Model) string
	}{
		{"AWS::Events::EventBus", eventBus{a}, nil},
		{"AWS::Events::EventBusPolicy", eventBusPolicy{a, newLocks()}, nil},
		{"AWS::Events::Rule", rule{a}, ruleRef},
		{"AWS::Events::Connection", connection{a}, nil},
		{"AWS::Events::ApiDestination", apiDestination{a}, nil},
		{"AWS::Events::Archive", archive{a}, nil},
		{"AWS::SQS::Queue", queue{a}, nil},
		{"AWS::SQS::QueuePolicy", sharedPolicy{queuePolicies{a}}, nil},
		{"AWS::SQS::QueueInlinePolicy", inlinePolicy{queuePolicies{a}}, nil},
		{"AWS::SNS::Topic", topic{a}, nil},
		{"AWS::SNS::TopicPolicy", sharedPolicy{topicPolicies{a}}, nil},
		{"AWS::SNS::TopicInlinePolicy", inlinePolicy{topicPolicies{a}}, nil},
		{"AWS::SNS::Subscription", subscription{a}, nil},
		{"AWS::Lambda::Function", function{a}, nil},
		{"AWS::Lambda::EventSourceMapping", mapping{a}, nil},
		{"AWS::Lambda::Permission", permission{a}, permissionRef},
		{"AWS::Logs::LogGroup", logGroup{a}, nil},
		{"AWS::EC2::Instance", instance{a}, nil},
	} {
		schema, err := readSchema(t.name)
		if err != nil {
			return nil, fmt.Errorf("read schema of %s: %w", t.name, err)
		}
		types = append(types, resource.Type{Name: t.name, Schema: schema, Handler: t.handler, Ref: t.ref})
	}
	return types, nil
}

// api calls operations of the services.
type api struct{ d resource.Dispatcher }

// call calls an operation as the caller of the request, with a request id of its own.
// Errors that the caller may be told of are *resource.Error.
func call[Out any](ctx context.Context, a api, r resource.Request, service, operation string, in any) (*Out, error) {
	c := r.Caller
	c.RequestID = ""
	answer, err := a.d.Invoke(ctx, c, service, operation, in)
	if err != nil {
		return nil, told(operation, err)
	}
	out, ok := answer.(*Out)
	if !ok {
		return nil, fmt.Errorf("%s:%s answered with %T", service, operation, answer)
	}
	return out, nil
}

var _ resource.Dispatcher = (*awsapi.Handler)(nil)
