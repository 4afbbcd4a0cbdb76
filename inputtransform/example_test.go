package inputtransform_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/inputtransform"
)

const order = `{"id":"6a7e8feb","detail-type":"order placed","source":"shop","detail":{"city":"上海","total":42,"items":[{"sku":"tea"},{"sku":"cup"}]}}`

func ExampleCompile() {
	transform, err := inputtransform.Compile(inputtransform.Input{Template: &inputtransform.Template{
		Paths: map[string]string{"city": "$.detail.city", "total": "$.detail.total", "skus": "$.detail.items[*].sku"},
		Text:  `{"text": "<total> from <city>", "skus": <skus>, "rule": <aws.events.rule-name>}`,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := transform.Render([]byte(order), inputtransform.Variables{RuleName: "orders", Ingestion: time.Now()})
	fmt.Println(string(body), err)
	// Output: {"text": "42 from 上海", "skus": ["tea","cup"], "rule": "orders"} <nil>
}

// A template that is not a JSON object is text, which needs quotes of its own.
func ExampleCompile_text() {
	transform, err := inputtransform.Compile(inputtransform.Input{Template: &inputtransform.Template{
		Paths: map[string]string{"city": "$.detail.city", "items": "$.detail.items"},
		Text:  `"to <city>: <items>"`,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := transform.Render([]byte(order), inputtransform.Variables{})
	fmt.Println(string(body), err)
	// Output: "to 上海: [{sku:tea},{sku:cup}]" <nil>
}

func ExampleCompile_path() {
	path := "$.detail.items[1]"
	transform, err := inputtransform.Compile(inputtransform.Input{Path: &path})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := transform.Render([]byte(order), inputtransform.Variables{})
	fmt.Println(string(body), err)
	// Output: {"sku":"cup"} <nil>
}

func ExampleCompile_refused() {
	_, err := inputtransform.Compile(inputtransform.Input{Template: &inputtransform.Template{
		Paths: map[string]string{"city": "$.detail.city"},
		Text:  `to <city>`,
	}})
	if refusal, ok := errors.AsType[*inputtransform.Error](err); ok {
		fmt.Println(refusal.Message("queue"))
		fmt.Println(refusal.Line, refusal.Column, refusal.Detail)
	}
	// Output:
	// Invalid InputTemplate for target queue : [Source: (String)"to null"; line: 1, column: 1].
	// 1 1 a value is neither an object, an array, a string, a number, true, false nor null
}

func ExampleTransform_Render_invalid() {
	transform, err := inputtransform.Compile(inputtransform.Input{Template: &inputtransform.Template{
		Paths: map[string]string{"items": "$.detail.items"},
		Text:  `{"items": "<items>"}`,
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = transform.Render([]byte(order), inputtransform.Variables{})
	if invalid, ok := errors.AsType[*inputtransform.InvalidJSONError](err); ok {
		fmt.Println(err)
		fmt.Println(string(invalid.Body))
	}
	// Output:
	// the filled-in template is not JSON: a comma or a closing mark must follow a value (line 1, column 15)
	// {"items": "[{"sku":"tea"},{"sku":"cup"}]"}
}

func ExamplePath_Get() {
	path, err := inputtransform.ParsePath("$.detail.items[*].sku")
	if err != nil {
		fmt.Println(err)
		return
	}
	value, ok := path.Get([]byte(order))
	fmt.Println(string(value), ok)
	// Output: ["tea","cup"] true
}
