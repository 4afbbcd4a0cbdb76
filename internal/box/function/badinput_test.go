package function

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/awsapitest"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const (
	invalid    = lambda.CodeInvalidParameterValueException
	validation = "ValidationException"
)

type refusedCall struct {
	name    string
	in      any
	code    string
	message string
}

// Every operation refuses what it cannot honour by AWS's name for it, and changes nothing.
func TestBadInputIsRefusedByName(t *testing.T) {
	f := newSQLite(t)
	arn := f.newFunction("hello")
	create := func(change func(*lambda.CreateFunctionInput)) *lambda.CreateFunctionInput {
		return creation("new", change)
	}
	code := func(change func(*lambda.UpdateFunctionCodeInput)) *lambda.UpdateFunctionCodeInput {
		in := &lambda.UpdateFunctionCodeInput{FunctionName: new("hello"), ZipFile: zipOf(entry{name: "b", text: "2"})}
		change(in)
		return in
	}
	configure := func(change func(*lambda.UpdateFunctionConfigurationInput)) *lambda.UpdateFunctionConfigurationInput {
		in := &lambda.UpdateFunctionConfigurationInput{FunctionName: new("hello")}
		change(in)
		return in
	}
	variables := func(vars map[string]string) func(*lambda.CreateFunctionInput) {
		return func(in *lambda.CreateFunctionInput) { in.Environment = &lambda.Environment{Variables: vars} }
	}
	deadLetter := func(arn string) func(*lambda.CreateFunctionInput) {
		return func(in *lambda.CreateFunctionInput) { in.DeadLetterConfig = &lambda.DeadLetterConfig{TargetArn: &arn} }
	}
	tags := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("k", i)] = "v"
		}
		return m
	}
	elsewhere := lambda.ArchitectureArm64
	if machine() == elsewhere {
		elsewhere = lambda.ArchitectureX8664
	}

	for operation, calls := range map[string][]refusedCall{
		"CreateFunction": {
			{"no name", &lambda.CreateFunctionInput{}, validation, "functionName"},
			{"a name with other characters", creation("订单"), validation, "functionName"},
			{"a long name", creation(strings.Repeat("x", 65)), validation, "at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"},
			{"a name with a version", creation("new:1"), lambda.CodeResourceNotFoundException, "Function not found"},
			{"a name with $LATEST", creation("new:$LATEST"), invalid, "must not have a qualifier"},
			{"a name of another account", creation(other + ":function:new"), "AccessDeniedException", "lambda:CreateFunction"},
			{"a name of another region", creation("arn:aws:lambda:us-east-1:111122223333:function:new"), lambda.CodeResourceNotFoundException, "not reachable in this region ('eu-west-1')"},
			{"one that is there", creation("hello"), lambda.CodeResourceConflictException, "Function already exist: hello"},
			{"no runtime", create(func(in *lambda.CreateFunctionInput) { in.Runtime = nil }), invalid, "Runtime and Handler are mandatory parameters for functions created with deployment packages."},
			{"no handler", create(func(in *lambda.CreateFunctionInput) { in.Handler = nil }), invalid, "Runtime and Handler are mandatory"},
			{"an unknown runtime", create(func(in *lambda.CreateFunctionInput) { in.Runtime = new("cobol") }), validation, "at 'runtime' failed to satisfy constraint: Member must satisfy enum value set"},
			{"a runtime that does not run here", create(func(in *lambda.CreateFunctionInput) { in.Runtime = new("java21") }), invalid, "The runtime java21 is not supported by Rialto"},
			{"a runtime without its interpreter", create(func(in *lambda.CreateFunctionInput) { in.Runtime = new("python3.12") }), invalid, "python3 is not on this machine"},
			{"a handler with spaces", create(func(in *lambda.CreateFunctionInput) { in.Handler = new("a b") }), validation, "handler"},
			{"a handler with a NUL", create(func(in *lambda.CreateFunctionInput) { in.Handler = new("a\x00b") }), invalid, "control characters"},
			{"no role", create(func(in *lambda.CreateFunctionInput) { in.Role = nil }), validation, "role"},
			{"a user for a role", create(func(in *lambda.CreateFunctionInput) { in.Role = new("arn:aws:iam::111122223333:user/a") }), validation, "at 'role' failed to satisfy constraint"},
			{"another account's role", create(func(in *lambda.CreateFunctionInput) { in.Role = new("arn:aws:iam::444455556666:role/a") }), "AccessDeniedException", "Cross-account pass role is not allowed."},
			{"a long timeout", create(func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(901)) }), validation, "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"},
			{"no timeout", create(func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(0)) }), validation, "timeout"},
			{"little memory", create(func(in *lambda.CreateFunctionInput) { in.MemorySize = new(int32(127)) }), validation, "memorySize"},
			{"much memory", create(func(in *lambda.CreateFunctionInput) { in.MemorySize = new(int32(10241)) }), validation, "less than or equal to 10240"},
			{"much storage", create(func(in *lambda.CreateFunctionInput) {
				in.EphemeralStorage = &lambda.EphemeralStorage{Size: new(int32(10241))}
			}), validation, "ephemeralStorage.size"},
			{"another architecture", create(func(in *lambda.CreateFunctionInput) { in.Architectures = []string{elsewhere} }), invalid, "The architecture " + elsewhere + " is not supported by Rialto: this server's machine runs " + machine()},
			{"a reserved variable", create(variables(map[string]string{"AWS_REGION": "x", "LAMBDA_TASK_ROOT": "/"})), invalid, "Reserved keys used in this request: AWS_REGION, LAMBDA_TASK_ROOT"},
			{"variables over 4 KB", create(variables(map[string]string{"LONG": strings.Repeat("字", 1400)})), invalid, "exceeded the 4KB limit"},
			{"a variable with a NUL", create(variables(map[string]string{"NULL": "a\x00"})), invalid, "NULL contains a NUL"},
			{"a dead letter target that is none", create(deadLetter("arn:aws:s3:::bucket")), invalid, "neither the ARN of an SQS queue nor that of an SNS topic"},
			{"a FIFO queue for dead letters", create(deadLetter("arn:aws:sqs:eu-west-1:111122223333:q.fifo")), invalid, "is FIFO"},
			{"another region's queue for dead letters", create(deadLetter("arn:aws:sqs:us-east-1:111122223333:q")), invalid, "another region"},
			{"levels for text", create(func(in *lambda.CreateFunctionInput) {
				in.LoggingConfig = &lambda.LoggingConfig{ApplicationLogLevel: new("WARN")}
			}), invalid, "when LogFormat is set to JSON"},
			{"a reserved tag", create(func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{"AWS:x": "1"} }), invalid, "must not begin with aws:"},
			{"an empty tag", create(func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{"": "1"} }), invalid, "1 to 128"},
			{"too many tags", create(func(in *lambda.CreateFunctionInput) { in.Tags = tags(51) }), invalid, "Number of tags exceeds resource tag limit."},
			{"no code", create(func(in *lambda.CreateFunctionInput) { in.Code = &lambda.FunctionCode{} }), invalid, "non-empty zip"},
			{"code that is no zip", create(func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = []byte("#!/bin/sh") }), invalid, "Could not unzip uploaded file. Please check your file, then try to upload again: it is no zip"},
			{"code without files", create(func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = zipOf() }), invalid, "it holds no files"},
			{"code that climbs", create(func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = zipOf(entry{name: "../x", mode: fs.ModePerm}) }), invalid, `the name "../x" is not that of a file in it`},
			{"code over 50 MiB", create(func(in *lambda.CreateFunctionInput) { in.Code.ZipFile = make([]byte, maxPacked+1) }), "RequestEntityTooLargeException", "Request must be smaller than 69905064 bytes for the CreateFunction operation"},
			{"code in S3", create(func(in *lambda.CreateFunctionInput) {
				in.Code = &lambda.FunctionCode{S3Bucket: new("bucket"), S3Key: new("key")}
			}), invalid, "Code.S3Bucket is not supported by Rialto"},
			{"an image", create(func(in *lambda.CreateFunctionInput) { in.PackageType = new("Image") }), invalid, "PackageType Image is not supported by Rialto"},
			{"an image's URI", create(func(in *lambda.CreateFunctionInput) { in.Code = &lambda.FunctionCode{ImageUri: new("x")} }), invalid, "Code.ImageUri"},
			{"an image's settings", create(func(in *lambda.CreateFunctionInput) { in.ImageConfig = &lambda.ImageConfig{Command: []string{"a"}} }), invalid, "ImageConfig"},
			{"a version", create(func(in *lambda.CreateFunctionInput) { in.Publish = new(true) }), invalid, "Publish is not supported by Rialto"},
			{"a layer", create(func(in *lambda.CreateFunctionInput) {
				in.Layers = []string{"arn:aws:lambda:eu-west-1:111122223333:layer:a:1"}
			}), invalid, "Layers"},
			{"a VPC", create(func(in *lambda.CreateFunctionInput) {
				in.VpcConfig = &lambda.VpcConfig{SubnetIds: []string{"subnet-1"}}
			}), invalid, "VpcConfig"},
			{"a file system", create(func(in *lambda.CreateFunctionInput) {
				in.FileSystemConfigs = []lambda.FileSystemConfig{{Arn: new("arn:aws:elasticfilesystem:eu-west-1:111122223333:access-point/fsap-0123456789abcdef0"), LocalMountPath: new("/mnt/a")}}
			}), invalid, "FileSystemConfigs"},
			{"SnapStart", create(func(in *lambda.CreateFunctionInput) {
				in.SnapStart = &lambda.SnapStart{ApplyOn: new("PublishedVersions")}
			}), invalid, "SnapStart"},
			{"X-Ray", create(func(in *lambda.CreateFunctionInput) { in.TracingConfig = &lambda.TracingConfig{Mode: new("Active")} }), invalid, "TracingConfig.Mode Active"},
			{"a KMS key", create(func(in *lambda.CreateFunctionInput) { in.KMSKeyArn = new("arn:aws:kms:eu-west-1:111122223333:key/a") }), invalid, "KMSKeyArn"},
			{"code signing", create(func(in *lambda.CreateFunctionInput) {
				in.CodeSigningConfigArn = new("arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef0")
			}), invalid, "CodeSigningConfigArn"},
			{"tenants", create(func(in *lambda.CreateFunctionInput) {
				in.TenancyConfig = &lambda.TenancyConfig{TenantIsolationMode: new("PER_TENANT")}
			}), invalid, "TenancyConfig"},
			{"durable executions", create(func(in *lambda.CreateFunctionInput) {
				in.DurableConfig = &lambda.DurableConfig{ExecutionTimeout: new(int32(60))}
			}), invalid, "DurableConfig"},
		},
		"UpdateFunctionCode": {
			{"one that is missing", code(func(in *lambda.UpdateFunctionCodeInput) { in.FunctionName = new("missing") }), lambda.CodeResourceNotFoundException, "Function not found: "},
			{"no code", code(func(in *lambda.UpdateFunctionCodeInput) { in.ZipFile = nil }), invalid, "Please provide a source for function code."},
			{"empty code", code(func(in *lambda.UpdateFunctionCodeInput) { in.ZipFile = []byte{} }), invalid, "non-empty zip"},
			{"no zip, to try", code(func(in *lambda.UpdateFunctionCodeInput) { in.ZipFile, in.DryRun = []byte("x"), new(true) }), invalid, "Could not unzip uploaded file."},
			{"code in S3", code(func(in *lambda.UpdateFunctionCodeInput) {
				in.ZipFile, in.S3Bucket, in.S3Key = nil, new("bucket"), new("key")
			}), invalid, "S3Bucket is not supported"},
			{"an image", code(func(in *lambda.UpdateFunctionCodeInput) { in.ImageUri = new("x") }), invalid, "ImageUri"},
			{"a version", code(func(in *lambda.UpdateFunctionCodeInput) { in.Publish = new(true) }), invalid, "Publish"},
			{"another architecture", code(func(in *lambda.UpdateFunctionCodeInput) { in.Architectures = []string{elsewhere} }), invalid, "architecture"},
			{"two architectures", code(func(in *lambda.UpdateFunctionCodeInput) { in.Architectures = []string{"arm64", "x86_64"} }), validation, "architectures"},
		},
		"UpdateFunctionConfiguration": {
			{"an empty handler", configure(func(in *lambda.UpdateFunctionConfigurationInput) { in.Handler = new("") }), validation, "handler"},
			{"a runtime that does not run here", configure(func(in *lambda.UpdateFunctionConfigurationInput) { in.Runtime = new("ruby3.4") }), invalid, "ruby3.4"},
			{"a layer", configure(func(in *lambda.UpdateFunctionConfigurationInput) {
				in.Layers = []string{"arn:aws:lambda:eu-west-1:111122223333:layer:a:1"}
			}), invalid, "Layers"},
			{"a capacity provider", configure(func(in *lambda.UpdateFunctionConfigurationInput) {
				in.CapacityProviderConfig = &lambda.CapacityProviderConfig{LambdaManagedInstancesCapacityProviderConfig: &lambda.LambdaManagedInstancesCapacityProviderConfig{CapacityProviderArn: new("arn:aws:lambda:eu-west-1:111122223333:capacity-provider:a")}}
			}), invalid, "CapacityProviderConfig"},
			{"levels for text", configure(func(in *lambda.UpdateFunctionConfigurationInput) {
				in.LoggingConfig = &lambda.LoggingConfig{SystemLogLevel: new("WARN")}
			}), invalid, "JSON"},
		},
		"AddPermission": {
			{"no principal", permission("s", ""), validation, "principal"},
			{"a domain", permission("s", "example.com"), invalid, "The provided principal was invalid. Please check the principal and try again."},
			{"all of AWS", permission("s", "amazonaws.com"), invalid, "The provided principal was invalid."},
			{"roles by pattern", permission("s", "arn:aws:iam::444455556666:role/*"), invalid, "The provided principal was invalid."},
			{"a statement id with spaces", permission("a b", other), validation, "statementId"},
			{"another service's action", permission("s", other, func(in *lambda.AddPermissionInput) { in.Action = new("sqs:SendMessage") }), validation, "action"},
			{"an action of none", permission("s", other, func(in *lambda.AddPermissionInput) { in.Action = new("lambda:InvokeFunctionUrl") }), invalid, "The action lambda:InvokeFunctionUrl is not supported by Rialto"},
			{"a function URL", permission("s", other, func(in *lambda.AddPermissionInput) { in.FunctionUrlAuthType = new("NONE") }), invalid, "FunctionUrlAuthType"},
			{"the latest version", permission("s", other, func(in *lambda.AddPermissionInput) { in.Qualifier = new("$LATEST") }), invalid, "We currently do not support adding policies for $LATEST."},
			{"a version", permission("s", other, func(in *lambda.AddPermissionInput) { in.Qualifier = new("1") }), lambda.CodeResourceNotFoundException, "Function not found"},
			{"an account of other length", permission("s", other, func(in *lambda.AddPermissionInput) { in.SourceAccount = new("1") }), validation, "sourceAccount"},
		},
		"ListFunctions": {
			{"a marker of ours that is none", &lambda.ListFunctionsInput{Marker: new("?")}, invalid, "The marker"},
			{"a region's replicas", &lambda.ListFunctionsInput{MasterRegion: new("ALL"), FunctionVersion: new("ALL")}, invalid, "MasterRegion"},
			{"no items", &lambda.ListFunctionsInput{MaxItems: new(int32(0))}, validation, "maxItems"},
		},
		"TagResource": {
			{"a name", &lambda.TagResourceInput{Resource: new("hello"), Tags: tags(1)}, validation, "resource"},
			{"a version", &lambda.TagResourceInput{Resource: new(arn + ":$LATEST"), Tags: tags(1)}, invalid, "Tags on function aliases and versions are not supported."},
			{"too many", &lambda.TagResourceInput{Resource: &arn, Tags: tags(51)}, invalid, "Number of tags exceeds resource tag limit."},
			{"another character", &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{"a<b": "c"}}, invalid, "invalid characters"},
			{"a code signing configuration", &lambda.TagResourceInput{Resource: new("arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef0"), Tags: tags(1)}, lambda.CodeResourceNotFoundException, "neither a function nor an event source mapping"},
			{"a mapping that is missing", &lambda.TagResourceInput{Resource: new("arn:aws:lambda:eu-west-1:111122223333:event-source-mapping:00000000-0000-4000-8000-000000000000"), Tags: tags(1)}, lambda.CodeResourceNotFoundException, ""},
		},
	} {
		for _, tt := range calls {
			t.Run(operation+"/"+tt.name, func(t *testing.T) {
				_, err := call[any](f, operation, tt.in)
				e, ok := errors.AsType[*awsapi.Error](err)
				if !ok || e.Code != tt.code || !strings.Contains(e.Message, tt.message) {
					t.Errorf("got %v", err)
				}
			})
		}
	}

	list := must[*lambda.ListFunctionsOutput](f, "ListFunctions", &lambda.ListFunctionsInput{})
	have := must[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: &arn})
	if len(list.Functions) != 1 || *list.Functions[0].RevisionId != *have.Configuration.RevisionId || len(have.Tags) > 0 {
		t.Errorf("refused calls changed something: %v", list)
	}
	var stored int
	if err := f.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM function_code`).Scan(&stored); err != nil || stored != 1 {
		t.Errorf("refused calls left code: %d, %v", stored, err)
	}
}

// inputs has an input of each operation with texts wherever it takes them.
var inputs = map[string]string{
	"AddPermission":               `{"FunctionName":"ARN","StatementId":"new","Action":"lambda:InvokeFunction","Principal":"events.amazonaws.com","SourceArn":"arn:aws:events:eu-west-1:111122223333:rule/r","SourceAccount":"111122223333","RevisionId":"r","EventSourceToken":"t","PrincipalOrgID":"o-a1b2c3d4e5"}`,
	"CreateFunction":              `{"FunctionName":"new","Role":"arn:aws:iam::111122223333:role/r","Runtime":"nodejs20.x","Handler":"a.b","Description":"d","Code":{"ZipFile":"WklQ"},"Environment":{"Variables":{"NAME":"v"}},"Tags":{"k":"v"},"DeadLetterConfig":{"TargetArn":"arn:aws:sqs:eu-west-1:111122223333:q"},"LoggingConfig":{"LogGroup":"g"}}`,
	"DeleteFunction":              `{"FunctionName":"gone"}`,
	"GetFunction":                 `{"FunctionName":"ARN","Qualifier":"$LATEST"}`,
	"GetFunctionConfiguration":    `{"FunctionName":"ARN"}`,
	"GetPolicy":                   `{"FunctionName":"ARN"}`,
	"Invoke":                      `{"FunctionName":"ARN","ClientContext":"e30=","InvocationType":"Event"}`,
	"ListFunctions":               `{"Marker":"aGVsbG8"}`,
	"ListTags":                    `{"Resource":"ARN"}`,
	"RemovePermission":            `{"FunctionName":"ARN","StatementId":"old","RevisionId":"r"}`,
	"TagResource":                 `{"Resource":"ARN","Tags":{"k":"v"}}`,
	"UntagResource":               `{"Resource":"ARN","TagKeys":["k"]}`,
	"UpdateFunctionCode":          `{"FunctionName":"ARN","RevisionId":"r"}`,
	"UpdateFunctionConfiguration": `{"FunctionName":"ARN","Role":"arn:aws:iam::111122223333:role/r","Handler":"a.b","Description":"d","RevisionId":"r","Environment":{"Variables":{"NAME":"v"}},"DeadLetterConfig":{"TargetArn":"arn:aws:sqs:eu-west-1:111122223333:q"},"LoggingConfig":{"LogGroup":"g"}}`,
}

// PostgreSQL keeps neither the character U+0000 nor what is not UTF-8, which URLs can hold.
func TestNoTextFailsTheDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		arn := f.newFunction("hello")
		for _, op := range lambda.API.Operations {
			input, ok := inputs[op.Name]
			if !ok && !strings.Contains(op.Name, "EventSourceMapping") {
				t.Errorf("no input for %s", op.Name)
			}
			if !ok {
				continue
			}
			for _, spoil := range []string{"\x00", "\xff"} {
				for what, in := range awsapitest.Spoiled(t, op, strings.ReplaceAll(input, "ARN", arn), spoil) {
					if create, ok := in.(*lambda.CreateFunctionInput); ok {
						create.Code = &lambda.FunctionCode{ZipFile: zipOf(entry{name: "b", text: "1"})}
					}
					_, err := call[any](f, op.Name, in)
					if refusal, ok := errors.AsType[*awsapi.Error](err); err != nil && (!ok || refusal.Fault) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
		}
	})
}

func FuzzNames(f *testing.F) {
	for _, name := range []string{"hello", "hello:$LATEST", helloARN, helloARN + ":1", account + ":function:hello", "function:hello", "arn:aws:lambda:::x", "订单:🏙"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if r, qualifier, ok := ParseARN(name); ok && withQualifier(r, qualifier) != name {
			t.Errorf("%q is %v %q", name, r, qualifier)
		}
		r, qualifier, err := parseName(awsapi.WithCaller(t.Context(), admin(account)), name, "")
		if err != nil {
			if _, ok := errors.AsType[*awsapi.Error](err); !ok {
				t.Errorf("%q: %v", name, err)
			}
			return
		}
		again, q, ok := ParseARN(withQualifier(r, qualifier))
		if r.valid() && (!ok || again != r || q != qualifier) {
			t.Errorf("%q is %v %q, and by ARN %v %q", name, r, qualifier, again, q)
		}
	})
}
