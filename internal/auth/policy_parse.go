package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

// MaxPolicySize is the largest resource policy in bytes that is read. Services
// set smaller limits of their own: 10,240 characters for an event bus.
const MaxPolicySize = 32 << 10

// maxPolicyList bounds statements, and the values in any list of a statement.
const maxPolicyList = 500

// Policy is a resource policy, parsed. It is immutable.
type Policy struct{ statements []statement }

type statement struct {
	deny        bool
	principal   principals
	actions     []glob
	notAction   bool
	resources   []glob
	notResource bool
	conditions  []condition
}

// principals are the callers that a statement speaks of.
type principals struct {
	anyone   bool
	accounts map[string]bool // whole accounts
	arns     map[string]bool // single users and roles
	services map[string]bool // lower case
}

// ParsePolicy reads an IAM resource policy. Whatever Rialto would not honour is
// refused by name, NotPrincipal and unknown condition operators among it, so that
// no policy means less than it says. AWS: the grammar is that of the IAM guide.
func ParsePolicy(policyJSON string) (*Policy, error) {
	if len(policyJSON) > MaxPolicySize {
		return nil, fmt.Errorf("policy: %d bytes are more than the %d allowed", len(policyJSON), MaxPolicySize)
	}
	if !utf8.ValidString(policyJSON) {
		return nil, errors.New("policy: not valid UTF-8")
	}
	if err := httpapi.CheckJSON([]byte(policyJSON)); err != nil {
		return nil, fmt.Errorf("policy: not valid JSON: %w", err)
	}
	doc, err := members([]byte(policyJSON), "Version", "Id", "Statement")
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	variables, err := parseVersion(doc["Version"])
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if err := optionalString(doc, "Id"); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return parseStatements(doc["Statement"], variables)
}

// parseVersion also says whether ${…} is a variable: AWS reads it literally in
// the language of 2008, which is the default.
func parseVersion(raw json.RawMessage) (variables bool, err error) {
	if raw == nil {
		return false, nil
	}
	switch s, _ := jsonString(raw); s {
	case "2012-10-17":
		return true, nil
	case "2008-10-17":
		return false, nil
	}
	return false, fmt.Errorf(`Version must be "2012-10-17" or "2008-10-17", not %s`, raw)
}

