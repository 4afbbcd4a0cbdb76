package function

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
)

// maxClientContext is AWS's limit in bytes, as the header has it.
const maxClientContext = 3583

// Invoke runs a function, now or later, or says whether the caller may.
func (f *Functions) Invoke(ctx context.Context, in *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
	err := refuse(
		unsupported{"DurableExecutionName", in.DurableExecutionName != nil, "executions are not durable. Leave it out."},
		unsupported{"TenantId", in.TenantId != nil, "functions do not tell tenants apart. Leave it out."},
	)
	if err != nil {
		return nil, err
	}
	fn, qualifier, err := f.open(ctx, in.FunctionName, in.Qualifier, actionInvoke)
	if err != nil {
		return nil, err
	}
	if err := f.available(); err != nil {
		return nil, err
	}
	payload, err := checkPayload(in.Payload)
	if err != nil {
		return nil, err
	}
	switch text(in.InvocationType) {
	case lambda.InvocationTypeDryRun:
		return &lambda.InvokeOutput{StatusCode: new(int32(http.StatusNoContent))}, nil
	case lambda.InvocationTypeEvent:
		c := awsapi.CallerFrom(ctx)
		err := f.enqueue(ctx, fn, asyncInvocation{RequestID: requestID(ctx), Qualifier: qualifier, Payload: payload, Trace: c.TraceHeader})
		if err != nil {
			return nil, err
		}
		return &lambda.InvokeOutput{StatusCode: new(int32(http.StatusAccepted))}, nil
	}
	return f.invokeNow(ctx, fn, qualifier, payload, in)
}

// checkPayload returns what a function gets as its event: JSON, {} if the request has nothing.
func checkPayload(payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return []byte("{}"), nil
	}
	if len(payload) > runtime.MaxPayload {
		return nil, lambda.ErrRequestTooLargeException("Request must be smaller than %d bytes for the InvokeFunction operation", runtime.MaxPayload)
	}
	var event json.RawMessage
	if err := json.Unmarshal(payload, &event); err != nil {
		return nil, lambda.ErrInvalidRequestContentException("Could not parse request body into json: %v", err)
	}
	return payload, nil
}

func (f *Functions) invokeNow(ctx context.Context, fn *Function, qualifier string, payload []byte, in *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
	clientContext, err := decodeClientContext(text(in.ClientContext))
	if err != nil {
		return nil, err
	}
	tail := text(in.LogType) == lambda.LogTypeTail
	result, err := f.run(ctx, fn, runtime.Invocation{
		RequestID: requestID(ctx), Payload: payload, ClientContext: clientContext, TraceHeader: awsapi.CallerFrom(ctx).TraceHeader,
		FunctionARN: qualified(fn, qualifier), Tail: tail,
	})
	if err != nil {
		return nil, runFault(fn, err)
	}
	out := &lambda.InvokeOutput{StatusCode: new(int32(http.StatusOK)), ExecutedVersion: new(latest), Payload: result.Payload}
	if result.FunctionError != "" {
		out.FunctionError = &result.FunctionError
	}
	if tail {
		out.LogResult = new(base64.StdEncoding.EncodeToString(result.LogTail))
	}
	return out, nil
}

// requestID is the call's id where it is one that functions may be given, else a new one.
func requestID(ctx context.Context) string {
	if id := awsapi.CallerFrom(ctx).RequestID; uuid.Validate(id) == nil {
		return id
	}
	return uuid.NewString()
}

func decodeClientContext(header string) (string, error) {
	if header == "" {
		return "", nil
	}
	if len(header) > maxClientContext {
		return "", lambda.ErrInvalidRequestContentException("Client context must be at most %d bytes long, not %d.", maxClientContext, len(header))
	}
	raw, err := base64.StdEncoding.DecodeString(header)
	var object map[string]any
	if err != nil || json.Unmarshal(raw, &object) != nil {
		return "", lambda.ErrInvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.")
	}
	return string(raw), nil
}

// runFault is AWS's error of a function that was not run.
func runFault(fn *Function, err error) error {
	switch {
	case errors.Is(err, runtime.ErrTooManyRequests):
		return lambda.ErrTooManyRequestsException("Rate Exceeded.")
	case errors.Is(err, runtime.ErrUnknownRuntime), errors.Is(err, runtime.ErrNoInterpreter):
		return lambda.ErrInvalidRuntimeException("The runtime %s cannot run here: %v", fn.Configuration.Runtime, err)
	case errors.Is(err, runtime.ErrStopped):
		return &awsapi.Error{Code: lambda.CodeServiceException, Message: "The server is stopping.", Status: http.StatusServiceUnavailable, Fault: true}
	}
	return err
}
