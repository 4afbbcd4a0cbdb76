package template

import (
	"sort"
	"strings"
)

// place says where in a template a function stands: each place allows its own.
type place uint8

const (
	inResource  place = 1 << iota // properties, metadata
	inOutput                      // value and export name
	inCondition                   // the Conditions section
	inRule                        // the Rules section
	inPolicy                      // DeletionPolicy and UpdateReplacePolicy, with AWS::LanguageExtensions
)

// The names of the functions, in their long form.
const (
	fnRef              = "Ref"
	fnCondition        = "Condition"
	fnBase64           = "Fn::Base64"
	fnCidr             = "Fn::Cidr"
	fnFindInMap        = "Fn::FindInMap"
	fnGetAtt           = "Fn::GetAtt"
	fnGetAZs           = "Fn::GetAZs"
	fnIf               = "Fn::If"
	fnImportValue      = "Fn::ImportValue"
	fnJoin             = "Fn::Join"
	fnLength           = "Fn::Length"
	fnSelect           = "Fn::Select"
	fnSplit            = "Fn::Split"
	fnSub              = "Fn::Sub"
	fnToJSONString     = "Fn::ToJsonString"
	fnAnd              = "Fn::And"
	fnEquals           = "Fn::Equals"
	fnNot              = "Fn::Not"
	fnOr               = "Fn::Or"
	fnContains         = "Fn::Contains"
	fnEachMemberEquals = "Fn::EachMemberEquals"
	fnEachMemberIn     = "Fn::EachMemberIn"
)

// languageExtensions is the one transform that is supported.
const languageExtensions = "AWS::LanguageExtensions"

// function is what is known of a function before it is evaluated.
type function struct {
	allowed   place
	extension bool // needs AWS::LanguageExtensions
	shape     func(n, arg *node) error
}

var functions = map[string]function{
	fnRef:              {allowed: inResource | inOutput | inCondition | inRule | inPolicy, shape: shapeRef},
	fnGetAtt:           {allowed: inResource | inOutput, shape: shapeGetAtt},
	fnSub:              {allowed: inResource | inOutput | inCondition | inPolicy, shape: shapeSub},
	fnJoin:             {allowed: inResource | inOutput | inCondition | inPolicy, shape: shapeJoin},
	fnSplit:            {allowed: inResource | inOutput | inCondition | inPolicy, shape: shapeSplit},
	fnSelect:           {allowed: inResource | inOutput | inCondition | inPolicy, shape: shapeSelect},
	fnFindInMap:        {allowed: inResource | inOutput | inCondition | inPolicy, shape: shapeFindInMap},
	fnIf:               {allowed: inResource | inOutput | inPolicy, shape: shapeIf},
	fnBase64:           {allowed: inResource | inOutput, shape: shapeOneString},
	fnImportValue:      {allowed: inResource | inOutput, shape: shapeOneString},
	fnGetAZs:           {allowed: inResource | inOutput, shape: shapeOneString},
	fnCidr:             {allowed: inResource | inOutput, shape: shapeCidr},
	fnLength:           {allowed: inResource | inOutput | inCondition, extension: true, shape: shapeLength},
	fnToJSONString:     {allowed: inResource | inOutput, extension: true, shape: shapeToJSONString},
	fnEquals:           {allowed: inCondition | inRule, shape: shapeEquals},
	fnAnd:              {allowed: inCondition | inRule, shape: shapeAndOr},
	fnOr:               {allowed: inCondition | inRule, shape: shapeAndOr},
	fnNot:              {allowed: inCondition | inRule, shape: shapeNot},
	fnCondition:        {allowed: inCondition, shape: shapeCondition},
	fnContains:         {allowed: inRule, shape: shapeContains},
	fnEachMemberEquals: {allowed: inRule, shape: shapeContains},
	fnEachMemberIn:     {allowed: inRule, shape: shapeEachMemberIn},
}

// refused are functions of CloudFormation that are not supported, with the reason.
var refused = map[string]string{
	"Fn::Transform":  "macros and transforms are not supported here. Expand the template before you deploy it",
	"Fn::RefAll":     "there are no AWS-specific parameter values to look up here",
	"Fn::ValueOf":    "there are no AWS-specific parameter values to look up here",
	"Fn::ValueOfAll": "there are no AWS-specific parameter values to look up here",
}

func shortTag(name string) string { return "!" + strings.TrimPrefix(name, "Fn::") }

// functionOfTag returns the long name of a short tag.
func functionOfTag(tag string) (string, bool) {
	name, ok := strings.CutPrefix(tag, "!")
	if !ok || strings.HasPrefix(name, "!") {
		return "", false
	}
	if name == fnRef || name == fnCondition {
		return name, true
	}
	name = "Fn::" + name
	return name, known(name)
}

