package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"go.yaml.in/yaml/v3"

	"github.com/rialto-bus/rialto/examples/exporter"
	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// Stacks reaches the stacks of cloud accounts; *cloud.Accounts is one.
type Stacks interface {
	// CloudFormation returns a client for the stacks of a 12-digit account in a region.
	CloudFormation(ctx context.Context, account, region string) (*cloudformation.Client, error)
}

// InstallState says how far an installation is.
type InstallState string

// The states of an installation.
const (
	// InstallAbsent: there is no stack.
	InstallAbsent InstallState = "absent"
	// InstallDeploying: the stack is being made or changed.
	InstallDeploying InstallState = "deploying"
	// Installed: the stack stands, and the exporter reads its queue.
	Installed InstallState = "installed"
	// InstallStands: the stack stands, and its queue is not read: installing goes on from there.
	InstallStands InstallState = "deployed"
	// InstallRemoving: the stack is being deleted.
	InstallRemoving InstallState = "removing"
	// InstallFailed: the stack cannot be used; Why says what went wrong.
	InstallFailed InstallState = "failed"
)

// Place is where a queue of event records stands: a stack in an account's region.
type Place struct {
	Account, Region string
	// Stack is the stack's name; empty stands for kind.QueueStack.
	Stack string
	// StackID is the stack that an earlier call began with; it goes on with that one, so
	// that what becomes of it is told and nothing is begun again. Empty: whatever is there.
	StackID string
}

// Installation is what stands of a queue of event records.
type Installation struct {
	Place

	State InstallState
	// StackStatus is CloudFormation's word; empty without a stack.
	StackStatus string
	// Why says what went wrong.
	Why string
	// QueueARN is the queue; Export is the name under which its ARN is exported to event rules.
	QueueARN, Export string
}

var installStackForm = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)

func (p *Place) check() error {
	if p.Stack == "" {
		p.Stack = kind.QueueStack
	}
	switch {
	case !auth.IsAccount(p.Account):
		return httpapi.Invalid("account %q is not an AWS account id: 12 digits.", p.Account)
	case !event.IsRegion(p.Region):
		return httpapi.Invalid("region %q is not the code of a region, such as eu-west-1.", p.Region)
	case !installStackForm.MatchString(p.Stack):
		return httpapi.Invalid("stack_name %q is no name of a stack: a letter, then at most 127 letters, digits and hyphens.", p.Stack)
	case p.StackID != "" && !strings.Contains(p.StackID, ":stack/"+p.Stack+"/"):
		return httpapi.Invalid("stack_id %q is not the id of a stack %s.", p.StackID, p.Stack)
	}
	return nil
}

// Install deploys the queue of event records, its dead-letter queue and its policy as a
// stack, or goes on with what is there, and has the queue read once the stack stands. It
// begins what is to be done and does not wait for it: call it again, with the StackID of
// the answer, until the state is not InstallDeploying. A stack that is not the exporter's is
// left alone. Errors that are the caller's doing, or the cloud's, are *httpapi.Error.
func (x *Exporter) Install(ctx context.Context, p Place) (Installation, error) {
	in := Installation{Place: p}
	if err := in.check(); err != nil {
		return in, err
	}
	client, err := x.stacks(ctx, in.Place)
	if err != nil {
		return in, err
	}
	st, err := describeStack(ctx, client, &in)
	if err != nil {
		return in, err
	}
	if st == nil {
		return createStack(ctx, client, in)
	}
	if in.State == InstallStands && p.StackID != "" && takenBack(in.StackStatus) {
		in.State = InstallFailed
	}
	if in.State == InstallStands && p.StackID == "" {
		if begun, err := updateStack(ctx, client, &in); begun || err != nil {
			return in, err
		}
	}
	if in.State != InstallStands {
		return in, explain(ctx, client, &in)
	}
	if err := x.follow(ctx, in); err != nil {
		return in, err
	}
	in.State = Installed
	return in, nil
}

// Installation tells how far an installation is, and changes nothing.
func (x *Exporter) Installation(ctx context.Context, p Place) (Installation, error) {
	in := Installation{Place: p}
	if err := in.check(); err != nil {
		return in, err
	}
	client, err := x.stacks(ctx, in.Place)
	if err != nil {
		return in, err
	}
	if _, err := describeStack(ctx, client, &in); err != nil {
		return in, err
	}
	if in.State == InstallStands {
		read, err := x.reading(ctx, in.QueueARN)
		if err != nil {
			return in, err
		}
		if read {
			in.State = Installed
		}
	}
	return in, explain(ctx, client, &in)
}

