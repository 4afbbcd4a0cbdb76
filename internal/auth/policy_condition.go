package auth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// conditionKeyPattern is the form of condition keys, in lower case:
// aws:sourcearn, aws:requesttag/team, events:source.
var conditionKeyPattern = regexp.MustCompile(`^[a-z0-9-]+:[^*?${}\s]{1,256}$`)

// condition is one operator on one key.
type condition struct {
	key      string // lower case
	set      setQualifier
	ifExists bool
	// negated operators (StringNotEquals) hold when no value matches.
	negated bool
	null    bool // the operator Null
	tests   []valueTest
}

type setQualifier uint8

const (
	single setQualifier = iota
	forAnyValue
	forAllValues
)

// valueTest compares one value of the request with one of the policy.
type valueTest func(value string, keys conditionKeys) bool

// operator makes the test of one value that a policy names.
type operator struct {
	negated bool
	compile func(want string, variables bool) (valueTest, error)
}

// conditionOperators are those of the IAM guide.
var conditionOperators = map[string]operator{
	"StringEquals":              {false, stringTest(literalGlob, false)},
	"StringNotEquals":           {true, stringTest(literalGlob, false)},
	"StringEqualsIgnoreCase":    {false, stringTest(literalGlob, true)},
	"StringNotEqualsIgnoreCase": {true, stringTest(literalGlob, true)},
	"StringLike":                {false, stringTest(compileGlob, false)},
	"StringNotLike":             {true, stringTest(compileGlob, false)},
	"ArnEquals":                 {false, arnTest}, // AWS: the same as ArnLike
	"ArnNotEquals":              {true, arnTest},
	"ArnLike":                   {false, arnTest},
	"ArnNotLike":                {true, arnTest},
	"Bool":                      {false, boolTest},
	"Null":                      {false, boolTest},
	"NumericEquals":             {false, numericTest(func(c int) bool { return c == 0 })},
	"NumericNotEquals":          {true, numericTest(func(c int) bool { return c == 0 })},
	"NumericLessThan":           {false, numericTest(func(c int) bool { return c < 0 })},
	"NumericLessThanEquals":     {false, numericTest(func(c int) bool { return c <= 0 })},
	"NumericGreaterThan":        {false, numericTest(func(c int) bool { return c > 0 })},
	"NumericGreaterThanEquals":  {false, numericTest(func(c int) bool { return c >= 0 })},
	"DateEquals":                {false, dateTest(func(c int) bool { return c == 0 })},
	"DateNotEquals":             {true, dateTest(func(c int) bool { return c == 0 })},
	"DateLessThan":              {false, dateTest(func(c int) bool { return c < 0 })},
	"DateLessThanEquals":        {false, dateTest(func(c int) bool { return c <= 0 })},
	"DateGreaterThan":           {false, dateTest(func(c int) bool { return c > 0 })},
	"DateGreaterThanEquals":     {false, dateTest(func(c int) bool { return c >= 0 })},
	"IpAddress":                 {false, ipTest},
	"NotIpAddress":              {true, ipTest},
	"BinaryEquals":              {false, binaryTest},
}

func parseConditions(raw json.RawMessage, variables bool) ([]condition, error) {
	if raw == nil {
		return nil, nil
	}
	operators, err := members(raw)
	if err != nil {
		return nil, fmt.Errorf("Condition: %w", err)
	}
	var list []condition
	for _, name := range slices.Sorted(maps.Keys(operators)) {
		keys, err := members(operators[name])
		if err != nil {
			return nil, fmt.Errorf("Condition %s: %w", name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			c, err := parseCondition(name, key, keys[key], variables)
			if err != nil {
				return nil, fmt.Errorf("Condition %s: %w", name, err)
			}
			list = append(list, c)
		}
	}
	return list, nil
}

func parseCondition(name, key string, raw json.RawMessage, variables bool) (condition, error) {
	c := condition{key: strings.ToLower(key)}
	if !conditionKeyPattern.MatchString(c.key) {
		return c, fmt.Errorf("key %q: want a condition key such as aws:SourceArn", key)
	}
	op, err := c.parseOperator(name)
	if err != nil {
		return c, err
	}
	values, err := scalarList(raw, key)
	if err != nil {
		return c, err
	}
	for _, want := range values {
		test, err := op.compile(want, variables)
		if err != nil {
			return c, fmt.Errorf("key %s: %w", key, err)
		}
		c.tests = append(c.tests, test)
	}
	return c, nil
}

func (c *condition) parseOperator(name string) (operator, error) {
	base := name
	if rest, ok := strings.CutPrefix(base, "ForAnyValue:"); ok {
		base, c.set = rest, forAnyValue
	} else if rest, ok := strings.CutPrefix(base, "ForAllValues:"); ok {
		base, c.set = rest, forAllValues
	}
	if rest, ok := strings.CutSuffix(base, "IfExists"); ok {
		base, c.ifExists = rest, true
	}
	op, ok := conditionOperators[base]
	if !ok {
		return op, fmt.Errorf("operator %q is not known", name)
	}
	c.null = base == "Null"
	if c.null && (c.ifExists || c.set != single) {
		return op, fmt.Errorf("operator %q is not known; Null stands alone", name)
	}
	c.negated = op.negated
	return op, nil
}

// scalarList reads one or many values; AWS takes booleans and numbers for strings.
func scalarList(raw json.RawMessage, key string) ([]string, error) {
	items, err := oneOrMany(raw)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", key, err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("key %s has no value", key)
	}
	list := make([]string, len(items))
	for i, item := range items {
		if s, ok := jsonString(item); ok {
			list[i] = s
			continue
		}
		switch c := item[0]; {
		case c == '{' || c == '[' || c == 'n':
			return nil, fmt.Errorf("key %s: values must be strings", key)
		default:
			list[i] = string(item)
		}
	}
	return list, nil
}

