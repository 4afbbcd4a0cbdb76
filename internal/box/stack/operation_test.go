package stack

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

type createInput = cloudformation.CreateStackInput

func TestEventsOfAStackAreAWSs(t *testing.T) {
	c := newCloud()
	p := newProcess(t, storetest.SQLite(t), c)
	id := p.begin("shop", things("A Name: one, Value: a"))
	p.drive(id)
	p.change("shop", things("A Name: two, Value: a"))
	p.drive(id)
	c.fail("update", "b")
	p.change("shop", things("A Name: two, Value: b"))
	p.drive(id)
	p.drop("shop")
	p.drive(id)
	want := []string{
		"shop CREATE_IN_PROGRESS: User Initiated",
		"A CREATE_IN_PROGRESS",
		"A CREATE_IN_PROGRESS: Resource creation Initiated",
		"A CREATE_COMPLETE",
		"shop CREATE_COMPLETE",
		"shop UPDATE_IN_PROGRESS: User Initiated",
		"A UPDATE_IN_PROGRESS: Requested update requires the creation of a new physical resource; hence creating one.",
		"A UPDATE_IN_PROGRESS: Resource creation Initiated",
		"A UPDATE_COMPLETE",
		"shop UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
		"A DELETE_IN_PROGRESS",
		"A DELETE_COMPLETE",
		"shop UPDATE_COMPLETE",
		"shop UPDATE_IN_PROGRESS: User Initiated",
		"A UPDATE_IN_PROGRESS",
		`A UPDATE_FAILED: Resource handler returned message: "b refused" (RequestToken: TOKEN, HandlerErrorCode: InvalidRequest)`,
		"shop UPDATE_ROLLBACK_IN_PROGRESS: The following resource(s) failed to update: [A]. ",
		"A UPDATE_IN_PROGRESS",
		"A UPDATE_COMPLETE",
		"shop UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
		"shop UPDATE_ROLLBACK_COMPLETE",
		"shop DELETE_IN_PROGRESS: User Initiated",
		"A DELETE_IN_PROGRESS",
		"A DELETE_COMPLETE",
		"shop DELETE_COMPLETE",
	}
	got := p.told(id)
	for i, line := range got {
		if at := strings.Index(line, "RequestToken: "); at > 0 {
			at += len("RequestToken: ")
			got[i] = line[:at] + "TOKEN" + line[at+strings.Index(line[at:], ","):]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatAFailedCreationLeavesIsAsTheCallerSays(t *testing.T) {
	body := things("A Value: a", "B Value: b, Needs: [!Ref A]")
	for name, tc := range map[string]struct {
		set    func(*createInput)
		body   string
		status Status
		exist  []string
	}{
		"rolled back":             {status: RollbackComplete},
		"left":                    {set: func(in *createInput) { in.OnFailure = new("DO_NOTHING") }, status: CreateFailed, exist: []string{"a"}},
		"left without rollback":   {set: func(in *createInput) { in.DisableRollback = new(true) }, status: CreateFailed, exist: []string{"a"}},
		"deleted with the stack":  {set: func(in *createInput) { in.OnFailure = new("DELETE") }, status: DeleteComplete},
		"retained":                {body: things("A DeletionPolicy: Retain,|Value: a", "B Value: b, Needs: [!Ref A]"), status: RollbackComplete, exist: []string{"a"}},
		"retained but on create":  {body: things("A DeletionPolicy: RetainExceptOnCreate,|Value: a", "B Value: b, Needs: [!Ref A]"), status: RollbackComplete},
		"not retained when asked": {body: things("A DeletionPolicy: Retain,|Value: a", "B Value: b, Needs: [!Ref A]"), set: func(in *createInput) { in.RetainExceptOnCreate = new(true) }, status: RollbackComplete},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud()
			c.fail("create", "b")
			p := newProcess(t, storetest.SQLite(t), c)
			if tc.body == "" {
				tc.body = body
			}
			if tc.set == nil {
				tc.set = func(*createInput) {}
			}
			id := p.begin("shop", tc.body, tc.set)
			p.drive(id)
			p.is(id, tc.status)
			p.exist(tc.exist...)
		})
	}
}

func TestAStackLeftAsItFailedIsUpdatedOrDeleted(t *testing.T) {
	for _, deleted := range []bool{true, false} {
		c := newCloud()
		c.fail("create", "b")
		p := newProcess(t, storetest.SQLite(t), c)
		id := p.begin("shop", things("A Value: a", "B Value: b, Needs: [!Ref A]"), func(in *createInput) { in.DisableRollback = new(true) })
		p.drive(id)
		p.is(id, CreateFailed)
		if deleted {
			p.drop("shop")
			p.drive(id)
			p.exist()
			continue
		}
		p.change("shop", things("A Value: a", "B Value: b2, Needs: [!Ref A]"))
		p.drive(id)
		p.is(id, UpdateComplete)
		p.exist("a", "b2")
	}
}

func TestAnUpdateLeftAsItFailedIsTriedAgain(t *testing.T) {
	c := newCloud()
	p := newProcess(t, storetest.SQLite(t), c)
	id := p.begin("shop", things("A Value: a", "B Value: b"))
	p.drive(id)
	c.fail("update", "b2")
	body := things("A Value: a2", "B Value: b2", "C Value: c")
	if _, err := p.UpdateStack(p.ctx, &cloudformation.UpdateStackInput{StackName: &id, TemplateBody: &body, DisableRollback: new(true)}); err != nil {
		t.Fatal(err)
	}
	p.drive(id)
	p.is(id, UpdateFailed)
	c.fail("update", "")
	p.change("shop", body)
	p.drive(id)
	p.is(id, UpdateComplete)
	p.exist("a2", "b2", "c")
}

func TestWhatARollbackCannotUndoIsSaid(t *testing.T) {
	c := newCloud()
	p := newProcess(t, storetest.SQLite(t), c)
	id := p.begin("shop", things("A Value: a", "B Value: b, Needs: [!Ref A]"))
	p.drive(id)
	c.fail("update", "a")
	c.fail("create", "c")
	p.change("shop", things("A Value: a2", "B Value: b, Needs: [!Ref A]", "C Value: c, Needs: [!Ref B, !Ref A]"))
	p.drive(id)
	p.is(id, UpdateRollbackFailed)
	body := things("A Value: a2")
	_, err := p.UpdateStack(p.ctx, &cloudformation.UpdateStackInput{StackName: &id, TemplateBody: &body})
	refusedAs(t, err, "ValidationError", "state and can not be updated.")
	p.drop("shop")
	p.drive(id)
	p.is(id, DeleteComplete)
	p.exist()

	c.fail("update", "")
	c.fail("delete", "a")
	id = p.begin("shop", things("A Value: a", "C Value: c, Needs: [!Ref A]"))
	p.drive(id)
	p.is(id, RollbackFailed)
	p.exist("a")
	p.drop("shop")
	p.drive(id)
	p.is(id, DeleteFailed)
	if _, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: new("shop"), RetainResources: []string{"A"}}); err != nil {
		t.Fatal(err)
	}
	p.drive(id)
	p.is(id, DeleteComplete)
	p.exist("a")
}

