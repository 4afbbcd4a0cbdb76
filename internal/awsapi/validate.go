package awsapi

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Validation is how a service words what is wrong with a request.
type Validation uint8

// The ways of validation.
const (
	// ValidationAll reports every violation in one message: most services.
	ValidationAll Validation = iota
	// ValidationSQS reports the first missing parameter; values are checked by
	// the service itself, whose messages differ by operation.
	ValidationSQS
	// ValidationEC2 reports the first violation in EC2's words.
	ValidationEC2
)

const (
	notNull  = "Member must not be null"
	enumRule = "Member must satisfy enum value set: "
	// maxViolations and maxShownValue bound the answer to a request that is
	// wrong in many places or in a large one.
	maxViolations = 100
	maxShownValue = 64 << 10
)

// Validate checks the input of an operation against the constraints of its
// shape. Its error is worded as the service words it: with every violation,
// patterns first, then lengths, then enums.
func (a *API) Validate(protocol Protocol, shape *Shape, in any) error {
	v := &validator{style: a.Validation}
	v.structure(shape, reflect.ValueOf(in).Elem(), nil)
	if len(v.found) == 0 {
		return nil
	}
	switch a.Validation {
	case ValidationSQS:
		return Errorf("MissingRequiredParameterException", "The request must contain the parameter %s.", v.found[0].param)
	case ValidationEC2:
		return v.found[0].ec2()
	}
	return Errorf(a.validationCode(protocol), "%s", v.message())
}

func (a *API) validationCode(protocol Protocol) string {
	switch {
	case a.ValidationCode != "":
		return a.ValidationCode
	case protocol != JSON:
		return "ValidationError"
	}
	return "ValidationException"
}

// violation is one constraint that a value breaks.
type violation struct {
	path    string // targets.1.member.id
	param   string // as in a query request: Targets.1.Id
	value   string // as AWS prints it
	rule    string
	shape   *Shape
	missing bool
}

type validator struct {
	style Validation
	found []violation
	total int
}

func (v *validator) message() string {
	slices.SortStableFunc(v.found, func(a, b violation) int { return a.late() - b.late() })
	parts := make([]string, len(v.found))
	for i, f := range v.found {
		value := "'" + f.value + "'"
		if f.missing {
			value = "null"
		}
		parts[i] = fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", value, f.path, f.rule)
	}
	noun := "errors"
	if v.total == 1 {
		noun = "error"
	}
	return fmt.Sprintf("%d validation %s detected: %s", v.total, noun, strings.Join(parts, "; "))
}

// late is 1 for an enum's violation: AWS names those after the others, also of
// other members.
func (f violation) late() int {
	if strings.HasPrefix(f.rule, enumRule) {
		return 1
	}
	return 0
}

// ec2 is the error in EC2's words.
func (f violation) ec2() error {
	if f.missing {
		return Errorf("MissingParameter", "The request must contain the parameter %s", f.param)
	}
	if f.shape.Kind == Integer || f.shape.Kind == Long {
		_, rule, _ := strings.Cut(f.rule, "Member must have ")
		return Errorf("InvalidParameterValue", "Value ( %s ) for parameter %s is invalid. Expecting a %s.", f.value, f.param, rule)
	}
	return Errorf("InvalidParameterValue", "Invalid value '%s' for %s.", f.value, f.param)
}

// place is where in a request a value stands. Its names are only put together
// for a value that breaks a rule.
type place struct {
	up     *place
	member *Member // nil: an item or a map's value
	item   int     // from 1
	key    string  // of a map's value
}

// path is the place as validation messages name it: targets.1.member.id.
func (p *place) path() string {
	if p == nil {
		return ""
	}
	switch up := p.up.path(); {
	case p.member != nil:
		return join(up, lowerFirst(p.member.Name))
	case p.item > 0:
		return up + "." + strconv.Itoa(p.item) + ".member"
	default:
		return up + "." + p.key + ".member"
	}
}

