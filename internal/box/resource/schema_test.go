package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// shelf is a schema of ours that has something of everything.
const shelf = `{
	"typeName": "Acme::Library::Shelf", "description": "A shelf in a library.", "additionalProperties": false,
	"properties": {
		"Id": {"type": "string"}, "Arn": {"type": "string"},
		"Name": {"type": "string", "pattern": "^[\\w 书-]{1,20}$", "minLength": 2, "maxLength": 12},
		"Room": {"type": "string"},
		"Places": {"type": "integer", "minimum": 1, "maximum": 400, "multipleOf": 2},
		"Weight": {"type": "number", "exclusiveMinimum": 0},
		"Open": {"type": "boolean"},
		"Kind": {"type": "string", "enum": ["wood", "steel"]},
		"Books": {"type": "array", "items": {"$ref": "#/definitions/Book"}, "minItems": 1, "maxItems": 3, "uniqueItems": true, "insertionOrder": false},
		"Labels": {"type": "object", "patternProperties": {"^[a-z]+$": {"type": "string"}}, "additionalProperties": false},
		"Policy": {"type": ["object", "string"]},
		"Owner": {"oneOf": [{"type": "object", "properties": {"Person": {"type": "string"}}, "required": ["Person"], "additionalProperties": false}, {"$ref": "#/definitions/Firm"}]},
		"Opened": {"type": "string", "format": "date-time"},
		"Key": {"type": "object", "properties": {"Secret": {"type": "string"}, "Hint": {"type": "string"}}, "additionalProperties": false},
		"Tags": {"type": "array", "items": {"type": "object", "properties": {"Key": {"type": "string"}, "Value": {"type": "string"}}, "required": ["Key", "Value"], "additionalProperties": false}}
	},
	"definitions": {
		"Book": {"type": "object", "properties": {"Title": {"type": "string"}, "Pages": {"type": "integer"}, "Next": {"$ref": "#/definitions/Book"}}, "required": ["Title"], "additionalProperties": false},
		"Firm": {"type": "object", "properties": {"Firm": {"type": "string"}}, "required": ["Firm"], "additionalProperties": false}
	},
	"required": ["Name"],
	"primaryIdentifier": ["/properties/Id"], "additionalIdentifiers": [["/properties/Room", "/properties/Name"]],
	"readOnlyProperties": ["/properties/Id", "/properties/Arn", "/properties/Books/*/Next"],
	"writeOnlyProperties": ["/properties/Key/properties/Secret"],
	"createOnlyProperties": ["/properties/Room", "/properties/Key/Hint"],
	"conditionalCreateOnlyProperties": ["/properties/Kind"],
	"handlers": {"create": {"permissions": []}, "read": {"permissions": []}, "update": {"permissions": []}, "delete": {"permissions": []}, "list": {"permissions": []}}
}`