func TestAStackIsForcedToGo(t *testing.T) {
	c := newCloud()
	p := newProcess(t, storetest.SQLite(t), c)
	id := p.begin("shop", things("A Value: a", "B Value: b"))
	p.drive(id)
	c.fail("delete", "a")
	p.drop("shop")
	p.drive(id)
	p.is(id, DeleteFailed)
	p.exist("a")
	if _, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: new("shop"), DeletionMode: new("FORCE_DELETE_STACK")}); err != nil {
		t.Fatal(err)
	}
	p.drive(id)
	p.is(id, DeleteComplete)
	p.exist("a")
}

func TestPoliciesDecideWhatStays(t *testing.T) {
	c := newCloud()
	p := newProcess(t, storetest.SQLite(t), c)
	id := p.begin("shop", things("A DeletionPolicy: Retain,|Value: a", "B UpdateReplacePolicy: Retain,|Value: b", "C Value: c"))
	p.drive(id)
	p.change("shop", things("B UpdateReplacePolicy: Retain,|Value: b, Fixed: x", "D DeletionPolicy: Retain,|Value: d"))
	p.drive(id)
	p.is(id, UpdateComplete)
	p.exist("a", "b", "b", "d")
	p.drop("shop")
	p.drive(id)
	p.exist("a", "b", "d")
	if got := p.told(id); !slices.Contains(got, "D DELETE_SKIPPED") {
		t.Error(strings.Join(got, "\n"))
	}
}

