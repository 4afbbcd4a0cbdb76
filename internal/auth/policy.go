package auth

import (
	"strings"
	"time"
)

// Decision is what a policy says about a request.
type Decision uint8

// The decisions. An explicit Deny wins over every Allow.
const (
	NoMatch Decision = iota // no statement speaks of it
	Allow
	Deny
)

// String is the decision's name.
func (d Decision) String() string {
	switch d {
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	}
	return "NoMatch"
}

// PolicyRequest is what a resource policy is asked about. Either Principal or
// Service says who asks.
type PolicyRequest struct {
	// Principal is the account that asks, 12 digits, or the ARN of a user or role.
	Principal string
	// Service is the AWS service that asks: events.amazonaws.com.
	Service string
	// Action is service prefix and operation: sqs:SendMessage.
	Action string
	// Resource is the ARN of what the policy is attached to.
	Resource string
	// SourceARN and SourceAccount are on whose behalf a service asks.
	SourceARN     string
	SourceAccount string
	// OrgID is the organization of the principal: o-a1b2c3d4e5.
	OrgID string
	// Context holds further condition keys, such as events:source.
	Context map[string][]string
}

// ValidatePolicy returns why the text is not a resource policy that is honoured
// whole; nil if it is.
func ValidatePolicy(policyJSON string) error {
	_, err := ParsePolicy(policyJSON)
	return err
}

// Permit decides for a resource of account owner whose policy is p, nil where it
// has none. Without a policy the owner's account may, others may not. With one,
// Deny refuses and Allow allows; where it says nothing, a principal of the
// owner's account may (its own role allows it, as an IAM policy would), and a
// service may not.
func Permit(p *Policy, owner string, r PolicyRequest) bool {
	if p == nil {
		return owner == askingAccount(r)
	}
	switch p.Evaluate(r) {
	case Allow:
		return true
	case Deny:
		return false
	}
	return r.Service == "" && owner == askingAccount(r)
}

// askingAccount is the account on whose behalf r is made; empty if unknown.
func askingAccount(r PolicyRequest) string {
	if r.Service != "" {
		return r.SourceAccount
	}
	return accountOf(r.Principal)
}

// accountOf is the account of a principal, given as account id or as ARN.
func accountOf(principal string) string {
	if IsAccount(principal) {
		return principal
	}
	parts := strings.SplitN(principal, ":", 6)
	if len(parts) == 6 && parts[0] == "arn" {
		return parts[4]
	}
	return ""
}

// Evaluate says what the policy decides about r.
func (p *Policy) Evaluate(r PolicyRequest) Decision {
	keys := contextOf(r)
	decision := NoMatch
	for i := range p.statements {
		s := &p.statements[i]
		if !s.matches(r, keys) {
			continue
		}
		if s.deny {
			return Deny
		}
		decision = Allow
	}
	return decision
}

func (s *statement) matches(r PolicyRequest, keys conditionKeys) bool {
	return s.principal.matches(r) && s.matchesAction(r.Action) && s.matchesResource(r.Resource, keys) &&
		s.matchesConditions(keys)
}

func (s *statement) matchesAction(action string) bool {
	found := false
	for _, a := range s.actions {
		found = found || a.match(action, nil, true)
	}
	return found != s.notAction
}

func (s *statement) matchesResource(resource string, keys conditionKeys) bool {
	found := false
	for _, pattern := range s.resources {
		found = found || pattern.matchARN(resource, keys)
	}
	return found != s.notResource
}

func (s *statement) matchesConditions(keys conditionKeys) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(keys) {
			return false
		}
	}
	return true
}

// conditionKeys are the values of condition keys, by the key in lower case: AWS
// ignores the case of keys.
type conditionKeys map[string][]string

func contextOf(r PolicyRequest) conditionKeys {
	keys := make(conditionKeys, len(r.Context)+8)
	for k, v := range r.Context {
		keys[strings.ToLower(k)] = v
	}
	set := func(key, value string) {
		if value != "" {
			keys[key] = []string{value}
		}
	}
	set("aws:sourcearn", r.SourceARN)
	set("aws:sourceaccount", r.SourceAccount)
	set("aws:principalorgid", r.OrgID)
	if r.Service != "" {
		set("aws:principalisawsservice", "true")
		set("aws:principalservicename", r.Service)
	} else {
		set("aws:principalisawsservice", "false")
		set("aws:principalaccount", accountOf(r.Principal))
		set("aws:principalarn", principalARN(r.Principal))
	}
	if _, given := keys["aws:currenttime"]; !given {
		set("aws:currenttime", time.Now().UTC().Format(time.RFC3339))
	}
	return keys
}

func principalARN(principal string) string {
	if IsAccount(principal) {
		return "arn:aws:iam::" + principal + ":root"
	}
	return principal
}

// matches reports whether the statement speaks of who asks.
func (p *principals) matches(r PolicyRequest) bool {
	if p.anyone {
		return true // AWS: "*" takes in services, whether written alone or under "AWS"
	}
	if r.Service != "" {
		return p.services["*"] || p.services[strings.ToLower(r.Service)]
	}
	return p.accounts[accountOf(r.Principal)] || p.arns[r.Principal]
}