// param is the place as a query request names it, with EC2's names on the wire
// or with the model's.
func (p *place) param(style Validation) string {
	if p == nil {
		return ""
	}
	switch up := p.up.param(style); {
	case p.member != nil && style == ValidationEC2:
		return join(up, p.member.InName())
	case p.member != nil:
		return join(up, p.member.Name)
	case p.item > 0:
		return up + "." + strconv.Itoa(p.item)
	default:
		return up + "." + p.key
	}
}

func (v *validator) add(at *place, shape *Shape, value reflect.Value, rule string) {
	missing := !value.IsValid()
	if v.style == ValidationSQS && !missing {
		return
	}
	v.total++
	if len(v.found) == maxViolations {
		return
	}
	found := violation{path: at.path(), param: at.param(v.style), rule: rule, shape: shape, missing: missing}
	if !missing {
		found.value = shape.shown(value)
	}
	v.found = append(v.found, found)
}

func (v *validator) structure(shape *Shape, s reflect.Value, at *place) {
	for i := range shape.Members {
		member := &shape.Members[i]
		field := s.Field(i)
		here := place{up: at, member: member}
		if absent(field) {
			if member.Required {
				v.add(&here, member.Shape, reflect.Value{}, notNull)
			}
			continue
		}
		if !member.Shape.free() {
			v.value(member.Shape, field, &here)
		}
	}
}

// free reports whether no value of the shape can break a rule.
func (s *Shape) free() bool {
	return !s.nested() && !s.constrained()
}

func (s *Shape) constrained() bool {
	return s.Pattern != nil || s.HasMin || s.HasMax || len(s.Enum) > 0
}

func (v *validator) value(shape *Shape, value reflect.Value, at *place) {
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	for _, rule := range shape.broken(value) {
		v.add(at, shape, value, rule)
	}
	switch shape.Kind {
	case Structure:
		v.structure(shape, value, at)
	case List:
		v.list(shape, value, at)
	case Map:
		v.mapping(shape, value, at)
	}
}

// list checks the items. A list of plain values is reported as a whole, with
// all that is asked of an item.
func (v *validator) list(shape *Shape, value reflect.Value, at *place) {
	if shape.Elem.free() {
		return
	}
	for i := range value.Len() {
		here := place{up: at, item: i + 1}
		if shape.Elem.nested() {
			v.value(shape.Elem, value.Index(i), &here)
			continue
		}
		if len(shape.Elem.broken(value.Index(i))) > 0 {
			v.add(at, shape, value, "Member must satisfy constraint: ["+strings.Join(shape.Elem.rules(), ", ")+"]")
			return
		}
	}
}

// nested reports whether values of the shape hold others.
func (s *Shape) nested() bool { return s.Kind == Structure || s.Kind == List || s.Kind == Map }

// mapping checks keys and values. Keys, and plain values, are reported for the
// map as a whole.
func (v *validator) mapping(shape *Shape, value reflect.Value, at *place) {
	badKey, badValue := false, false
	for _, key := range sortedKeys(value) {
		badKey = badKey || len(shape.Key.broken(reflect.ValueOf(key))) > 0
		item := value.MapIndex(reflect.ValueOf(key))
		if shape.Elem.nested() {
			v.value(shape.Elem, item, &place{up: at, key: key})
			continue
		}
		badValue = badValue || len(shape.Elem.broken(item)) > 0
	}
	if badKey {
		v.add(at, shape, value, "Map keys must satisfy constraint: ["+strings.Join(shape.Key.rules(), ", ")+"]")
	}
	if badValue {
		v.add(at, shape, value, "Map value must satisfy constraint: ["+strings.Join(shape.Elem.rules(), ", ")+"]")
	}
}

// broken lists the rules that a value breaks: pattern, length or value, enum.
func (s *Shape) broken(value reflect.Value) []string {
	if !s.constrained() {
		return nil
	}
	var rules []string
	if s.Pattern != nil && !s.Pattern.Matches(value.String()) {
		rules = append(rules, s.patternRule())
	}
	if s.HasMin || s.HasMax {
		size := s.size(value)
		if s.HasMax && size > s.Max {
			rules = append(rules, s.maxRule())
		}
		if s.HasMin && size < s.Min {
			rules = append(rules, s.minRule())
		}
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value.String()) {
		rules = append(rules, s.enumRule())
	}
	return rules
}

