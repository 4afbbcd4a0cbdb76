package function

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestInvokeRunsTheFunctionAsItIsConfigured(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("hello", func(in *lambda.CreateFunctionInput) {
			in.Environment = &lambda.Environment{Variables: map[string]string{"COLOUR": "红"}}
			in.Timeout, in.MemorySize = new(int32(9)), new(int32(512))
			in.LoggingConfig = &lambda.LoggingConfig{LogFormat: new("JSON"), LogGroup: new("all")}
		})
		var fn runtime.Function
		var got runtime.Invocation
		f.runs.set(func(_ context.Context, run runtime.Function, in runtime.Invocation) (runtime.Result, error) {
			fn, got = run, in
			return runtime.Result{Payload: []byte(`{"答":42}`), LogTail: []byte("START\n")}, nil
		})
		c := admin(account)
		c.RequestID, c.TraceHeader = uuid.NewString(), "Root=1-5759e988-bd862e3fe1be46a994272793"
		out, err := callAs[*lambda.InvokeOutput](f, t.Context(), c, "Invoke", &lambda.InvokeInput{
			FunctionName: new("hello:$LATEST"), Payload: []byte(`{"问":"🏙"}`), LogType: new("Tail"), ClientContext: new(base64.StdEncoding.EncodeToString([]byte(`{"client":{}}`))),
		})
		if err != nil {
			t.Fatal(err)
		}
		want := &lambda.InvokeOutput{StatusCode: new(int32(200)), ExecutedVersion: new("$LATEST"), Payload: []byte(`{"答":42}`), LogResult: new(base64.StdEncoding.EncodeToString([]byte("START\n")))}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Error(diff)
		}
		wantFunction := runtime.Function{
			ARN: helloARN, Name: "hello", Account: account, Region: region, Version: "$LATEST", Revision: fn.Revision, Runtime: "provided.al2023", Handler: "bootstrap", Dir: fn.Dir,
			Environment: map[string]string{"COLOUR": "红"}, Timeout: 9 * time.Second, MemoryMB: 512, LogGroup: "all", LogFormat: "JSON", ApplicationLogLevel: "INFO", SystemLogLevel: "INFO",
		}
		if diff := cmp.Diff(wantFunction, fn); diff != "" {
			t.Error(diff)
		}
		wantInvocation := runtime.Invocation{
			RequestID: c.RequestID, Payload: []byte(`{"问":"🏙"}`), ClientContext: `{"client":{}}`, TraceHeader: c.TraceHeader, FunctionARN: helloARN + ":$LATEST", Tail: true,
		}
		if diff := cmp.Diff(wantInvocation, got); diff != "" {
			t.Error(diff)
		}
		if b, err := os.ReadFile(filepath.Join(fn.Dir, "bootstrap")); err != nil || string(b) != "#!/bin/sh\n" {
			t.Errorf("its code is %q, %v", b, err)
		}
	})
}

func TestWhatBecomesOfAnInvocation(t *testing.T) {
	for name, tt := range map[string]struct {
		in     lambda.InvokeInput
		result runtime.Result
		err    error
		want   *lambda.InvokeOutput
		code   string
		status int
	}{
		"no payload is an empty object": {result: runtime.Result{Payload: []byte("1")}, want: &lambda.InvokeOutput{StatusCode: new(int32(200)), ExecutedVersion: new("$LATEST"), Payload: []byte("1")}},
		"a function's error is an answer": {
			result: runtime.Result{Payload: []byte(`{"errorMessage":"no"}`), FunctionError: "Unhandled"},
			want:   &lambda.InvokeOutput{StatusCode: new(int32(200)), ExecutedVersion: new("$LATEST"), Payload: []byte(`{"errorMessage":"no"}`), FunctionError: new("Unhandled")},
		},
		"a dry run runs nothing": {in: lambda.InvokeInput{InvocationType: new("DryRun")}, err: errors.New("it was run"), want: &lambda.InvokeOutput{StatusCode: new(int32(204))}},
		"no process is free":     {err: fmt.Errorf("hello: %w", &runtime.Throttled{Reason: "ConcurrentInvocationLimitExceeded", Limit: 1}), code: lambda.CodeTooManyRequestsException},
		"no interpreter":         {err: fmt.Errorf("%w: node", runtime.ErrNoInterpreter), code: lambda.CodeInvalidRuntimeException},
		"the server stops":       {err: runtime.ErrStopped, code: lambda.CodeServiceException, status: http.StatusServiceUnavailable},
		"what is no JSON":        {in: lambda.InvokeInput{Payload: []byte("{")}, code: lambda.CodeInvalidRequestContentException},
		"two values":             {in: lambda.InvokeInput{Payload: []byte("{} {}")}, code: lambda.CodeInvalidRequestContentException},
		"a payload over 6 MiB":   {in: lambda.InvokeInput{Payload: []byte(`"` + strings.Repeat("x", 6<<20) + `"`)}, code: lambda.CodeRequestTooLargeException},
		"one over 1 MiB later":   {in: lambda.InvokeInput{InvocationType: new("Event"), Payload: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}, code: lambda.CodeRequestTooLargeException},
		"no client context":      {in: lambda.InvokeInput{ClientContext: new("{}")}, code: lambda.CodeInvalidRequestContentException},
		"a list for one":         {in: lambda.InvokeInput{ClientContext: new("W10=")}, code: lambda.CodeInvalidRequestContentException},
		"a long one":             {in: lambda.InvokeInput{ClientContext: new(strings.Repeat("e30=", 1000))}, code: lambda.CodeInvalidRequestContentException},
		"a tenant":               {in: lambda.InvokeInput{TenantId: new("a")}, code: lambda.CodeInvalidParameterValueException},
		"a durable execution":    {in: lambda.InvokeInput{DurableExecutionName: new("a")}, code: lambda.CodeInvalidParameterValueException},
		"a version":              {in: lambda.InvokeInput{Qualifier: new("1")}, code: lambda.CodeResourceNotFoundException},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSQLite(t)
			f.newFunction("hello")
			f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
				if len(in.Payload) == 0 || uuid.Validate(in.RequestID) != nil {
					t.Errorf("run with %q as %q", in.Payload, in.RequestID)
				}
				return tt.result, tt.err
			})
			tt.in.FunctionName = new("hello")
			out, err := call[*lambda.InvokeOutput](f, "Invoke", &tt.in)
			if tt.code != "" {
				e, ok := errors.AsType[*awsapi.Error](err)
				if !ok || e.Code != tt.code || tt.status != 0 && e.Status != tt.status {
					t.Errorf("got %v, %v", out, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, out); diff != "" {
				t.Error(diff)
			}
		})
	}
}
