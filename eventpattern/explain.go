package eventpattern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const (
	maxReportBranches = 20
	maxReportValues   = 10
)

// Report says why an event matches a pattern, or why it does not.
type Report struct {
	// Matched is what Match returns.
	Matched bool `json:"matched"`
	// Error says why the event cannot be read; there is nothing else then.
	Error string `json:"error,omitempty"`
	// Branches are the ways in which the pattern can be satisfied: one, unless it uses $or. Of an event that matches only the first
	// branch that is satisfied is here; of one that does not, the closest come first and at most 20 are kept.
	Branches []BranchReport `json:"branches,omitempty"`
	// Omitted is how many branches are left out.
	Omitted int `json:"omitted,omitempty"`
}

// BranchReport is what became of one branch of a pattern.
type BranchReport struct {
	Matched bool `json:"matched"`
	// DifferentElements says that every condition is satisfied, but only by different elements of one array.
	DifferentElements bool `json:"differentElements,omitempty"`
	// Conditions are the branch's fields, in the order of the pattern.
	Conditions []ConditionReport `json:"conditions"`
}

// ConditionReport is what became of one field of a pattern.
type ConditionReport struct {
	// Path is the field's name and those of the objects around it, joined by dots, e.g. "detail.state".
	Path string `json:"path"`
	// Expected is the field's list of alternatives as the pattern writes it, e.g. ["running", {"prefix": "stop"}].
	Expected json.RawMessage `json:"expected"`
	Matched  bool            `json:"matched"`
	// Found are the values that the event has there, at most 10, each as JSON.
	Found []json.RawMessage `json:"found,omitempty"`
	// More is how many further values the event has there.
	More int `json:"more,omitempty"`
	// Reason says in words why the condition is not satisfied, or what satisfies it if that is no value.
	Reason string `json:"reason,omitempty"`
}

// Explain matches an event and reports on every condition.
func (p *Pattern) Explain(event []byte) Report {
	r := takeReading()
	defer r.release()
	if err := r.read(event, p.root, len(p.paths)); err != nil {
		return Report{Error: err.Error()}
	}
	verdicts := make([]verdict, len(p.leaves))
	report := Report{}
	for _, branch := range p.branches {
		if r.matchesBranch(p, p.numbers, branch, verdicts) {
			report.Matched = true
			report.Branches = []BranchReport{r.reportBranch(p, branch, true, nil)}
			report.Omitted = len(p.branches) - 1
			return report
		}
	}
	var decoded any
	if err := json.Unmarshal(event, &decoded); err != nil {
		decoded = nil // reasons are less precise then
	}
	closest := r.closestBranches(p)
	kept := min(len(closest), maxReportBranches)
	report.Omitted = len(closest) - kept
	for _, branch := range closest[:kept] {
		report.Branches = append(report.Branches, r.reportBranch(p, branch, false, decoded))
	}
	return report
}

// closestBranches returns the branches by how many of their conditions are not satisfied.
func (r *reading) closestBranches(p *Pattern) [][]int32 {
	failing := make([]bool, len(p.leaves))
	for i := range p.leaves {
		failing[i] = r.judge(&p.leaves[i], p.leaves[i].path) == refused
	}
	distance := func(branch []int32) int {
		n := 0
		for _, i := range branch {
			if failing[i] {
				n++
			}
		}
		return n
	}
	closest := slices.Clone(p.branches)
	slices.SortStableFunc(closest, func(a, b []int32) int { return distance(a) - distance(b) })
	return closest
}

// reportBranch is given the decoded event if the branch does not match.
func (r *reading) reportBranch(p *Pattern, branch []int32, matched bool, decoded any) BranchReport {
	report := BranchReport{Matched: matched, DifferentElements: !matched}
	for _, i := range branch {
		condition := r.reportCondition(&p.leaves[i], decoded)
		if !condition.Matched {
			report.DifferentElements = false
		}
		report.Conditions = append(report.Conditions, condition)
	}
	return report
}

