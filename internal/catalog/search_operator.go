package catalog

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// operator compares a property with the value of its rule.
type operator string

const (
	opEqual        operator = "="
	opNotEqual     operator = "!="
	opContains     operator = "contains"
	opContainsNot  operator = "doesNotContains"
	opBegins       operator = "beginsWith"
	opBeginsNot    operator = "doesNotBeginsWith"
	opEnds         operator = "endsWith"
	opEndsNot      operator = "doesNotEndsWith"
	opContainsAny  operator = "containsAny"
	opIn           operator = "in"
	opNotIn        operator = "notIn"
	opGreater      operator = ">"
	opGreaterEqual operator = ">="
	opLess         operator = "<"
	opLessEqual    operator = "<="
	opBetween      operator = "between"
	opBetweenNot   operator = "notBetween"
	opEmpty        operator = "isEmpty"
	opEmptyNot     operator = "isNotEmpty"
	opExpired      operator = "isExpired"
	opExpiredNot   operator = "isNotExpired"
)

// operandKind is what value an operator takes.
type operandKind int

const (
	operandNone       operandKind = iota
	operandEqual                  // anything, a range of time among it
	operandScalar                 // text, number or boolean
	operandText                   // text
	operandList                   // an array of scalars
	operandComparable             // a number or a time
	operandRange                  // a range of time
)

// operatorShape is how an operator is read. A negative one holds exactly where the one it
// negates does not, also where there is no value.
type operatorShape struct {
	operand operandKind
	negates operator
}

// operators are those of rules on properties and relations. Port: its names, as they stand.
var operators = map[operator]operatorShape{
	opEqual:        {operand: operandEqual},
	opNotEqual:     {operand: operandEqual, negates: opEqual},
	opContains:     {operand: operandScalar},
	opContainsNot:  {operand: operandScalar, negates: opContains},
	opBegins:       {operand: operandText},
	opBeginsNot:    {operand: operandText, negates: opBegins},
	opEnds:         {operand: operandText},
	opEndsNot:      {operand: operandText, negates: opEnds},
	opContainsAny:  {operand: operandList},
	opIn:           {operand: operandList},
	opNotIn:        {operand: operandList, negates: opIn},
	opGreater:      {operand: operandComparable},
	opGreaterEqual: {operand: operandComparable},
	opLess:         {operand: operandComparable},
	opLessEqual:    {operand: operandComparable},
	opBetween:      {operand: operandRange},
	opBetweenNot:   {operand: operandRange, negates: opBetween},
	opEmpty:        {operand: operandNone},
	opEmptyNot:     {operand: operandNone, negates: opEmpty},
	opExpired:      {operand: operandNone},
	opExpiredNot:   {operand: operandNone},
}

