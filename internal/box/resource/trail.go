package resource

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// trail is which calls of its service a change of a document stands for. AWS makes them, on
// behalf of who asked CloudFormation or Cloud Control, so that CloudTrail has them and rules
// match them; the box has no such service and says so by the members that name the
// resource alone.
type trail struct {
	service string // ecs, of ecs.amazonaws.com
	created call
	deleted call
	// changed are the calls for properties that differ; the first that names a property is
	// made for it, once, and the one that names none for all others.
	changed []change
	// tagged and untagged are the calls for tags that came or have another value, and that went.
	tagged, untagged call
}

// change is the call that is made when one of the properties differs.
type change struct {
	properties []string
	call       call
}

// call is a call of a service. request and response are JSON in which {Property} stands for the
// value; an empty response is null.
type call struct{ name, request, response string }

// publish publishes the events of the calls that a change stands for, in its transaction.
func (d *documents) publish(ctx context.Context, tx *store.Tx, r Request, before, after Model) error {
	if d.rule.trail == nil {
		return nil
	}
	var records []event.Record
	for _, c := range d.calls(before, after) {
		model := after
		if model == nil {
			model = before
		}
		records = append(records, d.record(r, c, model))
	}
	return tx.Publish(ctx, records...)
}

// calls are those that a change stands for, in the order in which the service would be called.
func (d *documents) calls(before, after Model) []call {
	t := d.rule.trail
	switch {
	case before == nil:
		return []call{t.created}
	case after == nil:
		return []call{t.deleted}
	}
	names := maps.Clone(before)
	maps.Copy(names, after)
	var calls []call
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if same(before[name], after[name]) || d.typ.Schema.readOnly(name) {
			continue
		}
		if d.typ.Schema.Taggable && name == d.typ.Schema.TagProperty[0] {
			calls = append(calls, t.tagCalls(before[name], after[name])...)
			continue
		}
		for _, c := range t.changed {
			if c.properties == nil || slices.Contains(c.properties, name) {
				if !slices.Contains(calls, c.call) {
					calls = append(calls, c.call)
				}
				break
			}
		}
	}
	return calls
}

// tagCalls are the calls that change tags.
func (t *trail) tagCalls(before, after any) []call {
	var calls []call
	had, has := tagsOf(before), tagsOf(after)
	for key, v := range has {
		if was, ok := had[key]; !ok || was != v {
			calls = append(calls, t.tagged)
			break
		}
	}
	for key := range had {
		if _, ok := has[key]; !ok {
			calls = append(calls, t.untagged)
			break
		}
	}
	return calls
}

// tagsOf reads tags in either of the forms that types have.
func tagsOf(v any) map[string]string {
	tags := map[string]string{}
	switch v := v.(type) {
	case map[string]any:
		for key, tag := range v {
			tags[key] = encode(tag)
		}
	case []any:
		for _, tag := range v {
			if object, ok := tag.(map[string]any); ok {
				tags[scalar(object["Key"])] = scalar(object["Value"])
			}
		}
	}
	return tags
}

// record is the event of a call.
func (d *documents) record(r Request, c call, m Model) event.Record {
	caller := r.Caller
	caller.RequestID = uuid.NewString()
	if d.rule.global {
		caller.Region = globalRegion(caller.Region)
	}
	f := &filling{scope: d.scope(r.Caller), region: r.Caller.Region, model: m}
	return awsapi.CallRecord{
		Caller: caller, Time: d.g.opt.Now(), EventSource: d.rule.trail.service + ".amazonaws.com", EventName: c.name,
		Request: f.members(c.request), Response: f.members(c.response),
	}.Event()
}

// globalRegion is where the events of global services are. AWS: one region of each partition.
func globalRegion(region string) string {
	switch event.Partition(region) {
	case "aws-cn":
		return "cn-north-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	}
	return "us-east-1"
}

// members expands the texts of a JSON template.
func (f *filling) members(template string) json.RawMessage {
	if template == "" {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(template))
	var out bytes.Buffer
	f.copyJSON(&out, dec)
	return out.Bytes()
}

// copyJSON copies one value of a template in the order it is written in.
func (f *filling) copyJSON(out *bytes.Buffer, dec *json.Decoder) {
	token, err := dec.Token()
	if err != nil {
		panic("resource: a template is no JSON: " + err.Error()) // ours, checked by a test
	}
	if token != json.Delim('{') {
		text, _ := token.(string)
		out.WriteString(encode(f.expand(text)))
		return
	}
	out.WriteByte('{')
	for n := 0; dec.More(); n++ {
		if n > 0 {
			out.WriteByte(',')
		}
		name, _ := dec.Token()
		out.WriteString(encode(name))
		out.WriteByte(':')
		f.copyJSON(out, dec)
	}
	_, _ = dec.Token()
	out.WriteByte('}')
}
