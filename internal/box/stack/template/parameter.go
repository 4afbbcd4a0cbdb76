package template

import (
	"math/big"
	"sort"
	"strings"
	"unicode/utf8"
)

// Parameter is a parameter that a template declares.
type Parameter struct {
	Name, Type, Description string
	Default                 *string // nil: a value is required
	NoEcho                  bool
	AllowedValues           []string
	AllowedPattern          string
	ConstraintDescription   string
	// Bounds as written; "" for none.
	MinLength, MaxLength, MinValue, MaxValue string
}

type parameter struct {
	Parameter

	at      *node
	form    parameterForm
	pattern *pattern
	allowed map[string]bool // AllowedValues; nil: any
}

// parameterForm says how values of a type look.
type parameterForm struct {
	list, number bool
	prefix       string // ids of AWS resources begin with it
	what         string // and are called so in errors
}

// parameterForms are the types of parameters. AWS looks the values of its own types up in the account; here their form is checked.
var parameterForms = map[string]parameterForm{
	"String":                                   {},
	"Number":                                   {number: true},
	"List<Number>":                             {list: true, number: true},
	"CommaDelimitedList":                       {list: true},
	"List<String>":                             {list: true}, // AWS: another name of it, in no guide
	"AWS::EC2::AvailabilityZone::Name":         {what: "the name of an availability zone"},
	"AWS::EC2::Image::Id":                      {prefix: "ami-", what: "the id of an image"},
	"AWS::EC2::Instance::Id":                   {prefix: "i-", what: "the id of an instance"},
	"AWS::EC2::KeyPair::KeyName":               {what: "the name of a key pair"},
	"AWS::EC2::SecurityGroup::GroupName":       {what: "the name of a security group"},
	"AWS::EC2::SecurityGroup::Id":              {prefix: "sg-", what: "the id of a security group"},
	"AWS::EC2::Subnet::Id":                     {prefix: "subnet-", what: "the id of a subnet"},
	"AWS::EC2::Volume::Id":                     {prefix: "vol-", what: "the id of a volume"},
	"AWS::EC2::VPC::Id":                        {prefix: "vpc-", what: "the id of a VPC"},
	"AWS::Route53::HostedZone::Id":             {what: "the id of a hosted zone"},
	"List<AWS::EC2::AvailabilityZone::Name>":   {list: true, what: "the name of an availability zone"},
	"List<AWS::EC2::Image::Id>":                {list: true, prefix: "ami-", what: "the id of an image"},
	"List<AWS::EC2::Instance::Id>":             {list: true, prefix: "i-", what: "the id of an instance"},
	"List<AWS::EC2::SecurityGroup::GroupName>": {list: true, what: "the name of a security group"},
	"List<AWS::EC2::SecurityGroup::Id>":        {list: true, prefix: "sg-", what: "the id of a security group"},
	"List<AWS::EC2::Subnet::Id>":               {list: true, prefix: "subnet-", what: "the id of a subnet"},
	"List<AWS::EC2::Volume::Id>":               {list: true, prefix: "vol-", what: "the id of a volume"},
	"List<AWS::EC2::VPC::Id>":                  {list: true, prefix: "vpc-", what: "the id of a VPC"},
	"List<AWS::Route53::HostedZone::Id>":       {list: true, what: "the id of a hosted zone"},
}

func (t *Template) readParameters(n *node) error {
	if err := section(n, "Parameter", "parameters", MaxParameters); err != nil {
		return err
	}
	states := 0
	for i, k := range n.keys {
		p := &parameter{Parameter: Parameter{Name: k.name}, at: n.items[i]}
		if err := p.read(); err != nil {
			return err
		}
		if p.pattern != nil {
			if states += p.pattern.states; states > maxAllStates {
				return p.at.errorf("Template format error: the AllowedPatterns of all parameters together are too large: use smaller counts.")
			}
		}
		t.parameters = append(t.parameters, p)
		t.parameterNamed[p.Name] = p
	}
	return nil
}

