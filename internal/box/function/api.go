package function

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/store"
)

var _ lambda.Service = (*Functions)(nil)

// maxListed is AWS's page size of ListFunctions.
const maxListed = 50

// open finds the function that a request names and checks that the caller may do the action, such
// as lambda:GetFunction, on it.
func (f *Functions) open(ctx context.Context, name, qualifier *string, action string) (*Function, string, error) {
	r, q, err := parseName(ctx, text(name), text(qualifier))
	if err != nil {
		return nil, "", err
	}
	fn, err := f.readFunction(ctx, f.db, r)
	if err != nil {
		return nil, "", err
	}
	if fn == nil {
		if r.Account != awsapi.CallerFrom(ctx).Account {
			return nil, "", f.authorize(ctx, &Function{Ref: r}, action) // AWS: others are not told what there is
		}
		return nil, "", errNoFunction(withQualifier(r, q))
	}
	return fn, q, f.authorize(ctx, fn, action)
}

// CreateFunction makes a function of the caller's account and region.
func (f *Functions) CreateFunction(ctx context.Context, in *lambda.CreateFunctionInput) (*lambda.CreateFunctionOutput, error) {
	if err := f.available(); err != nil {
		return nil, err
	}
	fn, err := f.newFunction(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &lambda.CreateFunctionOutput{}
	awsapi.Answers(ctx, out)
	err = f.create(ctx, fn, in.Code.ZipFile, func() { *out = lambda.CreateFunctionOutput(fn.describe("")) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// newFunction is what CreateFunction asks for, but for its code.
func (f *Functions) newFunction(ctx context.Context, in *lambda.CreateFunctionInput) (*Function, error) {
	if err := refuseInCreate(in); err != nil {
		return nil, err
	}
	r, qualifier, err := parseName(ctx, *in.FunctionName, "")
	if err != nil {
		return nil, err
	}
	switch c := awsapi.CallerFrom(ctx); {
	case qualifier != "":
		return nil, errParameter("The function name %s must not have a qualifier.", *in.FunctionName)
	case len(r.Name) > 64:
		return nil, errConstraint(r.Name, "functionName", "have length less than or equal to 64")
	case r.Account != c.Account:
		return nil, f.authorize(ctx, &Function{Ref: r}, "lambda:CreateFunction")
	}
	tags, err := addTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	configuration, err := newConfiguration(r.Name, in)
	if err != nil {
		return nil, err
	}
	if err := f.check(r, &configuration); err != nil {
		return nil, err
	}
	return &Function{Ref: r, Configuration: configuration, Tags: tags}, nil
}

// GetFunction describes a function, with its tags and where its code is.
func (f *Functions) GetFunction(ctx context.Context, in *lambda.GetFunctionInput) (*lambda.GetFunctionOutput, error) {
	fn, qualifier, err := f.open(ctx, in.FunctionName, in.Qualifier, "lambda:GetFunction")
	if err != nil {
		return nil, err
	}
	out := &lambda.GetFunctionOutput{
		Code:          &lambda.FunctionCodeLocation{RepositoryType: new("S3"), Location: new(f.codeLink(fn))},
		Configuration: new(fn.describe(qualifier)),
	}
	if len(fn.Tags) > 0 {
		out.Tags = fn.Tags
	}
	return out, nil
}

// GetFunctionConfiguration describes a function.
func (f *Functions) GetFunctionConfiguration(ctx context.Context, in *lambda.GetFunctionConfigurationInput) (*lambda.GetFunctionConfigurationOutput, error) {
	fn, qualifier, err := f.open(ctx, in.FunctionName, in.Qualifier, "lambda:GetFunctionConfiguration")
	if err != nil {
		return nil, err
	}
	return new(lambda.GetFunctionConfigurationOutput(fn.describe(qualifier))), nil
}

// UpdateFunctionCode gives a function another deployment package.
func (f *Functions) UpdateFunctionCode(ctx context.Context, in *lambda.UpdateFunctionCodeInput) (*lambda.UpdateFunctionCodeOutput, error) {
	if err := f.available(); err != nil {
		return nil, err
	}
	if err := refuseInCode(in); err != nil {
		return nil, err
	}
	fn, _, err := f.open(ctx, in.FunctionName, nil, "lambda:UpdateFunctionCode")
	if err != nil {
		return nil, err
	}
	if err := checkArchitectures(in.Architectures); err != nil {
		return nil, err
	}
	if in.ZipFile == nil {
		return nil, errParameter("Please provide a source for function code.")
	}
	if err := fn.checkRevision(in.RevisionId, "GetFunction/GetAlias"); err != nil {
		return nil, err
	}
	if in.DryRun != nil && *in.DryRun {
		return f.tryCode(ctx, fn, in)
	}
	out := &lambda.UpdateFunctionCodeOutput{}
	awsapi.Answers(ctx, out)
	err = f.replaceCode(ctx, fn.Ref, in.RevisionId, in.ZipFile, func(fn *Function) { *out = lambda.UpdateFunctionCodeOutput(fn.describe("")) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// tryCode answers as if the code were replaced.
func (f *Functions) tryCode(ctx context.Context, fn *Function, in *lambda.UpdateFunctionCodeInput) (*lambda.UpdateFunctionCodeOutput, error) {
	p, err := checkPackage(in.ZipFile, "UpdateFunctionCode")
	if err != nil {
		return nil, err
	}
	if err := f.code.put(ctx, p.sha256, in.ZipFile); err != nil {
		return nil, archiveFault(err)
	}
	next := *fn
	next.CodeSHA256, next.CodeSize = p.sha256, p.size
	return new(lambda.UpdateFunctionCodeOutput(next.describe(""))), nil
}

// UpdateFunctionConfiguration changes what the request mentions of a function's configuration.
func (f *Functions) UpdateFunctionConfiguration(ctx context.Context, in *lambda.UpdateFunctionConfigurationInput) (*lambda.UpdateFunctionConfigurationOutput, error) {
	if err := refuseInConfiguration(in); err != nil {
		return nil, err
	}
	fn, _, err := f.open(ctx, in.FunctionName, nil, "lambda:UpdateFunctionConfiguration")
	if err != nil {
		return nil, err
	}
	// Each value is checked by itself: what another call changes meanwhile was, too.
	next, err := fn.Configuration.with(in)
	if err != nil {
		return nil, err
	}
	if err := f.check(fn.Ref, &next); err != nil {
		return nil, err
	}
	out := &lambda.UpdateFunctionConfigurationOutput{}
	awsapi.Answers(ctx, out)
	err = f.change(ctx, fn.Ref, func(_ *store.Tx, fn *Function) (err error) {
		if err := fn.checkRevision(in.RevisionId, "GetFunction/GetAlias"); err != nil {
			return err
		}
		if fn.Configuration, err = fn.Configuration.with(in); err != nil {
			return err
		}
		fn.Revision, fn.Modified = uuid.NewString(), f.now()
		*out = lambda.UpdateFunctionConfigurationOutput(fn.describe(""))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteFunction deletes a function. What waits to be run asynchronously is not run; event source
// mappings stay, as in AWS.
func (f *Functions) DeleteFunction(ctx context.Context, in *lambda.DeleteFunctionInput) (*lambda.DeleteFunctionOutput, error) {
	fn, qualifier, err := f.open(ctx, in.FunctionName, in.Qualifier, "lambda:DeleteFunction")
	if err != nil {
		return nil, err
	}
	if qualifier != "" {
		return nil, errParameter("$LATEST version cannot be deleted without deleting the function.")
	}
	out := &lambda.DeleteFunctionOutput{StatusCode: new(int32(http.StatusNoContent))}
	awsapi.Answers(ctx, out)
	if err := f.remove(ctx, fn.Ref); err != nil {
		return nil, err
	}
	return out, nil
}

// ListFunctions lists the caller's functions by name, 50 a page at most.
func (f *Functions) ListFunctions(ctx context.Context, in *lambda.ListFunctionsInput) (*lambda.ListFunctionsOutput, error) {
	if text(in.MasterRegion) != "" {
		return nil, errUnsupported("MasterRegion", "functions are not replicated to edges. Leave it out.")
	}
	after, err := readMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	qualifier := ""
	if in.FunctionVersion != nil { // ALL: there is one of each
		qualifier = latest
	}
	size := maxListed
	if in.MaxItems != nil {
		size = min(size, int(*in.MaxItems))
	}
	c := awsapi.CallerFrom(ctx)
	list, err := f.listFunctions(ctx, c.Account, c.Region, after, size+1)
	if err != nil {
		return nil, err
	}
	out := &lambda.ListFunctionsOutput{Functions: []lambda.FunctionConfiguration{}}
	if len(list) > size {
		list = list[:size]
		out.NextMarker = newMarker(list[size-1].Name)
	}
	for _, fn := range list {
		out.Functions = append(out.Functions, fn.describe(qualifier))
	}
	return out, nil
}

// newMarker names the page after a name.
func newMarker(last string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(last)))
}

func readMarker(marker *string) (after string, err error) {
	if text(marker) == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(*marker)
	if err != nil || !validName.Match(raw) {
		return "", errParameter("The marker %q is not one that an earlier page has given.", *marker)
	}
	return string(raw), nil
}
