package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/spf13/cobra"
)

// stackDeployment is what deploy is asked for.
type stackDeployment struct {
	name         string
	parameters   []string
	capabilities []string
	tags         []string
	topics       []string
	role         string
	noRollback   bool
}

func newStackDeploy(s *streams, a *awsAPI) *cobra.Command {
	d := &stackDeployment{}
	cmd := &cobra.Command{
		Use:   "deploy FILE",
		Short: "Make a stack from a template, or change it to what the template says",
		Long: `Make a stack from a CloudFormation template, in JSON or YAML, or change the one
that is there to what the template says, and wait until that is done. Each
event is a line; on a terminal a bar shows how far it is, and only failures are
lines.

Parameters that are not given keep their values, or have the template's
defaults. What fails is taken back, unless --no-rollback is given.

It ends with 0 if the stack is as the template says, also if it was before, with 1
if the operation failed, and with 4 if the server refuses it. Ending the command
does not end the operation: 'rialto stack events NAME --follow' shows it again.`,
		Example: `  rialto stack deploy queue.yaml --stack-name shop --parameter Seconds=60
  rialto stack deploy roles.yaml --stack-name roles --capabilities CAPABILITY_NAMED_IAM`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if d.name == "" {
				return usagef("--stack-name is required")
			}
			body, err := os.ReadFile(args[0])
			if err != nil {
				return usageError{err}
			}
			return d.run(cmd.Context(), s, a, string(body))
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.name, "stack-name", "", "name of the stack (required)")
	f.StringArrayVar(&d.parameters, "parameter", nil, "a parameter's value, NAME=VALUE; may be repeated")
	f.StringSliceVar(&d.capabilities, "capabilities", nil, "what the template may do: CAPABILITY_IAM, CAPABILITY_NAMED_IAM")
	f.StringArrayVar(&d.tags, "tag", nil, "a tag of the stack and its resources, KEY=VALUE; may be repeated. All tags together take the place of those before")
	f.StringArrayVar(&d.topics, "notify", nil, "ARN of an SNS topic that is told of the stack's events; may be repeated")
	f.StringVar(&d.role, "role-arn", "", "ARN of the role that CloudFormation has with AWS")
	f.BoolVar(&d.noRollback, "no-rollback", false, "leave what fails as it is")
	return listing(a.regional(cmd), s)
}

// pair reads NAME=VALUE.
func pair(flag, given string) (name, value string, err error) {
	name, value, ok := strings.Cut(given, "=")
	if !ok || name == "" {
		return "", "", usagef("--%s %q is not NAME=VALUE", flag, given)
	}
	return name, value, nil
}

func (d *stackDeployment) run(ctx context.Context, s *streams, a *awsAPI, body string) error {
	st, kind, err := d.now(ctx, a)
	if err != nil {
		return err
	}
	set, err := d.changeSet(ctx, a, st, kind, body)
	if err != nil {
		return err
	}
	if set == nil {
		fmt.Fprintf(s.err, "Stack %s is as the template says already\n", plain(d.name))
		return printStack(s, *st)
	}
	w := newStackWatch(s, a, *set.StackId, len(set.Changes))
	if err := w.skip(ctx); err != nil {
		return err
	}
	in := &cloudformation.ExecuteChangeSetInput{ChangeSetName: set.ChangeSetId}
	if d.noRollback {
		in.DisableRollback = aws.Bool(true)
	}
	if _, err := a.stacks().ExecuteChangeSet(ctx, in); err != nil {
		return a.fails(ctx, err)
	}
	done, err := w.follow(ctx)
	if err != nil {
		return err
	}
	if done.StackStatus != types.StackStatusCreateComplete && done.StackStatus != types.StackStatusUpdateComplete {
		return w.failure(done)
	}
	return printStack(s, done)
}

// printStack prints a stack that was deployed: its outputs, or all of it for json and yaml.
func printStack(s *streams, st types.Stack) error {
	v := newShownStack(st)
	if s.format != "table" {
		return s.print(v, nil, nil)
	}
	if len(v.Outputs) == 0 {
		_, err := fmt.Fprintf(s.out, "Stack %s is %s\n", plain(v.Name), v.Status)
		return err
	}
	return printOutputs(s, v.Outputs)
}

// now returns the stack as it is, nil if there is none, and what kind of change set it takes.
func (d *stackDeployment) now(ctx context.Context, a *awsAPI) (*types.Stack, types.ChangeSetType, error) {
	st, err := a.describe(ctx, d.name)
	if refused, ok := errors.AsType[*refusedError](err); ok && strings.HasSuffix(refused.message, "does not exist") {
		return nil, types.ChangeSetTypeCreate, nil
	}
	if err != nil {
		return nil, "", err
	}
	switch st.StackStatus {
	case types.StackStatusReviewInProgress:
		return &st, types.ChangeSetTypeCreate, nil
	case types.StackStatusRollbackComplete, types.StackStatusRollbackFailed, types.StackStatusDeleteFailed, types.StackStatusUpdateRollbackFailed:
		return nil, "", fmt.Errorf("stack %s is %s and can only be deleted: 'rialto stack delete %s' does", plain(d.name), st.StackStatus, plain(d.name))
	}
	return &st, types.ChangeSetTypeUpdate, nil
}

