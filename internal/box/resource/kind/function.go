package kind

import (
	"context"
	"maps"
	"slices"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// function is AWS::Lambda::Function, by its name.
type function struct{ api }

// functionProperties are what Lambda calls by the same names.
var functionProperties = []string{
	"Role", "Runtime", "Handler", "Description", "MemorySize", "Timeout", "Environment", "DeadLetterConfig", "LoggingConfig", "TracingConfig",
	"EphemeralStorage", "Layers", "VpcConfig", "FileSystemConfigs", "ImageConfig", "SnapStart", "DurableConfig", "CapacityProviderConfig",
}

// functionDefaults are the properties that a function can do without, with what AWS has then.
var functionDefaults = resource.Model{
	"MemorySize": "128", "Timeout": "3", "PackageType": lambda.PackageTypeZip,
	"TracingConfig": map[string]any{"Mode": lambda.TracingModePassThrough}, "EphemeralStorage": map[string]any{"Size": "512"},
}

// functionUnserved are properties for which Lambda has operations of their own that are not here.
var functionUnserved = unserved{
	{"ReservedConcurrentExecutions", "no runs are kept for a function"},
	{"FunctionScalingConfig", "functions have no execution environments to count"},
	{"PublishToLatestPublished", "functions have no versions"},
	{"CodeSigningConfigArn", "code is not signed"},
}

func refuseFunction(m resource.Model) error {
	if updates, ok := m["RuntimeManagementConfig"].(map[string]any); ok && (updates["UpdateRuntimeOn"] != "Auto" || updates["RuntimeVersionArn"] != nil) {
		return invalid("RuntimeManagementConfig", "must be Auto or left out: runtimes are those of this machine.")
	}
	if v := m["RecursiveLoop"]; v != nil && v != "Allow" {
		return invalid("RecursiveLoop", "must be Allow or left out: loops are not found.")
	}
	if v := m["ReservedConcurrentExecutions"]; v != nil { // 0 asks for something, too
		return invalid("ReservedConcurrentExecutions", "is not available here: %s.", functionUnserved[0].why)
	}
	return functionUnserved.refuse(m)
}

// Create makes the function and waits until it is active.
func (h function) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	if err := refuseFunction(r.Desired); err != nil {
		return nil, err
	}
	name := nameOf(r, "FunctionName", "Function")
	in := &lambda.CreateFunctionInput{}
	if err := shape("", pick(r.Desired, slices.Concat(functionProperties, []string{"Architectures", "PackageType", "TenancyConfig"})...), in); err != nil {
		return nil, err
	}
	in.FunctionName, in.KMSKeyArn = &name, given(r.Desired["KmsKeyArn"])
	code, err := codeIn(r.Desired)
	if err != nil {
		return nil, err
	}
	in.Code = code
	if in.Tags, err = tagsOf(r.Desired); err != nil {
		return nil, err
	}
	_, err = call[lambda.CreateFunctionOutput](ctx, h.api, r, "lambda", "CreateFunction", in)
	if err = asExisting(err); is(err, resource.AlreadyExists) && r.Again {
		err = h.adopt(ctx, r, name, code, err)
	}
	if err != nil {
		return nil, err
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.remove(ctx, r, name) })
	if err := h.active(ctx, r, name); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, name)
}

// adopt returns nil if the function is what a create that was cut off left, else the refusal.
func (h function) adopt(ctx context.Context, r resource.Request, name string, code *lambda.FunctionCode, refusal error) error {
	out, err := h.get(ctx, r, name)
	if err != nil {
		return err
	}
	defaults := resource.Model{"LoggingConfig": defaultLogging(name), "Architectures": value(out.Configuration.Architectures)}
	maps.Copy(defaults, functionDefaults)
	have := functionOut(out)
	if shownOf(r.Desired["LoggingConfig"], have["LoggingConfig"]) && r.Desired["LoggingConfig"] != nil {
		have["LoggingConfig"] = r.Desired["LoggingConfig"] // what is not given of it is filled up
	}
	properties := slices.Concat([]string{"Tags", "Architectures", "PackageType"}, functionProperties)
	if str(out.Configuration.CodeSha256) != sum(code) || !ours(r.Desired, have, defaults, properties, nil) {
		return refusal
	}
	return nil
}

func defaultLogging(name string) map[string]any {
	return map[string]any{"LogFormat": lambda.LogFormatText, "LogGroup": "/aws/lambda/" + name}
}

