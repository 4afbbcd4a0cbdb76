package bus

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// secret is a connection's authorization as AWS keeps it in Secrets Manager. We
// seal it in this form, and keep it with the secrets left out to describe the
// connection.
type secret struct {
	Username            string            `json:"username,omitempty"`
	Password            string            `json:"password,omitempty"`
	APIKeyName          string            `json:"api_key_name,omitempty"`
	APIKeyValue         string            `json:"api_key_value,omitempty"`
	ClientID            string            `json:"client_id,omitempty"`
	ClientSecret        string            `json:"client_secret,omitempty"`
	Endpoint            string            `json:"authorization_endpoint,omitempty"`
	Method              string            `json:"http_method,omitempty"`
	OAuthParameters     *secretParameters `json:"oauth_http_parameters,omitempty"`
	InvocationParameter *secretParameters `json:"invocation_http_parameters,omitempty"`
}

type secretParameters struct {
	Headers []secretParameter `json:"header_parameters,omitempty"`
	Query   []secretParameter `json:"query_string_parameters,omitempty"`
	Body    []secretParameter `json:"body_parameters,omitempty"`
}

type secretParameter struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Secret bool   `json:"is_value_secret"`
}

func encodeCredentials(c Credentials) ([]byte, error) {
	s := secret{InvocationParameter: secretParametersOf(c.Invocation)}
	switch {
	case c.Basic != nil:
		s.Username, s.Password = c.Basic.Username, c.Basic.Password
	case c.APIKey != nil:
		s.APIKeyName, s.APIKeyValue = c.APIKey.Name, c.APIKey.Value
	case c.OAuth != nil:
		s.ClientID, s.ClientSecret = c.OAuth.ClientID, c.OAuth.ClientSecret
		s.Endpoint, s.Method = c.OAuth.Endpoint, c.OAuth.Method
		s.OAuthParameters = secretParametersOf(c.OAuth.Parameters)
	}
	return json.Marshal(s)
}

func secretParametersOf(p *ConnectionParameters) *secretParameters {
	if p == nil {
		return nil
	}
	convert := func(list []Parameter) (out []secretParameter) {
		for _, p := range list {
			out = append(out, secretParameter(p))
		}
		return out
	}
	return &secretParameters{Headers: convert(p.Headers), Query: convert(p.Query), Body: convert(p.Body)}
}

// decodeCredentials reads what encodeCredentials wrote for a connection of that
// type. An empty text holds the type only.
func decodeCredentials(text []byte, t AuthorizationType) (Credentials, error) {
	c := Credentials{Type: t}
	if len(text) == 0 {
		return c, nil
	}
	var s secret
	if err := json.Unmarshal(text, &s); err != nil {
		return c, err
	}
	c.Invocation = s.InvocationParameter.parameters()
	switch t {
	case AuthBasic:
		c.Basic = &BasicCredentials{Username: s.Username, Password: s.Password}
	case AuthAPIKey:
		c.APIKey = &APIKeyCredentials{Name: s.APIKeyName, Value: s.APIKeyValue}
	case AuthOAuth:
		c.OAuth = &OAuthCredentials{
			ClientID: s.ClientID, ClientSecret: s.ClientSecret, Endpoint: s.Endpoint, Method: s.Method,
			Parameters: s.OAuthParameters.parameters(),
		}
	}
	return c, nil
}

func (p *secretParameters) parameters() *ConnectionParameters {
	if p == nil {
		return nil
	}
	convert := func(list []secretParameter) (out []Parameter) {
		for _, p := range list {
			out = append(out, Parameter(p))
		}
		return out
	}
	return &ConnectionParameters{Headers: convert(p.Headers), Query: convert(p.Query), Body: convert(p.Body)}
}

const connectionColumns = `SELECT id, account, region, name, description, auth_type, state, state_reason, secret_arn, shown, sealed,
	version, created_at, modified_at, authorized_at FROM connections`