// changeSet works out what is to be done; nil if there is nothing to do.
func (d *stackDeployment) changeSet(ctx context.Context, a *awsAPI, st *types.Stack, kind types.ChangeSetType, body string) (*cloudformation.DescribeChangeSetOutput, error) {
	in := &cloudformation.CreateChangeSetInput{
		StackName: &d.name, ChangeSetName: aws.String(fmt.Sprintf("rialto-stack-deploy-%d", time.Now().UnixMilli())), ChangeSetType: kind, TemplateBody: &body,
	}
	if d.role != "" {
		in.RoleARN = &d.role
	}
	if d.topics != nil {
		in.NotificationARNs = d.topics
	}
	for _, c := range d.capabilities {
		in.Capabilities = append(in.Capabilities, types.Capability(c))
	}
	for _, given := range d.tags {
		k, v, err := pair("tag", given)
		if err != nil {
			return nil, err
		}
		in.Tags = append(in.Tags, types.Tag{Key: &k, Value: &v})
	}
	var err error
	if in.Parameters, err = d.values(ctx, a, st, body); err != nil {
		return nil, err
	}
	client := a.stacks()
	made, err := client.CreateChangeSet(ctx, in)
	if err != nil {
		return nil, a.fails(ctx, err)
	}
	var changes []types.Change
	for pages := cloudformation.NewDescribeChangeSetPaginator(client, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id}); pages.HasMorePages(); {
		set, err := pages.NextPage(ctx)
		if err != nil {
			return nil, a.fails(ctx, err)
		}
		if set.Status == types.ChangeSetStatusFailed {
			return nil, d.dropped(ctx, a, set)
		}
		changes = append(changes, set.Changes...)
		if set.NextToken == nil {
			set.Changes = changes
			return set, nil
		}
	}
	return nil, errors.New("the server described the change set without an end")
}

// dropped deletes a change set that cannot be executed, and says why unless there was nothing to do.
func (d *stackDeployment) dropped(ctx context.Context, a *awsAPI, set *cloudformation.DescribeChangeSetOutput) error {
	if _, err := a.stacks().DeleteChangeSet(ctx, &cloudformation.DeleteChangeSetInput{ChangeSetName: set.ChangeSetId}); err != nil {
		return a.fails(ctx, err)
	}
	reason := text(set.StatusReason)
	if strings.Contains(reason, "didn't contain changes") {
		return nil
	}
	return &refusedError{code: "FAILED", message: fmt.Sprintf("stack %s was not deployed: %s", d.name, reason)}
}

// values are the template's parameters: those given, and those that the stack has.
func (d *stackDeployment) values(ctx context.Context, a *awsAPI, st *types.Stack, body string) (values []types.Parameter, err error) {
	given := map[string]bool{}
	for _, p := range d.parameters {
		k, v, err := pair("parameter", p)
		if err != nil {
			return nil, err
		}
		given[k] = true
		values = append(values, types.Parameter{ParameterKey: &k, ParameterValue: &v})
	}
	if st == nil || len(st.Parameters) == 0 {
		return values, nil
	}
	declared, err := a.stacks().ValidateTemplate(ctx, &cloudformation.ValidateTemplateInput{TemplateBody: &body})
	if err != nil {
		return nil, a.fails(ctx, err)
	}
	for _, had := range st.Parameters {
		for _, p := range declared.Parameters {
			if text(p.ParameterKey) == text(had.ParameterKey) && !given[text(had.ParameterKey)] {
				values = append(values, types.Parameter{ParameterKey: p.ParameterKey, UsePreviousValue: aws.Bool(true)})
			}
		}
	}
	return values, nil
}

func newStackDelete(s *streams, a *awsAPI) *cobra.Command {
	var retain []string
	var force bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a stack with its resources",
		Long: `Delete a stack with its resources, and wait until that is done. What has
DeletionPolicy Retain stays. Of a stack that could not be deleted, --retain leaves
resources alone, and --force all that cannot be deleted. A stack that is not there is
no error.`,
		Example: `  rialto stack delete shop
  rialto stack delete shop --retain Queue`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := &cloudformation.DeleteStackInput{StackName: &args[0], RetainResources: retain}
			if force {
				in.DeletionMode = types.DeletionModeForceDeleteStack
			}
			return deleteStack(cmd.Context(), s, a, in)
		},
	}
	cmd.Flags().StringSliceVar(&retain, "retain", nil, "logical ids of resources to leave alone, of a stack that is DELETE_FAILED")
	cmd.Flags().BoolVar(&force, "force", false, "leave alone what cannot be deleted, of a stack that is DELETE_FAILED")
	return a.regional(cmd)
}

func deleteStack(ctx context.Context, s *streams, a *awsAPI, in *cloudformation.DeleteStackInput) error {
	st, err := a.describe(ctx, *in.StackName)
	if refused, ok := errors.AsType[*refusedError](err); ok && strings.HasSuffix(refused.message, "does not exist") {
		_, err := fmt.Fprintf(s.out, "There is no stack %s\n", plain(*in.StackName))
		return err
	}
	if err != nil {
		return err
	}
	w := newStackWatch(s, a, *st.StackId, 0)
	if err := w.skip(ctx); err != nil {
		return err
	}
	if _, err := a.stacks().DeleteStack(ctx, in); err != nil {
		return a.fails(ctx, err)
	}
	done, err := w.follow(ctx)
	if err != nil {
		return err
	}
	if done.StackStatus != types.StackStatusDeleteComplete {
		return w.failure(done)
	}
	_, err = fmt.Fprintf(s.out, "Stack %s is deleted\n", plain(*st.StackName))
	return err
}
