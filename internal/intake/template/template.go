// Package template writes the AWS side of what Rialto takes in from AWS, ready to
// deploy: as a CloudFormation template or as a Terraform configuration. It makes
// text of what it is told; it neither asks a server nor calls AWS.
//
// The text never holds a secret: the client secret is a parameter that whoever
// deploys it fills in.
package template

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/rialto-bus/rialto/internal/event"
)

// Format is a language that templates are written in.
type Format string

// The formats.
const (
	CloudFormation Format = "cloudformation"
	Terraform      Format = "terraform"
)

// Formats are all formats.
func Formats() []string { return []string{string(CloudFormation), string(Terraform)} }

// Layout says in which regions the AWS side stands. The zero Layout is one that
// stands by itself in whichever region it is deployed to.
type Layout struct {
	// Central is the region whose event bus the others forward to, and which alone
	// calls Rialto or fills the queue; empty: each region does so by itself.
	Central string
	// Regions are those that a Terraform configuration is for: those that forward to
	// Central, or each by itself. CloudFormation has none: its template is deployed to
	// each region, Central among them.
	Regions []string
}

func (l Layout) check(f Format) error {
	if l.Central != "" && !event.IsRegion(l.Central) {
		return fmt.Errorf("%q does not look like a region such as us-east-1", l.Central)
	}
	for i, r := range l.Regions {
		if !event.IsRegion(r) {
			return fmt.Errorf("%q does not look like a region such as us-east-1", r)
		}
		if slices.Contains(l.Regions[:i], r) || r == l.Central {
			return fmt.Errorf("region %s is there twice", r)
		}
	}
	switch {
	case f != CloudFormation && f != Terraform:
		return fmt.Errorf("format %q is neither %s nor %s", f, CloudFormation, Terraform)
	case f == CloudFormation && len(l.Regions) > 0:
		return errors.New("a CloudFormation template names no regions: deploy the one template to each of them, as a stack set for example")
	case f == Terraform && l.Central != "" && len(l.Regions) == 0:
		return fmt.Errorf("name the regions whose events are forwarded to %s", l.Central)
	}
	return nil
}

// Endpoint is the AWS side of events that EventBridge sends to an HTTPS endpoint: a
// connection, an API destination, a rule and what these need.
type Endpoint struct {
	// Name is what Terraform calls the things; at most 64 letters, digits and ._-.
	Name string
	// Description is one line that says what it is for.
	Description string
	// InvocationURL is the endpoint, TokenURL where the connection gets its tokens.
	InvocationURL, TokenURL string
	ClientID                string
	// Pattern is the rule's event pattern.
	Pattern string
	Layout
}

// Render writes the endpoint's AWS side. Errors say what cannot be written.
func (e Endpoint) Render(f Format) ([]byte, error) {
	if err := e.check(f); err != nil {
		return nil, err
	}
	data := struct {
		Endpoint
		Places []place
	}{e, e.places(e.Central)}
	return render("endpoint", f, e.Description, e.Pattern, data)
}

// Queue is the AWS side of events that Rialto fetches from an SQS queue: the queue, a
// rule and what these need.
type Queue struct {
	// Name is what Terraform calls the things but the queue; as that of an Endpoint.
	Name        string
	Description string
	// QueueName and Region are the queue's. FIFO queues are not written: EventBridge
	// sends in no particular order.
	QueueName, Region string
	Pattern           string
	// Layout: Central must be empty or Region.
	Layout
}

// Render writes the queue's AWS side. Errors say what cannot be written.
func (q Queue) Render(f Format) ([]byte, error) {
	if err := q.check(f); err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(q.QueueName, ".fifo"):
		return nil, fmt.Errorf("queue %s is a FIFO queue; EventBridge sends events in no particular order, so that templates are for standard queues", q.QueueName)
	case q.Central != "" && q.Central != q.Region:
		return nil, fmt.Errorf("the central region is that of the queue, %s, not %s", q.Region, q.Central)
	case q.Central == "" && len(q.Regions) > 0:
		return nil, fmt.Errorf("the queue is in one region; events of others come by way of it: give %s as the central region", q.Region)
	}
	data := struct {
		Queue
		Places []place
	}{q, q.places(q.Region)}
	return render("queue", f, q.Description, q.Pattern, data)
}

