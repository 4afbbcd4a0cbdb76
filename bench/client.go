package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	region  = "us-east-1"
	account = "000000000000"
)

// client sets a server up.
type client struct{ url string }

func newClient(url string) *client { return &client{url: url} }

var targetPrefixes = map[string]string{"events": "AWSEvents.", "sqs": "AmazonSQS."}

// head is the head of a signed request; servers in dev mode take any signature.
func head(host, service, operation string, length int) string {
	date := time.Now().UTC().Format("20060102T150405Z")
	return "POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: " + targetPrefixes[service] + operation +
		"\r\nX-Amz-Date: " + date + "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + account + "/" + date[:8] + "/" + region + "/" + service +
		"/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64) + "\r\nContent-Length: " + strconv.Itoa(length) + "\r\n\r\n"
}

func (c *client) host() string { return strings.TrimPrefix(c.url, "http://") }

// call calls one AWS operation.
func (c *client) call(service, operation string, in map[string]any) (map[string]any, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	l, err := dial(c.host())
	if err != nil {
		return nil, err
	}
	defer l.conn.Close()
	answer, err := l.do(append([]byte(head(c.host(), service, operation, len(body))), body...))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	var out map[string]any
	if len(bytes.TrimSpace(answer)) == 0 {
		return nil, nil
	}
	return out, json.Unmarshal(answer, &out)
}

// rest calls our own API.
func (c *client) rest(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// rule creates a rule for a detail type with one target.
func (c *client) rule(name, detailType, targetARN string) error {
	if _, err := c.call("events", "PutRule", map[string]any{"Name": name, "EventPattern": fmt.Sprintf(`{"detail-type":[%q]}`, detailType)}); err != nil {
		return err
	}
	target := map[string]any{"Id": "1", "Arn": targetARN, "RoleArn": "arn:aws:iam::" + account + ":role/events"}
	if strings.HasPrefix(targetARN, "arn:aws:sqs") {
		delete(target, "RoleArn")
	}
	_, err := c.call("events", "PutTargets", map[string]any{"Rule": name, "Targets": []any{target}})
	return err
}

// queueRule creates a queue and a rule of the same name that sends to it.
func (c *client) queueRule(name, detailType string) error {
	if _, err := c.call("sqs", "CreateQueue", map[string]any{"QueueName": name}); err != nil {
		return err
	}
	return c.rule(name, detailType, "arn:aws:sqs:"+region+":"+account+":"+name)
}

// endpointRule creates an API destination at the URL and a rule that calls it.
func (c *client) endpointRule(name, detailType, url string, perSecond int) error {
	connection, err := c.call("events", "CreateConnection", map[string]any{
		"Name": name, "AuthorizationType": "API_KEY",
		"AuthParameters": map[string]any{"ApiKeyAuthParameters": map[string]string{"ApiKeyName": "X-Key", "ApiKeyValue": "secret"}},
	})
	if err != nil {
		return err
	}
	destination, err := c.call("events", "CreateApiDestination", map[string]any{
		"Name": name, "ConnectionArn": connection["ConnectionArn"], "HttpMethod": "POST",
		"InvocationEndpoint": url, "InvocationRateLimitPerSecond": perSecond,
	})
	if err != nil {
		return err
	}
	return c.rule(name, detailType, destination["ApiDestinationArn"].(string))
}

// line is one keep-alive connection.
type line struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

func dial(host string) (*line, error) {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	return &line{conn: conn, in: bufio.NewReaderSize(conn, 8<<10)}, nil
}

// do sends a request and returns the body of its answer, valid until the next.
// It does as little as it can: it runs on the processors that it measures.
func (l *line) do(request []byte) ([]byte, error) {
	if _, err := l.conn.Write(request); err != nil {
		return nil, err
	}
	status, err := l.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	length := 0
	for {
		header, err := l.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(header) <= 2 {
			break
		}
		if value, found := bytes.CutPrefix(header, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, err
			}
		}
	}
	if cap(l.body) < length {
		l.body = make([]byte, length)
	}
	l.body = l.body[:length]
	if _, err := io.ReadFull(l.in, l.body); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the server answered %s", l.body)
	}
	return l.body, nil
}

const (
	callers        = 64
	entriesPerCall = 10
	detailSize     = 1000 // bytes
)

// putRequest is a PutEvents call that can be sent again and again.
type putRequest struct {
	bytes []byte
	sent  []int // where the times of sending stand
}

// newPutRequest makes a call of ten entries of about 1 KB, of the detail types in
// turn.
func newPutRequest(host string, detailTypes ...string) (*putRequest, error) {
	type entry struct{ Source, DetailType, Detail string }
	var entries [entriesPerCall]entry
	for i := range entries {
		detail := fmt.Sprintf(`{"order":{"id":"o-%06d","state":"placed","customer":{"name":"Antonia Merchant","city":"Venezia","tags":["new","web","重要"]},"total":%d.50},"note":"`, i, 100+i)
		detail += strings.Repeat("abcdefghij klmnopqrst uvwxyz 0123456789 ", detailSize/40)[:detailSize-len(detail)-40] + `","sent":` + strings.Repeat("0", sentDigits) + `}`
		entries[i] = entry{"shop.orders", detailTypes[i%len(detailTypes)], strings.Replace(detail, `:0000000000000000000`, `:1000000000000000000`, 1)}
	}
	body, err := json.Marshal(map[string]any{"Entries": entries})
	if err != nil {
		return nil, err
	}
	r := &putRequest{bytes: append([]byte(head(host, "events", "PutEvents", len(body))), body...)}
	mark := []byte(`\"sent\":`)
	for at := 0; ; {
		i := bytes.Index(r.bytes[at:], mark)
		if i < 0 {
			return r, nil
		}
		at += i + len(mark)
		r.sent = append(r.sent, at)
	}
}

// stamp writes the time into every entry.
func (r *putRequest) stamp(now time.Time) {
	var digits [sentDigits]byte
	strconv.AppendInt(digits[:0], now.UnixNano(), 10)
	for _, at := range r.sent {
		copy(r.bytes[at:], digits[:])
	}
}

var noFailure = []byte(`"FailedEntryCount":0`)

func (l *line) put(r *putRequest) error {
	answer, err := l.do(r.bytes)
	if err != nil {
		return err
	}
	if !bytes.Contains(answer, noFailure) {
		return fmt.Errorf("PutEvents answered %s", answer)
	}
	return nil
}

// each runs fn for every one of the callers at once, each with its own connection.
func (c *client) each(fn func(caller int, l *line) error) error {
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			l, err := dial(c.host())
			if err != nil {
				errs[i] = err
				return
			}
			defer l.conn.Close()
			errs[i] = fn(i, l)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// paced puts events at a rate for a time: the callers take turns, and each call
// is of the kind that kind returns for its number.
func (c *client) paced(rate int, length time.Duration, kinds [][]string) error {
	interval := time.Second * callers * entriesPerCall / time.Duration(rate)
	start := time.Now().Add(10 * time.Millisecond)
	return c.each(func(caller int, l *line) error {
		requests := make([]*putRequest, len(kinds))
		for i, kind := range kinds {
			var err error
			if requests[i], err = newPutRequest(c.host(), kind...); err != nil {
				return err
			}
		}
		for n := 0; ; n++ {
			due := start.Add(interval*time.Duration(n) + interval*time.Duration(caller)/callers)
			if due.Sub(start) >= length {
				return nil
			}
			time.Sleep(time.Until(due))
			r := requests[(n+caller)%len(requests)]
			r.stamp(time.Now())
			if err := l.put(r); err != nil {
				return err
			}
		}
	})
}
