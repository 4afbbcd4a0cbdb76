package stack

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

func typeOf(t *testing.T, properties, rest string) *resource.Type {
	t.Helper()
	schema, err := resource.ParseSchema([]byte(fmt.Sprintf(`{"typeName": "Test::Unit::Thing", "description": "d", "additionalProperties": false, "properties": {%s}, %s}`, properties, rest)))
	if err != nil {
		t.Fatal(err)
	}
	return &resource.Type{Name: "Test::Unit::Thing", Schema: schema}
}

func TestNamesAreChosenWhereATypeHasOne(t *testing.T) {
	const byName = `"primaryIdentifier": ["/properties/Name"], "createOnlyProperties": ["/properties/Name"]`
	long := strings.Repeat("x", 100)
	for name, tc := range map[string]struct {
		properties, rest string
		stack, logical   string
		given            resource.Model
		property, want   string // a regular expression; empty: none is chosen
	}{
		"the identifier":            {properties: `"Name": {"type": "string"}`, rest: byName, property: "Name", want: `^shop-Queue-[A-Z2-7]{12}$`},
		"a name that is given":      {properties: `"Name": {"type": "string"}`, rest: byName, given: resource.Model{"Name": "mine"}, property: "Name", want: `^mine$`},
		"a name that must be given": {properties: `"Name": {"type": "string"}`, rest: byName + `, "required": ["Name"]`, property: "Name"},
		"a name that can change":    {properties: `"Name": {"type": "string"}`, rest: `"primaryIdentifier": ["/properties/Name"]`, property: "Name"},
		"beside the identifier": {
			properties: `"ThingName": {"type": "string"}, "Arn": {"type": "string"}`, property: "ThingName", want: `^shop-Queue-`,
			rest: `"primaryIdentifier": ["/properties/Arn"], "readOnlyProperties": ["/properties/Arn"], "createOnlyProperties": ["/properties/ThingName"]`,
		},
		"none": {properties: `"Arn": {"type": "string"}`, rest: `"primaryIdentifier": ["/properties/Arn"], "readOnlyProperties": ["/properties/Arn"]`, property: "Name"},
		"in lower case": {
			properties: `"Name": {"type": "string", "pattern": "^[a-z0-9-]+$"}`, rest: byName, stack: "Shop", property: "Name", want: `^shop-queue-[a-z2-7]{12}$`,
		},
		"as long as it may be": {
			properties: `"Name": {"type": "string", "maxLength": 64}`, rest: byName, stack: long, logical: "Abc", property: "Name", want: `^x{47}-Abc-[A-Z2-7]{12}$`,
		},
		"both cut": {
			properties: `"Name": {"type": "string", "maxLength": 48}`, rest: byName, stack: long, logical: strings.Repeat("y", 200), property: "Name", want: `^x{17}-y{17}-[A-Z2-7]{12}$`,
		},
		"of a FIFO queue": {
			properties: `"Name": {"type": "string", "maxLength": 80}, "FifoQueue": {"type": "boolean"}`, rest: byName, given: resource.Model{"FifoQueue": true}, property: "Name", want: `^shop-Queue-[A-Z2-7]{12}\.fifo$`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.stack == "" {
				tc.stack = "shop"
			}
			if tc.logical == "" {
				tc.logical = "Queue"
			}
			d := details{Properties: resource.Model{}}
			maps.Copy(d.Properties, tc.given)
			d.chooseName(typeOf(t, tc.properties, tc.rest), tc.stack, tc.logical, nil)
			got, _ := d.Properties[tc.property].(string)
			if tc.want == "" && got != "" || !regexp.MustCompile(tc.want).MatchString(got) {
				t.Errorf("it is named %q, want %s", got, tc.want)
			}
		})
	}
}

func TestTagsOfAStackAreThoseOfItsResources(t *testing.T) {
	tags := []Tag{{"a", "1"}, {"b", "2"}}
	const rest = `"primaryIdentifier": ["/properties/Name"], "tagging": {"taggable": true, "tagProperty": "/properties/Tags"}`
	list := typeOf(t, `"Name": {"type": "string"}, "Tags": {"type": "array", "items": {"type": "object"}}`, rest)
	object := typeOf(t, `"Name": {"type": "string"}, "Tags": {"type": "object"}`, rest)
	none := typeOf(t, `"Name": {"type": "string"}, "Tags": {"type": "array"}`, `"primaryIdentifier": ["/properties/Name"], "tagging": {"taggable": false}`)
	for name, tc := range map[string]struct {
		typ   *resource.Type
		given resource.Model
		want  string
	}{
		"a list":              {list, resource.Model{}, `{"Tags":[{"Key":"a","Value":"1"},{"Key":"b","Value":"2"}]}`},
		"a list with its own": {list, resource.Model{"Tags": []any{map[string]any{"Key": "b", "Value": "own"}}}, `{"Tags":[{"Key":"b","Value":"own"},{"Key":"a","Value":"1"}]}`},
		"a map":               {object, resource.Model{}, `{"Tags":{"a":"1","b":"2"}}`},
		"a map with its own":  {object, resource.Model{"Tags": map[string]any{"b": "own"}}, `{"Tags":{"a":"1","b":"own"}}`},
		"none":                {none, resource.Model{"Name": "x"}, `{"Name":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := complete(tc.typ, tc.given, tags)
			if err != nil || encode(got) != tc.want {
				t.Errorf("got %s, %v; want %s", encode(got), err, tc.want)
			}
		})
	}
}

func TestEventsShowNothingOfSecrets(t *testing.T) {
	parameters := []Parameter{
		{Key: "Secret", Value: "hunter2", Shown: "****"}, {Key: "Longer", Value: "hunter2-of-all", Shown: "****"},
		{Key: "Keys", Value: "alpha, beta", Shown: "****"}, {Key: "Pin", Value: "4711", Shown: "****"}, {Key: "Open", Value: "plain", Shown: "plain"},
		{Key: "Empty", Value: "", Shown: "****"},
	}
	for given, want := range map[string]string{
		`{"a":"x hunter2 y"}`:          `{"a":"x **** y"}`,
		`{"a":"hunter2-of-all"}`:       `{"a":"****"}`,
		`{"a":["alpha","beta"]}`:       `{"a":["****","****"]}`,
		`{"a":{"b":4711},"c":12}`:      `{"a":{"b":"****"},"c":12}`,
		`{"a":"aHVudGVyMg=="}`:         `{"a":"****"}`,
		`{"a":"plain","b":true,"c":1}`: `{"a":"plain","b":true,"c":1}`,
	} {
		m, err := resource.ParseModel(given)
		if err != nil {
			t.Fatal(err)
		}
		if got := masked(m, parameters); got != want {
			t.Errorf("%s is shown as %s, want %s", given, got, want)
		}
	}
}
