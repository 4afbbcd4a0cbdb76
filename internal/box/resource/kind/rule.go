package kind

import (
	"context"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/event"
)

// rule is AWS::Events::Rule, by its ARN.
type rule struct{ api }

// ruleName is where a rule is: the bus as the API takes it, a name or, for a bus of another
// account, an ARN; empty for the default bus.
type ruleName struct {
	bus  *string
	name string
}

// ruleNameOf reads a rule's ARN, or what Ref gives for a rule.
func ruleNameOf(r resource.Request) (ruleName, error) {
	parts := strings.SplitN(r.Identifier, ":", 6)
	if len(parts) != 6 {
		if bus, name, ok := strings.Cut(r.Identifier, "|"); ok {
			return ruleName{&bus, name}, nil
		}
		return ruleName{nil, r.Identifier}, nil
	}
	path, ok := strings.CutPrefix(parts[5], "rule/")
	if !ok || parts[2] != "events" {
		return ruleName{}, resource.Errorf(resource.InvalidRequest, "The identifier %s is not the ARN of a rule.", r.Identifier)
	}
	n := ruleName{name: path}
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		n.bus, n.name = new(path[:i]), path[i+1:]
	}
	if parts[4] != r.Caller.Account {
		n.bus = new(strings.Join(parts[:5], ":") + ":event-bus/" + busOf(n.bus))
	}
	return n, nil
}

// busOf is the name of a bus that is given by name or ARN.
func busOf(nameOrARN *string) string {
	name := str(nameOrARN)
	if _, after, ok := strings.Cut(name, ":event-bus/"); ok {
		name = after
	}
	if name == "" {
		return defaultBus
	}
	return name
}

// ruleRef is what Ref gives. AWS: the rule's name, on a custom bus after the bus's.
func ruleRef(m resource.Model) string {
	name, bus := text(m["Name"]), busOf(given(m["EventBusName"]))
	if bus == defaultBus {
		return name
	}
	return bus + "|" + name
}

func (h rule) describe(ctx context.Context, r resource.Request, n ruleName) (*events.DescribeRuleOutput, error) {
	in := &events.DescribeRuleInput{Name: &n.name, EventBusName: n.bus}
	return call[events.DescribeRuleOutput](ctx, h.api, r, "events", "DescribeRule", in)
}

// ruleProperties are the properties that PutRule sets, all of them at once.
var ruleProperties = []string{"EventPattern", "ScheduleExpression", "State", "Description", "RoleArn"}

// ruleIn is the rule that a model asks for, without its targets.
func ruleIn(n ruleName, m resource.Model) (*events.PutRuleInput, error) {
	in := &events.PutRuleInput{Name: &n.name, EventBusName: n.bus, EventPattern: givenDocument(m["EventPattern"])}
	return in, shape("", pick(m, "ScheduleExpression", "Description", "State", "RoleArn"), in)
}

func targetsIn(m resource.Model) ([]events.Target, error) {
	var targets []events.Target
	err := shape("Targets", m["Targets"], &targets)
	return targets, err
}

// Create makes the rule with its tags, then puts its targets. The API would change a rule that is there.
func (h rule) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	n := ruleName{given(r.Desired["EventBusName"]), nameOf(r, "Name", "Rule")}
	in, err := ruleIn(n, r.Desired)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(r.Desired)
	if err != nil {
		return nil, err
	}
	in.Tags = eventTags(tags)
	targets, err := targetsIn(r.Desired)
	if err != nil {
		return nil, err
	}
	if err := h.place(ctx, r, n, in); err != nil {
		return nil, err
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.remove(ctx, r, n) })
	if err := h.putTargets(ctx, r, n, targets); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, n)
}

// place puts a new rule, unless a create that was cut off did so.
func (h rule) place(ctx context.Context, r resource.Request, n ruleName, in *events.PutRuleInput) error {
	_, err := h.describe(ctx, r, n)
	if is(err, resource.NotFound) {
		_, err = call[events.PutRuleOutput](ctx, h.api, r, "events", "PutRule", in)
		return err
	}
	if err != nil {
		return err
	}
	identifier := ruleRef(resource.Model{"Name": n.name, "EventBusName": str(n.bus)})
	if !r.Again {
		return exists("AWS::Events::Rule", identifier)
	}
	have, err := h.read(ctx, r, n)
	if err != nil {
		return err
	}
	defaults := resource.Model{"State": events.RuleStateEnabled}
	if !ours(r.Desired, have, defaults, slices.Concat(ruleProperties, []string{"Tags"}), nil) || !within(have["Targets"], r.Desired["Targets"]) {
		return exists("AWS::Events::Rule", identifier)
	}
	return nil
}