// Uninstall stops reading the queue and deletes the stack with its queues and what these
// hold. Like Install it is called again, with the StackID, until the state is not
// InstallRemoving. It is refused while rules of other stacks send to the queue, and while the
// queue holds records, unless these are to be discarded.
func (x *Exporter) Uninstall(ctx context.Context, p Place, discard bool) (Installation, error) {
	in := Installation{Place: p}
	if err := in.check(); err != nil {
		return in, err
	}
	client, err := x.stacks(ctx, in.Place)
	if err != nil {
		return in, err
	}
	st, err := describeStack(ctx, client, &in)
	if err != nil {
		return in, err
	}
	switch {
	case st == nil || in.State == InstallAbsent:
		return in, x.unfollow(ctx, in.Place)
	case in.State == InstallRemoving:
		return in, nil
	case in.State == InstallDeploying:
		return in, conflict("Stack %s in %s of account %s is %s; wait until that is done.", in.Stack, in.Region, in.Account, in.StackStatus)
	case p.StackID != "" && in.StackStatus == string(types.StackStatusDeleteFailed):
		return in, explain(ctx, client, &in)
	}
	if err := checkOurs(ctx, client, in); err != nil {
		return in, err
	}
	if err := checkUnused(ctx, client, in); err != nil {
		return in, err
	}
	if !discard {
		if err := x.checkEmpty(ctx, in); err != nil {
			return in, err
		}
	}
	if err := x.unfollow(ctx, in.Place); err != nil {
		return in, err
	}
	if _, err := client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String(in.StackID)}); err != nil {
		return in, cloudError(in.Place, "delete stack "+in.Stack, err)
	}
	in.State = InstallRemoving
	return in, nil
}

func (x *Exporter) stacks(ctx context.Context, p Place) (*cloudformation.Client, error) {
	client, err := x.o.Stacks.CloudFormation(ctx, p.Account, p.Region)
	if err != nil {
		return nil, cloudError(p, "reach CloudFormation", err)
	}
	return client, nil
}

// describeStack fills in what CloudFormation says of the stack; nil if there is none.
func describeStack(ctx context.Context, client *cloudformation.Client, in *Installation) (*types.Stack, error) {
	name := in.Stack
	if in.StackID != "" {
		name = in.StackID
	}
	in.State = InstallAbsent
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if missing(err) || err == nil && len(out.Stacks) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, cloudError(in.Place, "look at stack "+in.Stack, err)
	}
	st := &out.Stacks[0]
	in.StackID, in.StackStatus, in.State = aws.ToString(st.StackId), string(st.StackStatus), stateOf(st.StackStatus)
	in.Why = aws.ToString(st.StackStatusReason)
	if in.State == InstallStands {
		in.Why = ""
	}
	for _, o := range st.Outputs {
		if name := aws.ToString(o.ExportName); name == in.Stack+"-EventsQueueARN" {
			in.Export, in.QueueARN = name, aws.ToString(o.OutputValue)
		}
	}
	return st, nil
}

// missing reports whether CloudFormation says that there is no such stack.
func missing(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == "ValidationError" && strings.Contains(api.ErrorMessage(), "does not exist")
}

// stateOf is what a stack's status means for an installation.
func stateOf(s types.StackStatus) InstallState {
	switch s {
	case types.StackStatusCreateComplete, types.StackStatusUpdateComplete, types.StackStatusUpdateRollbackComplete,
		types.StackStatusImportComplete, types.StackStatusImportRollbackComplete, types.StackStatusUpdateFailed:
		return InstallStands
	case types.StackStatusDeleteInProgress:
		return InstallRemoving
	case types.StackStatusDeleteComplete:
		return InstallAbsent
	}
	if strings.HasSuffix(string(s), "_IN_PROGRESS") && s != types.StackStatusReviewInProgress {
		return InstallDeploying
	}
	return InstallFailed
}

// takenBack reports whether the last update of a stack did not succeed.
func takenBack(status string) bool {
	return status == string(types.StackStatusUpdateRollbackComplete) || status == string(types.StackStatusUpdateFailed)
}

func createStack(ctx context.Context, client *cloudformation.Client, in Installation) (Installation, error) {
	out, err := client.CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: &in.Stack, TemplateBody: aws.String(exporter.Queue()), OnFailure: types.OnFailureDelete,
	})
	if err != nil {
		return in, cloudError(in.Place, "create stack "+in.Stack, err)
	}
	in.StackID, in.State, in.StackStatus = aws.ToString(out.StackId), InstallDeploying, string(types.StackStatusCreateInProgress)
	return in, nil
}

