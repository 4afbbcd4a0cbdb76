package kind

import (
	"context"
	"maps"
	"strings"
	"sync"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// defaultBus is the bus that EventBridge means where none is named.
const defaultBus = "default"

// locks are held by name.
type locks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

func newLocks() *locks { return &locks{held: map[string]chan struct{}{}} }

// lock waits for the name and returns what lets it go.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		held, busy := l.held[name]
		if !busy {
			mine := make(chan struct{})
			l.held[name] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, name)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// eventBusPolicy is AWS::Events::EventBusPolicy, one statement of a bus's policy, by the bus's name and
// the statement's Sid. A statement that is written out is put with the whole policy, which is
// read before: changing is held by whoever does so.
type eventBusPolicy struct {
	api
	changing *locks
}

// statement is where a statement is and what it says.
type statement struct {
	bus, id string
	// text is the statement as JSON, with its Sid; empty where the API puts it together.
	text map[string]any
	// short is what the API puts together.
	short *events.PutPermissionInput
}

func statementIn(m resource.Model) (statement, error) {
	s := statement{bus: text(m["EventBusName"]), id: text(m["StatementId"])}
	if s.bus == "" {
		s.bus = defaultBus
	}
	written := m["Statement"] != nil
	short := m["Action"] != nil || m["Principal"] != nil || m["Condition"] != nil
	switch {
	case written && short:
		return s, invalid("Statement", "cannot be combined with Action, Principal and Condition.")
	case short:
		s.short = &events.PutPermissionInput{}
		err := shape("", pick(m, "StatementId", "Action", "Principal", "Condition"), s.short)
		s.short.EventBusName = &s.bus
		return s, err
	case !written:
		return s, invalid("Statement", "must be given.")
	}
	members, ok := object(document(m["Statement"])).(map[string]any)
	if !ok {
		return s, invalid("Statement", "must be an object.")
	}
	if sid := members["Sid"]; sid != nil && sid != s.id {
		return s, invalid("Statement/Sid", "must be the StatementId, %s, or left out.", s.id)
	}
	s.text = map[string]any{"Sid": s.id}
	maps.Copy(s.text, members)
	return s, nil
}

// policyDocument is a policy whose statements are a list.
type policyDocument struct {
	members    map[string]any
	statements []any
}

func readPolicy(text string) policyDocument {
	p := policyDocument{members: map[string]any{"Version": "2012-10-17"}}
	if members, ok := object(text).(map[string]any); ok {
		p.members = members
	}
	switch list := p.members["Statement"].(type) {
	case []any:
		p.statements = list
	case map[string]any:
		p.statements = []any{list}
	}
	return p
}

// find returns the statement with the Sid, -1 without one.
func (p policyDocument) find(sid string) (int, map[string]any) {
	for i, s := range p.statements {
		if members, ok := s.(map[string]any); ok && members["Sid"] == sid {
			return i, members
		}
	}
	return -1, nil
}

func (h eventBusPolicy) policy(ctx context.Context, r resource.Request, bus string) (policyDocument, error) {
	out, err := call[events.DescribeEventBusOutput](ctx, h.api, r, "events", "DescribeEventBus", &events.DescribeEventBusInput{Name: &bus})
	if err != nil {
		return policyDocument{}, err
	}
	return readPolicy(str(out.Policy)), nil
}

// Create adds the statement.
func (h eventBusPolicy) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	s, err := statementIn(r.Desired)
	if err != nil {
		return nil, err
	}
	unlock, err := h.changing.lock(ctx, r.Caller.Account+"/"+r.Caller.Region+"/"+s.bus)
	if err != nil {
		return nil, err
	}
	defer unlock()
	policy, err := h.policy(ctx, r, s.bus)
	if err != nil {
		return nil, err
	}
	if i, have := policy.find(s.id); i >= 0 && !(r.Again && s.is(have)) {
		return nil, exists("AWS::Events::EventBusPolicy", s.bus+"|"+s.id)
	}
	return h.put(ctx, r, s, policy)
}

// is says whether a statement of the bus's policy is s.
func (s statement) is(have map[string]any) bool {
	if s.short == nil {
		return same(s.text, have)
	}
	principal := text(have["Principal"])
	if account, ok := have["Principal"].(map[string]any); ok {
		principal = text(account["AWS"])
	}
	want := str(s.short.Principal)
	return text(have["Action"]) == str(s.short.Action) && (principal == want || strings.Contains(principal, "::"+want+":")) &&
		(have["Condition"] != nil) == (s.short.Condition != nil)
}

