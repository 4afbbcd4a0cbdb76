package bus

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
)

// CreateConnection creates a connection.
func (s *service) CreateConnection(ctx context.Context, in *events.CreateConnectionInput) (*events.CreateConnectionOutput, error) {
	p := in.AuthParameters
	err := refuseGiven(
		parameter{"KmsKeyIdentifier", str(in.KmsKeyIdentifier) != ""},
		parameter{"InvocationConnectivityParameters", in.InvocationConnectivityParameters != nil},
		parameter{"ConnectivityParameters", p != nil && p.ConnectivityParameters != nil})
	if err != nil {
		return nil, err
	}
	change := ConnectionChange{Description: in.Description, Type: AuthorizationType(str(in.AuthorizationType))}
	change.readCreate(in.AuthParameters)
	answer := func(c Connection) *events.CreateConnectionOutput {
		return &events.CreateConnectionOutput{
			ConnectionArn: new(c.ARN()), ConnectionState: new(string(c.State)),
			CreationTime: seconds(c.CreatedAt), LastModifiedTime: seconds(c.ChangedAt),
		}
	}
	c, err := s.buses.CreateConnection(awsapi.AnswersWith(ctx, answer), callerFrom(ctx), str(in.Name), change)
	if err != nil {
		return nil, err
	}
	return answer(c), nil
}

// DescribeConnection describes a connection without its secrets.
func (s *service) DescribeConnection(ctx context.Context, in *events.DescribeConnectionInput) (*events.DescribeConnectionOutput, error) {
	c, err := s.buses.Connection(ctx, callerFrom(ctx), str(in.Name))
	if err != nil {
		return nil, err
	}
	return &events.DescribeConnectionOutput{
		ConnectionArn: new(c.ARN()), Name: &c.Name, Description: c.Description,
		ConnectionState: new(string(c.State)), StateReason: given(c.StateReason),
		AuthorizationType: new(string(c.Shown.Type)), SecretArn: given(c.SecretARN), AuthParameters: authParametersOut(c.Shown),
		CreationTime: seconds(c.CreatedAt), LastModifiedTime: seconds(c.ChangedAt), LastAuthorizedTime: seconds(c.AuthorizedAt),
	}, nil
}

