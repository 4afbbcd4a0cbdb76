package kind

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// sharedPolicy is AWS::SQS::QueuePolicy and AWS::SNS::TopicPolicy: one policy for several owners. No service knows
// such a thing, so its id tells whose policy it is: "QueuePolicy-4MZ7Q…/orders,orders-dead". The policies that
// it sets bear its mark, the first part of the id, as their own Id, unless they came with one: so that the resource leaves
// alone what another has put in the place of its policies. Once the owners are others than those that the id names, the
// mark names them, too; one of those in the id has to stay.
type sharedPolicy struct{ policies }

// maxIdentifier is how long an identifier can be. AWS: 1024 characters.
const maxIdentifier = 1024

// sharedID is the id taken apart.
type sharedID struct {
	mark string
	// names are those of the owners that the resource was made with, in order.
	names []string
}

// String returns the id as it is stored: its mark and the names.
func (id sharedID) String() string { return id.mark + "/" + strings.Join(id.names, ",") }

// markFor is the mark of policies that these owners have.
func (id sharedID) markFor(names []string) string {
	if slices.Equal(names, id.names) {
		return id.mark
	}
	return id.mark + "/" + strings.Join(names, ",")
}

// marks says whether a policy's own Id is a mark of the resource, and which owners it names, if any.
func (id sharedID) marks(policyID string) (names []string, ok bool) {
	mark, list, listed := strings.Cut(policyID, "/")
	if mark != id.mark {
		return nil, false
	}
	if listed {
		names = strings.Split(list, ",")
	}
	return names, true
}

// prefix is what ids begin with: QueuePolicy.
func (h sharedPolicy) prefix() string { return strings.Split(h.typeName("Policy"), "::")[2] }

func (h sharedPolicy) parse(identifier string) (sharedID, error) {
	mark, names, ok := strings.Cut(identifier, "/")
	if !ok || names == "" || !strings.HasPrefix(mark, h.prefix()+"-") {
		return sharedID{}, missing(h.typeName("Policy"), identifier)
	}
	return sharedID{mark, strings.Split(names, ",")}, nil
}

// asked returns the owners that a model asks for by their names, each once, and the names in order.
func (h sharedPolicy) asked(m resource.Model) (owners map[string]string, names []string, err error) {
	_, property := h.property()
	var list []string
	if err := shape(property, m[property], &list); err != nil {
		return nil, nil, err
	}
	owners = map[string]string{}
	for _, owner := range list {
		owners[h.name(owner)] = owner
	}
	if len(owners) == 0 {
		return nil, nil, invalid(property, "must name at least one.")
	}
	return owners, sortedKeys(owners), nil
}

// policyID is the Id that a policy has of its own, empty without one.
func policyID(policy any) string {
	members, _ := object(document(policy)).(map[string]any)
	return text(members["Id"])
}

// marked is the policy as it is set: with the mark, unless it came with an Id.
func marked(policy any, mark string) string {
	members, ok := object(document(policy)).(map[string]any)
	if !ok || members["Id"] != nil {
		return document(policy)
	}
	with := maps.Clone(members)
	with["Id"] = mark
	return document(with)
}

// unmarked is a policy as it was asked for.
func (id sharedID) unmarked(policy string) any {
	members, ok := object(policy).(map[string]any)
	if !ok {
		return policy
	}
	if _, ours := id.marks(text(members["Id"])); ours {
		delete(members, "Id")
	}
	return members
}

// held is an owner with the policy that it has.
type held struct{ name, owner, policy string }

// look returns the owners of the names with their policies; those that are missing are left out.
func (h sharedPolicy) look(ctx context.Context, r resource.Request, names []string) ([]held, error) {
	var found []held
	for _, name := range names {
		owner, err := h.named(ctx, r, name)
		policy := ""
		if err == nil {
			policy, err = h.policy(ctx, r, owner)
		}
		if is(err, resource.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, held{name, owner, policy})
	}
	return found, nil
}

// holders returns the owners whose policy can be that of the resource: it bears the mark, or no resource's.
func (h sharedPolicy) holders(ctx context.Context, r resource.Request, id sharedID) ([]held, error) {
	found, err := h.look(ctx, r, id.names)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		names, ours := id.marks(policyID(f.policy))
		if !ours || names == nil {
			continue
		}
		if found, err = h.look(ctx, r, names); err != nil {
			return nil, err
		}
		break
	}
	return slices.DeleteFunc(found, func(f held) bool {
		_, ours := id.marks(policyID(f.policy))
		return f.policy == "" || !ours && strings.HasPrefix(policyID(f.policy), h.prefix()+"-")
	}), nil
}

// Create sets the policy of all owners, in place of what they have. AWS: the last policy that is set holds.
func (h sharedPolicy) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	owners, names, err := h.asked(r.Desired)
	if err != nil {
		return nil, err
	}
	id := sharedID{h.prefix() + "-" + random(r.Token, h.prefix()), names}
	if n := len(id.String()); n > maxIdentifier {
		_, property := h.property()
		return nil, invalid(property, "names too many: an identifier of %d characters names them all, and %d are allowed.", n, maxIdentifier)
	}
	var undo undo
	for _, name := range names {
		if err := h.replace(ctx, r, owners[name], marked(r.Desired["PolicyDocument"], id.mark), &undo); err != nil {
			return nil, undo.after(ctx, err)
		}
	}
	return h.read(ctx, r, id)
}

