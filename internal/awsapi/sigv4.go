package awsapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Keys finds access keys. Lookup returns ErrUnknownKey, wrapped or not, for a
// key that does not exist or may not be used.
type Keys interface {
	Lookup(ctx context.Context, accessKeyID string) (Credential, error)
}

// ErrUnknownKey is what Keys.Lookup returns for a key that it does not have.
var ErrUnknownKey = errors.New("unknown access key")

// Credential is an access key's secret and whose it is.
type Credential struct {
	Secret string
	// SessionToken is what a temporary key's requests must carry; empty: they
	// must carry none.
	SessionToken string
	Principal    Principal
}

// Principal is whom an access key stands for.
type Principal struct {
	KeyID   string
	Account string // 12 digits
	Role    string // RoleAdmin, RoleOperator, RolePublisher or RoleReader
}

const (
	algorithm = "AWS4-HMAC-SHA256"
	// amzDate is the form of X-Amz-Date.
	amzDate = "20060102T150405Z"
	// maxSkew is how far a request's time may be from ours.
	maxSkew = 5 * time.Minute
	// maxPresigned is the longest life of a presigned request.
	maxPresigned = 7 * 24 * time.Hour
	// maxAuthorization bounds the Authorization header that is parsed.
	maxAuthorization = 8 << 10
)

// signature is what a request says about how it was signed.
type signature struct {
	keyID     string
	scopeDate string // 20260102
	region    string
	service   string
	signed    []string // names of signed headers, lower case, sorted
	value     string   // hex
	presigned bool
	at        time.Time
	expires   time.Duration // of a presigned request
	token     string        // X-Amz-Security-Token
}

func (s *signature) scope() string {
	return s.scopeDate + "/" + s.region + "/" + s.service + "/aws4_request"
}

// The failures of authentication, by their names in the query protocol; JSON
// services add Exception, and EC2 has one name for most.
const (
	codeIncompleteSignature = "IncompleteSignature"
	codeMissingToken        = "MissingAuthenticationToken"
	codeUnknownKey          = "InvalidClientTokenId"
	codeBadSignature        = "SignatureDoesNotMatch"
	codeExpired             = "RequestExpired"
	// codeTooOld has no name of its own on the wire, but in EC2.
	codeTooOld = "SignatureExpired"
)

func authError(code, format string, args ...any) *Error {
	status := http.StatusForbidden
	if code == codeIncompleteSignature || code == codeExpired {
		status = http.StatusBadRequest
	}
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}

// hasSignature reports whether a request carries a signature of any kind that
// AWS clients make, in a header or presigned.
func hasSignature(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-") || strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm=")
}

// parseSignature reads the signature of a request, or says what it lacks.
func parseSignature(r *http.Request) (*signature, error) {
	if auth := r.Header.Get("Authorization"); auth != "" {
		return parseHeaderSignature(r, auth)
	}
	query := r.URL.Query()
	if query.Has("X-Amz-Algorithm") {
		return parsePresigned(query)
	}
	return nil, authError(codeMissingToken, "Request is missing Authentication Token")
}

func parseHeaderSignature(r *http.Request, auth string) (*signature, error) {
	s, err := parseAuthorization(auth)
	if err != nil {
		return nil, err
	}
	s.token = r.Header.Get("X-Amz-Security-Token")
	if date := r.Header.Get("X-Amz-Date"); date != "" {
		s.at, err = time.Parse(amzDate, date)
		if err != nil {
			return nil, authError(codeIncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", shorten(date, 64))
		}
		return s, s.checkScopeDate(date)
	}
	s.at, err = http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return nil, authError(codeIncompleteSignature, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=%s", shorten(auth, 256))
	}
	return s, s.checkScopeDate(s.at.UTC().Format(amzDate))
}

// parseAuthorization reads the value of an Authorization header.
func parseAuthorization(auth string) (*signature, error) {
	if len(auth) > maxAuthorization {
		return nil, authError(codeIncompleteSignature, "The Authorization header is longer than %d bytes.", maxAuthorization)
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(auth), " ")
	if name != algorithm {
		return nil, authError(codeIncompleteSignature, "Unsupported AWS 'algorithm': '%s'. Use %s.", shorten(name, 64), algorithm)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, authError(codeIncompleteSignature, "Invalid key=value pair (missing equal-sign) in Authorization header: '%s'.", shorten(part, 256))
		}
		fields[key] = value
	}
	for _, key := range []string{"Credential", "SignedHeaders", "Signature"} {
		if fields[key] == "" {
			return nil, authError(codeIncompleteSignature, "Authorization header requires '%s' parameter. Authorization=%s", key, shorten(auth, 256))
		}
	}
	return newSignature(fields["Credential"], fields["SignedHeaders"], fields["Signature"])
}