// ListConnections lists the caller's connections by name.
func (s *service) ListConnections(ctx context.Context, in *events.ListConnectionsInput) (*events.ListConnectionsOutput, error) {
	found, next, err := s.buses.ListConnections(ctx, callerFrom(ctx), str(in.NamePrefix), ConnectionState(str(in.ConnectionState)), pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &events.ListConnectionsOutput{Connections: make([]events.Connection, len(found)), NextToken: given(next)}
	for i, c := range found {
		out.Connections[i] = events.Connection{
			ConnectionArn: new(c.ARN()), Name: &c.Name, ConnectionState: new(string(c.State)), StateReason: given(c.StateReason),
			AuthorizationType: new(string(c.Shown.Type)),
			CreationTime:      seconds(c.CreatedAt), LastModifiedTime: seconds(c.ChangedAt), LastAuthorizedTime: seconds(c.AuthorizedAt),
		}
	}
	return out, nil
}

// UpdateConnection changes a connection.
func (s *service) UpdateConnection(ctx context.Context, in *events.UpdateConnectionInput) (*events.UpdateConnectionOutput, error) {
	p := in.AuthParameters
	err := refuseGiven(
		parameter{"KmsKeyIdentifier", str(in.KmsKeyIdentifier) != ""},
		parameter{"InvocationConnectivityParameters", in.InvocationConnectivityParameters != nil},
		parameter{"ConnectivityParameters", p != nil && p.ConnectivityParameters != nil})
	if err != nil {
		return nil, err
	}
	change := ConnectionChange{Description: in.Description, Type: AuthorizationType(str(in.AuthorizationType))}
	change.readUpdate(in.AuthParameters)
	answer := func(c Connection) *events.UpdateConnectionOutput {
		return &events.UpdateConnectionOutput{
			ConnectionArn: new(c.ARN()), ConnectionState: new(string(c.State)),
			CreationTime: seconds(c.CreatedAt), LastModifiedTime: seconds(c.ChangedAt), LastAuthorizedTime: seconds(c.AuthorizedAt),
		}
	}
	c, err := s.buses.UpdateConnection(awsapi.AnswersWith(ctx, answer), callerFrom(ctx), str(in.Name), change)
	if err != nil {
		return nil, err
	}
	return answer(c), nil
}

// DeauthorizeConnection removes a connection's credentials.
func (s *service) DeauthorizeConnection(ctx context.Context, in *events.DeauthorizeConnectionInput) (*events.DeauthorizeConnectionOutput, error) {
	answer := func(c Connection) *events.DeauthorizeConnectionOutput {
		return &events.DeauthorizeConnectionOutput{
			ConnectionArn: new(c.ARN()), ConnectionState: new(string(ConnectionDeauthorizing)),
			CreationTime: seconds(c.CreatedAt), LastModifiedTime: seconds(c.ChangedAt), LastAuthorizedTime: seconds(c.AuthorizedAt),
		}
	}
	c, err := s.buses.DeauthorizeConnection(awsapi.AnswersWith(ctx, answer), callerFrom(ctx), str(in.Name))
	if err != nil {
		return nil, err
	}
	return answer(c), nil
}

// DeleteConnection deletes a connection.
func (s *service) DeleteConnection(ctx context.Context, in *events.DeleteConnectionInput) (*events.DeleteConnectionOutput, error) {
	answer := func(c Connection) *events.DeleteConnectionOutput {
		return &events.DeleteConnectionOutput{
			ConnectionArn: new(c.ARN()), ConnectionState: new(string(ConnectionDeleting)),
			CreationTime: seconds(c.CreatedAt), LastModifiedTime: seconds(c.ChangedAt), LastAuthorizedTime: seconds(c.AuthorizedAt),
		}
	}
	c, err := s.buses.DeleteConnection(awsapi.AnswersWith(ctx, answer), callerFrom(ctx), str(in.Name))
	if err != nil {
		return nil, err
	}
	return answer(c), nil
}

// readCreate reads the authorization of a new connection, whose shapes are those
// of an update under other names.
func (c *ConnectionChange) readCreate(p *events.CreateConnectionAuthRequestParameters) {
	if p == nil {
		return
	}
	update := &events.UpdateConnectionAuthRequestParameters{
		BasicAuthParameters:      (*events.UpdateConnectionBasicAuthRequestParameters)(p.BasicAuthParameters),
		ApiKeyAuthParameters:     (*events.UpdateConnectionApiKeyAuthRequestParameters)(p.ApiKeyAuthParameters),
		InvocationHttpParameters: p.InvocationHttpParameters,
	}
	if a := p.OAuthParameters; a != nil {
		update.OAuthParameters = &events.UpdateConnectionOAuthRequestParameters{
			AuthorizationEndpoint: a.AuthorizationEndpoint, HttpMethod: a.HttpMethod, OAuthHttpParameters: a.OAuthHttpParameters,
			ClientParameters: (*events.UpdateConnectionOAuthClientRequestParameters)(a.ClientParameters),
		}
	}
	c.readUpdate(update)
}

func (c *ConnectionChange) readUpdate(p *events.UpdateConnectionAuthRequestParameters) {
	if p == nil {
		return
	}
	c.Invocation = parametersIn(p.InvocationHttpParameters)
	if a := p.BasicAuthParameters; a != nil {
		c.Basic = &BasicChange{Username: a.Username, Password: a.Password}
	}
	if a := p.ApiKeyAuthParameters; a != nil {
		c.APIKey = &APIKeyChange{Name: a.ApiKeyName, Value: a.ApiKeyValue}
	}
	if a := p.OAuthParameters; a != nil {
		c.OAuth = &OAuthChange{Endpoint: a.AuthorizationEndpoint, Method: a.HttpMethod, Parameters: parametersIn(a.OAuthHttpParameters)}
		if a.ClientParameters != nil {
			c.OAuth.ClientID, c.OAuth.ClientSecret = a.ClientParameters.ClientID, a.ClientParameters.ClientSecret
		}
	}
}

func parametersIn(p *events.ConnectionHttpParameters) *ConnectionParameters {
	if p == nil {
		return nil
	}
	in := &ConnectionParameters{}
	for _, h := range p.HeaderParameters {
		in.Headers = append(in.Headers, parameterIn(h.Key, h.Value, h.IsValueSecret))
	}
	for _, q := range p.QueryStringParameters {
		in.Query = append(in.Query, parameterIn(q.Key, q.Value, q.IsValueSecret))
	}
	for _, b := range p.BodyParameters {
		in.Body = append(in.Body, parameterIn(b.Key, b.Value, b.IsValueSecret))
	}
	return in
}

func parameterIn(key, value *string, secret *bool) Parameter {
	return Parameter{Key: str(key), Value: str(value), Secret: secret != nil && *secret}
}

func authParametersOut(c Credentials) *events.ConnectionAuthResponseParameters {
	out := &events.ConnectionAuthResponseParameters{InvocationHttpParameters: parametersOut(c.Invocation)}
	switch {
	case c.Basic != nil:
		out.BasicAuthParameters = &events.ConnectionBasicAuthResponseParameters{Username: &c.Basic.Username}
	case c.APIKey != nil:
		out.ApiKeyAuthParameters = &events.ConnectionApiKeyAuthResponseParameters{ApiKeyName: &c.APIKey.Name}
	case c.OAuth != nil:
		out.OAuthParameters = &events.ConnectionOAuthResponseParameters{
			AuthorizationEndpoint: &c.OAuth.Endpoint, HttpMethod: &c.OAuth.Method,
			ClientParameters:    &events.ConnectionOAuthClientResponseParameters{ClientID: &c.OAuth.ClientID},
			OAuthHttpParameters: parametersOut(c.OAuth.Parameters),
		}
	default:
		return nil // deauthorized
	}
	return out
}

func parametersOut(p *ConnectionParameters) *events.ConnectionHttpParameters {
	if p == nil {
		return nil
	}
	out := &events.ConnectionHttpParameters{}
	for _, h := range p.Headers {
		out.HeaderParameters = append(out.HeaderParameters, events.ConnectionHeaderParameter{Key: &h.Key, Value: valueOut(h), IsValueSecret: &h.Secret})
	}
	for _, q := range p.Query {
		out.QueryStringParameters = append(out.QueryStringParameters, events.ConnectionQueryStringParameter{Key: &q.Key, Value: valueOut(q), IsValueSecret: &q.Secret})
	}
	for _, b := range p.Body {
		out.BodyParameters = append(out.BodyParameters, events.ConnectionBodyParameter{Key: &b.Key, Value: valueOut(b), IsValueSecret: &b.Secret})
	}
	return out
}

// valueOut leaves secret values out.
func valueOut(p Parameter) *string {
	if p.Secret {
		return nil
	}
	return &p.Value
}
