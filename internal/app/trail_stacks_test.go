package app

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
)

// cloudFormationSteps are those of stacks. No job runs, so what begins stays begun until a step ends it.
func cloudFormationSteps() []trailStep {
	step := func(operation, input string) trailStep {
		return trailStep{service: "cloudformation", operation: operation, input: input}
	}
	after := func(s trailStep) trailStep {
		s.prepare = func(t *testing.T, x *trailed) {
			err := x.db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(t.Context(), `UPDATE stack SET status = 'CREATE_COMPLETE'`)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	const (
		one = `"TemplateBody":"Resources: {Q: {Type: 'AWS::SQS::Queue'}}"`
		two = `"TemplateBody":"Resources: {Q: {Type: 'AWS::SQS::Queue'}, R: {Type: 'AWS::SQS::Queue'}}"`
	)
	return []trailStep{
		step("CreateStack", `{"StackName":"shop",`+one+`,"Tags":[{"Key":"team","Value":"a"}]}`),
		after(step("UpdateStack", `{"StackName":"shop",`+two+`}`)),
		step("CreateChangeSet", `{"StackName":"other","ChangeSetName":"c","ChangeSetType":"CREATE",`+one+`}`),
		step("DeleteChangeSet", `{"StackName":"other","ChangeSetName":"c"}`),
		{service: "cloudformation", operation: "DeleteChangeSet", input: `{"StackName":"other","ChangeSetName":"c"}`, still: true},
		step("CreateChangeSet", `{"StackName":"other","ChangeSetName":"d","ChangeSetType":"CREATE",`+one+`}`),
		step("ExecuteChangeSet", `{"StackName":"other","ChangeSetName":"d"}`),
		after(step("DeleteStack", `{"StackName":"shop"}`)),
		{service: "cloudformation", operation: "DeleteStack", input: `{"StackName":"nobody"}`, still: true},
		step("RegisterType", `{"Type":"RESOURCE","TypeName":"Mine::Own::Thing","SchemaHandlerPackage":"data:application/json,`+
			`{\"typeName\":\"Mine::Own::Thing\",\"description\":\"A thing.\",\"properties\":{\"Name\":{\"type\":\"string\"}},\"primaryIdentifier\":[\"/properties/Name\"],\"additionalProperties\":false}"}`),
	}
}