func scanConnection(row store.Row) (Connection, error) {
	var c Connection
	var t AuthorizationType
	var shown string
	var description sql.NullString
	var created, changed, authorized int64
	err := row.Scan(&c.ID, &c.Account, &c.Region, &c.Name, &description, &t, &c.State, &c.StateReason, &c.SecretARN, &shown, &c.sealed,
		&c.Version, &created, &changed, &authorized)
	if err != nil {
		return c, err
	}
	if description.Valid {
		c.Description = &description.String
	}
	c.CreatedAt, c.ChangedAt, c.AuthorizedAt = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC(), time.UnixMilli(authorized).UTC()
	if c.Shown, err = decodeCredentials([]byte(shown), t); err != nil {
		return c, fmt.Errorf("read connection %s: %w", c.Name, err)
	}
	return c, nil
}

// shownText is empty when there is nothing to show but the type.
func shownText(c Connection) (string, error) {
	if c.sealed == nil {
		return "", nil
	}
	text, err := encodeCredentials(c.Shown)
	return string(text), err
}

// insertConnection says false when the name is taken.
func insertConnection(ctx context.Context, tx *store.Tx, c Connection) (created bool, err error) {
	shown, err := shownText(c)
	if err != nil {
		return false, err
	}
	res, err := tx.Exec(ctx, `
		INSERT INTO connections (id, account, region, name, description, auth_type, state, state_reason, secret_arn, shown, sealed,
			version, created_at, modified_at, authorized_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (account, region, name) DO NOTHING`,
		c.ID, c.Account, c.Region, c.Name, c.Description, string(c.Shown.Type), string(c.State), c.StateReason, c.SecretARN, shown, c.sealed,
		c.Version, c.CreatedAt.UnixMilli(), c.ChangedAt.UnixMilli(), c.AuthorizedAt.UnixMilli())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func updateConnection(ctx context.Context, tx *store.Tx, c Connection) error {
	shown, err := shownText(c)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE connections SET description = $1, auth_type = $2, state = $3, state_reason = $4, secret_arn = $5, shown = $6, sealed = $7,
			version = $8, modified_at = $9, authorized_at = $10
		WHERE id = $11`,
		c.Description, string(c.Shown.Type), string(c.State), c.StateReason, c.SecretARN, shown, c.sealed,
		c.Version, c.ChangedAt.UnixMilli(), c.AuthorizedAt.UnixMilli(), c.ID)
	return err
}

// updateConnectionState writes the state; it says false when the credentials
// have changed meanwhile.
func updateConnectionState(ctx context.Context, tx *store.Tx, c Connection) (changed bool, err error) {
	res, err := tx.Exec(ctx, `UPDATE connections SET state = $1, state_reason = $2, authorized_at = $3 WHERE id = $4 AND version = $5`,
		string(c.State), c.StateReason, c.AuthorizedAt.UnixMilli(), c.ID, c.Version)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func deleteConnection(ctx context.Context, tx *store.Tx, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM connections WHERE id = $1`, id)
	return err
}