func (p *parameter) read() error {
	if p.at.kind != object {
		return p.at.errorf("Template format error: Any Parameters member must be an object; %s is %s.", p.Name, p.at.kindName())
	}
	var err error
	for i, k := range p.at.keys {
		v := p.at.items[i]
		switch k.name {
		case "Type":
			p.Type, err = v.textLiteral("Type")
		case "Description":
			p.Description, err = v.textLiteral("Description")
		case "ConstraintDescription":
			p.ConstraintDescription, err = v.textLiteral("ConstraintDescription")
		case "Default":
			err = p.readDefault(v)
		case "NoEcho":
			err = p.readNoEcho(v)
		case "AllowedValues":
			err = p.readAllowedValues(v)
		case "AllowedPattern":
			err = p.readPattern(v)
		case "MinLength":
			p.MinLength, err = v.bound(k.name, true)
		case "MaxLength":
			p.MaxLength, err = v.bound(k.name, true)
		case "MinValue":
			p.MinValue, err = v.bound(k.name, false)
		case "MaxValue":
			p.MaxValue, err = v.bound(k.name, false)
		default:
			return p.at.keyErrorf(i, "Invalid template parameter property '%s'", k.name)
		}
		if err != nil {
			return err
		}
	}
	return p.checkType()
}

func (p *parameter) checkType() error {
	if p.at.get("Type") == nil {
		return p.at.errorf("Template format error: Every Parameters object must contain a Type member.")
	}
	at := p.at.get("Type")
	if strings.HasPrefix(p.Type, "AWS::SSM::Parameter::") {
		return at.errorf("Template format error: parameter type %s is not supported: there is no Systems Manager parameter store here. Pass the value itself, as a String.", p.Type)
	}
	var known bool
	if p.form, known = parameterForms[p.Type]; !known {
		return at.errorf("Template format error: Unrecognized parameter type: %s", p.Type)
	}
	for _, name := range []string{"MinLength", "MaxLength"} {
		if v := p.at.get(name); v != nil && (p.form.list || p.form.number) {
			return v.errorf("Template format error: %s is for parameters of type String; %s is a %s.", name, p.Name, p.Type)
		}
	}
	for _, name := range []string{"MinValue", "MaxValue"} {
		if v := p.at.get(name); v != nil && !p.form.number {
			return v.errorf("Template format error: %s is for parameters of type Number; %s is a %s.", name, p.Name, p.Type)
		}
	}
	return nil
}

func (p *parameter) readDefault(v *node) error {
	if !v.scalar() {
		return v.errorf("Template format error: Every Default member must be a string.")
	}
	p.Default = &v.text
	return nil
}

func (p *parameter) readNoEcho(v *node) error {
	if v.kind != boolean && v.kind != text || v.text != "true" && v.text != "false" {
		return v.errorf("Template format error: NoEcho must be true or false.")
	}
	p.NoEcho = v.text == "true"
	return nil
}

func (p *parameter) readAllowedValues(v *node) error {
	if v.kind != list || len(v.items) == 0 {
		return v.errorf("Template format error: AllowedValues must be a list with at least one value.")
	}
	p.allowed = make(map[string]bool, len(v.items))
	for _, item := range v.items {
		s, err := item.textLiteral("Every AllowedValues value")
		if err != nil {
			return err
		}
		p.AllowedValues = append(p.AllowedValues, s)
		p.allowed[s] = true
	}
	return nil
}

func (p *parameter) readPattern(v *node) error {
	var err error
	if p.AllowedPattern, err = v.textLiteral("AllowedPattern"); err != nil {
		return err
	}
	if p.pattern, err = compilePattern(p.AllowedPattern); err != nil {
		return v.errorf("Template format error: AllowedPattern of parameter %s cannot be used: %s", p.Name, err)
	}
	return nil
}

// bound reads a limit: a number, or one in quotes.
func (n *node) bound(name string, length bool) (string, error) {
	if n.scalar() {
		v, ok := parseNumber(n.text)
		if ok && (!length || v.IsInt() && v.Sign() >= 0) {
			return n.text, nil
		}
	}
	if length {
		return "", n.errorf("Template format error: %s must be a whole number, 0 or more.", name)
	}
	return "", n.errorf("Template format error: %s must be a number.", name)
}

// parseNumber reads a decimal number exactly. Exponents are bounded so that it stays small.
func parseNumber(s string) (*big.Rat, bool) {
	const longest, highest = 400, 400
	if len(s) > longest || !isJSONNumber(strings.TrimPrefix(s, "+")) {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exponent := strings.TrimLeft(s[i+1:], "+-0")
		if len(exponent) > 3 || len(exponent) == 3 && exponent > "400" {
			return nil, false
		}
	}
	return new(big.Rat).SetString(s)
}

// values returns the members of a list's value, spaces around them removed, or the value itself.
func (p *parameter) values(value string) []string {
	if !p.form.list {
		return []string{value}
	}
	values := strings.Split(value, ",")
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	return values
}

