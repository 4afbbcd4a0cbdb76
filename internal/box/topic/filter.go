package topic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// The values of FilterPolicyScope.
const (
	scopeAttributes = "MessageAttributes"
	scopeBody       = "MessageBody"
)

// AWS's limits of filter policies.
const (
	maxFilterSize         = 256 << 10
	maxFilterKeys         = 5
	maxFilterCombinations = 150
	maxFilterNumber       = 1e9
	maxTopicFilters       = 200
	maxAccountFilters     = 10_000
)

// filter is a filter policy, ready to be matched.
type filter struct {
	scope   string
	pattern *eventpattern.Pattern
}

// compileFilter checks a filter policy, which is not empty. Its error says what is
// wrong with it.
func compileFilter(scope, text string) (*filter, error) {
	if len(text) > maxFilterSize {
		return nil, fmt.Errorf("the policy is %d bytes long, more than the %d allowed", len(text), maxFilterSize)
	}
	if err := httpapi.CheckJSON([]byte(text)); err != nil {
		return nil, fmt.Errorf("failed to parse JSON. %w", err)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc == nil {
		return nil, errors.New("Filter policy must be a JSON object")
	}
	c := filterCheck{nested: scope == scopeBody, keys: map[string]bool{}}
	n, err := c.object(doc, 1)
	if err != nil {
		return nil, err
	}
	if len(c.keys) > maxFilterKeys {
		return nil, fmt.Errorf("Filter policy can not have more than %d keys", maxFilterKeys)
	}
	if n > maxFilterCombinations {
		return nil, errors.New("Filter policy is too complex")
	}
	p, err := eventpattern.Compile([]byte(text))
	if err != nil {
		return nil, err
	}
	return &filter{scope: scope, pattern: p}, nil
}

// filterCheck walks a filter policy for what AWS asks of it beyond the rules of
// patterns, which are eventpattern's to check.
type filterCheck struct {
	nested bool            // fields may hold objects
	keys   map[string]bool // at the top; AWS counts those only
}

// orKey is the operator beside fields.
const orKey = "$or"

// object returns the number of combinations of values. AWS: the sizes of all
// lists multiplied, each by the level that it is on; alternatives of $or add up.
func (c *filterCheck) object(doc map[string]json.RawMessage, level int) (combinations int, err error) {
	combinations = 1
	for name, raw := range doc {
		n := 0
		switch kind := raw[0]; {
		case name == orKey && kind == '[':
			n, err = c.alternatives(raw, level)
		case kind == '[':
			n, err = c.list(raw, level)
		case kind == '{' && c.nested:
			n, err = c.inner(raw, level+1)
		case kind == '{':
			err = errors.New("Filter policy scope MessageAttributes does not support nested filter policy")
		default:
			err = fmt.Errorf("%q must be an object or an array", name)
		}
		if err != nil {
			return 0, err
		}
		if level == 1 && name != orKey {
			c.keys[name] = true
		}
		combinations = min(combinations*n, maxFilterCombinations+1)
	}
	return combinations, nil
}

func (c *filterCheck) inner(raw json.RawMessage, level int) (int, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return 0, err
	}
	return c.object(doc, level)
}

func (c *filterCheck) alternatives(raw json.RawMessage, level int) (int, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return 0, err
	}
	sum := 0
	for _, item := range list {
		if item[0] != '{' {
			return c.list(raw, level) // a field that is called $or
		}
		n, err := c.inner(item, level)
		if err != nil {
			return 0, err
		}
		sum = min(sum+n, maxFilterCombinations+1)
	}
	return max(sum, 1), nil
}

func (c *filterCheck) list(raw json.RawMessage, level int) (int, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return 0, err
	}
	if err := checkNumbers(raw); err != nil {
		return 0, err
	}
	return max(len(values), 1) * level, nil
}

// checkNumbers refuses numbers that AWS does not compare with. AWS: from -10^9 to
// 10^9, with five digits after the decimal point.
func checkNumbers(raw json.RawMessage) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil {
			return nil //nolint:nilerr // the end; it was valid before
		}
		n, ok := token.(json.Number)
		if !ok {
			continue
		}
		f, err := n.Float64()
		if err != nil || math.Abs(f) > maxFilterNumber {
			return fmt.Errorf("Value of number %s must be between -10^9 and 10^9", n)
		}
		if scaled := f * 1e5; math.Abs(scaled-math.Round(scaled)) > 1e-4*math.Max(1, math.Abs(f)) {
			return fmt.Errorf("Number %s has more than 5 digits after the decimal point", n)
		}
	}
}

// subject is what a filter policy is matched against; an empty one never matches.
type subject struct{ attributes, body []byte }

// matches says whether the policy lets the message through. AWS: a body that is
// not JSON is filtered out.
func (f *filter) matches(s subject) bool {
	text := s.attributes
	if f.scope == scopeBody {
		text = s.body
	}
	if len(text) == 0 {
		return false
	}
	ok, err := f.pattern.Match(text)
	return ok && err == nil
}

// attributesJSON makes an object of message attributes for filter policies. AWS: String,
// String.Array and Number are compared; other types are ignored.
func attributesJSON(values map[string]Value) []byte {
	doc := make(map[string]json.RawMessage, len(values))
	for name, v := range values {
		switch v.Type {
		case "String":
			doc[name] = json.RawMessage(encode(v.Text))
		case "Number":
			if raw := json.RawMessage(plainNumber(v.Text)); json.Valid(raw) {
				doc[name] = raw
			}
		case "String.Array":
			if raw := json.RawMessage(v.Text); json.Valid(raw) && strings.HasPrefix(strings.TrimLeft(v.Text, " \t\r\n"), "[") {
				doc[name] = raw
			} else {
				doc[name] = json.RawMessage(encode(v.Text))
			}
		}
	}
	return []byte(encode(doc))
}

// plainNumber writes a number as JSON does: +1 and .5 are 1 and 0.5.
func plainNumber(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "+")
	if json.Valid([]byte(s)) {
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// filters keep compiled filter policies, so that no message has to wait for
// those of its topic to be read.
type filters struct {
	mu    sync.Mutex
	known map[string]*filter
}

// maxKnownFilters bounds the memory of compiled policies.
const maxKnownFilters = 10_000

// get returns a policy compiled. It was checked when it was set.
func (f *filters) get(scope, text string) (*filter, error) {
	key := scope + "\n" + text
	f.mu.Lock()
	have := f.known[key]
	f.mu.Unlock()
	if have != nil {
		return have, nil
	}
	have, err := compileFilter(scope, text)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil || len(f.known) >= maxKnownFilters {
		f.known = map[string]*filter{}
	}
	f.known[key] = have
	return have, nil
}
