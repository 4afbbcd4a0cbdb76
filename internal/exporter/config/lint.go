package config

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/rialto-bus/rialto/internal/jq"
)

// Port: the identifiers of entities.
var entityPattern = regexp.MustCompile(`^[\p{L}0-9@_.+:\\/=-]+$`)

// maxEntityIdentifier is how long the identifier of an entity may be, in
// characters. Port: its limit.
const maxEntityIdentifier = 1000

// SampleRecord is an event record that Lint tries.
type SampleRecord struct {
	// Name is the file or the rule that it is of; it is the path of its problems.
	Name string
	// Body is the body of the message.
	Body []byte
	// Want is what one of its records has to be, in all that is not zero here; nil:
	// that it can be read, and that its kind is configured, is all.
	Want *Record
}

// Lint tries a configuration with samples of resources, by kind, and of event
// records, and returns what is wrong, and as warnings what may be. Without
// samples it returns what can be told without.
func Lint(ctx context.Context, ev *jq.Evaluator, cfg *Config, samples map[string][]map[string]any, records []SampleRecord) []Problem {
	l := &linter{ev: ev, cfg: cfg}
	l.problems = append(l.problems, cfg.Warnings...)
	for i := range cfg.Resources {
		r := &cfg.Resources[i]
		path := fmt.Sprintf("resources[%d]", r.Index)
		if r.Regions != nil && len(r.Regions) == 0 {
			l.warnf(path+".selector.aws.regions", "is empty: nothing is exported")
		}
		if r.Accounts != nil && len(r.Accounts) == 0 {
			l.warnf(path+".selector.aws.accounts", "is empty: nothing is exported")
		}
		if len(samples[r.Kind]) > 0 {
			l.pass(ctx, r, path, samples[r.Kind])
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(samples)) {
		if len(cfg.Of(kind)) == 0 {
			l.warnf(kind, "there are samples of this kind, and the configuration does not export it")
		}
	}
	for _, s := range records {
		l.record(ctx, s)
	}
	return l.problems
}

type linter struct {
	ev       *jq.Evaluator
	cfg      *Config
	problems []Problem
}

func (l *linter) failf(path, format string, args ...any) {
	l.problems = append(l.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (l *linter) warnf(path, format string, args ...any) {
	l.problems = append(l.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...), Warning: true})
}

// pass maps the samples of a pass's kind.
func (l *linter) pass(ctx context.Context, r *Resource, path string, samples []map[string]any) {
	t := &tried{made: map[[2]string]int{}, given: map[string]bool{}}
	for i, sample := range samples {
		name := fmt.Sprintf("sample %d of %s", i+1, r.Kind)
		m, err := r.Map(ctx, l.ev, sample)
		if err != nil {
			l.failf(path, "%s cannot be mapped: %v", name, err)
			continue
		}
		for _, p := range m.Problems {
			l.failf(p.Path, "%s (%s)", p.Message, name)
		}
		if !m.Selected {
			t.unselected++
			continue
		}
		t.selected++
		for _, e := range m.Entities {
			l.entity(r, t, e, i, name)
		}
	}
	switch {
	case t.unselected == len(samples) && r.Query != nil:
		l.warnf(path+".selector.query", "selects none of the %d samples", len(samples))
	case t.selected > 0:
		l.alwaysNull(r, t)
	}
}

// tried is what came of a pass's samples.
type tried struct {
	selected   int
	unselected int
	made       map[[2]string]int // entity → the sample that made it
	given      map[string]bool   // blueprint and key of properties and relations that had a value
}

// entity checks an entity that a sample made.
func (l *linter) entity(r *Resource, t *tried, e Entity, sample int, name string) {
	path := r.pathOf(e.Blueprint) + ".identifier"
	if !validEntity(e.Identifier) {
		l.failf(path, "gave %q, which is not the identifier of an entity: letters, digits and @_.+:\\/=- are possible, at most %d (%s)", shorten(e.Identifier), maxEntityIdentifier, name)
	}
	key := [2]string{e.Blueprint, e.Identifier}
	if other, twice := t.made[key]; twice && other != sample {
		l.warnf(path, "gave %q for sample %d too: they are one entity (%s)", shorten(e.Identifier), other+1, name)
	}
	t.made[key] = sample
	for k, v := range e.Properties {
		if v != nil {
			t.given[e.Blueprint+" properties."+k] = true
		}
	}
	for k, v := range e.Relations {
		if v != nil {
			t.given[e.Blueprint+" relations."+k] = true
		}
		for _, target := range targetsOf(v) {
			if !validEntity(target) {
				l.failf(r.pathOf(e.Blueprint)+".relations."+k, "gave %q, which is not the identifier of an entity (%s)", shorten(target), name)
			}
		}
	}
}

// pathOf is where in the file the first mapping to a blueprint is.
func (r *Resource) pathOf(blueprint string) string {
	for i := range r.Mappings {
		if r.Mappings[i].Blueprint == blueprint {
			return r.Mappings[i].Path
		}
	}
	return fmt.Sprintf("resources[%d]", r.Index)
}

func validEntity(identifier string) bool {
	return entityPattern.MatchString(identifier) && identifier != "." && identifier != ".." && len([]rune(identifier)) <= maxEntityIdentifier
}

func targetsOf(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []string:
		return v
	}
	return nil
}

