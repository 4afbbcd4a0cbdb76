package stack

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func refusedAs(t testing.TB, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*awsapi.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, text) {
		t.Errorf("got %v; want %s with %q", err, code, text)
	}
}

func TestRefusals(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	ok := things("A Value: a")
	p.begin("shop", ok)
	p.drive("shop")
	create := func(set func(in *createInput)) error {
		in := &createInput{StackName: new("new"), TemplateBody: &ok}
		set(in)
		_, err := p.CreateStack(p.ctx, in)
		return err
	}
	update := func(set func(in *cloudformation.UpdateStackInput)) error {
		in := &cloudformation.UpdateStackInput{StackName: new("shop"), TemplateBody: &ok}
		set(in)
		_, err := p.UpdateStack(p.ctx, in)
		return err
	}
	type updateInput = cloudformation.UpdateStackInput
	for name, tc := range map[string]struct {
		err        error
		code, text string
	}{
		"a name that is taken": {create(func(in *createInput) { in.StackName = new("shop") }), "AlreadyExistsException", "Stack [shop] already exists"},
		"a name that is none":  {create(func(in *createInput) { in.StackName = new("1 2") }), "ValidationError", "'stackName' failed to satisfy constraint"},
		"no template":          {create(func(in *createInput) { in.TemplateBody = nil }), "ValidationError", "Either Template URL or Template Body must be specified."},
		"an address":           {create(func(in *createInput) { in.TemplateURL = new("https://s3/x") }), "ValidationError", "TemplateURL is not available here"},
		"an oversize template": {create(func(in *createInput) { in.TemplateBody = new(ok + strings.Repeat("#", 51200)) }), "ValidationError", "51200"},
		"broken YAML":          {create(func(in *createInput) { in.TemplateBody = new("Resources: [") }), "ValidationError", "line 1"},
		"an unknown type":      {create(func(in *createInput) { in.TemplateBody = new("Resources: {A: {Type: 'No::Such::Thing'}}") }), "ValidationError", "Template format error: Unrecognized resource types: [No::Such::Thing]"},
		"a missing parameter":  {create(func(in *createInput) { in.TemplateBody = new("Parameters: {P: {Type: String}}\n" + ok) }), "ValidationError", "P"},
		"a previous value": {create(func(in *createInput) {
			in.Parameters = []cloudformation.Parameter{{ParameterKey: new("P"), UsePreviousValue: new(true)}}
		}), "ValidationError", "Invalid input for parameter key P. Cannot specify usePreviousValue"},
		"a tag of AWS":   {create(func(in *createInput) { in.Tags = []cloudformation.Tag{{Key: new("aws:x"), Value: new("")}} }), "ValidationError", "aws:x"},
		"a stack policy": {create(func(in *createInput) { in.StackPolicyBody = new("{}") }), "ValidationError", "StackPolicyBody is not available here"},
		"an alarm": {create(func(in *createInput) {
			in.RollbackConfiguration = &cloudformation.RollbackConfiguration{MonitoringTimeInMinutes: new(int32(1))}
		}), "ValidationError", "RollbackConfiguration"},
		"another account's role": {create(func(in *createInput) { in.RoleARN = new("arn:aws:iam::999999999999:role/x") }), "ValidationError", "Cross-account pass role is not allowed"},
		"topics without topics":  {create(func(in *createInput) { in.NotificationARNs = []string{"arn:aws:sns:eu-west-1:111122223333:t"} }), "ValidationError", "NotificationARNs"},
		"both ways to fail":      {create(func(in *createInput) { in.OnFailure, in.DisableRollback = new("DELETE"), new(true) }), "ValidationError", "either DisableRollback or OnFailure"},
		"a role without leave": {create(func(in *createInput) {
			in.TemplateBody = new("Resources: {A: {Type: 'AWS::IAM::Role', Properties: {AssumeRolePolicyDocument: {}}}}")
		}), "InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]"},
		"a type not allowed": {create(func(in *createInput) { in.ResourceTypes = []string{"AWS::EC2::*"} }), "ValidationError", "Test::Unit::Thing is not allowed by parameter ResourceTypes"},

		"an update of nothing":        {update(func(in *updateInput) { in.StackName = new("gone") }), "ValidationError", "Stack [gone] does not exist"},
		"an update without changes":   {update(func(*updateInput) {}), "ValidationError", "No updates are to be performed."},
		"an update of the type":       {update(func(in *updateInput) { in.TemplateBody = new("Resources: {A: {Type: 'AWS::ECS::Cluster'}}") }), "ValidationError", "modifies resource type of the following resources: [A]"},
		"an update from both":         {update(func(in *updateInput) { in.UsePreviousTemplate = new(true) }), "ValidationError", "TemplateBody or UsePreviousTemplate"},
		"an update to an import":      {update(func(in *updateInput) { in.TemplateBody = new(things("A Value: !ImportValue x")) }), "ValidationError", "No export named x found."},
		"an update of no attribute":   {update(func(in *updateInput) { in.TemplateBody = new(things("A Value: a", "B Value: !GetAtt A.Nothing")) }), "ValidationError", "Template error: resource A does not support attribute type Nothing in Fn::GetAtt"},
		"an update with a bad policy": {update(func(in *updateInput) { in.StackPolicyDuringUpdateBody = new("{}") }), "ValidationError", "StackPolicyDuringUpdateBody"},
	} {
		t.Run(name, func(t *testing.T) { refusedAs(t, tc.err, tc.code, tc.text) })
	}
	p.exist("a")
}

