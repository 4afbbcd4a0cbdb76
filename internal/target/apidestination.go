package target

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// HTTP makes outgoing calls; the guarded client.
type HTTP interface {
	Do(req *http.Request) (*http.Response, error)
}

// userAgent is AWS's, which endpoints may know its calls by.
const userAgent = "Amazon/EventBridge/ApiDestinations"

// callAPIDestination makes one call to an HTTP endpoint through its connection.
func (t *Targets) callAPIDestination(ctx context.Context, a Attempt) error {
	inv, err := t.buses.Invocation(ctx, a.Subscription.Target.ARN)
	if err != nil {
		return t.destinationFailure(a.Subscription.Target.ARN, err)
	}
	t.limits.set(inv.ARN, inv.RateLimit)
	req, err := apiDestinationRequest(ctx, inv, a)
	if err != nil {
		return &Failure{Code: CodeInvalidParameter, Message: err.Error()}
	}
	token, err := t.authorize(ctx, req, inv)
	if err != nil {
		return err
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return callFailure(err)
	}
	defer resp.Body.Close()
	if a.Status != nil {
		*a.Status = resp.StatusCode
	}
	if resp.StatusCode/100 == 2 {
		return nil
	}
	if token != "" && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusProxyAuthRequired) {
		t.tokens.forget(inv.Credentials.ConnectionARN, token)
	}
	answer, _ := readAnswer(resp, maxQuotedAnswer) // what was read of it is quoted
	return answerFailure(resp, answer, time.Now())
}

// destinationFailure is for a destination that cannot be read. AWS: a missing
// resource is final; a connection may be mended meanwhile.
func (t *Targets) destinationFailure(arn string, err error) error {
	if errors.Is(err, bus.ErrNoDestination) {
		t.limits.drop(arn)
		return &Failure{Code: CodeNoResource, Message: err.Error()}
	}
	if errors.Is(err, bus.ErrNotAuthorized) {
		return &Failure{Code: CodeNoPermissions, Message: err.Error(), Retryable: true}
	}
	return AsFailure(fmt.Errorf("read the API destination: %w", err))
}

// answerFailure tells an endpoint's refusals apart. AWS: 401, 407, 409, 429 and
// 5xx are tried again, other answers are final; a negative Retry-After ends the
// retries.
func answerFailure(resp *http.Response, answer []byte, now time.Time) *Failure {
	f := &Failure{
		Code: CodeErrorFromTarget, Status: resp.StatusCode,
		Message: strings.TrimSuffix(fmt.Sprintf("The API destination answered HTTP status code %d: %s", resp.StatusCode, quote(answer)), ": "),
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusConflict, http.StatusTooManyRequests:
		f.Retryable = true
	default:
		f.Retryable = resp.StatusCode >= http.StatusInternalServerError
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		f.Code = CodeThrottling
	}
	if after, ok := retryAfter(resp.Header.Get("Retry-After"), now); ok && f.Retryable {
		f.RetryAfter = after
		f.Retryable = after >= 0
	}
	return f
}

// maxRetryAfter is longer than any event lives.
const maxRetryAfter = 7 * 24 * time.Hour

// retryAfter reads seconds or an HTTP date. A date that has passed is no wait;
// only a negative number of seconds is negative.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	seconds, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err == nil || errors.Is(err, strconv.ErrRange): // then it is the nearest
		limit := int64(maxRetryAfter / time.Second)
		return time.Duration(min(max(seconds, -1), limit)) * time.Second, true
	case value == "":
		return 0, false
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}

// apiDestinationRequest builds the request without its authorization.
func apiDestinationRequest(ctx context.Context, inv *bus.Invocation, a Attempt) (*http.Request, error) {
	extra := inv.Credentials.Invocation
	if extra == nil {
		extra = &bus.ConnectionParameters{}
	}
	params, err := resolveParameters(a.Subscription.Target.HTTPParameters, a.Record.JSON)
	if err != nil {
		return nil, err
	}
	endpoint, err := endpointURL(inv.Endpoint, params, extra)
	if err != nil {
		return nil, err
	}
	body, err := mergeBody(a.Body, extra.Body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, inv.Method, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the API destination's endpoint cannot be called: %w", err)
	}
	setHeaders(req, params, extra)
	return req, nil
}

// endpointURL fills the asterisks of the path from left to right and adds the
// query parameters. AWS: the connection's win over the target's.
func endpointURL(endpoint string, params *bus.HTTPParameters, extra *bus.ConnectionParameters) (string, error) {
	filled, err := fillPath(withScheme(endpoint), params.Path)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(filled)
	if err != nil {
		return "", fmt.Errorf("the API destination's endpoint %q is not a URL", endpoint)
	}
	if len(params.Query) == 0 && len(extra.Query) == 0 {
		return u.String(), nil
	}
	query := url.Values{}
	for key, value := range params.Query {
		query.Set(key, value)
	}
	for _, p := range extra.Query {
		query.Set(p.Key, p.Value)
	}
	u.RawQuery = mergeQuery(u.RawQuery, query)
	return u.String(), nil
}

// mergeQuery adds parameters to the endpoint's own query, which stays as it is
// written, signatures and semicolons in it too, less those of the same names.
func mergeQuery(own string, added url.Values) string {
	var pairs []string
	for pair := range strings.SplitSeq(own, "&") {
		key, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if pair != "" && (err != nil || !added.Has(name)) {
			pairs = append(pairs, pair)
		}
	}
	return strings.Join(append(pairs, added.Encode()), "&")
}

