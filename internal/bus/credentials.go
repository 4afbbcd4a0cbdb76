package bus

import (
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

// AuthorizationType is how a connection authorizes its calls.
type AuthorizationType string

// The authorization types, as AWS writes them.
const (
	AuthBasic  AuthorizationType = "BASIC"
	AuthAPIKey AuthorizationType = "API_KEY"
	AuthOAuth  AuthorizationType = "OAUTH_CLIENT_CREDENTIALS"
)

// Credentials are a connection's authorization in the clear. Of Basic, APIKey
// and OAuth the one that Type names is set.
type Credentials struct {
	ConnectionARN string
	// Version grows with each change of the connection, so that a token fetched
	// with older credentials can be told.
	Version int64
	Type    AuthorizationType
	Basic   *BasicCredentials
	APIKey  *APIKeyCredentials
	OAuth   *OAuthCredentials
	// Invocation is added to every call; nil without.
	Invocation *ConnectionParameters
}

// String names the connection, so that printing credentials does not show them.
func (c Credentials) String() string { return "credentials of " + c.ConnectionARN }

// LogValue is String for slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// BasicCredentials authorize with a user name and a password.
type BasicCredentials struct {
	Username string
	Password string
}

// APIKeyCredentials authorize with a header.
type APIKeyCredentials struct {
	// Name is the header's name.
	Name  string
	Value string
}

// OAuthCredentials authorize with a token that is fetched from Endpoint by the
// client credentials grant.
type OAuthCredentials struct {
	ClientID     string
	ClientSecret string
	// Endpoint is the URL of the token endpoint.
	Endpoint string
	// Method is GET, POST or PUT.
	Method string
	// Parameters are added to the token request; nil without.
	Parameters *ConnectionParameters
}

// ConnectionParameters are added to the requests that a connection authorizes.
type ConnectionParameters struct {
	Headers []Parameter
	Query   []Parameter
	Body    []Parameter
}

// Parameter is one added header, query or body parameter. Secret says that its
// value is never shown again.
type Parameter struct {
	Key, Value string
	Secret     bool
}

// BasicChange changes BasicCredentials.
type BasicChange struct{ Username, Password *string }

// APIKeyChange changes APIKeyCredentials.
type APIKeyChange struct{ Name, Value *string }

// OAuthChange changes OAuthCredentials.
type OAuthChange struct {
	ClientID, ClientSecret, Endpoint, Method *string
	Parameters                               *ConnectionParameters
}

// with returns the credentials as the change leaves them. Another type starts
// from nothing but the parameters of calls.
func (c Credentials) with(change ConnectionChange) Credentials {
	next := Credentials{Type: c.Type, Invocation: c.Invocation}
	if change.Type != "" {
		next.Type = change.Type
	}
	if next.Type == c.Type {
		next.Basic, next.APIKey, next.OAuth = c.Basic, c.APIKey, c.OAuth
	}
	if change.Invocation != nil {
		next.Invocation = change.Invocation
	}
	switch next.Type {
	case AuthBasic:
		next.Basic = next.Basic.with(change.Basic)
	case AuthAPIKey:
		next.APIKey = next.APIKey.with(change.APIKey)
	case AuthOAuth:
		next.OAuth = next.OAuth.with(change.OAuth)
	}
	return next
}

func set(field *string, value *string) {
	if value != nil {
		*field = *value
	}
}

func (c *BasicCredentials) with(change *BasicChange) *BasicCredentials {
	if change == nil {
		return c
	}
	var next BasicCredentials
	if c != nil {
		next = *c
	}
	set(&next.Username, change.Username)
	set(&next.Password, change.Password)
	return &next
}

func (c *APIKeyCredentials) with(change *APIKeyChange) *APIKeyCredentials {
	if change == nil {
		return c
	}
	var next APIKeyCredentials
	if c != nil {
		next = *c
	}
	set(&next.Name, change.Name)
	set(&next.Value, change.Value)
	return &next
}

func (c *OAuthCredentials) with(change *OAuthChange) *OAuthCredentials {
	if change == nil {
		return c
	}
	var next OAuthCredentials
	if c != nil {
		next = *c
	}
	set(&next.ClientID, change.ClientID)
	set(&next.ClientSecret, change.ClientSecret)
	set(&next.Endpoint, change.Endpoint)
	set(&next.Method, change.Method)
	if change.Parameters != nil {
		next.Parameters = change.Parameters
	}
	return &next
}

// checkCredentials checks that they are complete, and that the change spoke of
// no other type.
func (b *Buses) checkCredentials(c Credentials, change ConnectionChange) error {
	for _, p := range []struct {
		name  string
		of    AuthorizationType
		given bool
	}{
		{"BasicAuthParameters", AuthBasic, change.Basic != nil},
		{"ApiKeyAuthParameters", AuthAPIKey, change.APIKey != nil},
		{"OAuthParameters", AuthOAuth, change.OAuth != nil},
	} {
		if p.given && p.of != c.Type {
			return awsapi.ValidationException("Parameter %s is not valid for authorization type %s.", p.name, c.Type)
		}
	}
	if err := c.Invocation.check("InvocationHttpParameters"); err != nil {
		return err
	}
	switch c.Type {
	case AuthBasic:
		if c.Basic == nil || c.Basic.Username == "" || c.Basic.Password == "" {
			return incomplete("BasicAuthParameters with Username and Password", c.Type)
		}
	case AuthAPIKey:
		return checkAPIKey(c.APIKey)
	case AuthOAuth:
		return b.checkOAuth(c.OAuth)
	default:
		return awsapi.ValidationException("Parameter AuthorizationType must be specified.")
	}
	return nil
}

func incomplete(what string, t AuthorizationType) error {
	return awsapi.ValidationException("Parameter(s) %s must be specified for authorization type %s.", what, t)
}

// headerToken is the form of a header's name, RFC 7230.
var headerToken = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9a-zA-Z-]+$")

