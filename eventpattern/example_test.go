package eventpattern_test

import (
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/eventpattern"
)

func ExampleCompile() {
	p, err := eventpattern.Compile([]byte(`{"source": ["shop"], "detail": {"city": ["上海", {"prefix": "北"}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	matched, err := p.Match([]byte(`{"source": "shop", "detail": {"city": "北京", "items": 3}}`))
	fmt.Println(matched, err)
	// Output: true <nil>
}

func ExampleCompile_refused() {
	_, err := eventpattern.Compile([]byte(`{"source": "shop"}`))
	fmt.Println(err)
	if syntax, ok := errors.AsType[*eventpattern.SyntaxError](err); ok {
		fmt.Println(syntax.Line, syntax.Column, syntax.Reason)
	}
	// Output:
	// "source" must be an object or an array
	//  at [Source: (String)"{"source": "shop"}"; line: 1, column: 13]
	// 1 13 "source" must be an object or an array
}

func ExamplePattern_Explain() {
	p, err := eventpattern.Compile([]byte(`{"source": ["aws.ec2"], "detail": {"state": ["running", {"prefix": "stop"}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Explain([]byte(`{"source": "aws.ec2", "detail": {"state": "pending"}}`)))
	// Output:
	// The event does not match.
	//   yes  source: "aws.ec2" satisfies ["aws.ec2"]
	//   no   detail.state: "pending" does not satisfy ["running", {"prefix": "stop"}]
}

func ExampleSet() {
	rules := eventpattern.NewSet()
	for id, pattern := range []string{
		`{"source": ["shop"]}`,
		`{"detail": {"total": [{"numeric": [">=", 100]}]}}`,
		`{"source": [{"anything-but": "shop"}]}`,
	} {
		p, err := eventpattern.Compile([]byte(pattern))
		if err != nil {
			fmt.Println(err)
			return
		}
		rules.Add(uint64(id), p)
	}
	ids, err := rules.Match(nil, []byte(`{"source": "shop", "detail": {"total": 150}}`))
	fmt.Println(ids, err)

	rules.Remove(0)
	ids, err = rules.Match(ids[:0], []byte(`{"source": "shop", "detail": {"total": 150}}`))
	fmt.Println(ids, err)
	// Output:
	// [0 1] <nil>
	// [1] <nil>
}
