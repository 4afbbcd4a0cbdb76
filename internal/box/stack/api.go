package stack

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
)

// attempts is how often a change is prepared anew because its stack changed meanwhile.
const attempts = 5

// CreateStack begins to make a stack.
func (s *Stacks) CreateStack(ctx context.Context, in *cloudformation.CreateStackInput) (*cloudformation.CreateStackOutput, error) {
	c := awsapi.CallerFrom(ctx)
	ch, err := newChange(c, change{
		template: text(in.TemplateBody), resourceTypes: in.ResourceTypes, capabilities: in.Capabilities, topics: in.NotificationARNs, roleARN: text(in.RoleARN),
		timeoutMinutes: value(in.TimeoutInMinutes), disableRollback: value(in.DisableRollback), retainExceptOnCreate: value(in.RetainExceptOnCreate),
	}, in.Parameters, in.Tags)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		s.checkTopics(ch.topics), checkTemplate(in.TemplateBody, in.TemplateURL, false), checkMonitoring(in.RollbackConfiguration),
		checkAbsent("StackPolicyBody", in.StackPolicyBody), checkAbsent("StackPolicyURL", in.StackPolicyURL),
	); err != nil {
		return nil, first(err)
	}
	if value(in.EnableTerminationProtection) {
		return nil, refused("EnableTerminationProtection", "nothing here could lift it again")
	}
	if in.OnFailure != nil && in.DisableRollback != nil {
		return nil, invalid("You can specify either DisableRollback or OnFailure, but not both.")
	}
	onFailure := text(in.OnFailure)
	if ch.disableRollback {
		onFailure = doNothing
	}
	ch.disableRollback = onFailure == doNothing
	p, err := s.prepare(ctx, c, *in.StackName, nil, ch)
	if err != nil {
		return nil, err
	}
	if !validName.MatchString(*in.StackName) {
		return nil, errStackName(*in.StackName)
	}
	out := &cloudformation.CreateStackOutput{}
	awsapi.Answers(ctx, out)
	p.answered = func(st *Stack) { out.StackId = new(st.ARN()) }
	q := request{token: text(in.ClientRequestToken), digest: digest(in), options: options{OnFailure: onFailure, DeleteNew: ch.retainExceptOnCreate}}
	if _, err := s.create(ctx, p, q); err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateStack begins to change a stack.