func (h function) get(ctx context.Context, r resource.Request, name string) (*lambda.GetFunctionOutput, error) {
	return call[lambda.GetFunctionOutput](ctx, h.api, r, "lambda", "GetFunction", &lambda.GetFunctionInput{FunctionName: &name})
}

// active waits until the function can be called and its last update is done.
func (h function) active(ctx context.Context, r resource.Request, name string) error {
	return until(ctx, func() (bool, string, error) {
		out, err := h.get(ctx, r, name)
		if err != nil {
			return false, "", err
		}
		c := out.Configuration
		if str(c.State) == lambda.StateFailed {
			return false, "", resource.Errorf(resource.NotStabilized, "The function %s failed: %s (%s)", name, str(c.StateReason), str(c.StateReasonCode))
		}
		if str(c.LastUpdateStatus) == lambda.LastUpdateStatusFailed {
			return false, "", resource.Errorf(resource.NotStabilized, "The update of function %s failed: %s (%s)", name, str(c.LastUpdateStatusReason), str(c.LastUpdateStatusReasonCode))
		}
		done := str(c.State) != lambda.StatePending && str(c.LastUpdateStatus) != lambda.LastUpdateStatusInProgress
		return done, "The function " + name + " is " + str(c.State) + ".", nil
	})
}

// Read returns the function's configuration and tags.
func (h function) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h function) read(ctx context.Context, r resource.Request, name string) (resource.Model, error) {
	out, err := h.get(ctx, r, name)
	if err != nil {
		return nil, err
	}
	return functionOut(out), nil
}

func functionOut(out *lambda.GetFunctionOutput) resource.Model {
	c := out.Configuration
	m := resource.Model{"Code": map[string]any{}} // it must be there, and all of it is write-only
	put(m, "FunctionName", c.FunctionName)
	put(m, "Arn", c.FunctionArn)
	put(m, "Role", c.Role)
	put(m, "Runtime", c.Runtime)
	put(m, "Handler", c.Handler)
	put(m, "Description", c.Description)
	put(m, "MemorySize", c.MemorySize)
	put(m, "Timeout", c.Timeout)
	put(m, "Architectures", c.Architectures)
	put(m, "PackageType", c.PackageType)
	put(m, "KmsKeyArn", c.KMSKeyArn)
	put(m, "LoggingConfig", c.LoggingConfig)
	put(m, "TracingConfig", c.TracingConfig)
	put(m, "EphemeralStorage", c.EphemeralStorage)
	if c.DeadLetterConfig != nil && str(c.DeadLetterConfig.TargetArn) != "" {
		put(m, "DeadLetterConfig", c.DeadLetterConfig)
	}
	if c.Environment != nil && len(c.Environment.Variables) > 0 {
		m["Environment"] = map[string]any{"Variables": value(c.Environment.Variables)}
	}
	put(m, "Tags", tagList(out.Tags))
	return m
}

// Update changes configuration, tags and then the code, which cannot be taken back, each if it changes. What was
// done before a refusal is taken back.
func (h function) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	if err := refuseFunction(r.Desired); err != nil {
		return nil, err
	}
	name := r.Identifier
	before, err := h.get(ctx, r, name)
	if err != nil {
		return nil, err
	}
	if err := h.active(ctx, r, name); err != nil && !is(err, resource.NotStabilized) {
		return nil, err
	}
	var undo undo
	if changed(r, "KmsKeyArn") || anyChanged(r, functionProperties...) {
		if err := h.configure(ctx, r, name, r.Desired, r.Previous); err != nil {
			return nil, err
		}
		was := functionOut(before)
		undo.add(func(ctx context.Context) error { return h.configure(ctx, r, name, was, r.Desired) })
	}
	if err := h.retagLambda(ctx, r, str(before.Configuration.FunctionArn)); err != nil {
		return nil, undo.after(ctx, err)
	}
	undo.add(func(ctx context.Context) error {
		return h.retagLambda(ctx, back(r), str(before.Configuration.FunctionArn))
	})
	if anyChanged(r, "Code", "Architectures") || sourceName(r.Desired) != sourceName(r.Previous) {
		if err := h.load(ctx, r, name); err != nil {
			return nil, undo.after(ctx, err)
		}
	}
	return h.read(ctx, r, name)
}

