package resource

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// CheckDesired says why a model cannot be asked for: what breaks the schema, as Problems, and
// properties that only the service sets, as an *Error.
func (s *Schema) CheckDesired(m Model) error {
	if problems := s.Validate(m); len(problems) > 0 {
		return problems
	}
	if named := s.given(s.ReadOnly, m); len(named) > 0 {
		return Errorf(InvalidRequest, "Encountered unsupported properties: readOnlyProperties [%s] cannot be given", strings.Join(named, ", "))
	}
	return nil
}

// given are those of the paths that the model has a value at, as pointers.
func (s *Schema) given(paths []Path, m Model) []string {
	var named []string
	for _, p := range paths {
		if p.in(m) {
			named = append(named, p.String())
		}
	}
	return named
}

// Change is a top-level property whose values differ.
type Change struct {
	Property string
	// Replacement says that the resource must be replaced to have the new value; Conditional
	// that it may have to be, as the handler will find out.
	Replacement, Conditional bool
}

// Changes compares what was asked for before with what is asked for now, in the order of
// names. Properties that only the service sets are left out.
func (s *Schema) Changes(previous, desired Model) ([]Change, error) {
	before, err := normalize(previous)
	if err != nil {
		return nil, err
	}
	after, err := normalize(desired)
	if err != nil {
		return nil, err
	}
	before, after = Without(before, s.ReadOnly), Without(after, s.ReadOnly)
	names := maps.Clone(before)
	maps.Copy(names, after)
	var changes []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if same(before[name], after[name]) {
			continue
		}
		changes = append(changes, Change{
			Property:    name,
			Replacement: changed(s.CreateOnly, name, before, after),
			Conditional: changed(s.ConditionalCreateOnly, name, before, after),
		})
	}
	return changes, nil
}

// changed says whether what is at one of the paths below a property differs.
func changed(paths []Path, property string, before, after Model) bool {
	return slices.ContainsFunc(paths, func(p Path) bool { return p[0] == property && p.differs(before, after) })
}

// changedPaths are those of the paths whose values differ, as pointers.
func changedPaths(paths []Path, before, after Model) []string {
	var named []string
	for _, p := range paths {
		if p.differs(before, after) {
			named = append(named, p.String())
		}
	}
	return named
}

// differs says whether two models have other values at the path.
func (p Path) differs(before, after Model) bool {
	return !slices.EqualFunc(p.values(before), p.values(after), same)
}

// values are all values at the path, in order.
func (p Path) values(v any) []any {
	if v == nil {
		return nil
	}
	if len(p) == 0 {
		return []any{v}
	}
	var all []any
	switch v := v.(type) {
	case map[string]any:
		if p[0] != "*" {
			return p[1:].values(v[p[0]])
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			all = append(all, p[1:].values(v[name])...)
		}
	case []any:
		for _, item := range v {
			all = append(all, p.step().values(item)...)
		}
	}
	return all
}

// same says whether two JSON values are the same; numbers are by value.
func same(a, b any) bool {
	if numA, ok := number(a); ok {
		numB, ok := number(b)
		return ok && numA.Cmp(numB) == 0
	}
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, same)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	}
	return reflect.DeepEqual(a, b)
}

// invalidModel is what is said of a model that breaks its schema. AWS: in these words.
func invalidModel(err error) string { return fmt.Sprintf("Model validation failed (%v)", err) }