// replace sets an owner's policy, empty for none, and notes how to take that back.
func (h sharedPolicy) replace(ctx context.Context, r resource.Request, owner, policy string, undo *undo) error {
	before, err := h.policy(ctx, r, owner)
	if err != nil {
		return err
	}
	if err := h.setPolicy(ctx, r, owner, policy); err != nil {
		return err
	}
	undo.add(func(ctx context.Context) error { return h.setPolicy(ctx, r, owner, before) })
	return nil
}

// Read returns the policy and the owners that have it.
func (h sharedPolicy) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	id, err := h.parse(r.Identifier)
	if err != nil {
		return nil, err
	}
	return h.read(ctx, r, id)
}

func (h sharedPolicy) read(ctx context.Context, r resource.Request, id sharedID) (resource.Model, error) {
	holders, err := h.holders(ctx, r, id)
	if err != nil {
		return nil, err
	}
	if len(holders) == 0 {
		return nil, missing(h.typeName("Policy"), id.String())
	}
	var owners []any
	for _, f := range holders {
		owners = append(owners, f.owner)
	}
	_, property := h.property()
	return resource.Model{"Id": id.String(), property: owners, "PolicyDocument": id.unmarked(holders[0].policy)}, nil
}

// Update sets the policy of all owners that are asked for and removes it from those that no longer are. What was done
// before a refusal is taken back. NotUpdatable: the owners could not be found again by the id.
func (h sharedPolicy) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	id, err := h.parse(r.Identifier)
	if err != nil {
		return nil, err
	}
	holders, err := h.holders(ctx, r, id)
	if err != nil {
		return nil, err
	}
	if len(holders) == 0 {
		return nil, missing(h.typeName("Policy"), r.Identifier)
	}
	owners, names, err := h.asked(r.Desired)
	if err != nil {
		return nil, err
	}
	if err := h.canFollow(id, names, r.Desired["PolicyDocument"]); err != nil {
		return nil, err
	}
	var undo undo
	for _, name := range names {
		if err := h.replace(ctx, r, owners[name], marked(r.Desired["PolicyDocument"], id.markFor(names)), &undo); err != nil {
			return nil, undo.after(ctx, err)
		}
	}
	if err := h.leave(ctx, r, id, names, holders, &undo); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, id)
}

// canFollow says whether the owners will be known by the id.
func (h sharedPolicy) canFollow(id sharedID, names []string, policy any) error {
	if slices.Equal(names, id.names) {
		return nil
	}
	_, property := h.property()
	if policyID(policy) != "" {
		return resource.Errorf(resource.NotUpdatable, "Property %s cannot be changed while the policy has an Id of its own. Leave the Id out, or replace the resource.", property)
	}
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(id.names, name) }) {
		return resource.Errorf(resource.NotUpdatable, "Property %s cannot be changed to none of those that it named at first. Replace the resource.", property)
	}
	return nil
}

// leave removes the policy from those that have it and are not among the names: also those that an earlier try, by
// which the mark has changed, did not come to.
func (h sharedPolicy) leave(ctx context.Context, r resource.Request, id sharedID, names []string, holders []held, undo *undo) error {
	stale := map[string]string{}
	for _, f := range holders {
		stale[f.name] = ""
	}
	for _, name := range id.names {
		stale[name] = ""
	}
	if before, _, err := h.asked(r.Previous); err == nil {
		maps.Copy(stale, before)
	}
	maps.DeleteFunc(stale, func(name, _ string) bool { return slices.Contains(names, name) })
	found, err := h.look(ctx, r, sortedKeys(stale))
	if err != nil {
		return err
	}
	for _, f := range found {
		if _, ours := id.marks(policyID(f.policy)); !ours {
			continue
		}
		if err := h.replace(ctx, r, f.owner, "", undo); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes the policy from the owners that have it.
func (h sharedPolicy) Delete(ctx context.Context, r resource.Request) error {
	id, err := h.parse(r.Identifier)
	if err != nil {
		return gone(r, err)
	}
	holders, err := h.holders(ctx, r, id)
	if err != nil {
		return err
	}
	if len(holders) == 0 {
		return gone(r, missing(h.typeName("Policy"), r.Identifier))
	}
	// Those that the id names go last: by them the others are found again.
	slices.SortStableFunc(holders, func(a, b held) int {
		return order(slices.Contains(id.names, a.name)) - order(slices.Contains(id.names, b.name))
	})
	for _, f := range holders {
		if err := h.setPolicy(ctx, r, f.owner, ""); err != nil && !is(err, resource.NotFound) {
			return err
		}
	}
	return nil
}

func order(last bool) int {
	if last {
		return 1
	}
	return 0
}

// List finds nothing: a service knows policies by what they are of. AWS: these types have no list.
func (h sharedPolicy) List(context.Context, resource.Request) ([]resource.Model, string, error) {
	return nil, "", resource.Errorf(resource.InvalidRequest, "Resources of type %s cannot be listed: queues and topics know their policies, and not whose they are.", h.typeName("Policy"))
}