// configure changes the configuration to that of desired. What only previous has gets AWS's default.
func (h function) configure(ctx context.Context, r resource.Request, name string, desired, previous resource.Model) error {
	in := &lambda.UpdateFunctionConfigurationInput{}
	wanted := pick(desired, functionProperties...)
	for _, p := range functionProperties {
		if desired[p] != nil || previous[p] == nil {
			continue
		}
		switch p {
		case "Description":
			wanted[p] = ""
		case "Environment":
			wanted[p] = map[string]any{"Variables": map[string]any{}}
		case "DeadLetterConfig":
			wanted[p] = map[string]any{"TargetArn": ""}
		case "LoggingConfig":
			wanted[p] = defaultLogging(name)
		default:
			if v, ok := functionDefaults[p]; ok {
				wanted[p] = v
			}
		}
	}
	if environment, ok := wanted["Environment"].(map[string]any); ok && environment["Variables"] == nil {
		wanted["Environment"] = map[string]any{"Variables": map[string]any{}}
	}
	if err := shape("", wanted, in); err != nil {
		return err
	}
	in.FunctionName, in.KMSKeyArn = &name, given(desired["KmsKeyArn"])
	if _, err := call[lambda.UpdateFunctionConfigurationOutput](ctx, h.api, r, "lambda", "UpdateFunctionConfiguration", in); err != nil {
		return err
	}
	return h.active(ctx, r, name)
}

// load gives the function other code.
func (h function) load(ctx context.Context, r resource.Request, name string) error {
	code, err := codeIn(r.Desired)
	if err != nil {
		return err
	}
	in := &lambda.UpdateFunctionCodeInput{
		FunctionName: &name, ZipFile: code.ZipFile, S3Bucket: code.S3Bucket, S3Key: code.S3Key, S3ObjectVersion: code.S3ObjectVersion,
		ImageUri: code.ImageUri, SourceKMSKeyArn: code.SourceKMSKeyArn,
	}
	if err := shape("Architectures", r.Desired["Architectures"], &in.Architectures); err != nil {
		return err
	}
	if _, err := call[lambda.UpdateFunctionCodeOutput](ctx, h.api, r, "lambda", "UpdateFunctionCode", in); err != nil {
		return err
	}
	return h.active(ctx, r, name)
}

// retagLambda changes the tags of a function or a mapping.
func (a api) retagLambda(ctx context.Context, r resource.Request, arn string) error {
	return retag(ctx, r, tagOperations{
		have: func(ctx context.Context) (map[string]string, error) { return a.lambdaTags(ctx, r, arn) },
		untag: func(ctx context.Context, keys []string) error {
			_, err := call[lambda.UntagResourceOutput](ctx, a, r, "lambda", "UntagResource", &lambda.UntagResourceInput{Resource: &arn, TagKeys: keys})
			return err
		},
		tag: func(ctx context.Context, tags map[string]string) error {
			_, err := call[lambda.TagResourceOutput](ctx, a, r, "lambda", "TagResource", &lambda.TagResourceInput{Resource: &arn, Tags: tags})
			return err
		},
	})
}

func (a api) lambdaTags(ctx context.Context, r resource.Request, arn string) (map[string]string, error) {
	out, err := call[lambda.ListTagsOutput](ctx, a, r, "lambda", "ListTags", &lambda.ListTagsInput{Resource: &arn})
	if err != nil {
		return nil, err
	}
	return out.Tags, nil
}

// Delete deletes the function.
func (h function) Delete(ctx context.Context, r resource.Request) error {
	return gone(r, h.remove(ctx, r, r.Identifier))
}

func (h function) remove(ctx context.Context, r resource.Request, name string) error {
	_, err := call[lambda.DeleteFunctionOutput](ctx, h.api, r, "lambda", "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: &name})
	return err
}

// maxFunctions is the largest page of Lambda's lists that is sure to be whole. AWS: 50.
const maxFunctions = 50

// List lists the functions by name.
func (h function) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	names, next, err := h.functions(ctx, r)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, name := range names {
		models = append(models, resource.Model{"FunctionName": name})
	}
	return models, next, nil
}

func (a api) functions(ctx context.Context, r resource.Request) (names []string, next string, err error) {
	in := &lambda.ListFunctionsInput{MaxItems: pageSize(r, maxFunctions), Marker: pageToken(r)}
	out, err := call[lambda.ListFunctionsOutput](ctx, a, r, "lambda", "ListFunctions", in)
	if err != nil {
		return nil, "", err
	}
	for _, have := range out.Functions {
		names = append(names, *have.FunctionName)
	}
	return names, str(out.NextMarker), nil
}
