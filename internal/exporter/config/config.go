// Package config reads the exporter's config.json: which kinds of resources
// are exported, from where, and how a resource becomes entities. It also reads
// the event records that rules put on the exporter's queue, and checks all of
// it against samples before anything is deployed (Lint).
//
// The format is that of Port's AWS exporter, with two differences: a mistake is
// told with its path in the file when the file is read, and an expression
// without output gives null where an entity may have one.
//
// The package reads and maps. It asks no cloud and writes no entity.
package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/jq"
)

// MaxText is how long the text of a config.json may be, in bytes.
const MaxText = 1 << 20

// MaxDropped is how many accounts and regions are told at most that a new configuration selects no
// longer.
const MaxDropped = 1000

// Problem is one thing that is wrong, and where.
type Problem struct {
	// Path is where in the file or record, as
	// resources[3].port.entity.mappings[0].properties.arn; "" is the whole.
	Path string `json:"path"`
	// Line is the line of the file, counted from 1; 0 where it is not known.
	Line int `json:"line,omitempty"`
	// Message says what is wrong, and what to do where that is not plain.
	Message string `json:"message"`
	// Warning says that it may be meant so.
	Warning bool `json:"warning,omitempty"`
}

// String returns the problem on one line.
func (p Problem) String() string {
	where := p.Path
	if p.Line > 0 {
		where = strings.TrimSpace(fmt.Sprintf("%s (line %d)", where, p.Line))
	}
	if where == "" {
		return p.Message
	}
	return where + ": " + p.Message
}

// Errors is all that is wrong with a configuration.
type Errors struct{ Problems []Problem }

// Error returns the problems, one a line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Config is a configuration that was read. It does not change, and is safe for
// concurrent use.
type Config struct {
	// Resources are the passes of the configuration, in the file's order. A
	// kind may have several.
	Resources []Resource
	// PortAPIURL is where the file says that a real Port is, with /v1; "" where it
	// says nothing. The credentials go where the server's settings say, not there.
	PortAPIURL string
	// SkipDelete keeps a full sync from deleting what it did not see.
	SkipDelete bool
	// Warnings name what was understood but will not do what it seems to say.
	Warnings []Problem
}

// Of returns the passes over a kind, in the file's order.
func (c *Config) Of(kind string) []*Resource {
	var rs []*Resource
	for i := range c.Resources {
		if c.Resources[i].Kind == kind {
			rs = append(rs, &c.Resources[i])
		}
	}
	return rs
}

// Kinds returns the configured kinds, each once, in the file's order.
func (c *Config) Kinds() []string {
	var kinds []string
	for i := range c.Resources {
		if !slices.Contains(kinds, c.Resources[i].Kind) {
			kinds = append(kinds, c.Resources[i].Kind)
		}
	}
	return kinds
}

// Resource is one pass: a kind, which of its resources, and their entities.
type Resource struct {
	// Index is its place in the file's resources, from 0.
	Index int
	// Kind is a type of AWS CloudFormation, as AWS::Lambda::Function. KindLine is the line of
	// the file that names it, counted from 1.
	Kind     string
	KindLine int
	// Query is selector.query: a resource for which it gives nothing that
	// Python takes for true has no entities. nil selects all.
	Query *jq.Program
	// Regions are selector.aws.regions. nil means the account's home region;
	// none of them, no region at all.
	Regions []string
	// Accounts are selector.aws.accounts, which Port's exporter does not have:
	// the cloud accounts whose resources are exported. nil means all.
	Accounts []string
	// Models are, by region, the resource models with which the kind is listed,
	// each a JSON object; a region without any is listed with {}.
	Models map[string][]string
	// ListParameters are further parameters of the call that lists a kind which
	// Cloud Control does not list. They must not be changed.
	ListParameters map[string]any
	// Mappings make the entities.
	Mappings []Mapping
}

// Selects reports whether the pass exports the resources of a region of an
// account. home is the account's home region.
func (r *Resource) Selects(account, region, home string) bool {
	if r.Accounts != nil && !slices.Contains(r.Accounts, account) {
		return false
	}
	if r.Regions == nil {
		return region == home
	}
	return slices.Contains(r.Regions, region)
}

// Mapping makes one entity of a resource, or one of each of its items.
type Mapping struct {
	// Path is where it is in the file.
	Path string
	// Blueprint is a fixed text, never evaluated.
	Blueprint string
	// Identifier, and the optional Title, Icon and Team, are expressions over the
	// resource. nil is absent.
	Identifier, Title, Icon, Team *jq.Program
	// Properties and Relations are expressions, in the order of their keys.
	Properties, Relations []Field
	// Items gives the list of which each element, as .item beside the resource's
	// own keys, makes an entity. nil: the resource makes one.
	Items *jq.Program
}

// Field is one property or relation of a mapping.
type Field struct {
	Key   string
	Value *jq.Program
}