func parseStatements(raw json.RawMessage, variables bool) (*Policy, error) {
	list, err := oneOrMany(raw)
	if err != nil || len(list) == 0 {
		return nil, errors.New("policy: Statement must be a statement or a list of them")
	}
	p := &Policy{}
	sids := map[string]bool{}
	for i, item := range list {
		s, sid, err := parseStatement(item, variables)
		if err != nil {
			return nil, fmt.Errorf("policy: statement %d: %w", i+1, err)
		}
		if sid != "" && sids[sid] {
			return nil, fmt.Errorf("policy: statement %d: Sid %q is there twice", i+1, sid)
		}
		sids[sid] = true
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func parseStatement(raw json.RawMessage, variables bool) (s statement, sid string, err error) {
	m, err := members(raw, "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction",
		"Resource", "NotResource", "Condition")
	if err != nil {
		return s, "", err
	}
	if m["NotPrincipal"] != nil {
		return s, "", errors.New("NotPrincipal is not supported; use a Deny with the condition ArnNotEquals on aws:PrincipalArn")
	}
	if err := optionalString(m, "Sid"); err != nil {
		return s, "", err
	}
	if m["Sid"] != nil {
		sid, _ = jsonString(m["Sid"])
	}
	switch effect, _ := jsonString(m["Effect"]); effect {
	case "Allow":
	case "Deny":
		s.deny = true
	default:
		return s, "", errors.New(`Effect must be "Allow" or "Deny"`)
	}
	if s.principal, err = parsePrincipal(m["Principal"]); err != nil {
		return s, "", err
	}
	if s.actions, s.notAction, err = parseActions(m); err != nil {
		return s, "", err
	}
	if s.resources, s.notResource, err = parseResources(m, variables); err != nil {
		return s, "", err
	}
	s.conditions, err = parseConditions(m["Condition"], variables)
	return s, sid, err
}

var (
	servicePattern  = regexp.MustCompile(`^(\*|[a-z0-9][a-z0-9.-]*\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal))$`)
	principalRegexp = regexp.MustCompile(`^arn:aws[a-z-]*:(iam|sts)::(\d{12}):(root|(user|role|assumed-role|federated-user|group)/[^*?\s]+)$`)
	actionPattern   = regexp.MustCompile(`^(\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+)$`)
)

func parsePrincipal(raw json.RawMessage) (principals, error) {
	p := principals{accounts: map[string]bool{}, arns: map[string]bool{}, services: map[string]bool{}}
	if raw == nil {
		return p, errors.New("Principal is missing")
	}
	if s, ok := jsonString(raw); ok {
		if s != "*" {
			return p, fmt.Errorf(`Principal must be "*" or an object, not %q`, s)
		}
		p.anyone = true
		return p, nil
	}
	m, err := members(raw, "AWS", "Service")
	if err != nil {
		return p, fmt.Errorf("Principal: %w; AWS and Service are supported", err)
	}
	if len(m) == 0 {
		return p, errors.New("Principal is empty")
	}
	if err := p.addAWS(m["AWS"]); err != nil {
		return p, err
	}
	return p, p.addServices(m["Service"])
}

func (p *principals) addAWS(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	list, err := stringList(raw, "Principal AWS")
	if err != nil {
		return err
	}
	for _, s := range list {
		match := principalRegexp.FindStringSubmatch(s)
		switch {
		case s == "*":
			p.anyone = true
		case IsAccount(s):
			p.accounts[s] = true
		case match == nil:
			return fmt.Errorf(`Principal AWS %q: want "*", an account of 12 digits, or the ARN of a user, role or account root, without wildcards`, s)
		case match[3] == "root":
			p.accounts[match[2]] = true
		default:
			p.arns[s] = true
		}
	}
	return nil
}

func (p *principals) addServices(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	list, err := stringList(raw, "Principal Service")
	if err != nil {
		return err
	}
	for _, s := range list {
		name := strings.ToLower(s)
		if !servicePattern.MatchString(name) {
			return fmt.Errorf("Principal Service %q: want a name such as events.amazonaws.com", s)
		}
		p.services[name] = true
	}
	return nil
}

func parseActions(m map[string]json.RawMessage) (list []glob, not bool, err error) {
	values, not, err := eitherList(m, "Action", "NotAction")
	if err != nil {
		return nil, false, err
	}
	for _, s := range values {
		if !actionPattern.MatchString(s) {
			return nil, false, fmt.Errorf(`Action %q: want "*" or a service and an operation, such as sqs:SendMessage`, s)
		}
		g, err := compileGlob(s, false)
		if err != nil {
			return nil, false, fmt.Errorf("Action %q: %w", s, err)
		}
		list = append(list, g)
	}
	return list, not, nil
}

func parseResources(m map[string]json.RawMessage, variables bool) (list []glob, not bool, err error) {
	values, not, err := eitherList(m, "Resource", "NotResource")
	if err != nil {
		return nil, false, err
	}
	for _, s := range values {
		if s != "*" && strings.Count(s, ":") < 5 {
			return nil, false, fmt.Errorf(`Resource %q: want "*" or an ARN`, s)
		}
		g, err := compileGlob(s, variables)
		if err != nil {
			return nil, false, fmt.Errorf("Resource %q: %w", s, err)
		}
		list = append(list, g)
	}
	return list, not, nil
}

// eitherList reads the list that is under exactly one of two names.
func eitherList(m map[string]json.RawMessage, name, notName string) (list []string, not bool, err error) {
	raw := m[name]
	switch {
	case raw != nil && m[notName] != nil:
		return nil, false, fmt.Errorf("%s and %s exclude one another", name, notName)
	case m[notName] != nil:
		raw, name, not = m[notName], notName, true
	case raw == nil:
		return nil, false, fmt.Errorf("%s is missing", name)
	}
	list, err = stringList(raw, name)
	return list, not, err
}

// members reads an object whose members must be among known.
func members(raw json.RawMessage, known ...string) (map[string]json.RawMessage, error) {
	if len(raw) == 0 || bytes.TrimLeft(raw, " \t\r\n")[0] != '{' {
		return nil, errors.New("want a JSON object")
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	for name := range m {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found && len(known) > 0 {
			return nil, fmt.Errorf("element %q is not supported", name)
		}
	}
	return m, nil
}

// oneOrMany reads a value or a list of values.
func oneOrMany(raw json.RawMessage) ([]json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	var list []json.RawMessage
	if raw[0] != '[' {
		return []json.RawMessage{raw}, nil
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if len(list) > maxPolicyList {
		return nil, fmt.Errorf("more than %d values", maxPolicyList)
	}
	return list, nil
}

func stringList(raw json.RawMessage, name string) ([]string, error) {
	items, err := oneOrMany(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	list := make([]string, len(items))
	for i, item := range items {
		s, ok := jsonString(item)
		if !ok || s == "" {
			return nil, fmt.Errorf("%s must be a string or a list of strings", name)
		}
		list[i] = s
	}
	return list, nil
}

func optionalString(m map[string]json.RawMessage, name string) error {
	if m[name] == nil {
		return nil
	}
	if _, ok := jsonString(m[name]); !ok {
		return fmt.Errorf("%s must be a string", name)
	}
	return nil
}

func jsonString(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}
