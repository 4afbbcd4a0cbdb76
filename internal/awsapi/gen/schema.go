package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// emitSchema writes the tables that the runtime walks: the API with its
// operations and errors, and a Shape for each shape of the model.
func (p *pkg) emitSchema() {
	p.emitAPI()
	for _, name := range slices.Sorted(maps.Keys(p.reachable())) {
		p.emitShapeVar(name)
	}
}

func (p *pkg) emitAPI() {
	md := p.model.Metadata
	p.printf("// API describes %s.\nvar API = &awsapi.API{\n", md.ServiceID)
	p.printf("Name: %q, ID: %q, EventSource: %q, Version: %q,\n", p.signingName, md.ServiceID, p.eventSource, md.APIVersion)
	p.printf("Protocols: []awsapi.Protocol{%s},\n", p.protocolList())
	if md.TargetPrefix != "" {
		p.printf("TargetPrefix: %q, JSONVersion: %q,\n", md.TargetPrefix, md.JSONVersion)
	}
	if p.errorPrefix != "" {
		p.printf("ErrorPrefix: %q,\n", p.errorPrefix)
	}
	if md.QueryErrors != nil {
		p.printf("QueryCompatible: true,\n")
	}
	if md.XMLNamespace != "" {
		p.printf("XMLNamespace: %q,\n", md.XMLNamespace)
	}
	if p.validation != "" {
		p.printf("Validation: %s,\n", p.validation)
	}
	if p.validationCode != "" {
		p.printf("ValidationCode: %q,\n", p.validationCode)
	}
	if p.pathMember != "" {
		p.printf("PathMember: %q,\n", p.pathMember)
	}
	p.printf("MaxBody: %s,\n", p.maxBody)
	p.printf("Operations: operations,\n")
	if len(p.exceptions()) > 0 {
		p.printf("Errors: map[string]awsapi.ErrorShape{\n")
		for _, name := range p.exceptions() {
			p.emitErrorShape(name, p.model.Shapes[name])
		}
		p.printf("},\n")
	}
	p.printf("}\n\nvar operations = []awsapi.Operation{\n")
	for _, name := range p.operations() {
		p.emitOperation(name, p.model.Operations[name])
	}
	p.printf("}\n\n")
}

func (p *pkg) protocolList() string {
	goNames := map[string]string{"json": "awsapi.JSON", "query": "awsapi.Query", "ec2": "awsapi.EC2", "rest-json": "awsapi.RESTJSON"}
	var list []string
	for _, proto := range p.protocols {
		list = append(list, goNames[proto])
	}
	return strings.Join(list, ", ")
}

func (p *pkg) emitErrorShape(name string, s *shape) {
	p.printf("%q: {", name)
	if s.Error.Code != "" && s.Error.Code != name {
		p.printf("QueryCode: %q, ", s.Error.Code)
	}
	p.printf("Status: %d", s.status())
	if s.fault() {
		p.printf(", Fault: true")
	}
	if _, ok := s.Members["Message"]; ok && p.protocols[0] == "rest-json" {
		p.printf(", Message: \"Message\"")
	}
	p.printf("},\n")
}

func (p *pkg) emitOperation(name string, op *operation) {
	p.printf("{\nName: %q, Access: %s,\n", name, access(p.pkg, name))
	p.printf("Input: %s, Output: %s,\n", p.shapeVar(op.Input.Shape), p.shapeVar(op.Output.Shape))
	if op.Output.ResultWrapper != "" {
		p.printf("Wrapper: %q,\n", op.Output.ResultWrapper)
	}
	if seconds := p.slow[name]; seconds > 0 {
		p.printf("MaxSeconds: %d,\n", seconds)
	}
	if p.protocols[0] == "rest-json" {
		p.printf("Method: %q, URI: %q, Status: %d,\n", op.HTTP.Method, op.HTTP.URI, op.HTTP.Status)
	}
	if data(name) {
		p.printf("Data: true,\n")
	}
	p.emitOwn("TrailName", strconv.Quote(p.trailNames[name]))
	p.emitOwn("MaxBody", p.large[name])
	p.printf("New: func() any { return new(%sInput) },\n", name)
	p.printf("Invoke: func(ctx context.Context, impl, in any) (any, error) { return impl.(Service).%s(ctx, in.(*%sInput)) },\n},\n", name, name)
}

