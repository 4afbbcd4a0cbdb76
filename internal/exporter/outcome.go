package exporter

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// ending is what a plan comes to once the results of its changes are known.
type ending struct {
	p    *plan
	rows []*Resource // in the order of steps
	// steps are those of rows, final their entities.
	steps []*step
	final [][]catalog.EntityRef
	// cascade are entities that were deleted with others.
	cascade []catalog.EntityRef
	left    []Key
}

// finish works out what is known once the changes were made with these results; nil
// stands for all of them having been made, and none but those of changed resources being new. It may be called more than once.
func (p *plan) finish(results []catalog.ChangeResult) ([]Applied, *ending) {
	end := &ending{p: p, left: p.left}
	out := make([]Applied, len(p.steps))
	for i, planned := range p.steps {
		if planned.after == nil {
			out[i] = planned.out
			continue
		}
		s := *planned
		row := *planned.after
		s.after = &row
		wanted := s.settle(p, results)
		end.rows = append(end.rows, s.after)
		end.steps = append(end.steps, planned)
		end.final = append(end.final, wanted)
		for _, n := range s.changes {
			if results != nil {
				end.cascade = append(end.cascade, results[n].Also...)
			}
		}
		s.out.Entities, s.out.Removed = wanted, without(s.dropped, wanted)
		s.after.Entities = wanted
		out[i] = s.out
	}
	return out, end
}

// settle takes in the results of a step's changes, and returns the entities that the
// resource has then.
func (s *step) settle(p *plan, results []catalog.ChangeResult) []catalog.EntityRef {
	wanted := slices.Clone(s.wanted)
	wrote := results == nil && len(s.changes) > 0 && s.out.Changed
	for _, n := range s.changes {
		if results == nil {
			break
		}
		c, res := &p.changes[n], &results[n]
		ref := catalog.EntityRef{Blueprint: c.Blueprint, Identifier: c.Identifier}
		wrote = wrote || res.Err == nil && s.changedBy(p, res)
		switch {
		case res.Err == nil, c.Delete && isNotFound(res.Err):
		case c.Delete:
			wanted = union(wanted, []catalog.EntityRef{ref})
			s.fail(res.Err, true)
		default:
			s.fail(res.Err, passing(res.Err))
			if !s.had(ref) && (p.x.o.Sink.Transactional() || !ambiguous(res.Err)) {
				wanted = without(wanted, []catalog.EntityRef{ref})
			}
		}
	}
	if s.d.verdict == found && s.out.Outcome == "" {
		s.out.Outcome = s.outcome(wanted, wrote)
	}
	if s.out.Outcome == Failed && s.out.Retry && !p.o.NoRecheck && s.after.Rechecks < maxRechecks && s.d.after == 0 {
		if s.before != nil {
			s.after.Rechecks = s.before.Rechecks
		}
		s.recheck(p.x.now(), recheckDelay(s.after.Rechecks), "it could not be written")
	}
	if s.before == nil || s.out.Changed || wrote || len(without(wanted, s.before.Entities)) > 0 || len(without(s.before.Entities, wanted)) > 0 {
		s.after.Cause = s.read.Cause
	}
	return wanted
}

// changedBy reports whether a change that was made is one. A sink elsewhere says no more than
// that an entity is new or gone: the rest is what it should not have had before.
func (s *step) changedBy(p *plan, res *catalog.ChangeResult) bool {
	if p.x.o.Sink.Transactional() {
		return !res.Unchanged
	}
	failed := s.before != nil && s.before.Error != ""
	return s.out.Changed || res.Created || res.Deleted || failed
}

// outcome names what came of a resource that was found.
func (s *step) outcome(wanted []catalog.EntityRef, wrote bool) Outcome {
	had := s.before != nil && len(s.before.Entities) > 0
	switch {
	case !s.mapped.selected:
		return Deselected
	case !had && len(wanted) > 0:
		return Created
	case wrote, len(s.dropped) > 0:
		return Updated
	}
	return Unchanged
}

func (s *step) had(ref catalog.EntityRef) bool {
	return s.before != nil && slices.Contains(s.before.Entities, ref)
}

func isNotFound(err error) bool {
	e, ok := errors.AsType[*catalog.Error](err)
	return ok && e.Status == http.StatusNotFound
}

// claimed are the entities that resources have and did not have before.
func (e *ending) claimed() []claim {
	var list []claim
	for i, row := range e.rows {
		for _, ref := range e.final[i] {
			if !e.steps[i].had(ref) {
				list = append(list, claim{row.id, ref})
			}
		}
	}
	return list
}

// dropped are the entities that resources had, or were to have, and have not.
func (e *ending) dropped() []claim {
	var list []claim
	for i, row := range e.rows {
		s := e.steps[i]
		var had []catalog.EntityRef
		if s.before != nil {
			had = s.before.Entities
		}
		if s.intent != nil {
			had = union(had, s.wanted)
		}
		for _, ref := range without(had, e.final[i]) {
			list = append(list, claim{row.id, ref})
		}
	}
	return list
}

// due is when the first of the resources is to be read again; zero if none is.
func (e *ending) due() time.Time {
	var first time.Time
	for _, r := range e.rows {
		if !r.RecheckAt.IsZero() && (first.IsZero() || r.RecheckAt.Before(first)) {
			first = r.RecheckAt
		}
	}
	if len(e.cascade) > 0 || len(e.left) > 0 {
		return e.p.x.now()
	}
	return first
}

// recheckAll has all resources read again.
func (e *ending) recheckAll(at time.Time, why string) {
	for _, r := range e.rows {
		r.RecheckAt, r.RecheckWhy = at, why
	}
}

// maxError is how many bytes of an error are kept.
const maxError = 2000

// clip cuts a text to what is kept of an error, and makes it fit to be stored: PostgreSQL
// takes neither NUL characters nor what is not UTF-8.
func clip(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
	if len(text) <= maxError {
		return text
	}
	text = text[:maxError]
	for len(text) > 0 && !utf8.RuneStart(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	if len(text) > 0 {
		text = text[:len(text)-1]
	}
	return text + "…"
}
