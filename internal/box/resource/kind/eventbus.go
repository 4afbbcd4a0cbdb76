package kind

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// maxPage is the largest page of EventBridge's lists.
const maxPage = 100

// pageSize is how many resources a list asks the service for: no more than it gives.
func pageSize(r resource.Request, most int) *int32 {
	n := r.Max
	if n <= 0 || n > most {
		n = most
	}
	return new(int32(n))
}

// pageToken is the token of the page that a list asks for; nil for the first.
func pageToken(r resource.Request) *string {
	if r.Next == "" {
		return nil
	}
	return &r.Next
}

// eventBus is AWS::Events::EventBus, by its name.
type eventBus struct{ api }

func (h eventBus) describe(ctx context.Context, r resource.Request, name string) (*events.DescribeEventBusOutput, error) {
	return call[events.DescribeEventBusOutput](ctx, h.api, r, "events", "DescribeEventBus", &events.DescribeEventBusInput{Name: &name})
}

// Create makes the bus with its tags, then sets its policy.
func (h eventBus) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	name := text(r.Desired["Name"])
	in := &events.CreateEventBusInput{}
	if err := shape("", pick(r.Desired, "Name", "EventSourceName", "Description", "KmsKeyIdentifier", "DeadLetterConfig", "LogConfig"), in); err != nil {
		return nil, err
	}
	tags, err := tagsOf(r.Desired)
	if err != nil {
		return nil, err
	}
	in.Tags = eventTags(tags)
	_, err = call[events.CreateEventBusOutput](ctx, h.api, r, "events", "CreateEventBus", in)
	if is(err, resource.AlreadyExists) && r.Again {
		err = h.adopt(ctx, r, name, err)
	}
	if err != nil {
		return nil, err
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.remove(ctx, r, name) })
	if r.Desired["Policy"] != nil {
		if err := h.setPolicy(ctx, r, name, r.Desired["Policy"]); err != nil {
			return nil, undo.after(ctx, err)
		}
	}
	return h.read(ctx, r, name)
}

// adopt returns nil if the bus is what a create that was cut off left, else the refusal.
func (h eventBus) adopt(ctx context.Context, r resource.Request, name string, refusal error) error {
	have, err := h.read(ctx, r, name)
	if err != nil {
		return err
	}
	if !ours(r.Desired, have, nil, []string{"Description", "DeadLetterConfig", "LogConfig", "Tags"}, []string{"Policy"}) {
		return refusal
	}
	return nil
}

func (h eventBus) setPolicy(ctx context.Context, r resource.Request, name string, policy any) error {
	var err error
	if policy == nil {
		in := &events.RemovePermissionInput{EventBusName: &name, RemoveAllPermissions: new(true)}
		_, err = call[events.RemovePermissionOutput](ctx, h.api, r, "events", "RemovePermission", in)
		return err
	}
	in := &events.PutPermissionInput{EventBusName: &name, Policy: new(document(policy))}
	_, err = call[events.PutPermissionOutput](ctx, h.api, r, "events", "PutPermission", in)
	return err
}

// Read describes the bus with its tags.
func (h eventBus) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h eventBus) read(ctx context.Context, r resource.Request, name string) (resource.Model, error) {
	bus, err := h.describe(ctx, r, name)
	if err != nil {
		return nil, err
	}
	tags, err := h.tags(ctx, r, *bus.Arn)
	if err != nil {
		return nil, err
	}
	m := resource.Model{}
	put(m, "Name", bus.Name)
	put(m, "Arn", bus.Arn)
	put(m, "Description", bus.Description)
	put(m, "DeadLetterConfig", bus.DeadLetterConfig)
	put(m, "LogConfig", bus.LogConfig)
	put(m, "KmsKeyIdentifier", bus.KmsKeyIdentifier)
	putDocument(m, "Policy", bus.Policy)
	put(m, "Tags", tagList(tags))
	return m, nil
}

// putDocument sets a property that is JSON in the API's text.
func putDocument(m resource.Model, property string, document *string) {
	if str(document) != "" {
		m[property] = object(*document)
	}
}

