package app

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"github.com/rialto-bus/rialto/internal/auth"
)

// The SDK's own calls, waiters, paginators and typed errors take the functions for Lambda's.
func TestFunctionsThroughTheSDK(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	ctx, api := t.Context(), c.functions()
	w := c.worker("orders", "provided.al2023", func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{"team": "订单"} })
	if err := lambda.NewFunctionActiveV2Waiter(api).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &w.name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := api.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String(w.arn()), MemorySize: aws.Int32(256)}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(api).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &w.name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	got, err := api.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(w.arn() + ":$LATEST")})
	if err != nil {
		t.Fatal(err)
	}
	if *got.Configuration.MemorySize != 256 || got.Tags["team"] != "订单" || *got.Configuration.FunctionArn != w.arn()+":$LATEST" {
		t.Errorf("got %+v", got)
	}
	if code := download(t, *got.Code.Location); int64(len(code)) != got.Configuration.CodeSize {
		t.Errorf("the link leads to %d bytes, not %d", len(code), got.Configuration.CodeSize)
	}
	for _, name := range []string{"a", "b", "c"} {
		c.worker(name, "provided.al2023")
	}
	n := 0
	for pages := lambda.NewListFunctionsPaginator(api, &lambda.ListFunctionsInput{MaxItems: aws.Int32(3)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Functions)
	}
	if n != 4 {
		t.Errorf("%d functions are listed", n)
	}

	_, err = api.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("missing")})
	if e, ok := errors.AsType[*lambdatypes.ResourceNotFoundException](err); !ok || *e.Message != "Function not found: arn:aws:lambda:us-east-1:000000000000:function:missing" {
		t.Errorf("got %v", err)
	}
	_, err = api.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &w.name, RevisionId: aws.String("old")})
	if _, ok := errors.AsType[*lambdatypes.PreconditionFailedException](err); !ok {
		t.Errorf("got %v", err)
	}
	_, err = api.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &w.name})
	if _, ok := errors.AsType[*lambdatypes.ResourceNotFoundException](err); !ok {
		t.Errorf("got %v", err)
	}
	if _, err = api.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &w.name}); err != nil {
		t.Fatal(err)
	}
	_, err = api.Invoke(ctx, &lambda.InvokeInput{FunctionName: &w.name})
	if _, ok := errors.AsType[*lambdatypes.ResourceNotFoundException](err); !ok {
		t.Errorf("got %v", err)
	}
}

func download(t *testing.T, link string) []byte {
	t.Helper()
	resp, err := http.Get(link) //nolint:noctx // of the server under test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s, %v", link, resp.Status, b, err)
	}
	return b
}

// workerPackage is the compiled worker beside other files.
func workerPackage(t *testing.T, more map[string][]byte) []byte {
	t.Helper()
	files := map[string][]byte{}
	maps.Copy(files, more)
	bin, err := compiledWorker()
	if err != nil {
		t.Fatalf("compile the worker: %v\n%s", err, bin)
	}
	files["bootstrap"] = bin
	return zipped(t, files)
}

