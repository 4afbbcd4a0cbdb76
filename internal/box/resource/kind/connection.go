package kind

import (
	"context"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// connection is AWS::Events::Connection, by its name.
type connection struct{ api }

func (h connection) describe(ctx context.Context, r resource.Request, name string) (*events.DescribeConnectionOutput, error) {
	return call[events.DescribeConnectionOutput](ctx, h.api, r, "events", "DescribeConnection", &events.DescribeConnectionInput{Name: &name})
}

// connectionProperties are what the API calls by the same names.
var connectionProperties = []string{"Description", "AuthorizationType", "InvocationConnectivityParameters", "KmsKeyIdentifier"}

// Create makes the connection and waits until it is authorized.
func (h connection) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	name := nameOf(r, "Name", "Connection")
	in := &events.CreateConnectionInput{}
	if err := shape("", pick(r.Desired, connectionProperties...), in); err != nil {
		return nil, err
	}
	if err := shape("AuthParameters", keptSecret(r.Desired["AuthParameters"]), &in.AuthParameters); err != nil {
		return nil, err
	}
	in.Name = &name
	_, err := call[events.CreateConnectionOutput](ctx, h.api, r, "events", "CreateConnection", in)
	if is(err, resource.AlreadyExists) && r.Again {
		err = h.adopt(ctx, r, name, err)
	}
	if err != nil {
		return nil, err
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.remove(ctx, r, name) })
	if err := h.authorized(ctx, r, name); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, name)
}

// keptSecret returns the authorization with what CloudFormation adds to it: parameters are secret
// unless they are said not to be.
func keptSecret(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for name, member := range v {
			m[name] = keptSecret(member)
		}
		_, parameter := v["Key"]
		if _, said := v["IsValueSecret"]; parameter && !said {
			m["IsValueSecret"] = true
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = keptSecret(v[i])
		}
		return list
	}
	return v
}

// adopt returns nil if the connection is what a create that was cut off left, as far as it can be
// seen without its secrets; else the refusal.
func (h connection) adopt(ctx context.Context, r resource.Request, name string, refusal error) error {
	out, err := h.describe(ctx, r, name)
	if err != nil {
		return err
	}
	have := resource.Model{}
	put(have, "Description", out.Description)
	put(have, "AuthorizationType", out.AuthorizationType)
	if !ours(r.Desired, have, nil, []string{"Description", "AuthorizationType"}, nil) || !shownOf(value(out.AuthParameters), r.Desired["AuthParameters"]) {
		return refusal
	}
	return nil
}

// shownOf says whether all of the authorization that can be seen is in what is asked for.
func shownOf(shown, all any) bool {
	switch shown := shown.(type) {
	case map[string]any:
		all, ok := all.(map[string]any)
		if !ok {
			return false
		}
		for name, v := range shown {
			if name != "IsValueSecret" && !shownOf(v, all[name]) {
				return false
			}
		}
		return true
	case []any:
		all, _ := all.([]any)
		if len(shown) != len(all) {
			return false
		}
		for i := range shown {
			if !shownOf(shown[i], all[i]) {
				return false
			}
		}
		return true
	}
	return same(shown, all)
}

// authorizationTime bounds the wait for a first token: where the endpoint does not answer, it is asked for ever.
const authorizationTime = 5 * time.Minute

// authorized waits until the connection is of use.
func (h connection) authorized(ctx context.Context, r resource.Request, name string) error {
	ctx, cancel := context.WithTimeout(ctx, authorizationTime)
	defer cancel()
	return until(ctx, func() (bool, string, error) {
		have, err := h.describe(ctx, r, name)
		if err != nil {
			return false, "", err
		}
		state, reason := str(have.ConnectionState), str(have.StateReason)
		if state == events.ConnectionStateDeauthorized || state == events.ConnectionStateFailedConnectivity {
			return false, "", resource.Errorf(resource.NotStabilized, "The connection %s is %s. %s", name, state, reason)
		}
		done := state == events.ConnectionStateAuthorized || state == events.ConnectionStateActive
		return done, "The connection " + name + " is " + state + ". " + reason, nil
	})
}

// Read describes the connection, without what authorizes it.
func (h connection) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h connection) read(ctx context.Context, r resource.Request, name string) (resource.Model, error) {
	have, err := h.describe(ctx, r, name)
	if err != nil {
		return nil, err
	}
	m := resource.Model{"ArnForPolicy": forPolicy(*have.ConnectionArn)}
	put(m, "Name", have.Name)
	put(m, "Arn", have.ConnectionArn)
	put(m, "SecretArn", have.SecretArn)
	put(m, "Description", have.Description)
	put(m, "AuthorizationType", have.AuthorizationType)
	put(m, "KmsKeyIdentifier", have.KmsKeyIdentifier)
	return m, nil
}

// forPolicy is an ARN without the id at its end.
func forPolicy(arn string) string { return arn[:strings.LastIndexByte(arn, '/')] }

// Update changes the connection and, if its authorization changed, waits until it is authorized.
func (h connection) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	name := r.Identifier
	in := &events.UpdateConnectionInput{}
	if err := shape("", pick(r.Desired, connectionProperties...), in); err != nil {
		return nil, err
	}
	in.Name = &name
	if removed(r, "Description") {
		in.Description = new("")
	}
	authorization := anyChanged(r, "AuthorizationType", "AuthParameters")
	if authorization {
		if err := shape("AuthParameters", keptSecret(r.Desired["AuthParameters"]), &in.AuthParameters); err != nil {
			return nil, err
		}
	} else {
		in.AuthorizationType = nil
	}
	if _, err := call[events.UpdateConnectionOutput](ctx, h.api, r, "events", "UpdateConnection", in); err != nil {
		return nil, err
	}
	if authorization {
		if err := h.authorized(ctx, r, name); err != nil {
			return nil, err
		}
	}
	return h.read(ctx, r, name)
}

// Delete deletes the connection and waits until it is gone.
func (h connection) Delete(ctx context.Context, r resource.Request) error {
	return gone(r, h.remove(ctx, r, r.Identifier))
}

func (h connection) remove(ctx context.Context, r resource.Request, name string) error {
	if _, err := call[events.DeleteConnectionOutput](ctx, h.api, r, "events", "DeleteConnection", &events.DeleteConnectionInput{Name: &name}); err != nil {
		return err
	}
	return until(ctx, func() (bool, string, error) {
		_, err := h.describe(ctx, r, name)
		if is(err, resource.NotFound) {
			return true, "", nil
		}
		return false, "The connection " + name + " is still there.", err
	})
}

// List lists the connections by name.
func (h connection) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &events.ListConnectionsInput{Limit: pageSize(r, maxPage), NextToken: pageToken(r)}
	out, err := call[events.ListConnectionsOutput](ctx, h.api, r, "events", "ListConnections", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, have := range out.Connections {
		models = append(models, resource.Model{"Name": *have.Name, "Arn": *have.ConnectionArn})
	}
	return models, str(out.NextToken), nil
}