func TestWhileAnOperationRunsOthersAreRefused(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	id := p.begin("shop", things("A Value: a"))
	p.drive(id)
	p.change("shop", things("A Value: b"))
	body := things("A Value: c")
	_, err := p.UpdateStack(p.ctx, &cloudformation.UpdateStackInput{StackName: &id, TemplateBody: &body})
	refusedAs(t, err, "ValidationError", "Stack:"+id+" is in UPDATE_IN_PROGRESS state and can not be updated.")
	_, err = p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: &id})
	refusedAs(t, err, "ValidationError", "cannot be deleted while in status UPDATE_IN_PROGRESS")
	_, err = p.CreateChangeSet(p.ctx, &cloudformation.CreateChangeSetInput{StackName: &id, ChangeSetName: new("c"), TemplateBody: &body})
	refusedAs(t, err, "ValidationError", "can not be updated.")
	p.drive(id)
	p.is(id, UpdateComplete)
}

func TestTokensMakeRepeatsHarmless(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		token := func(in *createInput) { in.ClientRequestToken = new("one") }
		id := p.begin("shop", things("A Value: a"), token)
		if again := p.begin("shop", things("A Value: a"), token); again != id {
			t.Errorf("the repeat answers %s, not %s", again, id)
		}
		_, err := p.CreateStack(p.ctx, &createInput{StackName: new("shop"), TemplateBody: new(things("A Value: b")), ClientRequestToken: new("one")})
		refusedAs(t, err, "TokenAlreadyExistsException", "one")
		p.drive(id)
		for range 2 {
			body := things("A Value: b")
			if _, err := p.UpdateStack(p.ctx, &cloudformation.UpdateStackInput{StackName: &id, TemplateBody: &body, ClientRequestToken: new("two")}); err != nil {
				t.Fatal(err)
			}
			p.drive(id)
			p.is(id, UpdateComplete)
		}
		for range 2 {
			if _, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: &id, ClientRequestToken: new("three")}); err != nil {
				t.Fatal(err)
			}
		}
		p.drive(id)
		p.is(id, DeleteComplete)
	})
}

func TestProtectionThatNothingLiftsIsRefused(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	in := &cloudformation.CreateStackInput{StackName: new("shop"), TemplateBody: new(things("A Value: a")), EnableTerminationProtection: new(true)}
	_, err := p.CreateStack(p.ctx, in)
	refusedAs(t, err, "ValidationError", "EnableTerminationProtection is not available here")
	in.EnableTerminationProtection = new(false)
	if _, err := p.CreateStack(p.ctx, in); err != nil {
		t.Error(err)
	}
}

func TestDeletingWhatIsNotThereIsNoError(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	if _, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: new("nobody")}); err != nil {
		t.Error(err)
	}
}