func TestInvocationsOverHTTP(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	w := c.worker("orders", "provided.al2023")
	invoke := func(edit func(*lambda.InvokeInput)) (*lambda.InvokeOutput, error) {
		in := &lambda.InvokeInput{FunctionName: &w.name, Payload: []byte(`{"id":"世界🏙","detail":{}}`)}
		edit(in)
		return c.functions().Invoke(t.Context(), in)
	}
	out, err := invoke(func(in *lambda.InvokeInput) { in.LogType = lambdatypes.LogTypeTail })
	if err != nil {
		t.Fatal(err)
	}
	tail, err := base64.StdEncoding.DecodeString(*out.LogResult)
	if err != nil || !json.Valid(out.Payload) || out.StatusCode != 200 || *out.ExecutedVersion != "$LATEST" || out.FunctionError != nil || !strings.Contains(string(tail), "REPORT RequestId: ") {
		t.Errorf("got %d %s %s, %v", out.StatusCode, out.Payload, tail, err)
	}
	if seen := w.seen(); len(seen) != 1 || seen[0].Event.ID != "世界🏙" {
		t.Errorf("it got %+v", seen)
	}
	if out, err := invoke(func(in *lambda.InvokeInput) { in.InvocationType = lambdatypes.InvocationTypeDryRun }); err != nil || out.StatusCode != 204 {
		t.Errorf("a dry run: got %+v, %v", out, err)
	}
	if _, err = invoke(func(in *lambda.InvokeInput) { in.Payload = []byte(`{"id":`) }); err == nil || !strings.Contains(err.Error(), "Could not parse request body into json") {
		t.Errorf("half a payload: got %v", err)
	}
	for name, tt := range map[string]struct {
		kind lambdatypes.InvocationType
		size int
	}{
		"now":                    {lambdatypes.InvocationTypeRequestResponse, 6<<20 + 1},
		"later":                  {lambdatypes.InvocationTypeEvent, 1<<20 + 1},
		"beyond what is read":    {lambdatypes.InvocationTypeRequestResponse, 9 << 20},
		"far beyond what's read": {lambdatypes.InvocationTypeEvent, 40 << 20},
	} {
		_, err := invoke(func(in *lambda.InvokeInput) {
			in.InvocationType, in.Payload = tt.kind, []byte(`"`+strings.Repeat("x", tt.size-2)+`"`)
		})
		if e, ok := errors.AsType[smithy.APIError](err); !ok || !strings.HasSuffix(e.ErrorCode(), "TooLargeException") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(w.seen()) != 1 {
		t.Error("a refused call was made")
	}
}

// The largest package that AWS takes is taken, and the next larger one is refused.
func TestPackagesUpToFiftyMegabytes(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	noise := make([]byte, 50<<20)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	room := len(noise) - len(workerPackage(t, map[string][]byte{"noise": nil}))
	w := c.worker("orders", "provided.al2023", func(in *lambda.CreateFunctionInput) {
		in.Code.ZipFile = workerPackage(t, map[string][]byte{"noise": noise[:room]})
		in.Timeout = aws.Int32(60)
	})
	got, err := c.functions().GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &w.name})
	if err != nil || got.Configuration.CodeSize != 50<<20 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if !bytes.Contains(download(t, *got.Code.Location), noise[:room]) {
		t.Error("the link leads to something else")
	}
	if out, err := c.functions().Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &w.name, Payload: []byte(`{"id":"1"}`)}); err != nil || out.FunctionError != nil {
		t.Errorf("got %+v, %v", out, err)
	}
	for name, larger := range map[string][]byte{"a byte more": workerPackage(t, map[string][]byte{"noise": noise[:room+1]}), "much more": slices.Concat(noise, noise)} {
		_, err = c.functions().UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: &w.name, ZipFile: larger})
		if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "RequestEntityTooLargeException" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestWhereFunctionsAreRun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(*Config)
		want bool
	}{
		"on loopback":                           {func(*Config) {}, true},
		"on loopback, switched off":             {func(c *Config) { c.Functions = aws.Bool(false) }, false},
		"on all addresses":                      {func(c *Config) { c.Listen = "0.0.0.0:0" }, false},
		"on all addresses, switched on":         {func(c *Config) { c.Listen, c.Functions = "0.0.0.0:0", aws.Bool(true) }, true},
		"on loopback behind a proxy":            {func(c *Config) { c.PublicURL = "https://rialto.example.com" }, false},
		"on loopback with a public URL of it":   {func(c *Config) { c.PublicURL = "http://localhost:7425" }, true},
		"behind a proxy of a name, switched on": {func(c *Config) { c.PublicURL, c.Functions = "https://rialto.example.com", aws.Bool(true) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewConfig()
			c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
			tt.edit(&c)
			id, secret, err := CreateKey(t.Context(), c, "111122223333", "admin", "")
			if err != nil {
				t.Fatal(err)
			}
			s := startServerAt(t, c, time.Now)
			api := lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.LocalURL()), Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""), RetryMaxAttempts: 1})
			_, err = api.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
				FunctionName: aws.String("f"), Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"), Role: aws.String("arn:aws:iam::111122223333:role/r"),
				Code: &lambdatypes.FunctionCode{ZipFile: zipped(t, map[string][]byte{"bootstrap": []byte("#!/bin/sh")})},
			})
			if tt.want && err != nil || !tt.want && (err == nil || !strings.Contains(err.Error(), "start it with --functions or RIALTO_FUNCTIONS=true")) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What a function finds in its environment lets it call this server as its account.
func TestAFunctionMayCallTheServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	if _, _, err := s.auth.CreateKey(t.Context(), auth.NewKey{Account: "000000000000", Role: auth.Admin}); err != nil {
		t.Fatal(err) // and dev mode ends
	}
	environment := map[string]string{}
	for _, v := range s.functionEnvironment("111122223333", "eu-west-1") {
		name, value, _ := strings.Cut(v, "=")
		environment[name] = value
	}
	c := s.withKey("111122223333", environment["AWS_REGION"], environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
	c.url = environment["AWS_ENDPOINT_URL"]
	out, err := c.functions().ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
	if err != nil || len(out.Functions) != 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// Unpacked code is read-only: who stops the server can delete its data all the same.
func TestAStoppedServerLeavesNoUnpackedCode(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	s.caller("000000000000", "us-east-1").worker("orders", "provided.al2023")
	code := filepath.Join(s.DataDir(), "functions", "code")
	if list, err := os.ReadDir(code); err != nil || len(list) != 1 {
		t.Fatalf("unpacked are %v, %v", list, err)
	}
	s.stop()
	if list, err := os.ReadDir(code); err != nil || len(list) != 0 {
		t.Errorf("left are %v, %v", list, err)
	}
}