// emitOwn writes what an operation has of its own, if anything.
func (p *pkg) emitOwn(field, expression string) {
	if expression != "" && expression != `""` {
		p.printf("%s: %s,\n", field, expression)
	}
}

func (p *pkg) shapeVar(name string) string {
	if name == "" {
		return "awsapi.Empty"
	}
	return "shape" + exported(name)
}

var kinds = map[string]string{
	"string": "String", "integer": "Integer", "long": "Long", "double": "Double", "float": "Double", "boolean": "Boolean",
	"timestamp": "Timestamp", "blob": "Blob", "list": "List", "map": "Map", "structure": "Structure",
}

func (p *pkg) emitShapeVar(name string) {
	s := p.model.Shapes[name]
	p.printf("var %s = &awsapi.Shape{Name: %q, Kind: awsapi.%s", p.shapeVar(name), name, kinds[s.Type])
	p.emitConstraints(s)
	switch s.Type {
	case "list":
		p.printf(", Elem: %s", p.shapeVar(s.Member.Shape))
		p.emitName("ElemName", s.Member.LocationName)
	case "map":
		p.printf(", Key: %s, Elem: %s", p.shapeVar(s.Key.Shape), p.shapeVar(s.Value.Shape))
		p.emitName("KeyName", s.Key.LocationName)
		p.emitName("ElemName", s.Value.LocationName)
	}
	if s.Flattened {
		p.printf(", Flattened: true")
	}
	if order := p.toString[name]; order != nil {
		p.printf(", ToString: %#v", order)
	}
	if s.Payload != "" {
		p.printf(", Payload: %q", s.Payload)
	}
	if s.Type == "structure" && len(s.Members) > 0 {
		p.printf(", Members: []awsapi.Member{\n")
		for _, member := range s.sortedMembers() {
			p.emitMember(s, member)
		}
		p.printf("}")
	}
	p.printf("}\n\n")
}

func (p *pkg) emitConstraints(s *shape) {
	if s.Min != nil {
		p.printf(", Min: %d, HasMin: true", int64(*s.Min))
	}
	if s.Max != nil {
		p.printf(", Max: %d, HasMax: true", int64(*s.Max))
	}
	if s.Pattern != "" {
		p.printf(", Pattern: awsapi.NewPattern(%s)", quote(s.Pattern))
	}
	if len(s.Enum) > 0 {
		p.printf(", Enum: %#v", s.Enum)
	}
	if s.Sensitive {
		p.printf(", Sensitive: true")
	}
}

func (p *pkg) emitName(field, name string) {
	if name != "" {
		p.printf(", %s: %q", field, name)
	}
}

func (p *pkg) emitMember(s *shape, member string) {
	ref := s.Members[member]
	p.printf("{Name: %q, Shape: %s", member, p.shapeVar(ref.Shape))
	if ref.Location != "" {
		p.printf(", Location: %s, LocationName: %q", locations[ref.Location], ref.LocationName)
		ref.LocationName = ""
	}
	in, out := p.wireNames(member, ref)
	if in != member {
		p.printf(", In: %q", in)
	}
	if out != member {
		p.printf(", Out: %q", out)
	}
	if slices.Contains(s.Required, member) {
		p.printf(", Required: true")
	}
	p.printf("},\n")
}

var locations = map[string]string{
	"uri": "awsapi.InURI", "querystring": "awsapi.InQuery", "header": "awsapi.InHeader", "statusCode": "awsapi.InStatus",
}

// wireNames is a member's name in query and ec2 requests and answers.
//
// query: a flattened list's items take the place of the member's own name.
// ec2: requests use queryName, or else locationName with a capital.
func (p *pkg) wireNames(member string, ref shapeRef) (in, out string) {
	name := cmp.Or(ref.LocationName, p.model.Shapes[ref.Shape].LocationName, member)
	if p.protocols[0] == "ec2" {
		if ref.QueryName != "" {
			return ref.QueryName, name
		}
		return exported(name), name
	}
	if t := p.model.Shapes[ref.Shape]; t.Type == "list" && t.Flattened && t.Member.LocationName != "" {
		return t.Member.LocationName, t.Member.LocationName
	}
	return name, name
}

func quote(s string) string {
	if strings.Contains(s, "`") {
		return fmt.Sprintf("%q", s)
	}
	return "`" + s + "`"
}
