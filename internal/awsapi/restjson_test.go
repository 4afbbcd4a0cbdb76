package awsapi_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
)

type lambdaService struct {
	lambda.Unimplemented
	*recorder
}

func (s lambdaService) CreateFunction(ctx context.Context, in *lambda.CreateFunctionInput) (*lambda.CreateFunctionOutput, error) {
	s.record(ctx, in)
	return &lambda.CreateFunctionOutput{FunctionName: in.FunctionName, Timeout: new(int32(3))}, nil
}

func (s lambdaService) GetFunction(ctx context.Context, in *lambda.GetFunctionInput) (*lambda.GetFunctionOutput, error) {
	s.record(ctx, in)
	return nil, lambda.ErrResourceNotFoundException("Function not found: %s", *in.FunctionName)
}

func (s lambdaService) DeleteFunction(ctx context.Context, in *lambda.DeleteFunctionInput) (*lambda.DeleteFunctionOutput, error) {
	s.record(ctx, in)
	if *in.FunctionName == "busy" {
		return nil, lambda.ErrResourceConflictException("Function busy 你好")
	}
	return &lambda.DeleteFunctionOutput{StatusCode: new(int32(204))}, nil
}

func (s lambdaService) ListFunctions(ctx context.Context, in *lambda.ListFunctionsInput) (*lambda.ListFunctionsOutput, error) {
	s.record(ctx, in)
	return &lambda.ListFunctionsOutput{Functions: []lambda.FunctionConfiguration{}}, nil
}

func (s lambdaService) UntagResource(ctx context.Context, in *lambda.UntagResourceInput) (*lambda.UntagResourceOutput, error) {
	s.record(ctx, in)
	return &lambda.UntagResourceOutput{}, nil
}

func (s lambdaService) Invoke(ctx context.Context, in *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
	s.record(ctx, in)
	return &lambda.InvokeOutput{
		StatusCode: new(int32(200)), FunctionError: new("Unhandled"), ExecutedVersion: new("$LATEST"), Payload: append([]byte("→"), in.Payload...),
	}, nil
}

func (s lambdaService) GetPolicy(context.Context, *lambda.GetPolicyInput) (*lambda.GetPolicyOutput, error) {
	panic("disk 7 is on fire")
}

func TestLambdaClient(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg aws.Config, r *recorder) {
		ctx := t.Context()
		client := awslambda.NewFromConfig(cfg)
		wantIn := func(want any) {
			t.Helper()
			if diff := cmp.Diff(want, r.in); diff != "" {
				t.Error(diff)
			}
		}
		made, err := client.CreateFunction(ctx, &awslambda.CreateFunctionInput{
			FunctionName: new("orders"), Role: new("arn:aws:iam::123456789012:role/r"), Code: &lambdatypes.FunctionCode{ZipFile: []byte{0, 1, 2}}, Tags: map[string]string{"a": "你好"},
		})
		if err != nil || *made.FunctionName != "orders" || *made.Timeout != 3 {
			t.Fatal(made, err)
		}
		wantIn(&lambda.CreateFunctionInput{
			FunctionName: new("orders"), Role: new("arn:aws:iam::123456789012:role/r"), Code: &lambda.FunctionCode{ZipFile: []byte{0, 1, 2}}, Tags: map[string]string{"a": "你好"},
		})

		const arn = "arn:aws:lambda:eu-west-1:123456789012:function:orders"
		_, err = client.GetFunction(ctx, &awslambda.GetFunctionInput{FunctionName: new(arn), Qualifier: new("$LATEST")})
		wantCode(t, err, "ResourceNotFoundException", "Function not found: "+arn)
		wantIn(&lambda.GetFunctionInput{FunctionName: new(arn), Qualifier: new("$LATEST")})

		if _, err = client.ListFunctions(ctx, &awslambda.ListFunctionsInput{MaxItems: new(int32(7)), Marker: new("a b/c")}); err != nil {
			t.Fatal(err)
		}
		wantIn(&lambda.ListFunctionsInput{MaxItems: new(int32(7)), Marker: new("a b/c")})

		if _, err = client.UntagResource(ctx, &awslambda.UntagResourceInput{Resource: new(arn), TagKeys: []string{"a", "b c"}}); err != nil {
			t.Fatal(err)
		}
		wantIn(&lambda.UntagResourceInput{Resource: new(arn), TagKeys: []string{"a", "b c"}})

		ran, err := client.Invoke(ctx, &awslambda.InvokeInput{FunctionName: new("orders"), Payload: []byte(`{"a":1}`), LogType: lambdatypes.LogTypeTail, ClientContext: new("e30=")})
		if err != nil || string(ran.Payload) != `→{"a":1}` || *ran.FunctionError != "Unhandled" || ran.StatusCode != 200 || *ran.ExecutedVersion != "$LATEST" {
			t.Fatalf("%+v %v", ran, err)
		}
		wantIn(&lambda.InvokeInput{FunctionName: new("orders"), Payload: []byte(`{"a":1}`), LogType: new("Tail"), ClientContext: new("e30=")})

		gone, err := client.DeleteFunction(ctx, &awslambda.DeleteFunctionInput{FunctionName: new("orders")})
		if err != nil || gone.StatusCode != 204 {
			t.Fatal(gone, err)
		}
		_, err = client.DeleteFunction(ctx, &awslambda.DeleteFunctionInput{FunctionName: new("busy")})
		wantCode(t, err, "ResourceConflictException", "Function busy 你好")
		_, err = client.GetPolicy(ctx, &awslambda.GetPolicyInput{FunctionName: new("orders")})
		wantCode(t, err, "ServiceException", "The request processing has failed because of an unknown error, exception or failure.")
		_, err = client.PublishVersion(ctx, &awslambda.PublishVersionInput{FunctionName: new("orders")})
		wantCode(t, err, "UnknownOperationException", "The operation POST /2015-03-31/functions/orders/versions of lambda is not available here.")
	})
}