// rules lists everything that is asked of a value, in the order in which AWS
// prints it for keys and items.
func (s *Shape) rules() []string {
	var rules []string
	if s.HasMax {
		rules = append(rules, s.maxRule())
	}
	if s.HasMin {
		rules = append(rules, s.minRule())
	}
	if s.Pattern != nil {
		rules = append(rules, s.patternRule())
	}
	if len(s.Enum) > 0 {
		rules = append(rules, s.enumRule())
	}
	return rules
}

func (s *Shape) patternRule() string {
	return "Member must satisfy regular expression pattern: " + s.Pattern.Text
}

func (s *Shape) enumRule() string {
	return enumRule + "[" + strings.Join(s.Enum, ", ") + "]"
}

func (s *Shape) maxRule() string {
	return fmt.Sprintf("Member must have %s less than or equal to %d", s.measure(), s.Max)
}

func (s *Shape) minRule() string {
	return fmt.Sprintf("Member must have %s greater than or equal to %d", s.measure(), s.Min)
}

// measure is the word for what Min and Max bound.
func (s *Shape) measure() string {
	switch s.Kind {
	case Integer, Long, Double:
		return "value"
	}
	return "length"
}

// size is what Min and Max bound: characters, bytes, items or the number itself.
func (s *Shape) size(value reflect.Value) int64 {
	switch s.Kind {
	case Integer, Long:
		return value.Int()
	case Double:
		return int64(value.Float())
	case String:
		return int64(utf8.RuneCountInString(value.String()))
	}
	return int64(value.Len())
}

func lowerFirst(name string) string {
	r, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(r)) + name[size:]
}

// shown is a value as AWS prints it in a validation message, where Java's
// toString made it.
func (s *Shape) shown(value reflect.Value) string {
	var b strings.Builder
	s.print(&b, value)
	return shorten(b.String(), maxShownValue)
}

func (s *Shape) print(b *strings.Builder, value reflect.Value) {
	if b.Len() > maxShownValue {
		return
	}
	if s.Sensitive {
		b.WriteString("***Sensitive Data Redacted***")
		return
	}
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	switch s.Kind {
	case String:
		b.WriteString(value.String())
	case Timestamp:
		b.WriteString(value.Interface().(time.Time).UTC().Format("Mon Jan 02 15:04:05 UTC 2006"))
	case Blob:
		fmt.Fprintf(b, "java.nio.HeapByteBuffer[pos=0 lim=%d cap=%d]", value.Len(), value.Len())
	case List:
		s.printList(b, value)
	case Map:
		s.printMap(b, value)
	case Structure:
		s.printStructure(b, value)
	default:
		fmt.Fprint(b, value.Interface())
	}
}

func (s *Shape) printList(b *strings.Builder, value reflect.Value) {
	b.WriteByte('[')
	for i := range value.Len() {
		if i > 0 {
			b.WriteString(", ")
		}
		s.Elem.print(b, value.Index(i))
	}
	b.WriteByte(']')
}

func (s *Shape) printMap(b *strings.Builder, value reflect.Value) {
	b.WriteByte('{')
	for i, key := range sortedKeys(value) {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(key + "=")
		s.Elem.print(b, value.MapIndex(reflect.ValueOf(key)))
	}
	b.WriteByte('}')
}

func (s *Shape) printStructure(b *strings.Builder, value reflect.Value) {
	order := s.ToString
	if order == nil {
		for i := range s.Members {
			order = append(order, s.Members[i].Name)
		}
	}
	b.WriteString(s.Name + "(")
	for i, name := range order {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(lowerFirst(name) + "=")
		at, ok := s.member([]byte(name))
		if !ok || absent(value.Field(at)) {
			b.WriteString("null")
			continue
		}
		s.Members[at].Shape.print(b, value.Field(at))
	}
	b.WriteByte(')')
}