func countConnections(ctx context.Context, q store.Querier, account, region string) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM connections WHERE account = $1 AND region = $2`, account, region).Scan(&n)
	return n, err
}

func selectConnection(ctx context.Context, q store.Querier, caller Caller, name string) (Connection, bool, error) {
	return store.One(q.QueryRow(ctx, connectionColumns+` WHERE account = $1 AND region = $2 AND name = $3`, caller.Account, caller.Region, name), scanConnection)
}

func selectConnectionByID(ctx context.Context, q store.Querier, id string) (Connection, bool, error) {
	return store.One(q.QueryRow(ctx, connectionColumns+` WHERE id = $1`, id), scanConnection)
}

// selectConnections returns up to limit connections by name, those after the given one.
func selectConnections(ctx context.Context, q store.Querier, caller Caller, prefix, state, after string, limit int) ([]Connection, error) {
	rows, err := q.Query(ctx, connectionColumns+`
		WHERE account = $1 AND region = $2 AND name >= $3 AND name < $4 AND name > $5 AND ($6 = '' OR state = $6)
		ORDER BY name LIMIT $7`, caller.Account, caller.Region, prefix, store.PrefixEnd(prefix), after, state, limit)
	return store.All(rows, err, scanConnection)
}

const apiDestinationColumns = `SELECT d.id, d.account, d.region, d.name, d.description, d.connection_arn, d.endpoint, d.method, d.rate_limit,
	d.created_at, d.modified_at,
	EXISTS (SELECT 1 FROM connections c WHERE c.id = d.connection_id AND c.state = 'AUTHORIZED')
	FROM api_destinations d`

func scanAPIDestination(row store.Row) (APIDestination, error) {
	var d APIDestination
	var description sql.NullString
	var created, changed int64
	err := row.Scan(&d.ID, &d.Account, &d.Region, &d.Name, &description, &d.ConnectionARN, &d.Endpoint, &d.Method, &d.RateLimit,
		&created, &changed, &d.Active)
	if description.Valid {
		d.Description = &description.String
	}
	d.CreatedAt, d.ChangedAt = time.UnixMilli(created).UTC(), time.UnixMilli(changed).UTC()
	return d, err
}

// insertAPIDestination says false when the name is taken.
func insertAPIDestination(ctx context.Context, tx *store.Tx, d APIDestination) (created bool, err error) {
	res, err := tx.Exec(ctx, `
		INSERT INTO api_destinations (id, account, region, name, description, connection_arn, connection_id, endpoint, method, rate_limit,
			created_at, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (account, region, name) DO NOTHING`,
		d.ID, d.Account, d.Region, d.Name, d.Description, d.ConnectionARN, lastPart(d.ConnectionARN), d.Endpoint, d.Method, d.RateLimit,
		d.CreatedAt.UnixMilli(), d.ChangedAt.UnixMilli())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func updateAPIDestination(ctx context.Context, tx *store.Tx, d APIDestination) error {
	_, err := tx.Exec(ctx, `
		UPDATE api_destinations SET description = $1, connection_arn = $2, connection_id = $3, endpoint = $4, method = $5, rate_limit = $6,
			modified_at = $7
		WHERE id = $8`,
		d.Description, d.ConnectionARN, lastPart(d.ConnectionARN), d.Endpoint, d.Method, d.RateLimit, d.ChangedAt.UnixMilli(), d.ID)
	return err
}

func deleteAPIDestination(ctx context.Context, tx *store.Tx, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM api_destinations WHERE id = $1`, id)
	return err
}

func countAPIDestinations(ctx context.Context, q store.Querier, account, region string) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM api_destinations WHERE account = $1 AND region = $2`, account, region).Scan(&n)
	return n, err
}

func selectAPIDestination(ctx context.Context, q store.Querier, caller Caller, name string) (APIDestination, bool, error) {
	return store.One(q.QueryRow(ctx, apiDestinationColumns+` WHERE d.account = $1 AND d.region = $2 AND d.name = $3`,
		caller.Account, caller.Region, name), scanAPIDestination)
}

func selectAPIDestinationByID(ctx context.Context, q store.Querier, id string) (APIDestination, bool, error) {
	return store.One(q.QueryRow(ctx, apiDestinationColumns+` WHERE d.id = $1`, id), scanAPIDestination)
}

// selectAPIDestinations returns up to limit API destinations by name, those after the given one.
func selectAPIDestinations(ctx context.Context, q store.Querier, caller Caller, prefix, connectionARN, after string, limit int) ([]APIDestination, error) {
	rows, err := q.Query(ctx, apiDestinationColumns+`
		WHERE d.account = $1 AND d.region = $2 AND d.name >= $3 AND d.name < $4 AND d.name > $5 AND ($6 = '' OR d.connection_arn = $6)
		ORDER BY d.name LIMIT $7`, caller.Account, caller.Region, prefix, store.PrefixEnd(prefix), after, connectionARN, limit)
	return store.All(rows, err, scanAPIDestination)
}