// within says whether each target of some is among the targets of all.
func within(some, all any) bool {
	wanted, _ := all.([]any)
	have, _ := some.([]any)
	for _, t := range have {
		found := false
		for _, w := range wanted {
			found = found || same(t, w)
		}
		if !found {
			return false
		}
	}
	return true
}

// targetPage is how many targets one call puts or removes. AWS: 100.
const targetPage = 100

func (h rule) putTargets(ctx context.Context, r resource.Request, n ruleName, targets []events.Target) error {
	for len(targets) > 0 {
		page := targets[:min(targetPage, len(targets))]
		targets = targets[len(page):]
		in := &events.PutTargetsInput{Rule: &n.name, EventBusName: n.bus, Targets: page}
		out, err := call[events.PutTargetsOutput](ctx, h.api, r, "events", "PutTargets", in)
		if err != nil {
			return err
		}
		for _, f := range out.FailedEntries {
			return failedTarget(str(f.TargetId), str(f.ErrorCode), str(f.ErrorMessage))
		}
	}
	return nil
}

func (h rule) removeTargets(ctx context.Context, r resource.Request, n ruleName, ids []string) error {
	for len(ids) > 0 {
		page := ids[:min(targetPage, len(ids))]
		ids = ids[len(page):]
		in := &events.RemoveTargetsInput{Rule: &n.name, EventBusName: n.bus, Ids: page}
		out, err := call[events.RemoveTargetsOutput](ctx, h.api, r, "events", "RemoveTargets", in)
		if err != nil {
			return err
		}
		for _, f := range out.FailedEntries {
			return failedTarget(str(f.TargetId), str(f.ErrorCode), str(f.ErrorMessage))
		}
	}
	return nil
}

func failedTarget(id, code, message string) error {
	kind, ok := codes[code]
	if !ok {
		kind = resource.GeneralService
	}
	return resource.Errorf(kind, "Target %s: %s (%s)", id, message, code)
}

// targets returns the rule's targets by id.
func (h rule) targets(ctx context.Context, r resource.Request, n ruleName) ([]events.Target, error) {
	in := &events.ListTargetsByRuleInput{Rule: &n.name, EventBusName: n.bus, Limit: new(int32(maxPage))}
	var all []events.Target
	for {
		out, err := call[events.ListTargetsByRuleOutput](ctx, h.api, r, "events", "ListTargetsByRule", in)
		if err != nil {
			return nil, err
		}
		all = append(all, out.Targets...)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return all, nil
		}
	}
}

// Read describes the rule with its targets and tags.
func (h rule) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	n, err := ruleNameOf(r)
	if err != nil {
		return nil, err
	}
	return h.read(ctx, r, n)
}

func (h rule) read(ctx context.Context, r resource.Request, n ruleName) (resource.Model, error) {
	have, err := h.describe(ctx, r, n)
	if err != nil {
		return nil, err
	}
	targets, err := h.targets(ctx, r, n)
	if err != nil {
		return nil, err
	}
	m := resource.Model{}
	put(m, "Name", have.Name)
	put(m, "Arn", have.Arn)
	put(m, "EventBusName", have.EventBusName)
	putDocument(m, "EventPattern", have.EventPattern)
	put(m, "ScheduleExpression", have.ScheduleExpression)
	put(m, "State", have.State)
	put(m, "Description", have.Description)
	put(m, "RoleArn", have.RoleArn)
	put(m, "Targets", targets)
	if strings.Split(*have.Arn, ":")[4] != r.Caller.Account {
		m["EventBusName"] = str(n.bus)
		return m, nil // the tags of a rule on another account's bus are that account's to list
	}
	tags, err := h.tags(ctx, r, *have.Arn)
	if err != nil {
		return nil, err
	}
	put(m, "Tags", tagList(tags))
	return m, nil
}

// Update puts the rule anew if it changes, removes targets that are no longer listed and puts those that changed. What was done
// before a refusal is taken back. A pattern that does not change is put as it is, down to the order of its members.
func (h rule) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	n, err := ruleNameOf(r)
	if err != nil {
		return nil, err
	}
	have, err := h.describe(ctx, r, n)
	if err != nil {
		return nil, err
	}
	var undo undo
	if anyChanged(r, ruleProperties...) {
		if err := h.change(ctx, r, n, have, &undo); err != nil {
			return nil, err
		}
	}
	if err := h.changeTargets(ctx, r, n, &undo); err != nil {
		return nil, undo.after(ctx, err)
	}
	if err := h.retag(ctx, r, *have.Arn); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, n)
}