func newSignature(credential, signedHeaders, value string) (*signature, error) {
	// An access key id has no slash, but what stands before the last four parts is it.
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || slices.Contains(parts, "") {
		return nil, authError(codeIncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", shorten(credential, 256))
	}
	if parts[4] != "aws4_request" {
		return nil, authError(codeBadSignature, "Credential should be scoped with a valid terminator: 'aws4_request', not '%s'.", shorten(parts[4], 64))
	}
	s := &signature{
		keyID: parts[0], scopeDate: parts[1], region: parts[2], service: parts[3], value: value,
		signed: strings.Split(strings.ToLower(signedHeaders), ";"),
	}
	if !slices.Contains(s.signed, "host") {
		return nil, authError(codeBadSignature, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	return s, nil
}

func parsePresigned(query url.Values) (*signature, error) {
	if got := query.Get("X-Amz-Algorithm"); got != algorithm {
		return nil, authError(codeIncompleteSignature, "Unsupported AWS 'algorithm': '%s'. Use %s.", shorten(got, 64), algorithm)
	}
	for _, key := range []string{"X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if query.Get(key) == "" {
			return nil, authError(codeIncompleteSignature, "AWS query-string parameters must include '%s'.", key)
		}
	}
	s, err := newSignature(query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature"))
	if err != nil {
		return nil, err
	}
	s.presigned, s.token = true, query.Get("X-Amz-Security-Token")
	date := query.Get("X-Amz-Date")
	if s.at, err = time.Parse(amzDate, date); err != nil {
		return nil, authError(codeIncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", shorten(date, 64))
	}
	if s.expires, err = presignedLife(query.Get("X-Amz-Expires")); err != nil {
		return nil, err
	}
	return s, s.checkScopeDate(date)
}

// presignedLife reads X-Amz-Expires; without one a presigned request lives as
// long as any other.
func presignedLife(text string) (time.Duration, error) {
	if text == "" {
		return maxSkew, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 0 || seconds > int(maxPresigned/time.Second) {
		return 0, authError(codeIncompleteSignature, "X-Amz-Expires must be a number of seconds between 0 and %d.", int(maxPresigned.Seconds()))
	}
	return time.Duration(seconds) * time.Second, nil
}

func (s *signature) checkScopeDate(date string) error {
	if day := s.at.UTC().Format("20060102"); s.scopeDate != day {
		return authError(codeBadSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			shorten(s.scopeDate, 64), day, shorten(date, 64))
	}
	return nil
}

// checkTime refuses a request that is too old or from the future.
func (s *signature) checkTime(now time.Time) error {
	life := maxSkew
	if s.presigned {
		life = s.expires
	}
	stamp := func(t time.Time) string { return t.UTC().Format(amzDate) }
	if now.Sub(s.at) > life {
		if s.presigned {
			return authError(codeExpired, "Request has expired.")
		}
		return authError(codeTooOld, "Signature expired: %s is now earlier than %s (%s - 5 min.)", stamp(s.at), stamp(now.Add(-maxSkew)), stamp(now))
	}
	if s.at.Sub(now) > maxSkew {
		return authError(codeBadSignature, "Signature not yet current: %s is still later than %s (%s + 5 min.)", stamp(s.at), stamp(now.Add(maxSkew)), stamp(now))
	}
	return nil
}

// verify checks the signature of a request, whose time was checked, with the
// credential of its key.
func (s *signature) verify(r *http.Request, body []byte, c Credential) error {
	if subtle.ConstantTimeCompare([]byte(s.token), []byte(c.SessionToken)) != 1 {
		return authError(codeUnknownKey, "The security token included in the request is invalid.")
	}
	for _, name := range []string{"x-amz-target", "x-amz-security-token", "x-amz-content-sha256"} {
		if r.Header.Get(name) != "" && !slices.Contains(s.signed, name) {
			return authError(codeBadSignature, "'%s' must be a 'SignedHeader' in the AWS Authorization.", name)
		}
	}
	payload, err := payloadHash(r, body)
	if err != nil {
		return err
	}
	want := s.sign(c.Secret, s.canonicalRequest(r, payload))
	got, err := hex.DecodeString(s.value)
	if err != nil || !hmac.Equal(got, want) {
		return authError(codeBadSignature, "The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

// payloadHash is the hash of the body that goes into the canonical request. AWS:
// payloads that are not signed, or signed in chunks, are S3's alone. Here the body
// names the operation and its subject, and the way to us may be plain HTTP.
func payloadHash(r *http.Request, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	actual := hex.EncodeToString(sum[:])
	switch claimed := r.Header.Get("X-Amz-Content-Sha256"); {
	case claimed == "" || claimed == actual:
		return actual, nil
	case claimed == "UNSIGNED-PAYLOAD" || strings.HasPrefix(claimed, "STREAMING-"):
		return "", authError(codeBadSignature, "The payload form %s is not accepted; sign the whole payload.", shorten(claimed, 64))
	default:
		return "", authError(codeBadSignature, "The value passed in x-amz-content-sha256 does not match the SHA-256 of the request's body.")
	}
}

func (s *signature) sign(secret, canonical string) []byte {
	sum := sha256.Sum256([]byte(canonical))
	toSign := algorithm + "\n" + s.at.UTC().Format(amzDate) + "\n" + s.scope() + "\n" + hex.EncodeToString(sum[:])
	key := mac([]byte("AWS4"+secret), s.scopeDate)
	for _, part := range []string{s.region, s.service, "aws4_request"} {
		key = mac(key, part)
	}
	return mac(key, toSign)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (s *signature) canonicalRequest(r *http.Request, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + canonicalPath(r.URL.EscapedPath()) + "\n" + canonicalQuery(r.URL.RawQuery) + "\n")
	for _, name := range s.signed {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(s.signed, ";") + "\n" + payload)
	return b.String()
}

// headerValue is a signed header's value: trimmed, with single spaces, several
// joined by commas.
func headerValue(r *http.Request, name string) string {
	values := r.Header.Values(name)
	switch name {
	case "host":
		values = []string{r.Host}
	case "content-length":
		// net/http may keep it only as a number.
		values = []string{strconv.FormatInt(r.ContentLength, 10)}
	}
	clean := make([]string, len(values))
	for i, value := range values {
		clean[i] = strings.Join(strings.Fields(value), " ")
	}
	return strings.Join(clean, ",")
}

// canonicalPath encodes the path that was sent once more, as every service but
// S3 wants it.
func canonicalPath(escaped string) string {
	if escaped == "" {
		return "/"
	}
	return uriEncode(escaped, false)
}

// canonicalQuery sorts the parameters and encodes them in the one form that is
// signed; the signature itself is left out.
func canonicalQuery(raw string) string {
	if raw == "" {
		return ""
	}
	var pairs []string
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, value = unescapeQuery(name), unescapeQuery(value)
		if name == "X-Amz-Signature" {
			continue
		}
		// \x00 sorts below every character of an encoded name, as names sort first.
		pairs = append(pairs, uriEncode(name, true)+"\x00"+uriEncode(value, true))
	}
	slices.Sort(pairs)
	return strings.ReplaceAll(strings.Join(pairs, "&"), "\x00", "=")
}

func unescapeQuery(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return plain
}

const upperHex = "0123456789ABCDEF"

// uriEncode is AWS's: everything but the unreserved characters of RFC 3986 is
// percent-encoded, slashes only where told.
func uriEncode(text string, slash bool) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/' && !slash:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}