func TestACreationIsGivenUpByDeletingItsStack(t *testing.T) {
	// Wherever the creation is when its stack is deleted, nothing is left.
	for at := 1; at < 20; at++ {
		db := storetest.SQLite(t)
		p := newProcess(t, db, newCloud())
		id := p.begin("shop", things("A Value: a", "B Value: b, Needs: [!Ref A]", "C Value: c"))
		p.killAt(at)
		if !p.drive(id) {
			break
		}
		p = p.again()
		p.drop("shop")
		p.drive(id)
		p.is(id, DeleteComplete)
		p.exist()
	}
}

func TestACreationThatTakesTooLongIsRolledBack(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	id := p.begin("shop", things("A Value: a"), func(in *createInput) { in.TimeoutInMinutes = new(int32(1)) })
	*p.now = p.now.Add(-time.Hour)
	p.begin("old", things("A Value: a"), func(in *createInput) { in.TimeoutInMinutes = new(int32(1)) })
	p.drive("old")
	p.is("old", RollbackComplete)
	p.drive(id)
	p.is(id, CreateComplete)
	p.exist("a")
	if got := p.told("old"); !slices.Contains(got, "old ROLLBACK_IN_PROGRESS: Stack creation time exceeded the specified timeout. Rollback requested by user.") {
		t.Error(strings.Join(got, "\n"))
	}
}

func TestTwoStacksShareAnExport(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		exporting := func(value, name string) string {
			return things("A Value: "+value) + "Outputs: {V: {Value: !GetAtt A.Echo, Export: {Name: '" + name + "'}}}\n"
		}
		importing := things("B Value: !ImportValue shared")
		// Nobody exports it yet.
		p.begin("user", importing)
		p.drive("user")
		p.is("user", RollbackComplete)
		if got := p.told("user"); !slices.Contains(got, "user ROLLBACK_IN_PROGRESS: No export named shared found. Rollback requested by user.") {
			t.Error(strings.Join(got, "\n"))
		}
		p.drop("user")
		p.drive("user")

		p.begin("owner", exporting("a", "shared"))
		p.drive("owner")
		p.begin("user", importing)
		p.drive("user")
		p.is("user", CreateComplete)
		p.begin("second", things("B Value: !Sub ['${V} again', {V: !ImportValue shared}]"))
		p.drive("second")
		p.exist("a", "a", "a again")

		// Nobody else can export it, and it stays as it is while it is used.
		p.begin("rival", exporting("r", "shared"))
		p.drive("rival")
		p.is("rival", RollbackComplete)
		p.exist("a", "a", "a again")
		if got := p.told("rival"); !slices.Contains(got, "rival ROLLBACK_IN_PROGRESS: Export with name shared is already exported by stack owner. Rollback requested by user.") {
			t.Error(strings.Join(got, "\n"))
		}
		p.change("owner", exporting("changed", "shared"))
		p.drive("owner")
		p.is("owner", UpdateRollbackComplete)
		if got := p.told("owner"); !slices.Contains(got, "owner UPDATE_ROLLBACK_IN_PROGRESS: Export shared cannot be updated as it is in use by second and user. ") {
			t.Error(strings.Join(got, "\n"))
		}
		p.change("owner", exporting("a", "other"))
		p.drive("owner")
		p.is("owner", UpdateRollbackComplete)
		p.exist("a", "a", "a again")
		_, err := p.DeleteStack(p.ctx, &cloudformation.DeleteStackInput{StackName: new("owner")})
		refusedAs(t, err, "ValidationError", "Export shared cannot be deleted as it is in use by second and user")
		p.is("owner", UpdateRollbackComplete)

		imports, err := p.ListImports(p.ctx, &cloudformation.ListImportsInput{ExportName: new("shared")})
		if err != nil || !slices.Equal(imports.Imports, []string{"second", "user"}) {
			t.Errorf("imports %+v, %v", imports, err)
		}
		for _, name := range []string{"user", "second", "owner"} {
			p.drop(name)
			p.drive2(name)
		}
		exports, err := p.ListExports(p.ctx, &cloudformation.ListExportsInput{})
		if err != nil || len(exports.Exports) != 0 {
			t.Errorf("exports %+v, %v", exports, err)
		}
		p.exist()
	})
}

