package function

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const helloARN = "arn:aws:lambda:eu-west-1:111122223333:function:hello"

func TestAFunctionHasAWSsDefaults(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		in := creation("hello")
		out := must[*lambda.CreateFunctionOutput](f, "CreateFunction", in)
		sum := sha256.Sum256(in.Code.ZipFile)
		want := &lambda.CreateFunctionOutput{
			Architectures: []string{machine()}, CodeSha256: new(base64.StdEncoding.EncodeToString(sum[:])), CodeSize: new(int64(len(in.Code.ZipFile))),
			Description: new(""), EphemeralStorage: &lambda.EphemeralStorage{Size: new(int32(512))}, FunctionArn: new(helloARN), FunctionName: new("hello"),
			Handler: new("bootstrap"), LastModified: out.LastModified, LastUpdateStatus: new("Successful"),
			LoggingConfig: &lambda.LoggingConfig{LogFormat: new("Text"), LogGroup: new("/aws/lambda/hello")}, MemorySize: new(int32(128)),
			PackageType: new("Zip"), RevisionId: out.RevisionId, Role: new(role), Runtime: new("provided.al2023"), RuntimeVersionConfig: out.RuntimeVersionConfig,
			SnapStart: &lambda.SnapStartResponse{ApplyOn: new("None"), OptimizationStatus: new("Off")}, State: new("Active"), Timeout: new(int32(3)),
			TracingConfig: &lambda.TracingConfigResponse{Mode: new("PassThrough")}, Version: new("$LATEST"),
		}
		if diff := cmp.Diff(want, out); diff != "" {
			t.Error(diff)
		}
		if ok, _ := regexp.MatchString(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$`, *out.LastModified); !ok {
			t.Errorf("LastModified %s", *out.LastModified)
		}
		got := must[*lambda.GetFunctionConfigurationOutput](f, "GetFunctionConfiguration", &lambda.GetFunctionConfigurationInput{FunctionName: new("hello")})
		if diff := cmp.Diff(lambda.FunctionConfiguration(*out), lambda.FunctionConfiguration(*got)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFunctionIsKnownByNamePartialARNAndARN(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("hello")
	for name, want := range map[string]string{
		"hello": helloARN, "hello:$LATEST": helloARN + ":$LATEST", "function:hello": helloARN, account + ":function:hello": helloARN,
		account + ":hello": helloARN, account + ":function:hello:$LATEST": helloARN + ":$LATEST", helloARN: helloARN, helloARN + ":$LATEST": helloARN + ":$LATEST",
	} {
		out, err := call[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: &name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := *out.Configuration.FunctionArn; got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
	qualified := &lambda.GetFunctionInput{FunctionName: new("hello"), Qualifier: new("$LATEST")}
	if out := must[*lambda.GetFunctionOutput](f, "GetFunction", qualified); *out.Configuration.FunctionArn != helloARN+":$LATEST" {
		t.Errorf("with a qualifier: got %s", *out.Configuration.FunctionArn)
	}
	for name, want := range map[string]string{
		"hello:1":         "ResourceNotFoundException: Function not found: " + helloARN + ":1",
		"hello:live":      "ResourceNotFoundException: Function not found: " + helloARN + ":live",
		"missing":         "ResourceNotFoundException: Function not found: arn:aws:lambda:eu-west-1:111122223333:function:missing",
		"missing:$LATEST": "ResourceNotFoundException: Function not found: arn:aws:lambda:eu-west-1:111122223333:function:missing:$LATEST",
		"Hello":           "ResourceNotFoundException: Function not found: arn:aws:lambda:eu-west-1:111122223333:function:Hello",
		other + ":function:hello": "AccessDeniedException: User: arn:aws:iam::111122223333:root is not authorized to perform: lambda:GetFunction on resource: arn:aws:lambda:eu-west-1:444455556666:function:hello " +
			"because no resource-based policy allows the lambda:GetFunction action",
		"arn:aws:lambda:us-east-1:111122223333:function:hello": "ResourceNotFoundException: Functions from 'us-east-1' are not reachable in this region ('eu-west-1')",
	} {
		_, err := call[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: &name})
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := call[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: new("hello:live"), Qualifier: new("$LATEST")})
	if err == nil || !strings.Contains(err.Error(), "The derived qualifier from the function name does not match the specified qualifier.") {
		t.Errorf("two qualifiers: got %v", err)
	}
}

func TestFunctionsOfOtherRegionsAndAccountsAreOthers(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("hello")
	for _, c := range []awsapi.Caller{{Account: account, Region: "us-east-1", Role: awsapi.RoleAdmin}, {Account: other, Region: region, Role: awsapi.RoleAdmin}} {
		list, err := callAs[*lambda.ListFunctionsOutput](f, t.Context(), c, "ListFunctions", &lambda.ListFunctionsInput{})
		if err != nil || len(list.Functions) > 0 {
			t.Errorf("%s %s: got %v, %v", c.Account, c.Region, list, err)
		}
		_, err = callAs[*lambda.GetFunctionOutput](f, t.Context(), c, "GetFunction", &lambda.GetFunctionInput{FunctionName: new("hello")})
		if !awsapi.HasCode(err, lambda.CodeResourceNotFoundException) {
			t.Errorf("%s %s: got %v", c.Account, c.Region, err)
		}
	}
}

func TestAFunctionIsMadeOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		const n = 4
		errs := make(chan error, n)
		for range n {
			go func() {
				_, err := callAs[*lambda.CreateFunctionOutput](f, context.Background(), admin(account), "CreateFunction", creation("hello"))
				errs <- err
			}()
		}
		made := 0
		for range n {
			switch err := <-errs; {
			case err == nil:
				made++
			case err.Error() != "ResourceConflictException: Function already exist: hello":
				t.Errorf("got %v", err)
			}
		}
		if made != 1 {
			t.Errorf("%d were made", made)
		}
	})
}

func TestAnUpdateChangesWhatItMentions(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("hello", func(in *lambda.CreateFunctionInput) {
			in.Description = new("旧")
			in.Environment = &lambda.Environment{Variables: map[string]string{"COLOUR": "红🏙", "SIZE": "1"}}
			in.DeadLetterConfig = &lambda.DeadLetterConfig{TargetArn: new("arn:aws:sqs:eu-west-1:111122223333:dlq")}
			in.LoggingConfig = &lambda.LoggingConfig{LogFormat: new("JSON"), ApplicationLogLevel: new("DEBUG"), LogGroup: new("all")}
			in.MemorySize, in.Timeout = new(int32(256)), new(int32(900))
			in.EphemeralStorage = &lambda.EphemeralStorage{Size: new(int32(10240))}
			in.Architectures = []string{machine()}
			// Empty values and defaults ask for nothing.
			in.VpcConfig, in.Layers, in.KMSKeyArn, in.Publish = &lambda.VpcConfig{SubnetIds: []string{}}, []string{}, new(""), new(false)
			in.TracingConfig, in.SnapStart, in.PackageType = &lambda.TracingConfig{Mode: new("PassThrough")}, &lambda.SnapStart{ApplyOn: new("None")}, new("Zip")
		})
		read := func() lambda.FunctionConfiguration {
			return lambda.FunctionConfiguration(*must[*lambda.GetFunctionConfigurationOutput](f, "GetFunctionConfiguration", &lambda.GetFunctionConfigurationInput{FunctionName: new("hello")}))
		}
		update := func(in *lambda.UpdateFunctionConfigurationInput) lambda.FunctionConfiguration {
			f.t.Helper()
			in.FunctionName = new("hello")
			before := read()
			out := lambda.FunctionConfiguration(*must[*lambda.UpdateFunctionConfigurationOutput](f, "UpdateFunctionConfiguration", in))
			if *out.RevisionId == *before.RevisionId {
				t.Error("the revision stayed")
			}
			if diff := cmp.Diff(out, read()); diff != "" {
				t.Errorf("what was answered is not what is: %s", diff)
			}
			return out
		}
		want := read()
		if want.Environment.Variables["COLOUR"] != "红🏙" || *want.LoggingConfig.SystemLogLevel != "INFO" || *want.LoggingConfig.ApplicationLogLevel != "DEBUG" {
			t.Errorf("created with %+v", want)
		}
		steps := []struct {
			in   *lambda.UpdateFunctionConfigurationInput
			then func(c *lambda.FunctionConfiguration)
		}{
			{&lambda.UpdateFunctionConfigurationInput{Timeout: new(int32(7))}, func(c *lambda.FunctionConfiguration) { c.Timeout = new(int32(7)) }},
			{&lambda.UpdateFunctionConfigurationInput{Description: new("新")}, func(c *lambda.FunctionConfiguration) { c.Description = new("新") }},
			{&lambda.UpdateFunctionConfigurationInput{Environment: &lambda.Environment{Variables: map[string]string{"ONLY": "1"}}},
				func(c *lambda.FunctionConfiguration) {
					c.Environment = &lambda.EnvironmentResponse{Variables: map[string]string{"ONLY": "1"}}
				}},
			{&lambda.UpdateFunctionConfigurationInput{Environment: &lambda.Environment{}}, func(c *lambda.FunctionConfiguration) { c.Environment = nil }},
			{&lambda.UpdateFunctionConfigurationInput{DeadLetterConfig: &lambda.DeadLetterConfig{TargetArn: new("")}}, func(c *lambda.FunctionConfiguration) { c.DeadLetterConfig = nil }},
			{&lambda.UpdateFunctionConfigurationInput{LoggingConfig: &lambda.LoggingConfig{SystemLogLevel: new("WARN")}},
				func(c *lambda.FunctionConfiguration) { c.LoggingConfig.SystemLogLevel = new("WARN") }},
			{&lambda.UpdateFunctionConfigurationInput{LoggingConfig: &lambda.LoggingConfig{LogFormat: new("Text")}},
				func(c *lambda.FunctionConfiguration) {
					c.LoggingConfig = &lambda.LoggingConfig{LogFormat: new("Text"), LogGroup: new("all")}
				}},
			{&lambda.UpdateFunctionConfigurationInput{Runtime: new("nodejs20.x"), Handler: new("index.handler"), MemorySize: new(int32(10240))},
				func(c *lambda.FunctionConfiguration) {
					c.Runtime, c.Handler, c.MemorySize = new("nodejs20.x"), new("index.handler"), new(int32(10240))
					c.RuntimeVersionConfig = &lambda.RuntimeVersionConfig{RuntimeVersionArn: new(runtimeVersion(region, "nodejs20.x"))}
				}},
		}
		for i, step := range steps {
			got := update(step.in)
			step.then(&want)
			want.RevisionId, want.LastModified = got.RevisionId, got.LastModified
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("step %d: %s", i, diff)
			}
		}
	})
}

func TestARevisionThatIsOutOfDateChangesNothing(t *testing.T) {
	f := newSQLite(t)
	first := must[*lambda.CreateFunctionOutput](f, "CreateFunction", creation("hello")).RevisionId
	permission := func(id string, revision *string) *lambda.AddPermissionInput {
		return &lambda.AddPermissionInput{FunctionName: new("hello"), StatementId: &id, Action: new(actionInvoke), Principal: new(other), RevisionId: revision}
	}
	must[*lambda.AddPermissionOutput](f, "AddPermission", permission("one", first))
	now := must[*lambda.GetPolicyOutput](f, "GetPolicy", &lambda.GetPolicyInput{FunctionName: new("hello")}).RevisionId
	if *now == *first {
		t.Error("a permission left the revision as it was")
	}
	code := zipOf(entry{name: "bootstrap", text: "2"})
	for name, in := range map[string]any{
		"UpdateFunctionConfiguration": &lambda.UpdateFunctionConfigurationInput{FunctionName: new("hello"), Timeout: new(int32(9)), RevisionId: first},
		"UpdateFunctionCode":          &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: code, RevisionId: first},
		"AddPermission":               permission("two", first),
		"RemovePermission":            &lambda.RemovePermissionInput{FunctionName: new("hello"), StatementId: new("one"), RevisionId: first},
	} {
		_, err := call[any](f, name, in)
		if !awsapi.HasCode(err, lambda.CodePreconditionFailedException) || !strings.Contains(err.Error(), "The RevisionId provided does not match the latest RevisionId. Call the Get") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := must[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: new("hello")}); *got.Configuration.RevisionId != *now {
		t.Error("a refused call changed the function")
	}
	must[*lambda.UpdateFunctionCodeOutput](f, "UpdateFunctionCode", &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: code, RevisionId: now})
}

func TestCodeIsReplaced(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("hello")
		// More than one chunk, and bytes that do not compress.
		large := strings.Repeat("0123456789abcdef城", 60_000)
		next := zipOf(entry{name: "bootstrap", text: "2", mode: 0o755}, entry{name: "lib/数据.txt", text: large})
		if len(next) < 2*chunkSize {
			t.Fatalf("the package has only %d bytes", len(next))
		}
		tried := must[*lambda.UpdateFunctionCodeOutput](f, "UpdateFunctionCode", &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: next, DryRun: new(true)})
		was := must[*lambda.GetFunctionConfigurationOutput](f, "GetFunctionConfiguration", &lambda.GetFunctionConfigurationInput{FunctionName: new("hello")})
		if *tried.CodeSize != int64(len(next)) || *was.CodeSize == *tried.CodeSize || *tried.RevisionId != *was.RevisionId {
			t.Errorf("a dry run answered %d bytes, and there are %d", *tried.CodeSize, *was.CodeSize)
		}
		out := must[*lambda.UpdateFunctionCodeOutput](f, "UpdateFunctionCode", &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: next})
		if *out.CodeSha256 != *tried.CodeSha256 || *out.RevisionId == *was.RevisionId {
			t.Errorf("got %s %s", *out.CodeSha256, *out.RevisionId)
		}
		// Another node unpacks what is stored.
		second := newFixture(t, db)
		var seen string
		second.runs.set(func(_ context.Context, fn runtime.Function, _ runtime.Invocation) (runtime.Result, error) {
			b, err := os.ReadFile(filepath.Join(fn.Dir, "lib", "数据.txt"))
			seen = string(b)
			return runtime.Result{Payload: []byte("1")}, err
		})
		must[*lambda.InvokeOutput](second, "Invoke", &lambda.InvokeInput{FunctionName: new("hello")})
		if seen != large {
			t.Errorf("another node's function saw %d bytes", len(seen))
		}
	})
}

func TestADeletedFunctionIsGone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		arn := f.newFunction("hello")
		_, err := call[any](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("hello:$LATEST")})
		if err == nil || !strings.Contains(err.Error(), "$LATEST version cannot be deleted without deleting the function.") {
			t.Errorf("got %v", err)
		}
		out := must[*lambda.DeleteFunctionOutput](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("hello")})
		if *out.StatusCode != 204 {
			t.Errorf("got %d", *out.StatusCode)
		}
		if diff := cmp.Diff([]string{arn}, f.runs.forgotten); diff != "" {
			t.Error(diff)
		}
		for name, in := range map[string]any{
			"DeleteFunction": &lambda.DeleteFunctionInput{FunctionName: new("hello")}, "GetFunction": &lambda.GetFunctionInput{FunctionName: new("hello")},
			"Invoke": &lambda.InvokeInput{FunctionName: new("hello")}, "GetPolicy": &lambda.GetPolicyInput{FunctionName: new("hello")},
			"ListTags": &lambda.ListTagsInput{Resource: &arn},
		} {
			if _, err := call[any](f, name, in); err == nil || err.Error() != "ResourceNotFoundException: Function not found: "+arn {
				t.Errorf("%s: got %v", name, err)
			}
		}
		f.newFunction("hello")
	})
}

func TestListFunctionsPages(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		var want []string
		for i := range 53 {
			want = append(want, fmt.Sprintf("f%02d", i))
			f.newFunction(want[i])
		}
		for _, size := range []*int32{nil, new(int32(1)), new(int32(7)), new(int32(10_000))} {
			var got []string
			pages := 0
			for in := (&lambda.ListFunctionsInput{MaxItems: size}); ; pages++ {
				out := must[*lambda.ListFunctionsOutput](f, "ListFunctions", in)
				for _, fn := range out.Functions {
					got = append(got, *fn.FunctionName)
				}
				if out.NextMarker == nil {
					break
				}
				in.Marker = out.NextMarker
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if size != nil && *size > 50 && pages != 1 {
				t.Errorf("%d pages of at most 50", pages+1)
			}
		}
		all := must[*lambda.ListFunctionsOutput](f, "ListFunctions", &lambda.ListFunctionsInput{FunctionVersion: new("ALL"), MaxItems: new(int32(1))})
		if *all.Functions[0].FunctionArn != "arn:aws:lambda:eu-west-1:111122223333:function:f00:$LATEST" {
			t.Errorf("all versions: got %s", *all.Functions[0].FunctionArn)
		}
	})
}

func TestTags(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		arn := f.newFunction("hello", func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{"team": "订单", "env": "test"} })
		must[*lambda.TagResourceOutput](f, "TagResource", &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{"env": "live", "v": "1"}})
		must[*lambda.UntagResourceOutput](f, "UntagResource", &lambda.UntagResourceInput{Resource: &arn, TagKeys: []string{"team", "absent"}})
		want := map[string]string{"env": "live", "v": "1"}
		if diff := cmp.Diff(want, must[*lambda.ListTagsOutput](f, "ListTags", &lambda.ListTagsInput{Resource: &arn}).Tags); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, must[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: &arn}).Tags); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEnvironmentVariablesAreEncryptedAtRest(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("hello", func(in *lambda.CreateFunctionInput) {
		in.Environment = &lambda.Environment{Variables: map[string]string{"PASSWORD": "swordfish"}}
	})
	var configuration string
	var environment []byte
	if err := f.db.QueryRow(t.Context(), `SELECT configuration, environment FROM function`).Scan(&configuration, &environment); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(configuration, "swordfish") || strings.Contains(string(environment), "swordfish") || len(environment) == 0 {
		t.Errorf("stored %s %q", configuration, environment)
	}
}

// A policy starts no new processes; code, configuration and another life do.
func TestProcessesFollowCodeAndConfiguration(t *testing.T) {
	f := newSQLite(t)
	var revision string
	f.runs.set(func(_ context.Context, fn runtime.Function, _ runtime.Invocation) (runtime.Result, error) {
		revision = fn.Revision
		return runtime.Result{}, nil
	})
	after := func(operation string, in any) string {
		t.Helper()
		must[any](f, operation, in)
		must[*lambda.InvokeOutput](f, "Invoke", &lambda.InvokeInput{FunctionName: new("hello")})
		return revision
	}
	seen := after("CreateFunction", creation("hello"))
	permission := &lambda.AddPermissionInput{FunctionName: new("hello"), StatementId: new("one"), Action: new(actionInvoke), Principal: new(other)}
	if after("AddPermission", permission) != seen || after("TagResource", &lambda.TagResourceInput{Resource: new(helloARN), Tags: map[string]string{"a": "b"}}) != seen {
		t.Error("a permission or tag changed the revision of processes")
	}
	environment := &lambda.UpdateFunctionConfigurationInput{FunctionName: new("hello"), Environment: &lambda.Environment{Variables: map[string]string{"AB": "1"}}}
	for i, step := range []func() string{
		func() string { return after("UpdateFunctionConfiguration", environment) },
		func() string {
			return after("UpdateFunctionCode", &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: zipOf(entry{name: "b", text: "2"})})
		},
		func() string {
			must[any](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("hello")})
			return after("CreateFunction", creation("hello"))
		},
	} {
		if next := step(); next == seen {
			t.Errorf("step %d left the revision of processes", i)
		} else {
			seen = next
		}
	}
}

func TestAFunctionSwitchedOffIsNeitherMadeNorRun(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("hello")
	f.off.Store(true)
	for name, in := range map[string]any{
		"CreateFunction":     creation("other"),
		"UpdateFunctionCode": &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: zipOf(entry{name: "b"})},
		"Invoke":             &lambda.InvokeInput{FunctionName: new("hello")},
	} {
		_, err := call[any](f, name, in)
		if !awsapi.HasCode(err, "AccessDeniedException") || !strings.Contains(err.Error(), "--functions or RIALTO_FUNCTIONS=true") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	must[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: new("hello")})
	must[*lambda.DeleteFunctionOutput](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("hello")})
}

func TestRolesDecideWhoMayRunCode(t *testing.T) {
	f := newSQLite(t)
	arn := f.newFunction("hello")
	for role, allowed := range map[string][]string{
		awsapi.RoleReader:   {"GetFunction"},
		awsapi.RoleOperator: {"GetFunction", "TagResource"},
	} {
		c := admin(account)
		c.Role = role
		for name, in := range map[string]any{
			"CreateFunction": creation("other"), "Invoke": &lambda.InvokeInput{FunctionName: new("hello")}, "GetFunction": &lambda.GetFunctionInput{FunctionName: new("hello")},
			"AddPermission":               &lambda.AddPermissionInput{FunctionName: new("hello"), StatementId: new("by-" + role), Action: new(actionInvoke), Principal: new(other)},
			"TagResource":                 &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{"by": role}},
			"UpdateFunctionConfiguration": &lambda.UpdateFunctionConfigurationInput{FunctionName: new("hello"), Timeout: new(int32(9))},
		} {
			_, err := callAs[any](f, t.Context(), c, name, in)
			if may := strings.Contains(strings.Join(allowed, " "), name); may != (err == nil) {
				t.Errorf("%s as %s: got %v", name, role, err)
			}
		}
	}
}

func TestTimesAreWrittenAsAWSDoes(t *testing.T) {
	at := time.Date(2026, 2, 20, 1, 9, 13, 0, time.UTC).UnixMilli()
	if got := lastModified(at); got != "2026-02-20T01:09:13.000+0000" {
		t.Errorf("got %s", got)
	}
}

func TestParseARN(t *testing.T) {
	for arn, want := range map[string]string{
		helloARN: "", helloARN + ":$LATEST": "$LATEST", helloARN + ":live": "live", "arn:aws-cn:lambda:cn-north-1:111122223333:function:a": "",
	} {
		r, qualifier, ok := ParseARN(arn)
		if !ok || qualifier != want || withQualifier(r, qualifier) != arn {
			t.Errorf("%s: got %v %q %v", arn, r, qualifier, ok)
		}
	}
	for _, arn := range []string{
		"", "hello", helloARN + ":", helloARN + ":a:b", helloARN + ":a b", "arn:aws:lambda:eu-west-1:1:function:a", "arn:aws:lambda:eu-west-1:111122223333:layer:a",
		"arn:aws:sqs:eu-west-1:111122223333:function:a", "arn:aws-cn:lambda:eu-west-1:111122223333:function:a", "arn:aws:lambda:eu-west-1:111122223333:function:订单",
		"arn:aws:lambda::111122223333:function:a", helloARN + "\x00",
	} {
		if r, _, ok := ParseARN(arn); ok {
			t.Errorf("%q: got %v", arn, r)
		}
	}
}