// holds reports whether the condition is met. AWS: values that the policy lists
// are alternatives; for negated operators none of them may match. A key that the
// request lacks meets negated operators, ForAllValues and …IfExists, nothing else.
func (c *condition) holds(keys conditionKeys) bool {
	values := keys[c.key]
	if c.null {
		return c.any(strconv.FormatBool(len(values) == 0), keys)
	}
	if len(values) == 0 {
		return c.ifExists || c.set == forAllValues || c.negated && c.set == single
	}
	switch c.set {
	case forAllValues:
		for _, v := range values {
			if c.any(v, keys) == c.negated {
				return false
			}
		}
		return true
	case forAnyValue:
		for _, v := range values {
			if c.any(v, keys) != c.negated {
				return true
			}
		}
		return false
	}
	for _, v := range values {
		if c.any(v, keys) {
			return !c.negated
		}
	}
	return c.negated
}

// any reports whether the value matches one of the policy's.
func (c *condition) any(value string, keys conditionKeys) bool {
	for _, test := range c.tests {
		if test(value, keys) {
			return true
		}
	}
	return false
}

func stringTest(compile func(string, bool) (glob, error), ignoreCase bool) func(string, bool) (valueTest, error) {
	return func(want string, variables bool) (valueTest, error) {
		g, err := compile(want, variables)
		return func(value string, keys conditionKeys) bool { return g.match(value, keys, ignoreCase) }, err
	}
}

func arnTest(want string, variables bool) (valueTest, error) {
	g, err := compileGlob(want, variables)
	if err == nil && want != "*" && strings.Count(want, ":") < 5 {
		err = fmt.Errorf("%q is not an ARN", want)
	}
	return func(value string, keys conditionKeys) bool { return g.matchARN(value, keys) }, err
}

func boolTest(want string, _ bool) (valueTest, error) {
	want = strings.ToLower(want)
	if want != "true" && want != "false" {
		return nil, fmt.Errorf("%q must be true or false", want)
	}
	return func(value string, _ conditionKeys) bool { return strings.ToLower(value) == want }, nil
}

func numericTest(ok func(int) bool) func(string, bool) (valueTest, error) {
	return func(want string, _ bool) (valueTest, error) {
		limit, err := strconv.ParseFloat(want, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", want)
		}
		return func(value string, _ conditionKeys) bool {
			n, err := strconv.ParseFloat(value, 64)
			return err == nil && ok(compare(n, limit))
		}, nil
	}
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func dateTest(ok func(int) bool) func(string, bool) (valueTest, error) {
	return func(want string, _ bool) (valueTest, error) {
		limit, err := parseDate(want)
		if err != nil {
			return nil, err
		}
		return func(value string, _ conditionKeys) bool {
			d, err := parseDate(value)
			return err == nil && ok(d.Compare(limit))
		}, nil
	}
}

// parseDate reads what the IAM guide allows: W3C's profile of ISO 8601, or epoch seconds.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) > 4 {
		return time.Unix(n, 0), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a date such as 2026-01-31T00:00:00Z", s)
}

func ipTest(want string, _ bool) (valueTest, error) {
	text := want
	if !strings.Contains(text, "/") {
		if addr, err := netip.ParseAddr(text); err == nil {
			text += "/" + strconv.Itoa(addr.BitLen())
		}
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address or a CIDR block", want)
	}
	return func(value string, _ conditionKeys) bool {
		addr, err := netip.ParseAddr(value)
		return err == nil && prefix.Contains(addr.Unmap())
	}, nil
}

func binaryTest(want string, _ bool) (valueTest, error) {
	if _, err := base64.StdEncoding.DecodeString(want); err != nil {
		return nil, fmt.Errorf("%q is not base64", want)
	}
	return func(value string, _ conditionKeys) bool { return value == want }, nil
}
