package stack

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
	"github.com/rialto-bus/rialto/internal/event"
)

// change is what a caller wants a stack to be made from.
type change struct {
	template     string // empty: the previous one
	usePrevious  bool
	parameters   []parameterChange
	tags         []Tag // nil: as before
	capabilities []string
	topics       []string // nil: as before
	roleARN      string   // empty: as before
	// resourceTypes are the only types that the template may have; empty: all.
	resourceTypes []string
	// expanded: transforms are not asked leave for. AWS: a change set shows what they make.
	expanded                              bool
	timeoutMinutes                        int32
	disableRollback, retainExceptOnCreate bool
}

type parameterChange struct {
	key         string
	value       *string
	usePrevious bool
}

// prepared is a change that was checked: what an operation applies.
type prepared struct {
	ref         Ref
	uuid        string
	config      Config
	description string
	summary     template.Summary
	bound       *template.Bound

	// answered is told of the stack in the transaction of the change.
	answered func(*Stack)
}

func (p *prepared) answer(st *Stack) error {
	if p.answered != nil {
		p.answered(st)
	}
	return nil
}

// stack is a new stack made from it.
func (p *prepared) stack(now int64) *Stack {
	return &Stack{Ref: p.ref, UUID: p.uuid, Description: p.description, Config: p.config, Created: now}
}

// prepare checks what is to become of a stack, or of a new one with the name when st is nil.
func (s *Stacks) prepare(ctx context.Context, c awsapi.Caller, name string, st *Stack, ch change) (*prepared, error) {
	p := &prepared{ref: Ref{Account: c.Account, Region: c.Region, Name: name}, uuid: uuid.NewString()}
	var before Config
	if st != nil {
		p.ref, p.uuid, before = st.Ref, st.UUID, st.Config
	}
	text := ch.template
	if ch.usePrevious {
		text = before.Template
	}
	t, err := template.Parse([]byte(text))
	if err != nil {
		return nil, templateError(err)
	}
	p.summary = t.Summary()
	if err := s.checkTypes(ctx, p, ch); err != nil {
		return nil, err
	}
	p.config = Config{
		Template: text, Tags: before.Tags, Capabilities: ch.capabilities, Topics: before.Topics, RoleARN: before.RoleARN,
		TimeoutMinutes: ch.timeoutMinutes, DisableRollback: ch.disableRollback, RetainExceptOnCreate: ch.retainExceptOnCreate,
	}
	if ch.tags != nil {
		p.config.Tags = ch.tags
	}
	if ch.topics != nil {
		p.config.Topics = ch.topics
	}
	if st != nil && st.Status != ReviewInProgress {
		p.config.TimeoutMinutes = before.TimeoutMinutes
	}
	if ch.roleARN != "" {
		p.config.RoleARN = ch.roleARN
	}
	values, err := parameterValues(ch.parameters, before)
	if err != nil {
		return nil, err
	}
	p.description = p.summary.Description
	if p.bound, err = bind(t, p.ref, p.uuid, p.config.Topics, values); err != nil {
		return nil, templateError(err)
	}
	if err := s.checkAttributes(ctx, p); err != nil {
		return nil, err
	}
	for _, b := range p.bound.Parameters() {
		p.config.Parameters = append(p.config.Parameters, Parameter{Key: b.Name, Value: b.Value, Shown: b.Shown})
	}
	return p, nil
}

// bind gives a template the parameters of a stack.
func bind(t *template.Template, r Ref, uuid string, topics []string, values map[string]string) (*template.Bound, error) {
	return t.Bind(template.Input{Parameters: values, Pseudo: template.Pseudo{
		AccountID: r.Account, Region: r.Region, Partition: event.Partition(r.Region), URLSuffix: urlSuffix(r.Region),
		StackID: stackARN(r, uuid), StackName: r.Name, NotificationARNs: topics,
	}})
}

func urlSuffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// rebind reads the template of a stack again, as its operation goes on.
func rebind(st *Stack) (*template.Bound, error) {
	t, err := template.Parse([]byte(st.Config.Template))
	if err != nil {
		return nil, err
	}
	return bind(t, st.Ref, st.UUID, st.Config.Topics, st.Config.parameters())
}

// parameterValues puts the values asked for together with those kept.
func parameterValues(list []parameterChange, before Config) (map[string]string, error) {
	values := make(map[string]string, len(list))
	kept := before.parameters()
	for _, p := range list {
		if _, twice := values[p.key]; twice {
			return nil, errParameterTwice(p.key)
		}
		switch {
		case p.usePrevious && p.value != nil && *p.value != "":
			return nil, errPreviousAndValue(p.key)
		case p.usePrevious:
			old, ok := kept[p.key]
			if !ok {
				return nil, errNoPrevious(p.key)
			}
			values[p.key] = old
		case p.value == nil:
			values[p.key] = ""
		default:
			values[p.key] = *p.value
		}
	}
	return values, nil
}

// checkTypes checks that there are the template's types and that the caller may have them.
func (s *Stacks) checkTypes(ctx context.Context, p *prepared, ch change) error {
	unknown, err := s.unknownTypes(ctx, p.ref, p.summary.ResourceTypes)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		return errUnknownTypes(unknown)
	}
	needed := slices.Clone(p.summary.Capabilities)
	if ch.expanded {
		needed = slices.DeleteFunc(needed, func(c string) bool { return c == cloudformation.CapabilityCapabilityAutoExpand })
	}
	if missing := missingCapabilities(needed, ch.capabilities); len(missing) > 0 {
		return errCapabilities(missing)
	}
	for _, name := range p.summary.ResourceTypes {
		if len(ch.resourceTypes) > 0 && !slices.ContainsFunc(ch.resourceTypes, func(pattern string) bool { return typeMatches(pattern, name) }) {
			return errTypeNotAllowed(name)
		}
	}
	return nil
}

// unknownTypes returns those of the types that the registry lacks.
func (s *Stacks) unknownTypes(ctx context.Context, r Ref, types []string) (unknown []string, err error) {
	for _, name := range types {
		_, err := s.opt.Registry.Lookup(ctx, r.Account, r.Region, name)
		switch {
		case err == nil:
		case errors.Is(err, resource.ErrNoType):
			unknown = append(unknown, name)
		default:
			return nil, err
		}
	}
	return unknown, nil
}

// missingCapabilities returns what was not acknowledged. AWS: CAPABILITY_NAMED_IAM includes CAPABILITY_IAM.
func missingCapabilities(needed, given []string) (missing []string) {
	for _, n := range needed {
		if !slices.Contains(given, n) && (n != cloudformation.CapabilityCapabilityIam || !slices.Contains(given, cloudformation.CapabilityCapabilityNamedIam)) {
			missing = append(missing, n)
		}
	}
	return missing
}

// typeMatches says whether a type is one that ResourceTypes allows: by name, or AWS::*, AWS::EC2::*.
func typeMatches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// descriptionOf returns what a template says about itself.
func descriptionOf(text string) (string, error) {
	t, err := template.Parse([]byte(text))
	if err != nil {
		return "", templateError(err)
	}
	return t.Summary().Description, nil
}