func checkAPIKey(c *APIKeyCredentials) error {
	if c == nil || c.Name == "" || c.Value == "" {
		return incomplete("ApiKeyAuthParameters with ApiKeyName and ApiKeyValue", AuthAPIKey)
	}
	if !headerToken.MatchString(c.Name) {
		return awsapi.ValidationException("Parameter ApiKeyName is not valid. Reason: it must be the name of an HTTP header.")
	}
	return nil
}

func (b *Buses) checkOAuth(c *OAuthCredentials) error {
	if c == nil || c.ClientID == "" || c.ClientSecret == "" || c.Endpoint == "" || c.Method == "" {
		return incomplete("OAuthParameters with ClientParameters, AuthorizationEndpoint and HttpMethod", AuthOAuth)
	}
	if err := c.Parameters.check("OAuthHttpParameters"); err != nil {
		return err
	}
	return b.checkEndpoint("AuthorizationEndpoint", c.Endpoint)
}

// check checks the names of parameters, which AWS's shapes let be missing.
func (p *ConnectionParameters) check(name string) error {
	if p == nil {
		return nil
	}
	for _, h := range p.Headers {
		if !headerToken.MatchString(h.Key) {
			return awsapi.ValidationException("Parameter %s.HeaderParameters is not valid. Reason: %q is not the name of an HTTP header.", name, h.Key)
		}
	}
	unnamed := func(p Parameter) bool { return p.Key == "" }
	if slices.ContainsFunc(p.Query, unnamed) {
		return awsapi.ValidationException("Parameter %s.QueryStringParameters is not valid. Reason: each must have a Key.", name)
	}
	if slices.ContainsFunc(p.Body, unnamed) {
		return awsapi.ValidationException("Parameter %s.BodyParameters is not valid. Reason: each must have a Key.", name)
	}
	return nil
}

// checkEndpoint checks a URL that is to be called. AWS takes one without a
// scheme as https.
func (b *Buses) checkEndpoint(parameter, endpoint string) error {
	full := endpoint
	if !strings.Contains(full, "://") {
		full = "https://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		return awsapi.ValidationException("Parameter %s is not valid. Reason: %s is not an HTTPS URL.", parameter, endpoint)
	}
	if u.User != nil {
		return awsapi.ValidationException("Parameter %s is not valid. Reason: the URL must not hold a user name or password; use a connection.", parameter)
	}
	if err := b.endpoint(full); err != nil {
		return awsapi.ValidationException("Parameter %s is not valid. Reason: %s", parameter, err)
	}
	return nil
}

// withoutSecrets returns what may be shown of the credentials.
func (c Credentials) withoutSecrets() Credentials {
	shown := Credentials{Type: c.Type, Invocation: c.Invocation.withoutSecrets()}
	switch c.Type {
	case AuthBasic:
		shown.Basic = &BasicCredentials{Username: c.Basic.Username}
	case AuthAPIKey:
		shown.APIKey = &APIKeyCredentials{Name: c.APIKey.Name}
	case AuthOAuth:
		shown.OAuth = &OAuthCredentials{
			ClientID: c.OAuth.ClientID, Endpoint: c.OAuth.Endpoint, Method: c.OAuth.Method,
			Parameters: c.OAuth.Parameters.withoutSecrets(),
		}
	}
	return shown
}

func (p *ConnectionParameters) withoutSecrets() *ConnectionParameters {
	if p == nil {
		return nil
	}
	hide := func(list []Parameter) []Parameter {
		shown := make([]Parameter, len(list))
		for i, p := range list {
			shown[i] = Parameter{Key: p.Key, Value: p.Value, Secret: p.Secret}
			if p.Secret {
				shown[i].Value = ""
			}
		}
		return shown
	}
	return &ConnectionParameters{Headers: hide(p.Headers), Query: hide(p.Query), Body: hide(p.Body)}
}