// updateStack begins to change a stack of ours that is of another template.
func updateStack(ctx context.Context, client *cloudformation.Client, in *Installation) (begun bool, err error) {
	body, err := templateOf(ctx, client, in.Place)
	if err != nil || strings.TrimSpace(body) == strings.TrimSpace(exporter.Queue()) {
		return false, err
	}
	if !ours(body) {
		return false, foreign(in.Place)
	}
	_, err = client.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: &in.StackID, TemplateBody: aws.String(exporter.Queue())})
	if api, ok := errors.AsType[smithy.APIError](err); ok && strings.Contains(api.ErrorMessage(), "No updates are to be performed") {
		return false, nil
	}
	if err != nil {
		return false, cloudError(in.Place, "update stack "+in.Stack, err)
	}
	in.State, in.StackStatus = InstallDeploying, string(types.StackStatusUpdateInProgress)
	return true, nil
}

func templateOf(ctx context.Context, client *cloudformation.Client, p Place) (string, error) {
	out, err := client.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &p.StackID, TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return "", cloudError(p, "read the template of stack "+p.Stack, err)
	}
	return aws.ToString(out.TemplateBody), nil
}

// ours reports whether a template is one of the exporter's queue, of any version.
func ours(body string) bool {
	var t struct {
		Metadata struct {
			Rialto string `yaml:"Rialto"`
		} `yaml:"Metadata"`
	}
	return yaml.Unmarshal([]byte(body), &t) == nil && t.Metadata.Rialto == "exporter queue"
}

func checkOurs(ctx context.Context, client *cloudformation.Client, in Installation) error {
	body, err := templateOf(ctx, client, in.Place)
	if err != nil {
		return err
	}
	if !ours(body) {
		return foreign(in.Place)
	}
	return nil
}

func foreign(p Place) error {
	return conflict("There is a stack %s in %s of account %s already, and it is not one of this exporter's: it is left as it is. "+
		"Give another stack name, or have its queue read as it is by naming the queue.", p.Stack, p.Region, p.Account)
}

// checkUnused refuses to delete a queue that rules of other stacks send to.
func checkUnused(ctx context.Context, client *cloudformation.Client, in Installation) error {
	if in.Export == "" {
		return nil
	}
	out, err := client.ListImports(ctx, &cloudformation.ListImportsInput{ExportName: &in.Export})
	if api, ok := errors.AsType[smithy.APIError](err); ok && strings.Contains(api.ErrorMessage(), "is not imported by any stack") {
		return nil
	}
	if err != nil {
		return cloudError(in.Place, "look who imports "+in.Export, err)
	}
	if len(out.Imports) == 0 {
		return nil
	}
	return conflict("Rules of the stacks %s send to the queue of stack %s; delete those first.", strings.Join(out.Imports, ", "), in.Stack)
}

// checkEmpty refuses to delete a queue that holds records. AWS: how many is approximate.
func (x *Exporter) checkEmpty(ctx context.Context, in Installation) error {
	if in.QueueARN == "" {
		return nil
	}
	ref, err := parseQueue(in.QueueARN)
	if err != nil {
		return err
	}
	client, err := x.o.Cloud.SQS(ctx, ref.Account, ref.Region)
	if err != nil {
		return cloudError(in.Place, "reach SQS", err)
	}
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(ref.URL()), AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	if api, ok := errors.AsType[smithy.APIError](err); ok && strings.HasSuffix(api.ErrorCode(), "NonExistentQueue") {
		return nil
	}
	if err != nil {
		return cloudError(in.Place, "look at queue "+ref.Name, err)
	}
	held := 0
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		n, err := strconv.Atoi(cmp.Or(out.Attributes[name], "0"))
		if err != nil {
			return fmt.Errorf("read %s of queue %s: %w", name, ref.Name, err)
		}
		held += n
	}
	if held > 0 {
		return conflict("Queue %s holds %d records that are not exported yet: wait until it is empty, or have them discarded.", ref.Name, held)
	}
	return nil
}

