package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/app"
)

// client speaks to a server's HTTP API.
type client struct {
	server    string
	anonymous bool // never logs in
	bearer    string
	http      http.Client
}

// team is the one team that an installation has.
const team = "default"

// callTimeout bounds one call of the API.
const callTimeout = 60 * time.Second

// unreachableError says that nobody answers at the server's address.
type unreachableError struct {
	server string
	err    error
}

// Error names the server and what to do.
func (e *unreachableError) Error() string {
	return fmt.Sprintf("no Rialto server answers at %s: %v\nStart one with 'rialto serve', or name another with --server or RIALTO_SERVER", e.server, e.err)
}

// Unwrap returns why nobody answers.
func (e *unreachableError) Unwrap() error { return e.err }

// refusedError is the server's own word.
type refusedError struct {
	status    int
	code      string
	message   string
	requestID string
}

// Error returns the server's message and code.
func (e *refusedError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("the server answered HTTP status %d", e.status)
	}
	return fmt.Sprintf("%s (%s)", e.message, e.code)
}

// accessKey is that of the environment: Rialto's own variables, or the AWS
// CLI's, unless those hold a key of AWS's own, which is none of a server's
// business. Without any the server decides, and in dev mode takes everybody.
func accessKey() (id, secret string) {
	if id := os.Getenv("RIALTO_ACCESS_KEY_ID"); id != "" {
		return id, os.Getenv("RIALTO_SECRET_ACCESS_KEY")
	}
	if id := os.Getenv("AWS_ACCESS_KEY_ID"); !isAWSKey(id) {
		return id, os.Getenv("AWS_SECRET_ACCESS_KEY")
	}
	return "", ""
}

// isAWSKey reports whether AWS issued the key: AKIA is of a user, ASIA of a session.
func isAWSKey(id string) bool {
	return len(id) >= 16 && (strings.HasPrefix(id, "AKIA") || strings.HasPrefix(id, "ASIA"))
}

// closedHint says how one comes into a server that is no longer in dev mode.
const closedHint = "Set RIALTO_ACCESS_KEY_ID and RIALTO_SECRET_ACCESS_KEY to an access key of this server; " +
	"an admin makes one with 'rialto keys create', the first is made on the stopped server with 'rialto keys create --role admin --data-dir DIR'"

func (c *client) login(ctx context.Context) error {
	if c.bearer != "" || c.anonymous {
		return nil
	}
	id, secret := accessKey()
	if id == "" {
		return nil
	}
	var token struct {
		BearerToken string `json:"bearer_token"`
	}
	in := map[string]string{"key_id": id, "key_secret": secret}
	if err := c.call(ctx, http.MethodPost, "/v1/teams/"+team+"/service_token", in, &token); err != nil {
		if refused, ok := errors.AsType[*refusedError](err); ok && refused.status == http.StatusUnauthorized {
			err = fmt.Errorf("%w\n%s", err, closedHint)
		}
		return fmt.Errorf("log in as %s: %w", id, err)
	}
	c.bearer = token.BearerToken
	return nil
}

// do logs in and makes a call: in is sent as JSON unless nil, the answer read
// into out unless nil. Path is relative to the server.
func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	if err := c.login(ctx); err != nil {
		return err
	}
	return c.call(ctx, method, path, in, out)
}

// pathSegment is a segment of a path, escaped: dots too where they alone would lead elsewhere.
func pathSegment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// teamPath is a path of the team's API, its parts escaped.
func teamPath(parts ...string) string {
	escaped := []string{"/v1/teams", team}
	for _, p := range parts {
		escaped = append(escaped, pathSegment(p))
	}
	return strings.Join(escaped, "/")
}

func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.send(ctx, method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the server's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// noURL says that the server's address is no URL, if so.
func (c *client) noURL() error {
	if u, err := url.Parse(c.server); err != nil || u.Host == "" {
		return usagef("--server %q is not a URL such as http://127.0.0.1:7425 (RIALTO_SERVER sets it too)", c.server)
	}
	return nil
}

// send makes a request and turns refusals into errors.
func (c *client) send(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	target := path
	if !strings.Contains(path, "://") {
		target = strings.TrimRight(c.server, "/") + path
	}
	if err := c.noURL(); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", contentType) // without one the server takes it for a web page's
	}
	req.Header.Set("User-Agent", "rialto-cli/"+app.Version())
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if urlErr, ok := errors.AsType[*url.Error](err); ok {
			err = urlErr.Err
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("the server at %s did not answer %s %s in time; whether it was done is not known", c.server, method, path)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("call %s: %w", target, ctx.Err())
		}
		return nil, &unreachableError{c.server, err}
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	err = readRefusal(resp)
	if id, _ := accessKey(); id == "" && resp.StatusCode == http.StatusUnauthorized {
		err = fmt.Errorf("%w\n%s; keys of AWS are not sent to it", err, closedHint)
	}
	return nil, err
}

func readRefusal(resp *http.Response) error {
	var answer struct {
		Error     json.RawMessage `json:"error"`
		Message   string          `json:"message"` // of the catalog, which answers as Port does
		RequestID string          `json:"request_id"`
	}
	var detail struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && json.Unmarshal(b, &answer) == nil && json.Unmarshal(answer.Error, &detail.Code) == nil {
		// The catalog's clients look for some codes in the message, too.
		detail.Message = strings.TrimPrefix(answer.Message, detail.Code+": ")
	} else {
		_ = json.Unmarshal(answer.Error, &detail) // an answer that is not ours has no message
	}
	return &refusedError{resp.StatusCode, detail.Code, detail.Message, answer.RequestID}
}

// pages follows a list's Link headers and hands each page to fn.
func (c *client) pages(ctx context.Context, path string, fn func(json.RawMessage) error) error {
	if err := c.login(ctx); err != nil {
		return err
	}
	for path != "" {
		next, err := c.page(ctx, path, fn)
		if err != nil {
			return err
		}
		path = next
	}
	return nil
}

func (c *client) page(ctx context.Context, path string, fn func(json.RawMessage) error) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		List json.RawMessage `json:"list"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("read the server's answer to GET %s: %w", path, err)
	}
	return nextLink(resp.Header), fn(answer.List)
}

// listAll reads a whole list.
func listAll[T any](ctx context.Context, c *client, path string) ([]T, error) {
	all := []T{}
	err := c.pages(ctx, path, func(page json.RawMessage) error {
		var items []T
		if err := json.Unmarshal(page, &items); err != nil {
			return fmt.Errorf("read the list at %s: %w", path, err)
		}
		all = append(all, items...)
		return nil
	})
	return all, err
}

// nextLink finds rel="next" in Link headers (RFC 8288), as path and query.
func nextLink(h http.Header) string {
	for _, header := range h.Values("Link") {
		for link := range strings.SplitSeq(header, ",") {
			target, params, ok := strings.Cut(strings.TrimSpace(link), ";")
			if !ok || !strings.Contains(params, `rel="next"`) {
				continue
			}
			u, err := url.Parse(strings.Trim(target, "<>"))
			if err != nil {
				return ""
			}
			return u.RequestURI()
		}
	}
	return ""
}

// stream reads server-sent events and hands the data of each to fn, until ctx
// or the stream ends.
func (c *client) stream(ctx context.Context, path string, fn func(data []byte) error) error {
	if err := c.login(ctx); err != nil {
		return err
	}
	resp, err := c.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := fn([]byte(data)); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the server ended the stream: %w", err)
	}
	return errors.New("the server ended the stream")
}