func (h rule) change(ctx context.Context, r resource.Request, n ruleName, have *events.DescribeRuleOutput, undo *undo) error {
	in, err := ruleIn(n, r.Desired)
	if err != nil {
		return err
	}
	if p := have.EventPattern; p != nil && same(r.Desired["EventPattern"], object(*p)) {
		in.EventPattern = p
	}
	if _, err := call[events.PutRuleOutput](ctx, h.api, r, "events", "PutRule", in); err != nil {
		return err
	}
	undo.add(func(ctx context.Context) error {
		_, err := call[events.PutRuleOutput](ctx, h.api, r, "events", "PutRule", &events.PutRuleInput{
			Name: &n.name, EventBusName: n.bus, EventPattern: have.EventPattern, ScheduleExpression: have.ScheduleExpression,
			State: have.State, Description: have.Description, RoleArn: have.RoleArn,
		})
		return err
	})
	return nil
}

func (h rule) changeTargets(ctx context.Context, r resource.Request, n ruleName, undo *undo) error {
	wanted, err := targetsIn(r.Desired)
	if err != nil {
		return err
	}
	before, err := h.targets(ctx, r, n)
	if err != nil {
		return err
	}
	now := map[string]events.Target{}
	for _, t := range before {
		now[*t.Id] = t
	}
	var changes []events.Target
	stays := map[string]bool{}
	for _, t := range wanted {
		stays[str(t.Id)] = true
		if old, ok := now[str(t.Id)]; !ok || !same(value(old), value(t)) {
			changes = append(changes, t)
		}
	}
	var stale, added []string
	for _, t := range before {
		if !stays[*t.Id] {
			stale = append(stale, *t.Id)
		}
	}
	for _, t := range changes {
		if _, ok := now[str(t.Id)]; !ok {
			added = append(added, str(t.Id))
		}
	}
	undo.add(func(ctx context.Context) error { return h.putTargets(ctx, r, n, before) })
	if err := h.removeTargets(ctx, r, n, stale); err != nil {
		return err
	}
	undo.add(func(ctx context.Context) error { return h.removeTargets(ctx, r, n, added) })
	return h.putTargets(ctx, r, n, changes)
}

// Delete removes the rule's targets, then the rule. The service takes one that is missing for deleted.
func (h rule) Delete(ctx context.Context, r resource.Request) error {
	n, err := ruleNameOf(r)
	if err != nil {
		return err
	}
	if _, err := h.describe(ctx, r, n); err != nil {
		return gone(r, err)
	}
	return h.remove(ctx, r, n)
}

func (h rule) remove(ctx context.Context, r resource.Request, n ruleName) error {
	targets, err := h.targets(ctx, r, n)
	if err != nil {
		return err
	}
	var ids []string
	for _, t := range targets {
		ids = append(ids, *t.Id)
	}
	if err := h.removeTargets(ctx, r, n, ids); err != nil {
		return err
	}
	_, err = call[events.DeleteRuleOutput](ctx, h.api, r, "events", "DeleteRule", &events.DeleteRuleInput{Name: &n.name, EventBusName: n.bus})
	return err
}

// List lists the rules of all buses, a bus after the other, or of one if the model that narrows
// the list names it.
func (h rule) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	buses, err := h.buses(ctx, r)
	if err != nil {
		return nil, "", err
	}
	at, token, _ := strings.Cut(r.Next, "|")
	for i, bus := range buses {
		if bus < at {
			continue
		}
		in := &events.ListRulesInput{EventBusName: new(bus), Limit: pageSize(r, maxPage)}
		if bus == at && token != "" {
			in.NextToken = &token
		}
		out, err := call[events.ListRulesOutput](ctx, h.api, r, "events", "ListRules", in)
		if err != nil {
			return nil, "", err
		}
		next := ""
		switch {
		case out.NextToken != nil:
			next = bus + "|" + *out.NextToken
		case i+1 < len(buses):
			next = buses[i+1] + "|"
		}
		if len(out.Rules) == 0 && next != "" {
			continue
		}
		var models []resource.Model
		for _, have := range out.Rules {
			models = append(models, resource.Model{"Arn": *have.Arn, "Name": *have.Name, "EventBusName": *have.EventBusName})
		}
		return models, next, nil
	}
	return nil, "", nil
}

// buses returns the names of the buses whose rules are listed, in order.
func (h rule) buses(ctx context.Context, r resource.Request) ([]string, error) {
	if bus := text(r.Desired["EventBusName"]); bus != "" {
		return []string{bus}, nil
	}
	in := &events.ListEventBusesInput{Limit: new(int32(maxPage))}
	var names []string
	for {
		out, err := call[events.ListEventBusesOutput](ctx, h.api, r, "events", "ListEventBuses", in)
		if err != nil {
			return nil, err
		}
		for _, bus := range out.EventBuses {
			names = append(names, *bus.Name)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return names, nil
		}
	}
}

// ownARN is an ARN of the caller's account and region.
func ownARN(r resource.Request, service, name string) string {
	return "arn:" + event.Partition(r.Caller.Region) + ":" + service + ":" + r.Caller.Region + ":" + r.Caller.Account + ":" + name
}