// Update changes what is asked for. What the model no longer has is taken away, and what was done before a refusal is
// taken back.
func (h eventBus) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	name := r.Identifier
	bus, err := h.describe(ctx, r, name)
	if err != nil {
		return nil, err
	}
	var undo undo
	if anyChanged(r, "Description", "DeadLetterConfig", "LogConfig", "KmsKeyIdentifier") {
		if err := h.update(ctx, r, name); err != nil {
			return nil, err
		}
		undo.add(func(ctx context.Context) error { return h.update(ctx, back(r), name) })
	}
	if changed(r, "Policy") {
		if err := h.setPolicy(ctx, r, name, r.Desired["Policy"]); err != nil {
			return nil, undo.after(ctx, err)
		}
		undo.add(func(ctx context.Context) error { return h.setPolicy(ctx, r, name, r.Previous["Policy"]) })
	}
	if err := h.retag(ctx, r, *bus.Arn); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, name)
}

func (h eventBus) update(ctx context.Context, r resource.Request, name string) error {
	in := &events.UpdateEventBusInput{Name: &name}
	if err := shape("", pick(r.Desired, "Description", "DeadLetterConfig", "LogConfig", "KmsKeyIdentifier"), in); err != nil {
		return err
	}
	if removed(r, "Description") {
		in.Description = new("")
	}
	if removed(r, "DeadLetterConfig") {
		in.DeadLetterConfig = &events.DeadLetterConfig{}
	}
	if removed(r, "LogConfig") {
		in.LogConfig = &events.LogConfig{}
	}
	_, err := call[events.UpdateEventBusOutput](ctx, h.api, r, "events", "UpdateEventBus", in)
	return err
}

// Delete deletes the bus. The service takes one that is missing for deleted.
func (h eventBus) Delete(ctx context.Context, r resource.Request) error {
	if _, err := h.describe(ctx, r, r.Identifier); err != nil {
		return gone(r, err)
	}
	return h.remove(ctx, r, r.Identifier)
}

func (h eventBus) remove(ctx context.Context, r resource.Request, name string) error {
	_, err := call[events.DeleteEventBusOutput](ctx, h.api, r, "events", "DeleteEventBus", &events.DeleteEventBusInput{Name: &name})
	return err
}

// gone is the outcome of a delete that found nothing: at a repeat an earlier try has done it.
func gone(r resource.Request, err error) error {
	if r.Again && is(err, resource.NotFound) {
		return nil
	}
	return err
}

// List lists the buses, the default one among them.
func (h eventBus) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &events.ListEventBusesInput{Limit: pageSize(r, maxPage), NextToken: pageToken(r)}
	out, err := call[events.ListEventBusesOutput](ctx, h.api, r, "events", "ListEventBuses", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, bus := range out.EventBuses {
		models = append(models, resource.Model{"Name": *bus.Name, "Arn": *bus.Arn})
	}
	return models, str(out.NextToken), nil
}

// tags returns the tags of a bus or a rule.
func (a api) tags(ctx context.Context, r resource.Request, arn string) (map[string]string, error) {
	out, err := call[events.ListTagsForResourceOutput](ctx, a, r, "events", "ListTagsForResource", &events.ListTagsForResourceInput{ResourceARN: &arn})
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, t := range out.Tags {
		tags[*t.Key] = *t.Value
	}
	return tags, nil
}

func eventTags(tags map[string]string) []events.Tag {
	var list []events.Tag
	for _, k := range sortedKeys(tags) {
		list = append(list, events.Tag{Key: &k, Value: new(tags[k])})
	}
	return list
}

// retag changes the tags of a bus or a rule.
func (a api) retag(ctx context.Context, r resource.Request, arn string) error {
	return retag(ctx, r, tagOperations{
		have: func(ctx context.Context) (map[string]string, error) { return a.tags(ctx, r, arn) },
		untag: func(ctx context.Context, keys []string) error {
			in := &events.UntagResourceInput{ResourceARN: &arn, TagKeys: keys}
			_, err := call[events.UntagResourceOutput](ctx, a, r, "events", "UntagResource", in)
			return err
		},
		tag: func(ctx context.Context, tags map[string]string) error {
			in := &events.TagResourceInput{ResourceARN: &arn, Tags: eventTags(tags)}
			_, err := call[events.TagResourceOutput](ctx, a, r, "events", "TagResource", in)
			return err
		},
	})
}
