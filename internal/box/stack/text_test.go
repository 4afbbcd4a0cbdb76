package stack

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/awsapitest"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

type noKeys struct{}

func (noKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, awsapi.ErrUnknownKey
}

// Whatever text a request has, it is answered or refused, never failed over; and what it began ends.
func TestSpoiledRequestsAreAnsweredOrRefused(t *testing.T) {
	const (
		arn  = "arn:aws:cloudformation:eu-west-1:111122223333:stack/shop/11111111-2222-4333-8444-555555555555"
		body = `Description: d\nParameters: {P: {Type: String, Default: p}}\nResources: {A: {Type: 'Test::Unit::Thing', Metadata: {m: x}, Properties: {Value: !Ref P}}}\nOutputs: {O: {Value: !GetAtt A.Echo, Export: {Name: e}}}`
		all  = `"TemplateBody":"` + body + `","Parameters":[{"ParameterKey":"P","ParameterValue":"v"}],"Tags":[{"Key":"k","Value":"v"}],"Capabilities":["CAPABILITY_IAM"],"ResourceTypes":["*"],"RoleARN":"arn:aws:iam::111122223333:role/r"`
	)
	inputs := map[string][]string{
		"CreateStack":            {`{"StackName":"new",` + all + `,"ClientRequestToken":"t","OnFailure":"DELETE"}`},
		"UpdateStack":            {`{"StackName":"shop",` + all + `,"ClientRequestToken":"t"}`, `{"StackName":"` + arn + `","UsePreviousTemplate":true,"Parameters":[{"ParameterKey":"P","UsePreviousValue":true}]}`},
		"DeleteStack":            {`{"StackName":"other","RetainResources":["A"],"ClientRequestToken":"t","RoleARN":"arn:aws:iam::111122223333:role/r"}`},
		"CreateChangeSet":        {`{"StackName":"shop","ChangeSetName":"c",` + all + `,"Description":"d","ClientToken":"t","ChangeSetType":"UPDATE"}`, `{"StackName":"made","ChangeSetName":"c","ChangeSetType":"CREATE",` + all + `}`},
		"DescribeChangeSet":      {`{"StackName":"shop","ChangeSetName":"c","NextToken":"Y2hhbmdlczox"}`},
		"ExecuteChangeSet":       {`{"StackName":"other","ChangeSetName":"c","ClientRequestToken":"t"}`},
		"DeleteChangeSet":        {`{"StackName":"shop","ChangeSetName":"arn:aws:cloudformation:eu-west-1:111122223333:changeSet/c/11111111-2222-4333-8444-555555555555"}`},
		"ListChangeSets":         {`{"StackName":"shop","NextToken":"Y2hhbmdlc2V0czox"}`},
		"DescribeStacks":         {`{"StackName":"` + arn + `","NextToken":"c3RhY2tzOjE"}`},
		"ListStacks":             {`{"StackStatusFilter":["CREATE_COMPLETE"],"NextToken":"c3VtbWFyaWVzOjE"}`},
		"DescribeStackEvents":    {`{"StackName":"shop","NextToken":"ZXZlbnRzOjE"}`},
		"DescribeStackResource":  {`{"StackName":"shop","LogicalResourceId":"A"}`},
		"DescribeStackResources": {`{"StackName":"shop","LogicalResourceId":"A"}`, `{"PhysicalResourceId":"x"}`},
		"ListStackResources":     {`{"StackName":"shop","NextToken":"cmVzb3VyY2VzOkE"}`},
		"GetTemplate":            {`{"StackName":"shop","ChangeSetName":"c"}`},
		"GetTemplateSummary":     {`{"TemplateBody":"` + body + `"}`, `{"StackName":"shop"}`},
		"ValidateTemplate":       {`{"TemplateBody":"` + body + `"}`},
		"ListExports":            {`{"NextToken":"ZXhwb3J0czph"}`},
		"ListImports":            {`{"ExportName":"e","NextToken":"aW1wb3J0czph"}`},
		"DescribeType":           {`{"Type":"RESOURCE","TypeName":"Test::Unit::Thing"}`, `{"Arn":"arn:aws:cloudformation:eu-west-1::type/resource/Test-Unit-Thing"}`},
		"ListTypes":              {`{"NextToken":"dHlwZXM6YQ","Filters":{"TypeNamePrefix":"Test"}}`},
		"RegisterType":           {`{"TypeName":"A::B::C","SchemaHandlerPackage":"data:application/json,{\"typeName\":\"A::B::C\"}","ClientRequestToken":"t"}`},
	}
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		h := awsapi.New(awsapi.Config{Keys: noKeys{}})
		h.Register(cloudformation.Bind(p.Stacks))
		p.begin("shop", things("A Value: a"))
		p.drive("shop")
		for _, op := range cloudformation.API.Operations {
			if len(inputs[op.Name]) == 0 {
				t.Errorf("no call of %s", op.Name)
			}
			for _, input := range inputs[op.Name] {
				for _, spoil := range []string{"\x00", "\xff", `\u0000`, "'; --", "文🚀", strings.Repeat("y", 3000)} {
					for what, in := range awsapitest.Spoiled(t, op, input, spoil) {
						_, err := h.Invoke(t.Context(), awsapi.CallerFrom(p.ctx), "cloudformation", op.Name, in)
						if e, ok := errors.AsType[*awsapi.Error](err); err != nil && (!ok || e.Fault) {
							t.Errorf("%.300q: %v", what, err)
						}
						p.driveAll()
					}
				}
			}
		}
		list, err := p.selectStacks(p.ctx, db, account, region, everyStatus, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range list {
			if st.Status.Busy() {
				t.Errorf("stack %q is %s", st.Name, st.Status)
			}
		}
	})
}

// driveAll carries out all operations.
func (p *process) driveAll() {
	p.t.Helper()
	list, err := p.selectStacks(p.ctx, p.db, account, region, everyStatus, 0, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, st := range list {
		if st.Status.Busy() {
			p.drive(st.ARN())
		}
	}
}

// What users' templates say of themselves has any text.
func TestTemplatesHoldAnyText(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		value := `文 \u0000 \u2028 <&> 🚀`
		body := `{"Description":"` + value + `","Resources":{"A":{"Type":"Test::Unit::Thing","Properties":{"Value":"` + value + `"}}},` +
			`"Outputs":{"O":{"Value":{"Fn::GetAtt":["A","Echo"]},"Description":"` + value + `","Export":{"Name":"e"}}}}`
		id := p.begin("shop", body)
		p.drive(id)
		p.is(id, CreateComplete)
		out, err := p.DescribeStacks(p.ctx, &cloudformation.DescribeStacksInput{StackName: &id})
		if err != nil || *out.Stacks[0].Outputs[0].OutputValue != "文 \x00 \u2028 <&> 🚀" {
			t.Errorf("%+v, %v", out, err)
		}
		if got := p.cloud.have(); !slices.Equal(got, []string{"文 \x00 \u2028 <&> 🚀"}) {
			t.Errorf("made %q", got)
		}
		p.drop("shop")
		p.drive(id)
		p.is(id, DeleteComplete)
	})
}