// check returns an error if the value breaks a constraint. Values stay out of the text: they may be secrets.
func (p *parameter) check(value string) error {
	if len(value) > MaxParameterValue {
		return p.at.errorf("Parameter '%s' is longer than %d bytes.", p.Name, MaxParameterValue)
	}
	if strings.Contains(value, dynamicReference) {
		return p.at.errorf("Parameter '%s' holds a dynamic reference ({{resolve:…}}), which is not supported: there is no parameter store and no secrets manager here.", p.Name)
	}
	for _, v := range p.values(value) {
		if err := p.checkForm(v); err != nil {
			return err
		}
		if broken := p.brokenConstraint(v); broken != "" {
			if p.ConstraintDescription != "" {
				return p.at.errorf("Parameter %s failed to satisfy constraint: %s", p.Name, p.ConstraintDescription)
			}
			return p.at.errorf("Parameter '%s' must %s", p.Name, broken)
		}
	}
	return nil
}

func (p *parameter) checkForm(v string) error {
	if p.form.number {
		if _, ok := parseNumber(v); !ok {
			return p.at.errorf("Parameter '%s' must be a number", p.Name)
		}
	}
	if p.form.what == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(v, p.form.prefix); !ok || rest == "" || strings.ContainsAny(v, "\r\n") {
		shape := ""
		if p.form.prefix != "" {
			shape = ", which begins with " + p.form.prefix
		}
		return p.at.errorf("Parameter '%s' must be %s%s (its type is %s)", p.Name, p.form.what, shape, p.Type)
	}
	return nil
}

// brokenConstraint says what v must do and does not.
func (p *parameter) brokenConstraint(v string) string {
	below := func(length int64, bound string) bool {
		b, ok := parseNumber(bound)
		return ok && new(big.Rat).SetInt64(length).Cmp(b) < 0
	}
	above := func(length int64, bound string) bool {
		b, ok := parseNumber(bound)
		return ok && new(big.Rat).SetInt64(length).Cmp(b) > 0
	}
	length := int64(utf8.RuneCountInString(v))
	switch {
	case p.allowed != nil && !p.allowed[v]:
		return "be one of AllowedValues"
	case p.pattern != nil && !p.pattern.match(v):
		return "match pattern " + p.AllowedPattern
	case below(length, p.MinLength):
		return "contain at least " + p.MinLength + " characters"
	case above(length, p.MaxLength):
		return "contain at most " + p.MaxLength + " characters"
	}
	if !p.form.number {
		return ""
	}
	value, _ := parseNumber(v)
	if b, ok := parseNumber(p.MinValue); ok && value.Cmp(b) < 0 {
		return "be a number not less than " + p.MinValue
	}
	if b, ok := parseNumber(p.MaxValue); ok && value.Cmp(b) > 0 {
		return "be a number not greater than " + p.MaxValue
	}
	return ""
}

// bindParameters returns the values in use, those given or the defaults.
func (t *Template) bindParameters(given map[string]string) ([]BoundParameter, error) {
	var unknown, missing []string
	for name := range given {
		if t.parameterNamed[name] == nil {
			unknown = append(unknown, name)
		}
	}
	if unknown != nil {
		sort.Strings(unknown)
		return nil, &Error{Path: "Parameters", Message: "Parameters: " + quoteNames(unknown) + " do not exist in the template"}
	}
	bound := make([]BoundParameter, 0, len(t.parameters))
	var first *node
	for _, p := range t.parameters {
		b := BoundParameter{Name: p.Name, Type: p.Type, NoEcho: p.NoEcho}
		value, ok := given[p.Name]
		switch {
		case ok:
			b.Value = value
		case p.Default != nil:
			b.Value, b.Default = *p.Default, true
		default:
			if missing = append(missing, p.Name); first == nil {
				first = p.at
			}
			continue
		}
		if b.Shown = b.Value; b.NoEcho {
			b.Shown = "****"
		}
		bound = append(bound, b)
	}
	if missing != nil {
		return nil, first.errorf("Parameters: %s must have values", quoteNames(missing))
	}
	for _, b := range bound {
		if err := t.parameterNamed[b.Name].check(b.Value); err != nil {
			return nil, err
		}
	}
	return bound, nil
}

// Parameters returns the declared parameters in their order in the template.
func (t *Template) Parameters() []Parameter {
	declared := make([]Parameter, len(t.parameters))
	for i, p := range t.parameters {
		declared[i] = p.Parameter
	}
	return declared
}