func parse(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := ParseSchema([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func model(t testing.TB, text string) Model {
	t.Helper()
	m, err := ParseModel(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

func TestASchemaSaysWhatPropertiesAreFor(t *testing.T) {
	s := parse(t, shelf)
	if s.TypeName != "Acme::Library::Shelf" || !slices.Equal(s.Required, []string{"Name"}) || !s.Taggable || s.TagProperty.String() != "/properties/Tags" {
		t.Errorf("read %q, required %v, taggable %v by %v", s.TypeName, s.Required, s.Taggable, s.TagProperty)
	}
	for name, want := range map[string][2]string{
		"primaryIdentifier":    {strings.Join(pointers(s.PrimaryIdentifier), " "), "/properties/Id"},
		"additionalIdentifier": {strings.Join(pointers(s.AdditionalIdentifiers[0]), " "), "/properties/Room /properties/Name"},
		"readOnly":             {strings.Join(pointers(s.ReadOnly), " "), "/properties/Id /properties/Arn /properties/Books/*/Next"},
		"writeOnly":            {strings.Join(pointers(s.WriteOnly), " "), "/properties/Key/Secret"},
		"createOnly":           {strings.Join(pointers(s.CreateOnly), " "), "/properties/Room /properties/Key/Hint"},
		"conditional":          {strings.Join(pointers(s.ConditionalCreateOnly), " "), "/properties/Kind"},
	} {
		if want[0] != want[1] {
			t.Errorf("%s is %s, want %s", name, want[0], want[1])
		}
	}
	for _, operation := range handlerNames {
		if !s.Has(operation) {
			t.Errorf("%s is missing", operation)
		}
	}
}

func TestProblemsOfModelsAreWordedLikeAWSAndNameTheirPlace(t *testing.T) {
	s := parse(t, shelf)
	for text, want := range map[string]string{
		`{"Name":"Fiction 书"}`:                                "",
		`{}`:                                                  "#: required key [Name] not found",
		`{"Name":5}`:                                          "#/Name: expected type: String, found: Integer",
		`{"Name":"ab","Wall":1,"Floor":2}`:                    "#: extraneous key [Floor] is not permitted\n#: extraneous key [Wall] is not permitted",
		`{"Name":"a"}`:                                        "#/Name: expected minLength: 2, actual: 1",
		`{"Name":"abcdefghijklmno"}`:                          "#/Name: expected maxLength: 12, actual: 15",
		`{"Name":"a?c"}`:                                      `#/Name: string [a?c] does not match pattern ^[\w 书-]{1,20}$`,
		`{"Name":"ab","Places":"10"}`:                         "#/Places: expected type: Integer, found: String",
		`{"Name":"ab","Places":1.5}`:                          "#/Places: expected type: Integer, found: Number",
		`{"Name":"ab","Places":0}`:                            "#/Places: 0 is not greater or equal to 1",
		`{"Name":"ab","Places":402}`:                          "#/Places: 402 is not less or equal to 400",
		`{"Name":"ab","Places":3}`:                            "#/Places: 3 is not a multiple of 2",
		`{"Name":"ab","Weight":0}`:                            "#/Weight: 0 is not greater than 0",
		`{"Name":"ab","Open":"true"}`:                         "#/Open: expected type: Boolean, found: String",
		`{"Name":"ab","Kind":"glass"}`:                        "#/Kind: glass is not a valid enum value",
		`{"Name":"ab","Books":{}}`:                            "#/Books: expected type: JSONArray, found: JSONObject",
		`{"Name":"ab","Books":[]}`:                            "#/Books: expected minimum item count: 1, found: 0",
		`{"Name":"ab","Books":[{"Title":"x"},{"Title":"x"}]}`: "#/Books: array items are not unique",
		`{"Name":"ab","Books":[{"Pages":1}]}`:                 "#/Books/0: required key [Title] not found",
		`{"Name":"ab","Books":[{"Title":"x","Next":{"Title":null}}]}`: "#/Books/0/Next/Title: expected type: String, found: Null",
		`{"Name":"ab","Labels":{"a/b":"x"}}`:                          "#/Labels: extraneous key [a/b] is not permitted",
		`{"Name":"ab","Labels":{"a":[]}}`:                             "#/Labels/a: expected type: String, found: JSONArray",
		`{"Name":"ab","Policy":[]}`:                                   "#/Policy: expected type: String or JSONObject, found: JSONArray",
		`{"Name":"ab","Opened":"yesterday"}`:                          "#/Opened: [yesterday] is not a valid date-time",
		`{"Name":"ab","Owner":{"Person":1}}`: "#/Owner/Person: expected type: String, found: Integer\n#/Owner: 0 subschemas matched instead of one\n" +
			"#/Owner: extraneous key [Person] is not permitted\n#/Owner: required key [Firm] not found",
	} {
		if got := s.Validate(model(t, text)).Error(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func TestPropertiesOfTheServiceAloneCannotBeAskedFor(t *testing.T) {
	s := parse(t, shelf)
	err := s.CheckDesired(model(t, `{"Name":"ab","Arn":"x","Books":[{"Title":"a","Next":{"Title":"b"}}]}`))
	if want := "Encountered unsupported properties: readOnlyProperties [/properties/Arn, /properties/Books/*/Next] cannot be given (InvalidRequest)"; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if err := s.CheckDesired(model(t, `{"Name":"ab","Books":[{"Title":"a"}]}`)); err != nil {
		t.Error(err)
	}
}

// with is shelf with one text in place of another.
func with(old, replacement string) string { return strings.Replace(shelf, old, replacement, 1) }

func TestBadSchemasAreRefusedWithTheirPlace(t *testing.T) {
	deep := strings.Repeat(`{"not":`, 70) + `{}` + strings.Repeat(`}`, 70)
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":                    {`{"typeName":`, "the schema: the JSON ends too early"},
		"no object":                  {`[]`, "the schema: it is no JSON object"},
		"two values":                 {shelf + `{}`, "the schema: there is more after the JSON value"},
		"a member twice":             {`{"a":1,"a":2}`, `the schema: the member "a" is there twice`},
		"too large":                  {`"` + strings.Repeat("x", MaxSchema) + `"`, "the schema: it is 1048578 bytes long; 1048576 are allowed"},
		"too deep":                   {with(`{"type": "boolean"}`, deep), "the schema: the JSON is nested too deep"},
		"no type name":               {with(`Acme::Library::Shelf`, `Shelf`), "/typeName: must be given, as in Acme::Database::Cluster"},
		"no description":             {with(`"A shelf in a library."`, `""`), "/description: must be given"},
		"open":                       {with(`"additionalProperties": false,`, ``), "/additionalProperties: must be given, and be false"},
		"no properties":              {`{"typeName":"Acme::A::Bc","description":"x","additionalProperties":false,"properties":{}}`, "/typeName: must be given, as in Acme::Database::Cluster"},
		"no identifier":              {with(`"primaryIdentifier": ["/properties/Id"],`, ``), "/primaryIdentifier: must be given, with at least one property"},
		"identifier of no property":  {with(`["/properties/Id"]`, `["/properties/Number"]`), "/primaryIdentifier/0: there is no property Number"},
		"identifier no pointer":      {with(`["/properties/Id"]`, `["Id"]`), `/primaryIdentifier/0: "Id" is no JSON pointer to a property: it must begin with /properties/`},
		"a list of numbers":          {with(`"required": ["Name"]`, `"required": [1]`), "/required/0: must be a text"},
		"an unknown member":          {with(`"required": ["Name"]`, `"remote": {}`), "/remote: a resource type's schema has no such member"},
		"an unknown handler":         {with(`"list": {`, `"find": {`), "/handlers/find: there is no such handler: there are create, read, update, delete, list"},
		"a remote reference":         {with(`#/definitions/Firm`, `https://example.com/firm.json`), `/properties/Owner/oneOf/1/$ref: "https://example.com/firm.json" is not within the document: it must begin with #/definitions/`},
		"a file's reference":         {with(`#/definitions/Firm`, `file:///etc/passwd`), `/properties/Owner/oneOf/1/$ref: "file:///etc/passwd" is not within the document: it must begin with #/definitions/`},
		"a reference to nothing":     {with(`#/definitions/Firm`, `#/definitions/Company`), `/properties/Owner/oneOf/1/$ref: "#/definitions/Company" names no schema of the document`},
		"a reference to a list":      {with(`#/definitions/Firm`, `#/required`), `/properties/Owner/oneOf/1/$ref: "#/required" names no schema of the document`},
		"a broken pattern":           {with(`^[a-z]+$`, `^[a-z+$`), `/properties/Labels/patternProperties/^[a-z+$: the pattern has a [ without its ]`},
		"a pattern that refers back": {with(`^[\\w 书-]{1,20}$`, `(a)\\1`), `/properties/Name/pattern: the pattern refers back to a group, which is not available`},
		"a pattern that looks ahead": {with(`^[\\w 书-]{1,20}$`, `a(?!b)`), `/properties/Name/pattern: the pattern a(?!b) looks ahead or behind, which is available at its very beginning only: ^(?!…)`},
		"a pattern too large":        {with(`^[\\w 书-]{1,20}$`, `((a{100}){100}){100}`), `/properties/Name/pattern: the pattern ((a{100}){100}){100} cannot be used: error parsing regexp: invalid repeat count: ` + "`{100}`"},
		"a type that is none":        {with(`{"type": "boolean"}`, `{"type": "bool"}`), "/properties/Open/type: "},
		"a number as a type":         {with(`{"type": "boolean"}`, `{"type": 1}`), "/properties/Open/type: "},
		"a number as a schema":       {with(`{"type": "boolean"}`, `5`), "/properties/Open: "},
		"a huge number":              {with(`"minimum": 1`, `"minimum": 1e99999999`), "the schema: the number 1e99999999… is too long"},
	} {
		_, err := ParseSchema([]byte(c.text))
		bad, ok := errors.AsType[*SchemaError](err)
		if !ok || !strings.HasPrefix(bad.Error(), c.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, c.want)
		}
	}
}

// A small schema can ask for 2^60 steps; the bound ends it.
func TestAModelIsCheckedInBoundedTime(t *testing.T) {
	var defs strings.Builder
	for i := range 60 {
		next := string(rune('A'+(i+1)/26)) + string(rune('a'+(i+1)%26))
		name := string(rune('A'+i/26)) + string(rune('a'+i%26))
		defs.WriteString(`"` + name + `":{"anyOf":[{"$ref":"#/definitions/` + next + `"},{"$ref":"#/definitions/` + next + `"}]},`)
	}
	wide := strings.Repeat(`{"pattern":"^(a|aa)+b$"},`, 500) + `{}`
	for name, text := range map[string]string{
		"alternatives":    `{"$ref":"#/definitions/Aa"}`,
		"within not":      `{"not":{"not":{"$ref":"#/definitions/Aa"}}}`,
		"recursion":       `{"$ref":"#/definitions/R"}`,
		"many patterns":   `{"$ref":"#/definitions/W"}`,
		"a large pattern": `{"type":"string","pattern":"(a|aa){1,500}(x|y|z){0,500}(b|bb){1,500}c$"}`,
		"a circle":        `{"$ref":"#/definitions/Circle"}`,
	} {
		s, err := ParseSchema([]byte(`{"typeName":"Acme::Dear::Thing","description":"x","additionalProperties":false,
			"properties":{"Id":{"type":"string"},"Very":` + text + `},"primaryIdentifier":["/properties/Id"],
			"definitions":{` + defs.String() + `"Ci":{"type":"integer"},
				"R":{"anyOf":[{"properties":{"x":{"$ref":"#/definitions/R"}},"required":["y"]},{"properties":{"x":{"$ref":"#/definitions/R"}},"required":["z"]}]},
				"W":{"anyOf":[` + wide + `]},
				"Circle":{"allOf":[{"$ref":"#/definitions/Circle"}]}}}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		deep := any("x")
		for range 40 {
			deep = map[string]any{"x": deep}
		}
		start := time.Now()
		for _, v := range []any{"x", strings.Repeat("a", 200_000), deep} {
			problems := s.Validate(Model{"Id": "1", "Very": v})
			t.Logf("%s: %.80v after %v", name, problems, time.Since(start).Round(time.Millisecond))
			if _, err := s.Coerce(Model{"Id": "1", "Very": v}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestALargeSchemaIsReadInBoundedTime(t *testing.T) {
	var properties strings.Builder
	for i := range maxSubschemas - 10 {
		fmt.Fprintf(&properties, `"P%d":{"type":"string","pattern":"^[a-z]{1,100}%d$"},`, i, i)
	}
	large := strings.Replace(schemaOf("Acme::Large::Thing"), `"Name":`, properties.String()+`"Name":`, 1)
	start := time.Now()
	_, err := ParseSchema([]byte(large))
	t.Logf("%d bytes after %v: %v", len(large), time.Since(start).Round(time.Millisecond), err)
	if err == nil || !strings.Contains(err.Error(), "the patterns of the schema are too large together") {
		t.Error(err)
	}
	start = time.Now()
	s, err := ParseSchema([]byte(strings.ReplaceAll(large, "{1,100}", "+")))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after %v", time.Since(start).Round(time.Millisecond))
	if problems := s.Validate(Model{"Name": "a", "P7": "abc"}); len(problems) != 1 {
		t.Error(problems)
	}
	_, err = ParseSchema([]byte(strings.Replace(large, `"P1":`, `"Q":{"anyOf":[{},{},{},{},{},{},{},{},{},{}]},"P1":`, 1)))
	if err == nil {
		t.Error("there is no end to schemas")
	}
}

func TestPatternsOfECMAAndJava(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{`^(?!aws:)[a-z:]+$`, []string{"team:a", "xaws:"}, []string{"aws:a", ""}},
		{`^(?=.{3,5}$)(?!-)[a-z-]+$`, []string{"abc", "ab-cd"}, []string{"ab", "abcdef", "-abc"}},
		{`^(?!x)a|b`, []string{"a"}, []string{"x"}},
		{`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]+`, []string{"书", "🚀", "\t"}, []string{"\x01", "\v"}},
		{`^[\uD83D\uDE80]$`, []string{"🚀"}, []string{"🚁"}},
		{`^\uD83D\uDE80\/\-$`, []string{"🚀/-"}, []string{"🚀-/"}},
		{`^.{2,1500}$`, []string{"ab", strings.Repeat("x", 1500)}, []string{"a", strings.Repeat("x", 1501)}},
		{`^(ab){0,2000}$`, []string{"", "abab"}, []string{"aba"}},
		{`^[\w+=,.@-]{1001,}$`, []string{strings.Repeat("a", 1001)}, []string{strings.Repeat("a", 1000)}},
		{`^[[a]$`, []string{"[", "a"}, []string{"b"}},
		{`^\p{L}+\Z`, []string{"Ä书"}, []string{"1"}},
		{`^(?<year>\d{4})$`, []string{"2026"}, []string{"26"}},
		{`a{,3}`, []string{"a{,3}"}, []string{"aaa"}},
	} {
		p, err := compilePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		for _, s := range c.yes {
			if !p.MatchString(s) {
				t.Errorf("%s does not match %.30q", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if p.MatchString(s) {
				t.Errorf("%s matches %.30q", c.pattern, s)
			}
		}
	}
}

func TestCoerceReadsScalarsAsTheSchemaHasThem(t *testing.T) {
	s := parse(t, shelf)
	for text, want := range map[string]string{
		`{"Places":"10","Weight":"1.5","Open":"true"}`:                `{"Open":true,"Places":10,"Weight":1.5}`,
		`{"Name":80,"Room":true,"Open":"False"}`:                      `{"Name":"80","Open":false,"Room":"true"}`,
		`{"Books":[{"Title":7,"Pages":"300","Next":{"Title":1.50}}]}`: `{"Books":[{"Next":{"Title":"1.50"},"Pages":300,"Title":"7"}]}`,
		`{"Labels":{"a":1},"Tags":[{"Key":"k","Value":2}]}`:           `{"Labels":{"a":"1"},"Tags":[{"Key":"k","Value":"2"}]}`,
		`{"Owner":{"Firm":12}}`:                                       `{"Owner":{"Firm":"12"}}`,
		`{"Places":"ten","Open":"yes","Weight":"1x","Books":"3"}`:     `{"Books":"3","Open":"yes","Places":"ten","Weight":"1x"}`,
		`{"Places":"1.5","Policy":"{}","Unknown":"1"}`:                `{"Places":"1.5","Policy":"{}","Unknown":"1"}`,
		`{"Places":null,"Name":null}`:                                 `{"Name":null,"Places":null}`,
	} {
		got, err := s.Coerce(model(t, text))
		if err != nil || EncodeModel(got) != want {
			t.Errorf("%s: %s, %v, want %s", text, EncodeModel(got), err, want)
		}
	}
	got, err := s.Coerce(Model{"Places": 10, "Weight": 2.5, "Books": []map[string]any{{"Title": "a"}}})
	if want := `{"Books":[{"Title":"a"}],"Places":10,"Weight":2.5}`; err != nil || EncodeModel(got) != want {
		t.Errorf("Go values: %s, %v", EncodeModel(got), err)
	}
}

func TestChangesSayWhatNeedsAnotherResource(t *testing.T) {
	s := parse(t, shelf)
	changes, err := s.Changes(
		model(t, `{"Name":"ab","Room":"1","Kind":"wood","Places":10,"Key":{"Secret":"a","Hint":"b"},"Open":true}`),
		model(t, `{"Name":"cd","Room":"2","Kind":"steel","Places":10.0,"Key":{"Secret":"x","Hint":"b"},"Arn":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{{"Key", false, false}, {"Kind", false, true}, {"Name", false, false}, {"Open", false, false}, {"Room", true, false}}
	if !slices.Equal(changes, want) {
		t.Errorf("got %v, want %v", changes, want)
	}
	changes, err = s.Changes(model(t, `{"Key":{"Hint":"a"}}`), model(t, `{"Key":{}}`))
	if err != nil || !slices.Equal(changes, []Change{{"Key", true, false}}) {
		t.Errorf("a create-only part that goes: %v, %v", changes, err)
	}
}

func TestWithoutTakesAwayWhatPathsName(t *testing.T) {
	m := model(t, `{"A":{"B":1,"C":2},"L":[{"K":1,"V":2},{"K":3}],"M":{"x":{"S":1},"y":{"S":2,"T":3}}}`)
	got := EncodeModel(Without(m, []Path{{"A", "B"}, {"L", "*", "K"}, {"M", "*", "S"}, {"N"}}))
	if want := `{"A":{"C":2},"L":[{"V":2},{}],"M":{"x":{},"y":{"T":3}}}`; got != want {
		t.Errorf("got %s", got)
	}
	if got := EncodeModel(m); !strings.Contains(got, `"B":1`) {
		t.Errorf("the model was changed: %s", got)
	}
	// Some schemas leave out the * of lists.
	if got := EncodeModel(Without(m, []Path{{"L", "K"}})); !strings.Contains(got, `"L":[{"V":2},{}]`) {
		t.Errorf("got %s", got)
	}
}

func TestSchemasOfDocumentTypesHold(t *testing.T) {
	for name, r := range rules {
		file := "schemas/" + strings.ToLower(strings.ReplaceAll(name, "::", "-")) + ".json"
		text, err := schemaFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := parse(t, string(text))
		if s.TypeName != name {
			t.Errorf("%s is of %s", file, s.TypeName)
		}
		properties, _ := s.document["properties"].(map[string]any)
		for _, v := range slices.Concat(r.absent, r.always) {
			if properties[v.property] == nil {
				t.Errorf("%s: the rule sets %s, which the schema lacks", name, v.property)
			}
		}
		if r.trail == nil {
			t.Errorf("%s leaves no trail", name)
			continue
		}
		f := &filling{scope: scope{"111122223333", "eu-west-1", name}, region: "eu-west-1", model: Model{}}
		calls := []call{r.trail.created, r.trail.deleted, r.trail.tagged, r.trail.untagged}
		for _, c := range r.trail.changed {
			calls = append(calls, c.call)
			for _, p := range c.properties {
				if properties[p] == nil {
					t.Errorf("%s: a call is made for %s, which the schema lacks", name, p)
				}
			}
		}
		for _, c := range calls {
			if c.name == "" || !json.Valid(f.members(c.request)) || c.response != "" && !json.Valid(f.members(c.response)) {
				t.Errorf("%s: call %+v", name, c)
			}
			for _, template := range []string{c.request, c.response} {
				for _, word := range placeholders(template) {
					if properties[word] == nil {
						t.Errorf("%s: %s names %s, which the schema lacks", name, c.name, word)
					}
				}
			}
		}
	}
}

// placeholders are the {Property} of a template's texts.
func placeholders(template string) []string {
	var words []string
	for _, part := range strings.Split(template, `"{`)[1:] {
		if word, _, ok := strings.Cut(part, `}"`); ok && !strings.Contains(word, `"`) {
			words = append(words, word)
		}
	}
	return words
}

func FuzzParseSchema(f *testing.F) {
	f.Add(schemaOf("Acme::Web::Site"), `{"Name":"ab"}`)
	f.Add(shelf, `{"Name":"ab"}`)
	f.Add(with(`^[a-z]+$`, `^(?!x)[\\u0020-\\uD7FF]{1,2000}$`), `{"Name":"ab","Labels":{"a":"b"}}`)
	f.Add(with(`{"type": "boolean"}`, `{"if":{"const":1},"then":false,"else":{"contains":{}}}`), `{"Name":"ab","Open":[1]}`)
	f.Add(with(`#/definitions/Firm`, `#`), `{"Name":"书","Owner":{"Name":"x"}}`)
	f.Fuzz(func(t *testing.T, schema, text string) {
		s, err := ParseSchema([]byte(schema))
		if err != nil {
			if _, ok := errors.AsType[*SchemaError](err); !ok {
				t.Fatalf("%v is no SchemaError", err)
			}
			return
		}
		m, err := ParseModel(text)
		if err != nil {
			return
		}
		_ = s.CheckDesired(m)
		coerced, err := s.Coerce(m)
		if err != nil {
			t.Fatal(err)
		}
		if changes, err := s.Changes(coerced, coerced); err != nil || len(changes) > 0 {
			t.Fatalf("a model differs from itself: %v, %v", changes, err)
		}
		if again, err := s.Coerce(coerced); err != nil || !same(again, coerced) {
			t.Fatalf("coerced again: %s, %v, want %s", EncodeModel(again), err, EncodeModel(coerced))
		}
		Without(m, slices.Concat(s.ReadOnly, s.WriteOnly))
	})
}

func TestMessagesTellNothingOfSecrets(t *testing.T) {
	s := parse(t, `{"typeName": "Acme::Library::Safe", "description": "A safe.", "additionalProperties": false,
		"properties": {"Name": {"type": "string", "pattern": "^[a-z]+$"}, "Codes": {"type": "array", "items": {"type": "string", "enum": ["1"]}},
			"Key": {"type": "object", "properties": {"Secret": {"type": "string", "pattern": "^[0-9]+$"}}}},
		"primaryIdentifier": ["/properties/Name"], "writeOnlyProperties": ["/properties/Key/Secret", "/properties/Codes"], "handlers": {"create": {"permissions": []}}}`)
	for given, want := range map[string]string{
		`{"Name": "a", "Key": {"Secret": "swordfish"}}`: "#/Key/Secret: string [****] does not match pattern ^[0-9]+$",
		`{"Name": "a", "Codes": ["1", "swordfish"]}`:    "#/Codes/1: **** is not a valid enum value",
		`{"Name": "A1"}`: "#/Name: string [A1] does not match pattern ^[a-z]+$",
	} {
		if got := s.Validate(model(t, given)).Error(); got != want {
			t.Errorf("%s: %q, want %q", given, got, want)
		}
	}
}