// withScheme returns the URL of an endpoint. AWS takes one without a scheme as
// https.
func withScheme(endpoint string) string {
	if strings.Contains(endpoint, "://") {
		return endpoint
	}
	return "https://" + endpoint
}

// fillPath puts the values in the place of the asterisks of the URL's path. More
// values than asterisks do no harm; an asterisk without a value would call what
// nobody meant.
func fillPath(endpoint string, values []string) (string, error) {
	scheme, rest, _ := strings.Cut(endpoint, "://")
	end := len(rest)
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		end = i
	}
	start := end
	if i := strings.IndexByte(rest[:end], '/'); i >= 0 {
		start = i
	}
	parts := strings.Split(rest[start:end], "*")
	if len(parts)-1 > len(values) {
		return "", fmt.Errorf("the path of the API destination's endpoint has %d asterisks, and the target gives %d path parameter values for them",
			len(parts)-1, len(values))
	}
	var path strings.Builder
	for i, part := range parts {
		path.WriteString(part)
		if i < len(parts)-1 {
			path.WriteString(escapeSegment(values[i]))
		}
	}
	return scheme + "://" + rest[:start] + path.String() + rest[end:], nil
}

// escapeSegment escapes a path value, so that it stays within its segment: also
// one that would go up from it.
func escapeSegment(value string) string {
	if value == "." || value == ".." {
		return strings.ReplaceAll(value, ".", "%2E")
	}
	return url.PathEscape(value)
}

// mergeBody adds the connection's body parameters to a JSON object: one that the
// object has takes its place, others follow. A body that is no object has no
// place for them and stays as it is.
func mergeBody(body []byte, extra []bus.Parameter) ([]byte, error) {
	trimmed := bytes.TrimSpace(body)
	if len(extra) == 0 || len(trimmed) == 0 || trimmed[0] != '{' {
		return body, nil
	}
	keys, fields, err := objectMembers(trimmed)
	if err != nil {
		return nil, fmt.Errorf("the body is not a JSON object to which the connection's parameters can be added: %w", err)
	}
	for _, p := range extra {
		if _, has := fields[p.Key]; !has {
			keys = append(keys, p.Key)
		}
		fields[p.Key] = event.AppendText(nil, p.Value)
	}
	merged := []byte{'{'}
	for i, key := range keys {
		if i > 0 {
			merged = append(merged, ',')
		}
		merged = append(event.AppendText(merged, key), ':')
		merged = append(merged, fields[key]...)
	}
	return append(merged, '}'), nil
}

// objectMembers reads a JSON object's keys in their order, and their values as
// they are written; of a key that is there twice, the last value.
func objectMembers(object []byte) ([]string, map[string]json.RawMessage, error) {
	var keys []string
	fields := map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil { // the opening brace
		return nil, nil, err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nil, err
		}
		key := token.(string) // what else the decoder refuses
		if _, has := fields[key]; !has {
			keys = append(keys, key)
		}
		fields[key] = value
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, nil, err
	}
	if d.InputOffset() < int64(len(object)) {
		return nil, nil, errors.New("more text follows the object")
	}
	return keys, fields, nil
}

// strippedHeaders are the ones that AWS strips if a user supplies them.
var strippedHeaders = map[string]bool{
	"A-Im": true, "Accept-Charset": true, "Accept-Datetime": true, "Accept-Encoding": true, "Cache-Control": true,
	"Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Md5": true, "Date": true,
	"Expect": true, "Forwarded": true, "From": true, "Host": true, "Http2-Settings": true, "If-Match": true,
	"If-Modified-Since": true, "If-None-Match": true, "If-Range": true, "If-Unmodified-Since": true,
	"Max-Forwards": true, "Origin": true, "Pragma": true, "Proxy-Authorization": true, "Range": true, "Referer": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "User-Agent": true, "Upgrade": true, "Via": true, "Warning": true,
}

// setHeaders sets AWS's fixed headers and the user's: the connection's win over
// the target's.
func setHeaders(req *http.Request, params *bus.HTTPParameters, extra *bus.ConnectionParameters) {
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	for key, value := range params.Headers {
		setHeader(req, key, value)
	}
	for _, p := range extra.Headers {
		setHeader(req, p.Key, p.Value)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Range", "bytes=0-1048575")
	req.Header.Set("Accept-Encoding", "gzip,deflate")
	req.Close = true // AWS: Connection: close
}

func setHeader(req *http.Request, key, value string) {
	if !strippedHeaders[http.CanonicalHeaderKey(key)] {
		req.Header.Set(key, value)
	}
}

// authorize adds the connection's authorization, which comes last and wins. For
// OAuth it returns the token that it used.
func (t *Targets) authorize(ctx context.Context, req *http.Request, inv *bus.Invocation) (token string, err error) {
	c := inv.Credentials
	switch c.Type {
	case bus.AuthBasic:
		userinfo := c.Basic.Username + ":" + c.Basic.Password
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(userinfo)))
	case bus.AuthAPIKey:
		req.Header.Set(c.APIKey.Name, c.APIKey.Value)
	case bus.AuthOAuth:
		if token, err = t.tokens.get(ctx, c); err != nil {
			return "", err
		}
		req.Header.Set("Authorization", token)
	}
	return token, nil
}
