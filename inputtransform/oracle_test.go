package inputtransform

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// The oracle is a second, slower way to do all this, by the standard library's decoder and regular expressions.

var oracleSteps = regexp.MustCompile(`\.[^.\[]+|\[\*\]|\[\d+\]`)

// oracleGet returns the value at a path that ParsePath accepts, nil if there is none.
func oracleGet(event json.RawMessage, path string) json.RawMessage {
	values := []json.RawMessage{event}
	steps := oracleSteps.FindAllString(path, -1)
	many := false
	for _, step := range steps {
		var next []json.RawMessage
		arrays := 0
		for _, value := range values {
			elements, isArray := oracleElements(value)
			switch {
			case step == "[*]" && isArray:
				arrays++
				next = append(next, elements...)
			case step == "[*]":
			case step[0] == '[':
				var i int
				if json.Unmarshal([]byte(strings.TrimLeft(strings.Trim(step, "[]"), "0")), &i) != nil {
					i = 0
				}
				if i < len(elements) {
					next = append(next, elements[i])
				}
			default:
				var fields map[string]json.RawMessage
				if json.Unmarshal(value, &fields) == nil {
					if field, ok := fields[step[1:]]; ok {
						next = append(next, field)
					}
				}
			}
		}
		if !many && step == "[*]" && arrays == 0 {
			return nil
		}
		many = many || step == "[*]"
		values = next
	}
	switch {
	case many:
		return oracleCompact("[" + string(bytes.Join(bytesOf(values), []byte(","))) + "]")
	case len(values) == 0:
		return nil
	}
	return oracleCompact(string(values[0]))
}

func bytesOf(values []json.RawMessage) [][]byte {
	var all [][]byte
	for _, v := range values {
		all = append(all, v)
	}
	return all
}

func oracleElements(value json.RawMessage) ([]json.RawMessage, bool) {
	var elements []json.RawMessage
	isArray := bytes.HasPrefix(bytes.TrimSpace(value), []byte("["))
	if isArray && json.Unmarshal(value, &elements) != nil {
		panic("an array that cannot be read")
	}
	return elements, isArray
}

func oracleCompact(text string) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var oraclePlaceholder = regexp.MustCompile(`<([A-Za-z0-9_.-]+)>`)

// oracleRender fills in a template that Compile accepts, and reports whether the result is JSON.
func oracleRender(in Template, event string, v Variables) (body string, valid bool) {
	object := strings.HasPrefix(strings.TrimLeft(in.Text, " \t\r\n"), "{")
	var b strings.Builder
	last := 0
	for _, m := range oraclePlaceholder.FindAllStringSubmatchIndex(in.Text, -1) {
		b.WriteString(in.Text[last:m[0]])
		last = m[1]
		value, known := oracleValue(in, in.Text[m[2]:m[3]], event, v)
		switch {
		case !known:
			b.WriteString(in.Text[m[0]:m[1]])
		case object:
			b.WriteString(oracleObjectText(value, oracleInString(in.Text[:m[0]])))
		default:
			b.WriteString(oraclePlainText(value))
		}
	}
	b.WriteString(in.Text[last:])
	body = b.String()
	if json.Valid([]byte(body)) {
		return body, true
	}
	return body, !object && oracleLines(body)
}

// oracleLines reports whether a text is JSON values on lines of their own: whether it can be cut into such at some line ends.
func oracleLines(text string) bool {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	values := 0
	for from := 0; from < len(lines); {
		if strings.Trim(lines[from], " \t") == "" {
			from++
			continue
		}
		to := from + 1
		for to <= len(lines) && !json.Valid([]byte(strings.Join(lines[from:to], "\n"))) {
			to++
		}
		if to > len(lines) {
			return false
		}
		values++
		from = to
	}
	return values > 0
}

func oracleValue(in Template, name, event string, v Variables) (value json.RawMessage, known bool) {
	if path, ok := in.Paths[name]; ok {
		return oracleGet(json.RawMessage(event), path), true
	}
	switch name {
	case "aws.events.rule-arn":
		return oracleString(v.RuleARN), true
	case "aws.events.rule-name":
		return oracleString(v.RuleName), true
	case "aws.events.event.ingestion-time":
		return oracleString(v.Ingestion.UTC().Format("2006-01-02T15:04:05.000Z")), true
	case "aws.events.event.json":
		return oracleCompact(event), true
	case "aws.events.event":
		return oracleHead(event), true
	}
	return nil, false
}

func oracleString(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}

func oracleHead(event string) json.RawMessage {
	var members []string
	for _, name := range []string{"id", "account", "detailType", "time", "source", "region", "resources", "version"} {
		value := oracleGet(json.RawMessage(event), "$."+strings.Replace(name, "detailType", "detail-type", 1))
		if value == nil {
			value = json.RawMessage("null")
		}
		if name == "time" {
			if at, err := time.Parse(`"2006-01-02T15:04:05Z07:00"`, string(value)); err == nil {
				value, _ = json.Marshal(at.UnixMilli())
			}
		}
		members = append(members, `"`+name+`":`+string(value))
	}
	return json.RawMessage("{" + strings.Join(members, ",") + "}")
}

// oracleInString reports whether the text before a place leaves a string open.
func oracleInString(before string) bool {
	open := false
	for i := 0; i < len(before); i++ {
		switch {
		case before[i] == '"':
			open = !open
		case before[i] == '\\' && open:
			i++
		}
	}
	return open
}

func oracleObjectText(value json.RawMessage, inString bool) string {
	switch {
	case value == nil && !inString:
		return `""`
	case value != nil && value[0] == '"' && inString:
		return string(value[1 : len(value)-1])
	}
	return string(value)
}

func oraclePlainText(value json.RawMessage) string {
	switch {
	case value == nil:
		return ""
	case value[0] == '"':
		var s string
		if err := json.Unmarshal(value, &s); err != nil {
			panic(err)
		}
		return s
	case value[0] == '{' || value[0] == '[':
		return strings.ReplaceAll(string(value), `"`, "")
	}
	return string(value)
}
