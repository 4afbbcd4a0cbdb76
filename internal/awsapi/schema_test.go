package awsapi_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
)

var apis = []*awsapi.API{events.API, sqs.API, ec2.API, sts.API}

// Shapes are matched with Go fields by position, so both must have the same order.
func TestStructsHaveTheFieldsOfTheirShapes(t *testing.T) {
	for _, api := range apis {
		for _, op := range api.Operations {
			compare(t, api.Name+" "+op.Name, op.Input, reflect.TypeOf(op.New()).Elem())
		}
	}
	compare(t, "events output", operation(events.API, "DescribeRule").Output, reflect.TypeFor[events.DescribeRuleOutput]())
	compare(t, "sqs output", operation(sqs.API, "ReceiveMessage").Output, reflect.TypeFor[sqs.ReceiveMessageOutput]())
	compare(t, "ec2 output", operation(ec2.API, "DescribeInstances").Output, reflect.TypeFor[ec2.DescribeInstancesOutput]())
}

func operation(api *awsapi.API, name string) *awsapi.Operation {
	i := slices.IndexFunc(api.Operations, func(op awsapi.Operation) bool { return op.Name == name })
	return &api.Operations[i]
}

func compare(t *testing.T, at string, shape *awsapi.Shape, typ reflect.Type) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	kinds := map[awsapi.Kind]reflect.Kind{
		awsapi.String: reflect.String, awsapi.Integer: reflect.Int32, awsapi.Long: reflect.Int64, awsapi.Double: reflect.Float64,
		awsapi.Boolean: reflect.Bool, awsapi.Blob: reflect.Slice, awsapi.List: reflect.Slice, awsapi.Map: reflect.Map, awsapi.Structure: reflect.Struct,
	}
	if shape.Kind == awsapi.Timestamp {
		if typ != reflect.TypeFor[time.Time]() {
			t.Errorf("%s: %s is a time", at, typ)
		}
		return
	}
	if typ.Kind() != kinds[shape.Kind] {
		t.Fatalf("%s: %s holds a %s", at, typ, shape.Name)
	}
	switch shape.Kind {
	case awsapi.List, awsapi.Map:
		compare(t, at+" item", shape.Elem, typ.Elem())
	case awsapi.Structure:
		if typ.NumField() != len(shape.Members) {
			t.Fatalf("%s: %s has %d fields and %d members", at, typ, typ.NumField(), len(shape.Members))
		}
		for i, member := range shape.Members {
			field := typ.Field(i)
			if field.Name != strings.ToUpper(member.Name[:1])+member.Name[1:] {
				t.Errorf("%s: field %s is where member %s is", at, field.Name, member.Name)
			}
			compare(t, at+"."+member.Name, member.Shape, field.Type)
		}
	}
}

func TestOperationsAreClassedByWhatTheyDo(t *testing.T) {
	tests := map[awsapi.Access][]string{
		awsapi.Identity: {"GetCallerIdentity"},
		awsapi.Publish:  {"PutEvents", "PutPartnerEvents", "SendMessage", "SendMessageBatch"},
		awsapi.Receive:  {"ReceiveMessage"},
		awsapi.Read:     {"DescribeRule", "ListRules", "TestEventPattern", "GetQueueUrl", "DescribeInstances"},
		awsapi.Write:    {"PutRule", "DeleteMessage", "PurgeQueue", "RunInstances", "AssumeRole", "StartReplay"},
	}
	for access, names := range tests {
		for _, name := range names {
			i := slices.IndexFunc(apis, func(api *awsapi.API) bool {
				return slices.ContainsFunc(api.Operations, func(op awsapi.Operation) bool { return op.Name == name })
			})
			if op := operation(apis[i], name); op.Access != access {
				t.Errorf("%s is classed %s, want %s", name, op.Access, access)
			}
		}
	}
}