// explain adds to a failed installation what failed first.
func explain(ctx context.Context, client *cloudformation.Client, in *Installation) error {
	gone := in.State == InstallAbsent && in.StackStatus != ""
	if in.State != InstallFailed && !gone || in.StackStatus == string(types.StackStatusReviewInProgress) {
		if in.StackStatus == string(types.StackStatusReviewInProgress) {
			in.Why = "a change set of the stack waits to be executed or deleted"
		}
		return nil
	}
	failed, err := failures(ctx, client, in)
	if err != nil {
		return cloudError(in.Place, "read the events of stack "+in.Stack, err)
	}
	if len(failed) > 0 {
		in.Why = failed[len(failed)-1] // events come the last first
	}
	if gone && in.Why != "" {
		in.State = InstallFailed
	}
	return nil
}

// failures are what failed in the last operation on a stack, the last first.
func failures(ctx context.Context, client *cloudformation.Client, in *Installation) ([]string, error) {
	var list []string
	pages := cloudformation.NewDescribeStackEventsPaginator(client, &cloudformation.DescribeStackEventsInput{StackName: &in.StackID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.StackEvents {
			if aws.ToString(e.PhysicalResourceId) == in.StackID && begins(e.ResourceStatus, in.StackStatus) {
				return list, nil
			}
			if reason := aws.ToString(e.ResourceStatusReason); strings.HasSuffix(string(e.ResourceStatus), "_FAILED") && reason != "" {
				list = append(list, aws.ToString(e.LogicalResourceId)+": "+reason)
			}
		}
	}
	return list, nil
}

// begins reports whether a stack's event begins the operation that led to a status.
func begins(s types.ResourceStatus, status string) bool {
	return s == types.ResourceStatusCreateInProgress || s == types.ResourceStatusUpdateInProgress ||
		s == types.ResourceStatusDeleteInProgress && status == string(types.StackStatusDeleteFailed)
}

// follow has the account followed and the stack's queue read.
func (x *Exporter) follow(ctx context.Context, in Installation) error {
	if in.QueueARN == "" {
		return conflict("Stack %s in %s of account %s exports no %s-EventsQueueARN.", in.Stack, in.Region, in.Account, in.Stack)
	}
	return x.followQueue(ctx, in.Account, in.Region, in.QueueARN, in.Stack)
}

// InstallQueue has a queue read that is there already, for an account's records: its ARN, or
// its URL at AWS. region becomes the account's home region if it was not followed before; ""
// stands for the queue's own.
func (x *Exporter) InstallQueue(ctx context.Context, account, region, queue string) (Installation, error) {
	ref, err := parseQueue(queue)
	if err != nil {
		return Installation{}, err
	}
	in := Installation{Place: Place{Account: account, Region: cmp.Or(region, ref.Region)}, State: Installed, QueueARN: ref.ARN()}
	return in, x.followQueue(ctx, account, in.Region, in.QueueARN, "")
}

// followQueue has an account followed, with its home region where the queue is if it was not
// before, and the queue read.
func (x *Exporter) followQueue(ctx context.Context, account, region, queue, stack string) error {
	_, found, err := loadAccount(ctx, x.db, account)
	if err != nil {
		return fmt.Errorf("read account %s: %w", account, err)
	}
	if !found {
		if _, err := x.PutAccount(ctx, Account{Account: account, HomeRegion: region, Enabled: true}); err != nil {
			return err
		}
	}
	_, err = x.PutQueue(ctx, queue, account, stack)
	return err
}

// unfollow stops reading the stack's queue.
func (x *Exporter) unfollow(ctx context.Context, p Place) error {
	list, err := x.Queues(ctx)
	if err != nil {
		return err
	}
	for _, q := range list {
		ref, err := parseQueue(q.ARN)
		if err != nil || q.Stack != p.Stack || ref.Account != p.Account || ref.Region != p.Region {
			continue
		}
		if err := x.DeleteQueue(ctx, q.ARN); err != nil {
			return err
		}
	}
	return nil
}

// reading reports whether a queue is read.
func (x *Exporter) reading(ctx context.Context, arn string) (bool, error) {
	list, err := x.Queues(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list, func(q Queue) bool { return q.ARN == arn }), nil
}

func conflict(format string, args ...any) error {
	return &httpapi.Error{Status: http.StatusConflict, Code: httpapi.CodeInvalidRequest, Message: fmt.Sprintf(format, args...)}
}

// cloudError tells the caller what the cloud said; they are admins, and it is what they
// asked to have done.
func cloudError(p Place, what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &httpapi.Error{
		Status: http.StatusBadGateway, Code: httpapi.CodeServiceOffline,
		Message: fmt.Sprintf("Account %s, %s: %s: %v", p.Account, p.Region, what, err),
	}
}