func TestAChangeSetSaysWhatItWouldDoAndDoesIt(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		set := func(kind, body string) *cloudformation.DescribeChangeSetOutput {
			t.Helper()
			made, err := p.CreateChangeSet(p.ctx, &cloudformation.CreateChangeSetInput{StackName: new("shop"), ChangeSetName: new("change"), ChangeSetType: &kind, TemplateBody: &body})
			if err != nil {
				t.Fatal(err)
			}
			out, err := p.DescribeChangeSet(p.ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		execute := func() {
			t.Helper()
			if _, err := p.ExecuteChangeSet(p.ctx, &cloudformation.ExecuteChangeSetInput{StackName: new("shop"), ChangeSetName: new("change")}); err != nil {
				t.Fatal(err)
			}
			p.drive("shop")
		}
		out := set("CREATE", "Description: the first\n"+things("A Value: a", "B Value: !Ref A", "C Value: !GetAtt A.Arn", "D Value: d"))
		if *out.Status != "CREATE_COMPLETE" || len(out.Changes) != 4 || *out.Changes[0].ResourceChange.Action != "Add" {
			t.Fatalf("%+v", out)
		}
		p.is("shop", ReviewInProgress)
		p.exist()
		execute()
		p.is("shop", CreateComplete)
		if n := len(p.cloud.have()); n != 4 {
			t.Fatalf("%d things", n)
		}

		again := "Description: the second\n" + things("A Value: a", "B Value: !Ref A", "C Value: !GetAtt A.Arn", "D Value: d")
		if _, err := p.DeleteChangeSet(p.ctx, &cloudformation.DeleteChangeSetInput{StackName: new("shop"), ChangeSetName: new("change")}); err != nil {
			t.Fatal(err)
		}
		out = set("UPDATE", again)
		if *out.Status != "FAILED" || *out.StatusReason != noChanges || *out.ExecutionStatus != "UNAVAILABLE" {
			t.Fatalf("%+v", out)
		}
		_, err := p.ExecuteChangeSet(p.ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: out.ChangeSetId})
		refusedAs(t, err, "InvalidChangeSetStatusException", "cannot be executed in its current status of [FAILED]")
		if _, err := p.DeleteChangeSet(p.ctx, &cloudformation.DeleteChangeSetInput{ChangeSetName: out.ChangeSetId}); err != nil {
			t.Fatal(err)
		}

		out = set("UPDATE", things("A Value: a, Fixed: x", "B Value: !Ref A", "C Value: c2", "E Value: e"))
		var got []string
		for _, c := range out.Changes {
			line := *c.ResourceChange.Action + " " + *c.ResourceChange.LogicalResourceId + " " + text(c.ResourceChange.Replacement) + " " + text(c.ResourceChange.PolicyAction)
			for _, d := range c.ResourceChange.Details {
				line += " [" + *d.Evaluation + " " + *d.ChangeSource + " " + text(d.CausingEntity) + " " + text(d.Target.Name) + " " + *d.Target.RequiresRecreation + "]"
			}
			got = append(got, line)
		}
		want := []string{
			"Modify A True ReplaceAndDelete [Static DirectModification  Fixed Always]",
			"Modify B False  [Dynamic ResourceReference A Value Never]",
			"Modify C False  [Static DirectModification  Value Never]",
			"Add E  ",
			"Remove D  Delete",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		execute()
		p.is("shop", UpdateComplete)
		if n := len(p.cloud.have()); n != 4 {
			t.Fatalf("%d things: %v", n, p.cloud.have())
		}
		_, err = p.ExecuteChangeSet(p.ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: out.ChangeSetId})
		refusedAs(t, err, "InvalidChangeSetStatusException", "[EXECUTE_COMPLETE]")
		_, err = p.DescribeChangeSet(p.ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: new("nothing"), StackName: new("shop")})
		refusedAs(t, err, "ChangeSetNotFoundException", "ChangeSet [nothing] does not exist")
	})
}

func TestPages(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	var lines []string
	for i := range 130 {
		lines = append(lines, "T"+string(rune('A'+i/26))+string(rune('A'+i%26))+" Value: v")
	}
	p.begin("shop", things(lines...))
	p.drive("shop")
	p.is("shop", CreateComplete)
	seen := map[string]bool{}
	var token *string
	for pages := 0; ; pages++ {
		out, err := p.ListStackResources(p.ctx, &cloudformation.ListStackResourcesInput{StackName: new("shop"), NextToken: token})
		if err != nil || pages > 5 {
			t.Fatal(pages, err)
		}
		for _, r := range out.StackResourceSummaries {
			seen[*r.LogicalResourceId] = true
		}
		if token = out.NextToken; token == nil {
			break
		}
	}
	if len(seen) != len(lines) {
		t.Errorf("%d resources were listed", len(seen))
	}
	n := 0
	for token = nil; ; {
		out, err := p.DescribeStackEvents(p.ctx, &cloudformation.DescribeStackEventsInput{StackName: new("shop"), NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		n += len(out.StackEvents)
		if token = out.NextToken; token == nil {
			break
		}
	}
	if want := 3*len(lines) + 2; n != want {
		t.Errorf("%d events, want %d", n, want)
	}
	_, err := p.DescribeStackEvents(p.ctx, &cloudformation.DescribeStackEventsInput{StackName: new("shop"), NextToken: new("x")})
	refusedAs(t, err, "ValidationError", "NextToken")
}