// alwaysNull warns of what is null whatever the sample, which is what a key that
// is written wrongly looks like.
func (l *linter) alwaysNull(r *Resource, t *tried) {
	for _, m := range r.Mappings {
		for _, f := range m.Properties {
			if !t.given[m.Blueprint+" properties."+f.Key] {
				l.warnf(m.Path+".properties."+f.Key, "is null for all the samples (%s)", shorten(f.Value.String()))
			}
		}
		for _, f := range m.Relations {
			if !t.given[m.Blueprint+" relations."+f.Key] {
				l.warnf(m.Path+".relations."+f.Key, "is null for all the samples (%s)", shorten(f.Value.String()))
			}
		}
	}
}

// record reads a sample of an event record.
func (l *linter) record(ctx context.Context, s SampleRecord) {
	records, err := ParseRecords(ctx, l.ev, s.Body)
	if err != nil {
		l.failf(s.Name, "%v", err)
		return
	}
	if len(records) == 0 {
		if s.Want != nil {
			l.failf(s.Name, "names no resource; it should say %s", describe(*s.Want))
			return
		}
		l.warnf(s.Name, "names no resource")
		return
	}
	passes := l.cfg.Of(records[0].Kind)
	if len(passes) == 0 {
		l.failf(s.Name, "is of kind %s, which the configuration does not export", records[0].Kind)
		return
	}
	if !slices.ContainsFunc(passes, func(r *Resource) bool {
		return r.Regions == nil || slices.Contains(r.Regions, records[0].Region)
	}) {
		l.warnf(s.Name, "is of region %s, from which the configuration does not export %s", records[0].Region, records[0].Kind)
	}
	if s.Want != nil && !slices.ContainsFunc(records, s.Want.agrees) {
		l.failf(s.Name, "says %s; it should say %s", describe(records[0]), describe(*s.Want))
	}
}

// agrees reports whether a record is what is wanted, in all that is not zero there.
func (want *Record) agrees(r Record) bool {
	same := func(w, g string) bool { return w == "" || w == g }
	return want.Delete == r.Delete && same(want.Kind, r.Kind) && same(want.Region, r.Region) &&
		same(want.Identifier, r.Identifier) && same(want.Account, r.Account)
}

func describe(r Record) string {
	action := "upsert"
	if r.Delete {
		action = "delete"
	}
	text := fmt.Sprintf("%s of %s %q", action, r.Kind, shorten(r.Identifier))
	if r.Region != "" {
		text += " in " + r.Region
	}
	if r.Account != "" {
		text += " of account " + r.Account
	}
	return text
}