// place is a region of a Terraform configuration.
type place struct {
	// Region is empty where the provider's own is meant.
	Region string
	// Label is what its resources are called in the configuration.
	Label string
	// Forwards: it sends its events on to the central region.
	Forwards bool
}

// places are where a configuration has resources. Central is the region that does
// not forward, where others do.
func (l Layout) places(central string) []place {
	if l.Central == "" && len(l.Regions) == 0 {
		return []place{{Label: "this"}}
	}
	var list []place
	if l.Central != "" {
		list = append(list, place{Region: central, Label: label(central)})
	}
	for _, r := range l.Regions {
		list = append(list, place{Region: r, Label: label(r), Forwards: l.Central != ""})
	}
	return list
}

func label(region string) string { return strings.ReplaceAll(region, "-", "_") }

//go:embed *.yaml.tmpl *.tf.tmpl
var files embed.FS

var suffix = map[Format]string{CloudFormation: ".yaml.tmpl", Terraform: ".tf.tmpl"}

func render(name string, f Format, description, pattern string, data any) ([]byte, error) {
	if strings.ContainsFunc(description, unicode.IsControl) {
		return nil, errors.New("the description is not one line of text")
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(pattern), &object); err != nil || len(object) == 0 {
		return nil, errors.New("the event pattern is not a JSON object with members")
	}
	if f == CloudFormation {
		if err := checkPlain(description, pattern); err != nil {
			return nil, err
		}
	}
	file := name + suffix[f]
	t, err := template.New(file).Funcs(template.FuncMap{
		"json": quoted, "hcl": hcl, "flow": flow, "label": label,
	}).ParseFS(files, file)
	if err != nil {
		return nil, fmt.Errorf("read template %s: %w", file, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("write template %s: %w", file, err)
	}
	return out.Bytes(), nil
}

// checkPlain refuses what CloudFormation would put something else in the place of,
// which it has no way to say otherwise. AWS: an object with a member Ref or Fn::… is a
// function, and {{resolve:…}} in any text fetches a parameter or a secret.
func checkPlain(description, pattern string) error {
	var v any
	if err := json.Unmarshal([]byte(pattern), &v); err != nil {
		return err
	}
	what := function(v)
	if what == "" {
		what = function(description)
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("CloudFormation would take %q of the event pattern or the description for a function of its own; use the format %s", what, Terraform)
}

// function is what CloudFormation would take for a function in v; empty without any.
func function(v any) string {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "{{resolve:") {
			return v
		}
	case []any:
		for _, item := range v {
			if what := function(item); what != "" {
				return what
			}
		}
	case map[string]any:
		for name, item := range v {
			if name == "Ref" || strings.HasPrefix(name, "Fn::") {
				return name
			}
			if what := cmp.Or(function(name), function(item)); what != "" {
				return what
			}
		}
	}
	return ""
}

// quoted is a text as JSON and YAML have it.
func quoted(s string) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return "", err
	}
	return printable(strings.TrimSuffix(b.String(), "\n")), nil
}

// flow is JSON on one line, which is YAML too.
func flow(text string) (string, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return "", err
	}
	return printable(b.String()), nil
}

// printable escapes what may stand in JSON's strings but not in YAML's.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < unicode.MaxASCII && r >= ' ', unicode.IsPrint(r), r > 0xffff: // of which YAML takes all
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// hcl escapes what Terraform would take for a template of its own.
func hcl(text string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(text)
}

// PatternOf is the event pattern of all events of the accounts and, if any are
// given, of the regions.
func PatternOf(accounts, regions []string) string {
	b, _ := json.Marshal(struct { //nolint:errchkjson // lists of strings
		Account []string `json:"account"`
		Region  []string `json:"region,omitempty"`
	}{accounts, regions})
	return string(b)
}

// ResourceName is a name for things in AWS: at most 64 characters, "rialto-" before
// the name where there is room.
func ResourceName(name string) string {
	if prefixed := "rialto-" + name; len(prefixed) <= maxName {
		return prefixed
	}
	return name[:min(len(name), maxName)]
}

// maxName is the longest name of rules, connections and API destinations.
const maxName = 64