func TestRESTRequestsOnTheWire(t *testing.T) {
	rest := func(method, path, body string) request {
		return request{method: method, path: path, service: "lambda", body: body, creds: alice, at: now}
	}
	tests := []struct {
		name   string
		q      request
		status int
		want   string // of the answer
	}{
		{"a slash at the end, as older clients send", rest("GET", "/2015-03-31/functions/", ""), 200, `{"Functions":[]}`},
		{"an answer without a body", rest("DELETE", "/2015-03-31/functions/a", ""), 204, ""},
		{"a modelled error", rest("GET", "/2015-03-31/functions/a", ""), 404, `{"Type":"User","Message":"Function not found: a"}`},
		{"a modelled error whose message is lower case", rest("DELETE", "/2015-03-31/functions/busy", ""), 409, `{"Type":"User","message":"Function busy 你好"}`},
		{"another path", rest("GET", "/2015-03-31/layers", ""), 404, `{"Type":"User","message":"The operation GET /2015-03-31/layers of lambda is not available here."}`},
		{"another method", rest("PATCH", "/2015-03-31/functions/a", ""), 404, `{"Type":"User","message":"The operation PATCH /2015-03-31/functions/a of lambda is not available here."}`},
		{"an empty name", rest("GET", "/2015-03-31/functions//policy", ""), 404, `{"Type":"User","message":"The operation GET /2015-03-31/functions//policy of lambda is not available here."}`},
		{"a name that no function has", rest("GET", "/2015-03-31/functions/a%20b", ""), 400, `constraint: Member must satisfy regular expression pattern`},
		{"a number that is none", rest("GET", "/2015-03-31/functions?MaxItems=many", ""), 400, `{"Type":"User","message":"STRING_VALUE can not be converted to an Integer"}`},
		{"a number beyond its bounds", rest("GET", "/2015-03-31/functions?MaxItems=0", ""), 400, "Value '0' at 'maxItems' failed to satisfy constraint"},
		{"a body that is no JSON", rest("POST", "/2015-03-31/functions", "{"), 400, `{"Type":"User","message":`},
		{"a body where none belongs", rest("DELETE", "/2015-03-31/functions/a", "{"), 204, ""},
		{"a required member is missing", rest("POST", "/2015-03-31/functions", `{"FunctionName":"a","Role":"arn:aws:iam::123456789012:role/r"}`), 400, "Value null at 'code' failed to satisfy constraint: Member must not be null"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, _ := newHandler(verifying(awsapi.RoleAdmin))
			status, body := do(t, h, test.q.sign(t))
			if status != test.status || !strings.Contains(body, test.want) || test.want == "" && body != "" {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

func TestABodyCannotNameWhatThePathNames(t *testing.T) {
	h, r := newHandler(verifying(awsapi.RoleAdmin))
	q := request{method: "GET", path: "/2015-03-31/functions/mine", service: "lambda", body: `{"FunctionName":"yours","Qualifier":"1"}`, creds: alice, at: now}
	do(t, h, q.sign(t))
	if diff := cmp.Diff(&lambda.GetFunctionInput{FunctionName: new("mine")}, r.in); diff != "" {
		t.Error(diff)
	}
}

func TestOneOperationMayTakeALargerBody(t *testing.T) {
	h, r := newHandler(verifying(awsapi.RoleAdmin))
	large := string(bytes.Repeat([]byte("A"), 9<<20))
	q := request{method: "POST", path: "/2015-03-31/functions/a/invocations", service: "lambda", body: large, creds: alice, at: now}
	if status, body := do(t, h, q.sign(t)); status != http.StatusRequestEntityTooLarge || r.in != nil {
		t.Errorf("got %d %s", status, body)
	}
	q = request{method: "POST", path: "/2015-03-31/functions", service: "lambda", body: `{"FunctionName":"a","Role":"arn:aws:iam::123456789012:role/r","Code":{"ZipFile":"` + large + `"}}`, creds: alice, at: now}
	if status, body := do(t, h, q.sign(t)); status != http.StatusCreated {
		t.Errorf("got %d %s", status, body)
	}
}

func TestARoleThatMayNotIsRefusedWith403(t *testing.T) {
	h, _ := newHandler(verifying(awsapi.RoleOperator))
	q := request{method: "POST", path: "/2015-03-31/functions/a/invocations", service: "lambda", body: "{}", creds: alice, at: now}
	status, body := do(t, h, q.sign(t))
	if status != http.StatusForbidden || !strings.Contains(body, "is not authorized to perform: lambda:Invoke") {
		t.Errorf("got %d %s", status, body)
	}
}
