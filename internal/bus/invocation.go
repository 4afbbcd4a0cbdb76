package bus

// AuthorizationType is how a connection authorizes its calls.
type AuthorizationType string

// The authorization types, as AWS writes them.
const (
	AuthBasic  AuthorizationType = "BASIC"
	AuthAPIKey AuthorizationType = "API_KEY"
	AuthOAuth  AuthorizationType = "OAUTH_CLIENT_CREDENTIALS"
)

// Invocation is all that is needed to call an API destination now: where, how
// fast, and the connection's current credentials in the clear. It must not be
// logged or kept.
type Invocation struct {
	ARN string
	// Endpoint is an http or https URL that may hold asterisks for path values.
	Endpoint string
	// Method is one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
	Method string
	// RateLimit is the most invocations in a second.
	RateLimit   int
	Credentials Credentials
}

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