// put adds the statement to the policy, or replaces it.
func (h eventBusPolicy) put(ctx context.Context, r resource.Request, s statement, policy policyDocument) (resource.Model, error) {
	in := s.short
	if in == nil {
		if i, _ := policy.find(s.id); i >= 0 {
			policy.statements[i] = s.text
		} else {
			policy.statements = append(policy.statements, s.text)
		}
		policy.members["Statement"] = policy.statements
		in = &events.PutPermissionInput{EventBusName: &s.bus, Policy: new(document(policy.members))}
	}
	if _, err := call[events.PutPermissionOutput](ctx, h.api, r, "events", "PutPermission", in); err != nil {
		return nil, err
	}
	return h.read(ctx, r, s.bus, s.id)
}

// Read returns the statement as it stands in the policy.
func (h eventBusPolicy) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	bus, id, err := policyIdentifier(r)
	if err != nil {
		return nil, err
	}
	return h.read(ctx, r, bus, id)
}

func policyIdentifier(r resource.Request) (bus, id string, err error) {
	bus, id, ok := strings.Cut(r.Identifier, "|")
	if !ok || bus == "" || id == "" {
		return "", "", resource.Errorf(resource.InvalidRequest, "The identifier %s is not of the form EventBusName|StatementId.", r.Identifier)
	}
	return bus, id, nil
}

func (h eventBusPolicy) read(ctx context.Context, r resource.Request, bus, id string) (resource.Model, error) {
	policy, err := h.policy(ctx, r, bus)
	if err != nil {
		return nil, err
	}
	i, have := policy.find(id)
	if i < 0 {
		return nil, missing("AWS::Events::EventBusPolicy", bus+"|"+id)
	}
	return resource.Model{"EventBusName": bus, "StatementId": id, "Statement": have}, nil
}

// Update replaces the statement.
func (h eventBusPolicy) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	bus, id, err := policyIdentifier(r)
	if err != nil {
		return nil, err
	}
	desired := maps.Clone(r.Desired)
	desired["EventBusName"], desired["StatementId"] = bus, id
	if desired["Action"] != nil && desired["Statement"] != nil && !changed(r, "Statement") {
		delete(desired, "Statement") // it is what the other properties were put together to
	}
	s, err := statementIn(desired)
	if err != nil {
		return nil, err
	}
	unlock, err := h.changing.lock(ctx, r.Caller.Account+"/"+r.Caller.Region+"/"+bus)
	if err != nil {
		return nil, err
	}
	defer unlock()
	policy, err := h.policy(ctx, r, bus)
	if err != nil {
		return nil, err
	}
	if i, _ := policy.find(id); i < 0 {
		return nil, missing("AWS::Events::EventBusPolicy", r.Identifier)
	}
	return h.put(ctx, r, s, policy)
}

// Delete removes the statement.
func (h eventBusPolicy) Delete(ctx context.Context, r resource.Request) error {
	bus, id, err := policyIdentifier(r)
	if err != nil {
		return err
	}
	unlock, err := h.changing.lock(ctx, r.Caller.Account+"/"+r.Caller.Region+"/"+bus)
	if err != nil {
		return err
	}
	defer unlock()
	_, err = call[events.RemovePermissionOutput](ctx, h.api, r, "events", "RemovePermission", &events.RemovePermissionInput{EventBusName: &bus, StatementId: &id})
	return gone(r, err)
}

// List lists the statements that have a Sid, of all buses of a page.
func (h eventBusPolicy) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &events.ListEventBusesInput{Limit: pageSize(r, maxPage), NextToken: pageToken(r)}
	out, err := call[events.ListEventBusesOutput](ctx, h.api, r, "events", "ListEventBuses", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, bus := range out.EventBuses {
		for _, s := range readPolicy(str(bus.Policy)).statements {
			members, _ := s.(map[string]any)
			if sid := text(members["Sid"]); sid != "" {
				models = append(models, resource.Model{"EventBusName": *bus.Name, "StatementId": sid})
			}
		}
	}
	return models, str(out.NextToken), nil
}