// drive2 carries out the deletion of a stack, which has no name then.
func (p *process) drive2(name string) {
	p.t.Helper()
	p.drive(name)
	_, err := p.DescribeStacks(p.ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	refusedAs(p.t, err, "ValidationError", "Stack with id "+name+" does not exist")
}

func TestACustomNamedResourceIsNotReplacedByOneOfItsName(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	id := p.begin("shop", things("A Name: one, Value: a"))
	p.drive(id)
	p.change("shop", things("A Name: one, Value: a, Fixed: x"))
	p.drive(id)
	p.is(id, UpdateRollbackComplete)
	p.exist("a")
	if got := p.told(id); !slices.Contains(got, "A UPDATE_FAILED: CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename one and update the stack again.") {
		t.Error(strings.Join(got, "\n"))
	}
}

func TestWhatBreaksASchemaIsAResourcesFailure(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	id := p.begin("shop", things("A Value: a, Size: '12', Unknown: x"))
	p.drive(id)
	p.is(id, RollbackComplete)
	if got := strings.Join(p.told(id), "\n"); !strings.Contains(got, "A CREATE_FAILED: Properties validation failed for resource A with message:\n#: extraneous key [Unknown] is not permitted") {
		t.Error(got)
	}
	id = p.begin("numbers", things("A Value: a, Size: '12'"))
	p.drive(id)
	p.is(id, CreateComplete)
}

func TestNamesTagsAndSecrets(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	body := "Parameters: {Secret: {Type: String, NoEcho: true}}\n" + things("Thing Value: !Sub 'x ${Secret} y', Tags: [{Key: own, Value: '1'}]")
	id := p.begin("shop", body, func(in *createInput) {
		in.Parameters = []cloudformation.Parameter{{ParameterKey: new("Secret"), ParameterValue: new("hunter2")}}
		in.Tags = []cloudformation.Tag{{Key: new("team"), Value: new("a")}, {Key: new("own"), Value: new("2")}}
	})
	p.drive(id)
	out, err := p.DescribeStackResource(p.ctx, &cloudformation.DescribeStackResourceInput{StackName: &id, LogicalResourceId: new("Thing")})
	if err != nil {
		t.Fatal(err)
	}
	name := *out.StackResourceDetail.PhysicalResourceId
	if !strings.HasPrefix(name, "shop-Thing-") || len(name) != len("shop-Thing-")+12 {
		t.Errorf("it was named %s", name)
	}
	have := p.cloud.things[name].model
	if have["Value"] != "x hunter2 y" || encode(have["Tags"]) != `[{"Key":"own","Value":"1"},{"Key":"team","Value":"a"}]` {
		t.Errorf("made %s", encode(have))
	}
	events, err := p.DescribeStackEvents(p.ctx, &cloudformation.DescribeStackEventsInput{StackName: &id})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.StackEvents {
		if strings.Contains(text(e.ResourceProperties), "hunter2") {
			t.Errorf("event %s tells the secret", *e.EventId)
		}
	}
	described, err := p.DescribeStacks(p.ctx, &cloudformation.DescribeStacksInput{StackName: &id})
	if err != nil || *described.Stacks[0].Parameters[0].ParameterValue != "****" {
		t.Errorf("described %+v, %v", described, err)
	}
	// It keeps its name over changes in place, and its secret when that is kept.
	body = strings.Replace(body, " y'", " z'", 1)
	_, err = p.UpdateStack(p.ctx, &cloudformation.UpdateStackInput{StackName: &id, TemplateBody: &body, Parameters: []cloudformation.Parameter{{ParameterKey: new("Secret"), UsePreviousValue: new(true)}}})
	if err != nil {
		t.Fatal(err)
	}
	p.drive(id)
	p.is(id, UpdateComplete)
	p.exist("x hunter2 z")
	if _, same := p.cloud.things[name]; !same {
		t.Error("it got another name")
	}
}