func operatorNames() string {
	names := []string{"relatedTo", "matchAny"}
	for op := range maps.Keys(operators) {
		names = append(names, string(op))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// operand is the value of a rule. One that is given by the caller or the clock has no value
// until bind.
type operand struct {
	value   any // nil, bool, float64, string or []any of these
	context string
	field   string // of the context
	preset  string
	span    *span
}

// The contexts of a value: properties of the caller, and of the teams of the caller.
const (
	contextUser  = "user"
	contextTeams = "userTeams"
)

// span is a range of time, both ends in it.
type span struct{ from, to time.Time }

func parseOperand(path string, op operator, v any) (operand, error) {
	kind := operators[op].operand
	if object, ok := v.(map[string]any); ok {
		return parseObjectOperand(path, op, kind, object)
	}
	if list, ok := v.([]any); ok {
		if kind != operandList && kind != operandEqual {
			return operand{}, queryError(path, "must not be an array for %s", op)
		}
		return operand{value: v}, checkList(path, list)
	}
	if err := checkScalar(path, v); err != nil {
		return operand{}, err
	}
	switch kind {
	case operandList:
		return operand{}, queryError(path, "must be an array for %s, not %s", op, jsonKind(v))
	case operandRange:
		return operand{}, queryError(path, `must be {"from": …, "to": …} or {"preset": …} for %s, not %s`, op, jsonKind(v))
	case operandScalar:
		if v == nil || v == "" {
			return operand{}, queryError(path, "must be text of one character at least, a number or a boolean for %s", op)
		}
	case operandText:
		if s, ok := v.(string); !ok || s == "" {
			return operand{}, queryError(path, "must be text of one character at least for %s", op)
		}
	case operandComparable:
		if s, ok := v.(string); ok {
			if _, isTime := parseTime(s); !isTime {
				return operand{}, queryError(path, "is %s; %s needs a number or a time such as 2026-11-21T08:30:00Z", inBrief(v), op)
			}
		} else if _, isNumber := v.(float64); !isNumber {
			return operand{}, queryError(path, "must be a number or a time for %s, not %s", op, jsonKind(v))
		}
	}
	return operand{value: v}, nil
}

func checkList(path string, list []any) error {
	if len(list) > maxQueryValues {
		return queryError(path, "has %d elements, more than the %d allowed", len(list), maxQueryValues)
	}
	for i, v := range list {
		if err := checkScalar(fmt.Sprintf("%s[%d]", path, i), v); err != nil {
			return err
		}
	}
	return nil
}

func checkScalar(path string, v any) error {
	switch v := v.(type) {
	case nil, bool, float64:
		return nil
	case string:
		return checkText(path, v)
	}
	return queryError(path, "must be null, text, a number or a boolean, not %s", jsonKind(v))
}

// parseObjectOperand reads a range of time, a preset or a value of the caller.
func parseObjectOperand(path string, op operator, kind operandKind, object map[string]any) (operand, error) {
	if _, has := object["context"]; has {
		return parseContext(path, op, kind, object)
	}
	if kind != operandRange && kind != operandEqual {
		return operand{}, queryError(path, "must not be an object for %s", op)
	}
	if _, has := object["preset"]; has {
		if err := onlyKeys(path, object, "preset"); err != nil {
			return operand{}, err
		}
		name, err := textOf(at(path, "preset"), object["preset"])
		if err != nil {
			return operand{}, err
		}
		if presets[name] == nil {
			return operand{}, queryError(at(path, "preset"), "is %q; use one of %s", name, strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
		}
		return operand{preset: name}, nil
	}
	if err := onlyKeys(path, object, "from", "to"); err != nil {
		return operand{}, err
	}
	s := &span{}
	var err error
	if s.from, err = parseMoment(at(path, "from"), object["from"]); err != nil {
		return operand{}, err
	}
	if s.to, err = parseMoment(at(path, "to"), object["to"]); err != nil {
		return operand{}, err
	}
	if s.to.Before(s.from) {
		return operand{}, queryError(at(path, "to"), "is before from")
	}
	return operand{span: s}, nil
}

func parseMoment(path string, v any) (time.Time, error) {
	text, err := textOf(path, v)
	if err != nil {
		return time.Time{}, err
	}
	t, ok := parseTime(text)
	if !ok {
		return t, queryError(path, "is %q; it must be a time such as 2026-11-21T08:30:00Z", shorten(text))
	}
	return t, nil
}

func parseContext(path string, op operator, kind operandKind, object map[string]any) (operand, error) {
	if err := onlyKeys(path, object, "context", "property"); err != nil {
		return operand{}, err
	}
	var o operand
	var err error
	if o.context, err = textOf(at(path, "context"), object["context"]); err != nil {
		return o, err
	}
	if o.field, err = keyOf(at(path, "property"), object["property"]); err != nil {
		return o, err
	}
	switch {
	case o.context == contextUser && (kind == operandEqual || kind == operandScalar || kind == operandText || kind == operandList):
	case o.context == contextTeams && kind == operandList:
	case o.context != contextUser && o.context != contextTeams:
		return o, queryError(at(path, "context"), `is %q; it must be "user" or "userTeams"`, o.context)
	default:
		return o, queryError(at(path, "context"), "%s does not go with %s", o.context, op)
	}
	return o, nil
}

// presets are ranges of time by name, of a time in UTC. Days are those of the calendar; the
// last so many days, months and years end now.
var presets = map[string]func(now time.Time) span{
	"today":        func(now time.Time) span { return day(now, 0) },
	"tomorrow":     func(now time.Time) span { return day(now, 1) },
	"yesterday":    func(now time.Time) span { return day(now, -1) },
	"lastDay":      func(now time.Time) span { return span{now.AddDate(0, 0, -1), now} },
	"lastWeek":     func(now time.Time) span { return span{now.AddDate(0, 0, -7), now} },
	"last2Weeks":   func(now time.Time) span { return span{now.AddDate(0, 0, -14), now} },
	"lastMonth":    func(now time.Time) span { return span{monthsBefore(now, 1), now} },
	"last3Months":  func(now time.Time) span { return span{monthsBefore(now, 3), now} },
	"last6Months":  func(now time.Time) span { return span{monthsBefore(now, 6), now} },
	"last12Months": func(now time.Time) span { return span{monthsBefore(now, 12), now} },
	"last2Years":   func(now time.Time) span { return span{monthsBefore(now, 24), now} },
	"last3Years":   func(now time.Time) span { return span{monthsBefore(now, 36), now} },
}

func day(now time.Time, offset int) span {
	from := time.Date(now.Year(), now.Month(), now.Day()+offset, 0, 0, 0, 0, time.UTC)
	return span{from, from.AddDate(0, 0, 1).Add(-1)}
}

// monthsBefore is the same day so many months before, or the last of that month where it
// has no such day.
func monthsBefore(t time.Time, months int) time.Time {
	d := t.AddDate(0, -months, 0)
	if d.Day() != t.Day() { // it ran over into the next month
		d = d.AddDate(0, 0, -d.Day())
	}
	return d
}

// holds says whether a value satisfies a positive operator. A value is nil, bool, float64,
// string, time.Time, []any or map[string]any. Of an array it is enough that one element does.
func holds(op operator, v any, o *operand, now time.Time) bool {
	list, isList := v.([]any)
	switch op {
	case opEmpty:
		return v == nil || isList && len(list) == 0
	case opEqual:
		if want, ok := o.value.([]any); ok {
			return isList && sameList(list, want)
		}
		if o.span == nil && o.value == nil {
			return v == nil
		}
	case opContains:
		if isList {
			return slices.ContainsFunc(list, func(item any) bool { return equal(item, o.value) })
		}
	}
	if !isList {
		return holdsOne(op, v, o, now)
	}
	return slices.ContainsFunc(list, func(item any) bool { return holdsOne(op, item, o, now) })
}

// holdsOne is holds for what is not an array.
func holdsOne(op operator, v any, o *operand, now time.Time) bool {
	text, isText := v.(string)
	if t, ok := v.(time.Time); ok {
		text, isText = stamp(t).(string) // as it is shown
	}
	want, _ := o.value.(string)
	switch op {
	case opEqual:
		if o.span != nil {
			return within(v, *o.span)
		}
		return equal(v, o.value)
	case opContainsAny, opIn:
		list, _ := o.value.([]any)
		return slices.ContainsFunc(list, func(w any) bool { return equal(v, w) })
	case opContains:
		if want != "" {
			return isText && strings.Contains(text, want)
		}
		return equal(v, o.value)
	case opBegins:
		return isText && strings.HasPrefix(text, want)
	case opEnds:
		return isText && strings.HasSuffix(text, want)
	case opGreater, opGreaterEqual, opLess, opLessEqual:
		c, ok := order(v, o.value)
		return ok && (c > 0 && (op == opGreater || op == opGreaterEqual) ||
			c < 0 && (op == opLess || op == opLessEqual) ||
			c == 0 && (op == opGreaterEqual || op == opLessEqual))
	case opBetween:
		return o.span != nil && within(v, *o.span)
	case opExpired, opExpiredNot:
		t, ok := timeOf(v)
		return ok && t.After(now) == (op == opExpiredNot)
	}
	return false
}

// equal compares scalars of the same kind; times are equal when they are the same moment.
func equal(v, want any) bool {
	switch w := want.(type) {
	case nil:
		return v == nil
	case string:
		if s, ok := v.(string); ok && s == w {
			return true
		}
		t, isTime := parseTime(w)
		if !isTime {
			return false
		}
		moment, ok := timeOf(v)
		return ok && moment.Equal(t)
	case bool:
		b, ok := v.(bool)
		return ok && b == w
	}
	f, ok := number(v)
	wanted, isNumber := number(want)
	return ok && isNumber && f == wanted
}

func sameList(list, want []any) bool {
	return slices.EqualFunc(list, want, func(v, w any) bool { return equal(v, w) || v != nil && w != nil && reflect.DeepEqual(v, w) })
}

// order compares a value with the number or time of a rule.
func order(v, want any) (int, bool) {
	if w, ok := number(want); ok {
		f, ok := number(v)
		switch {
		case !ok:
			return 0, false
		case f < w:
			return -1, true
		case f > w:
			return 1, true
		}
		return 0, true
	}
	text, _ := want.(string)
	w, isTime := parseTime(text)
	t, ok := timeOf(v)
	return t.Compare(w), ok && isTime
}

func timeOf(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case string:
		return parseTime(v)
	}
	return time.Time{}, false
}

func within(v any, s span) bool {
	t, ok := timeOf(v)
	return ok && !t.Before(s.from) && !t.After(s.to)
}