func (s *Stacks) UpdateStack(ctx context.Context, in *cloudformation.UpdateStackInput) (*cloudformation.UpdateStackOutput, error) {
	c := awsapi.CallerFrom(ctx)
	ch, err := newChange(c, change{
		template: text(in.TemplateBody), usePrevious: value(in.UsePreviousTemplate), resourceTypes: in.ResourceTypes, capabilities: in.Capabilities,
		topics: in.NotificationARNs, roleARN: text(in.RoleARN), disableRollback: value(in.DisableRollback), retainExceptOnCreate: value(in.RetainExceptOnCreate),
	}, in.Parameters, in.Tags)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		s.checkTopics(ch.topics), checkTemplate(in.TemplateBody, in.TemplateURL, ch.usePrevious), checkMonitoring(in.RollbackConfiguration),
		checkAbsent("StackPolicyBody", in.StackPolicyBody), checkAbsent("StackPolicyURL", in.StackPolicyURL),
		checkAbsent("StackPolicyDuringUpdateBody", in.StackPolicyDuringUpdateBody), checkAbsent("StackPolicyDuringUpdateURL", in.StackPolicyDuringUpdateURL),
	); err != nil {
		return nil, first(err)
	}
	q := request{token: text(in.ClientRequestToken), digest: digest(in), options: options{DeleteNew: ch.retainExceptOnCreate}}
	out := &cloudformation.UpdateStackOutput{}
	awsapi.Answers(ctx, out)
	for range attempts {
		err = s.changeStack(ctx, c, *in.StackName, ch, q, out)
		if !errors.Is(err, errChanged) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// changeStack updates a stack as it is now.
func (s *Stacks) changeStack(ctx context.Context, c awsapi.Caller, id string, ch change, q request, out *cloudformation.UpdateStackOutput) error {
	st, err := s.find(ctx, s.db, c, id)
	if errors.Is(err, errGone) || err == nil && st.Status == DeleteComplete {
		return errStackMissing(id)
	}
	if err != nil {
		return err
	}
	p := &prepared{}
	if st.Status.updatable() {
		if p, err = s.prepare(ctx, c, st.Name, st, ch); err != nil {
			return err
		}
		_, work, err := s.plan(ctx, st, p)
		if missing, ok := errors.AsType[missingImport](err); ok {
			return invalid("%s", missing.Error())
		}
		if err != nil {
			return err
		}
		if !work && !s.repeated(ctx, st, q) {
			return errNoUpdates()
		}
	}
	p.answered = func(st *Stack) { out.StackId = new(st.ARN()) }
	return s.update(ctx, st, p, q)
}

// repeated says whether a request has the token of one before it.
func (s *Stacks) repeated(ctx context.Context, st *Stack, q request) bool {
	if q.token == "" {
		return false
	}
	_, _, found, err := selectToken(ctx, s.db, st.id, q.token)
	return err == nil && found
}

// DeleteStack begins to delete a stack.
func (s *Stacks) DeleteStack(ctx context.Context, in *cloudformation.DeleteStackInput) (*cloudformation.DeleteStackOutput, error) {
	c := awsapi.CallerFrom(ctx)
	if err := checkRole(c, text(in.RoleARN)); err != nil {
		return nil, err
	}
	q := request{token: text(in.ClientRequestToken), digest: digest(in), options: options{
		Retain: in.RetainResources, Force: text(in.DeletionMode) == cloudformation.DeletionModeForceDeleteStack,
	}}
	out := &cloudformation.DeleteStackOutput{}
	awsapi.Answers(ctx, out)
	if err := s.delete(ctx, c, *in.StackName, q); err != nil {
		return nil, err
	}
	return out, nil
}

// newChange reads what the operations that set a stack's config have in common.
func newChange(c awsapi.Caller, ch change, parameters []cloudformation.Parameter, tags []cloudformation.Tag) (change, error) {
	if err := checkRole(c, ch.roleARN); err != nil {
		return ch, err
	}
	for _, p := range parameters {
		ch.parameters = append(ch.parameters, parameterChange{key: text(p.ParameterKey), value: p.ParameterValue, usePrevious: value(p.UsePreviousValue)})
	}
	if tags == nil {
		return ch, nil
	}
	ch.tags = []Tag{}
	for _, t := range tags {
		key := text(t.Key)
		switch {
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return ch, invalid("Tag keys that begin with aws: are AWS's own: %s.", key)
		case slices.ContainsFunc(ch.tags, func(t Tag) bool { return t.Key == key }):
			return ch, invalid("Tag %s is given twice.", key)
		}
		ch.tags = append(ch.tags, Tag{key, text(t.Value)})
	}
	if len(ch.tags) > maxTags {
		return ch, invalid("A stack has at most %d tags; these are %d.", maxTags, len(ch.tags))
	}
	slices.SortFunc(ch.tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return ch, nil
}

// checkTemplate checks that there is one template, of a size that is taken as text.
func checkTemplate(body, url *string, usePrevious bool) error {
	switch {
	case text(url) != "":
		return invalid("TemplateURL is not available here: there is no S3 to read it from. Pass the template as TemplateBody (--template-body file://…, or aws cloudformation deploy without --s3-bucket).")
	case usePrevious && text(body) != "":
		return invalid("Specify either TemplateBody or UsePreviousTemplate, not both.")
	case !usePrevious && text(body) == "":
		return invalid("Either Template URL or Template Body must be specified.")
	case len(text(body)) > template.MaxBodyBytes:
		return invalid("1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d; it has %d", template.MaxBodyBytes, len(*body))
	}
	return nil
}

func checkMonitoring(r *cloudformation.RollbackConfiguration) error {
	if r != nil && (len(r.RollbackTriggers) > 0 || value(r.MonitoringTimeInMinutes) != 0) {
		return refused("RollbackConfiguration", "there are no alarms to watch")
	}
	return nil
}

func checkAbsent(name string, v *string) error {
	if text(v) != "" {
		return refused(name, "stack policies are not enforced")
	}
	return nil
}

var roleForm = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/[\w+=,.@/-]{1,576}$`)

// checkRole checks a role's form and account. It is not assumed: what a stack makes is made as its caller.
func checkRole(c awsapi.Caller, arn string) error {
	if arn == "" {
		return nil
	}
	m := roleForm.FindStringSubmatch(arn)
	switch {
	case m == nil:
		return invalid("Role %s is invalid or cannot be assumed", arn)
	case m[1] != c.Account:
		return invalid("Cross-account pass role is not allowed: role %s is not of account %s.", arn, c.Account)
	}
	return nil
}

var topicForm = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$`)

func (s *Stacks) checkTopics(arns []string) error {
	switch {
	case len(arns) > maxTopics:
		return invalid("A stack has at most %d NotificationARNs; these are %d.", maxTopics, len(arns))
	case len(arns) > 0 && s.opt.Services == nil:
		return refused("NotificationARNs", "there are no topics")
	}
	for _, arn := range arns {
		if !topicForm.MatchString(arn) {
			return invalid("SNS topic ARN [%s] is not valid", arn)
		}
	}
	return nil
}

// first is the first of joined errors.
func first(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()[0]
	}
	return err
}

// digest is the same for requests that ask for the same.
func digest(in any) string {
	text, err := json.Marshal(in)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func text(s *string) string { return value(s) }

// value is what a pointer points to, zero for nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// optional is nil for what is not set.
func optional[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// timeOf is nil for 0.
func timeOf(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	return new(time.UnixMilli(ms).UTC())
}

// The tokens of pages are the place after which the next one begins, for a kind of list.

func pageToken(list, after string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(list + ":" + after)))
}

func readPageToken(list string, token *string) (after string, err error) {
	if text(token) == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(*token)
	after, ok := strings.CutPrefix(string(raw), list+":")
	if err != nil || !ok {
		return "", invalid("The NextToken is not one that this list has given.")
	}
	return after, nil
}

func numberToken(list string, after int64) *string {
	return pageToken(list, strconv.FormatInt(after, 10))
}

func readNumberToken(list string, token *string) (int64, error) {
	after, err := readPageToken(list, token)
	if err != nil || after == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(after, 10, 64)
	if err != nil || n < 1 {
		return 0, invalid("The NextToken is not one that this list has given.")
	}
	return n, nil
}