func known(name string) bool {
	_, supported := functions[name]
	_, not := refused[name]
	return supported || not
}

func shortTags() []string {
	tags := make([]string, 0, len(functions))
	for name := range functions {
		tags = append(tags, shortTag(name))
	}
	sort.Strings(tags)
	return tags
}

func functionNames() []string {
	names := make([]string, 0, len(functions))
	for name := range functions {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// compile turns the long forms of functions in n and below into calls and checks that each is known, allowed where it
// stands and given what it takes.
func (t *Template) compile(n *node, in place) error {
	if err := n.call(in); err != nil {
		return err
	}
	if n.kind == text && strings.Contains(n.text, dynamicReference) {
		return n.errorf("Template error: dynamic references ({{resolve:…}}) are not supported: there is no parameter store and no secrets manager here. Use a parameter with NoEcho.")
	}
	if n.kind == call {
		if err := t.checkCall(n, in); err != nil {
			return err
		}
	}
	for _, item := range n.items {
		if err := t.compile(item, in); err != nil {
			return err
		}
	}
	if n.kind == call {
		return functions[n.text].shape(n, n.items[0])
	}
	return nil
}

// dynamicReference begins what CloudFormation replaces by a value of another service.
const dynamicReference = "{{resolve:"

// call turns an object that is the long form of a function into a call.
func (n *node) call(in place) error {
	if n.kind != object {
		return nil
	}
	for i := range n.keys {
		name := n.keys[i].name
		isFunction := strings.HasPrefix(name, "Fn::") || len(n.keys) == 1 && (name == fnRef || name == fnCondition && in == inCondition)
		switch {
		case !isFunction:
		case !known(name):
			if strings.HasPrefix(name, "Fn::ForEach") {
				return n.keyErrorf(i, "Template error: %s is not supported: loops are not expanded here. Write out what it repeats.", name)
			}
			return n.keyErrorf(i, "Template error: Encountered unsupported function: %s Supported functions are: %s", name, quoteNames(functionNames()))
		case len(n.keys) > 1:
			return n.keyErrorf(i, "Template error: %s must be the only key of its object; other keys stand beside it.", name)
		default:
			arg := n.items[0]
			*n = node{kind: call, text: name, items: []*node{arg}, line: n.line, column: n.column, parent: n.parent}
		}
	}
	return nil
}

func (t *Template) checkCall(n *node, in place) error {
	if reason, ok := refused[n.text]; ok {
		return n.errorf("Template error: %s is not supported: %s.", n.text, reason)
	}
	f := functions[n.text]
	if f.allowed&in == 0 {
		return n.errorf("Template error: %s cannot be used %s.", n.text, in.describe())
	}
	if f.extension && !t.extended {
		return n.errorf("Template error: %s needs the transform %s: add 'Transform: %s' at the top of the template.", n.text, languageExtensions, languageExtensions)
	}
	return nil
}

func (p place) describe() string {
	switch p {
	case inResource:
		return "in a resource; conditions are declared in the Conditions section and used by Fn::If"
	case inOutput:
		return "in an output"
	case inCondition:
		return "in the Conditions section, which knows parameters and mappings only"
	case inRule:
		return "in the Rules section"
	default:
		return "in a policy attribute, which knows parameters and mappings only"
	}
}

func (n *node) textOrCall() bool { return n.scalar() || n.kind == call }
func (n *node) listOrCall() bool { return n.kind == list || n.kind == call }

func shapeRef(n, arg *node) error {
	if !arg.name() {
		return n.errorf("Template error: every Ref object must have a single String value.")
	}
	return nil
}

// shapeGetAtt makes both forms, "Queue.Arn" and [Queue, Arn], a list of two.
func shapeGetAtt(n, arg *node) error {
	if arg.kind == text {
		id, attribute, _ := strings.Cut(arg.text, ".")
		*arg = node{kind: list, line: arg.line, column: arg.column, parent: arg.parent, items: []*node{
			{kind: text, text: id, line: arg.line, column: arg.column, parent: arg},
			{kind: text, text: attribute, line: arg.line, column: arg.column, parent: arg},
		}}
	}
	ok := arg.kind == list && len(arg.items) == 2 && arg.items[0].name()
	if ok {
		a := arg.items[1]
		ok = a.kind == call && a.text == fnRef || a.name()
	}
	if !ok {
		return n.errorf("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
	}
	return nil
}

func shapeSub(n, arg *node) error {
	ok := arg.kind == text || arg.kind == number
	if arg.kind == list {
		ok = len(arg.items) == 2 && arg.items[0].kind == text && arg.items[1].kind == object
	}
	if !ok {
		return n.errorf("Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument, and an optional second argument to specify a mapping of values to replace in the string")
	}
	var err error
	n.sub, err = readSub(arg)
	return err
}

func shapeJoin(n, arg *node) error {
	if arg.kind != list || len(arg.items) != 2 || !arg.items[0].scalar() || !arg.items[1].listOrCall() {
		return n.joinError()
	}
	return nil
}

// joinError is AWS's one text for everything that Fn::Join does not take.
func (n *node) joinError() error {
	return n.errorf("Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined.")
}

func shapeSplit(n, arg *node) error {
	if arg.kind != list || len(arg.items) != 2 || !arg.items[0].scalar() || arg.items[0].text == "" || !arg.items[1].textOrCall() {
		return n.errorf("Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a function that returns a string to be split.")
	}
	return nil
}

func shapeSelect(n, arg *node) error {
	if arg.kind != list || len(arg.items) != 2 || !arg.items[0].textOrCall() || !arg.items[1].listOrCall() {
		return n.errorf("Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
	}
	return nil
}

func shapeFindInMap(n, arg *node) error {
	ok := arg.kind == list && (len(arg.items) == 3 || len(arg.items) == 4)
	for i := 0; ok && i < 3; i++ {
		ok = arg.items[i].kind == call || arg.items[i].name()
	}
	if !ok {
		return n.errorf("Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value")
	}
	return nil
}

func shapeIf(n, arg *node) error {
	if arg.kind != list || len(arg.items) != 3 || !arg.items[0].name() {
		return n.errorf("Template error: every Fn::If object requires a list of three: the name of a condition, the value if it is true and the value if it is false")
	}
	return nil
}

func shapeOneString(n, arg *node) error {
	if !arg.textOrCall() {
		return n.errorf("Template error: every %s object requires one string, or a function that returns one; this is %s.", n.text, arg.kindName())
	}
	return nil
}

func shapeCidr(n, arg *node) error {
	ok := arg.kind == list && len(arg.items) == 3
	for i := 0; ok && i < len(arg.items); i++ {
		ok = arg.items[i].textOrCall()
	}
	if !ok {
		return n.errorf("Template error: every Fn::Cidr object requires three parameters: an IP block, the number of subnets and the number of subnet bits")
	}
	return nil
}

func shapeLength(n, arg *node) error {
	if !arg.listOrCall() {
		return n.errorf("Template error: every Fn::Length object requires a list, or a function that returns one; this is %s.", arg.kindName())
	}
	return nil
}

func shapeToJSONString(n, arg *node) error {
	if arg.kind != object && !arg.listOrCall() {
		return n.errorf("Template error: every Fn::ToJsonString object requires an object or a list; this is %s.", arg.kindName())
	}
	return nil
}

func shapeEquals(n, arg *node) error {
	if arg.kind != list || len(arg.items) != 2 {
		return n.errorf("Template error: every Fn::Equals object requires a list of 2 string parameters.")
	}
	return nil
}

func shapeAndOr(n, arg *node) error {
	ok := arg.kind == list && len(arg.items) >= 2 && len(arg.items) <= 10
	for i := 0; ok && i < len(arg.items); i++ {
		ok = arg.items[i].isCondition()
	}
	if !ok {
		return n.errorf("Template error: every %s object requires a list of at least 2 and at most 10 boolean parameters.", n.text)
	}
	return nil
}

func shapeNot(n, arg *node) error {
	if arg.kind != list || len(arg.items) != 1 || !arg.items[0].isCondition() {
		return n.errorf("Template error: every Fn::Not object requires one boolean parameter.")
	}
	return nil
}

func shapeCondition(n, arg *node) error {
	if !arg.name() {
		return n.errorf("Template format error: Every Condition member must be a string.")
	}
	return nil
}

func shapeContains(n, arg *node) error {
	if arg.kind != list || len(arg.items) != 2 || !arg.items[0].listOrCall() || !arg.items[1].textOrCall() {
		return n.errorf("Template error: every %s object requires a list of strings and a string.", n.text)
	}
	return nil
}

func shapeEachMemberIn(n, arg *node) error {
	ok := arg.kind == list && len(arg.items) == 2
	for i := 0; ok && i < 2; i++ {
		ok = arg.items[i].listOrCall()
	}
	if !ok {
		return n.errorf("Template error: every Fn::EachMemberIn object requires two lists of strings.")
	}
	return nil
}

// isCondition reports whether n is a function that yields true or false.
func (n *node) isCondition() bool {
	if n.kind != call {
		return false
	}
	switch n.text {
	case fnAnd, fnOr, fnNot, fnEquals, fnCondition, fnContains, fnEachMemberEquals, fnEachMemberIn:
		return true
	}
	return false
}

// isFunctionName reports whether a key is the long form of a function that can stand in a resource.
func isFunctionName(name string) bool { return strings.HasPrefix(name, "Fn::") || name == fnRef }