func (r *reading) reportCondition(l *leaf, decoded any) ConditionReport {
	report := ConditionReport{
		Path:     l.name,
		Expected: json.RawMessage(l.text),
		Matched:  r.judge(l, l.path) != refused,
	}
	for at := r.first[l.path]; at != none; at = r.values[at].next {
		if len(report.Found) == maxReportValues {
			report.More++
			continue
		}
		report.Found = append(report.Found, r.values[at].json())
	}
	report.Reason = report.reason(decoded)
	return report
}

func (c *ConditionReport) reason(decoded any) string {
	switch {
	case len(c.Found) == 0 && c.Matched:
		return "the event has no such field"
	case len(c.Found) == 0:
		return whyMissing(decoded, c.Path)
	case c.Matched:
		return ""
	case len(c.Found) == 1:
		return fmt.Sprintf("%s does not satisfy %s", c.Found[0], c.Expected)
	}
	return fmt.Sprintf("none of %s satisfies %s", c.foundList(), c.Expected)
}

func (c *ConditionReport) foundList() string {
	var list []string
	for _, v := range c.Found {
		list = append(list, string(v))
	}
	if c.More > 0 {
		list = append(list, fmt.Sprintf("%d more", c.More))
	}
	return strings.Join(list, ", ")
}

// json returns the value as JSON.
func (v *value) json() json.RawMessage {
	if v.kind != kindString {
		return bytes.Clone(v.text)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(string(v.text)); err != nil {
		panic(err) // a string can always be encoded
	}
	return bytes.TrimSpace(b.Bytes())
}

// whyMissing says what an event has at a path where it has no value.
func whyMissing(decoded any, path string) string {
	switch found := lookUp(decoded, path).(type) {
	case map[string]any:
		if len(found) > 0 {
			return "the event has an object there; only its fields can be matched"
		}
		return "the event has an empty object there, which counts as no value"
	case []any:
		return "the event has a list without values there, which counts as no value"
	}
	return "the event has no such field"
}

// lookUp returns the first thing at a path, or nil.
func lookUp(in any, path string) any {
	switch in := in.(type) {
	case map[string]any:
		if found, ok := in[path]; ok {
			return found
		}
		for i, c := range path {
			if c != '.' {
				continue
			}
			if found := lookUp(in[path[:i]], path[i+1:]); found != nil {
				return found
			}
		}
	case []any:
		for _, element := range in {
			if found := lookUp(element, path); found != nil {
				return found
			}
		}
	}
	return nil
}

// String tells the report to a person, in one or more lines.
func (r Report) String() string {
	var b strings.Builder
	switch {
	case r.Error != "":
		return "The event cannot be matched: " + r.Error
	case r.Matched:
		b.WriteString("The event matches.")
	case len(r.Branches) == 1 && r.Omitted == 0:
		b.WriteString("The event does not match.")
	default:
		fmt.Fprintf(&b, "The event matches none of the %d branches of $or; the closest first.", len(r.Branches)+r.Omitted)
	}
	for i, branch := range r.Branches {
		if !r.Matched && len(r.Branches) > 1 {
			fmt.Fprintf(&b, "\nBranch %d:", i+1)
		}
		branch.write(&b)
	}
	if r.Omitted > 0 && !r.Matched {
		fmt.Fprintf(&b, "\n%d more branches are left out.", r.Omitted)
	}
	return b.String()
}

func (r BranchReport) write(b *strings.Builder) {
	for _, c := range r.Conditions {
		switch {
		case !c.Matched:
			fmt.Fprintf(b, "\n  no   %s: %s", c.Path, c.Reason)
		case len(c.Found) > 1:
			fmt.Fprintf(b, "\n  yes  %s: one of %s satisfies %s", c.Path, c.foundList(), c.Expected)
		case len(c.Found) == 1:
			fmt.Fprintf(b, "\n  yes  %s: %s satisfies %s", c.Path, c.Found[0], c.Expected)
		default:
			fmt.Fprintf(b, "\n  yes  %s: %s", c.Path, c.Reason)
		}
	}
	if r.DifferentElements {
		b.WriteString("\n  Each condition is satisfied, but not all of them in the same element of an array.")
	}
}
