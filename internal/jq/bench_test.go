package jq

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/itchyny/gojq"
)

// function is a resource as Cloud Control gives it, of usual size.
func function() map[string]any {
	tags := make([]any, 12)
	for i := range tags {
		tags[i] = map[string]any{"Key": fmt.Sprintf("tag-%d", i), "Value": fmt.Sprintf("value of tag %d", i)}
	}
	tags[7] = map[string]any{"Key": "Name", "Value": "orders 订单"}
	variables := map[string]any{}
	for i := range 15 {
		variables[fmt.Sprintf("VARIABLE_%d", i)] = fmt.Sprintf("some setting of the function, number %d", i)
	}
	return map[string]any{
		"FunctionName": "orders", "Arn": "arn:aws:lambda:eu-west-1:123456789012:function:orders", "Runtime": "provided.al2023", "MemorySize": 512.0, "Timeout": 30.0,
		"Role": "arn:aws:iam::123456789012:role/service-role/orders", "Tags": tags, "Environment": map[string]any{"Variables": variables},
		"VpcConfig": map[string]any{"SubnetIds": []any{"subnet-1", "subnet-2"}, "SecurityGroupIds": []any{"sg-1"}}, "Architectures": []any{"arm64"},
	}
}

var mapping = []string{
	`.Arn`, `.FunctionName`, `.Runtime`, `.MemorySize`, `.Timeout`, `.Tags[]? | select(.Key == "Name") | .Value`, `.Arn | split(":")[3]`,
	`.Tags // [] | from_entries`, `.VpcConfig.SubnetIds`, `.Environment.Variables | length`, `.Role | split("/") | last`, `"https://console.test/\(.FunctionName)"`,
}

// BenchmarkMapping evaluates the expressions of a mapping over one resource: by
// gojq as it is, by an Evaluator, and by one that sends all to a worker.
func BenchmarkMapping(b *testing.B) {
	in := function()
	ps := make([]*Program, len(mapping))
	for i, text := range mapping {
		ps[i] = compile(b, text)
	}
	b.Run("gojq", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, p := range ps {
				if v, _ := p.code.Run(in).Next(); v == nil {
					b.Fatal(p)
				}
			}
		}
	})
	e := evaluator(b, Options{Workers: 2})
	b.Run("here", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, o := range e.Each(b.Context(), ps, in) {
				if o.Value == nil {
					b.Fatal(o.Err)
				}
			}
		}
	})
	b.Run("worker", func(b *testing.B) {
		b.ReportAllocs()
		which := make([]int, len(ps))
		for i := range which {
			which[i] = i
		}
		out := make([]Output, len(ps))
		for b.Loop() {
			v, _, _ := normalize(in)
			e.pool.evaluate(context.Background(), ps, which, v, callOutputs*e.o.MaxOutput, out)
			if out[0].Value == nil {
				b.Fatal(out[0].Err)
			}
		}
	})
	b.Run("worker-one-of-them", func(b *testing.B) {
		mixed := append([]*Program{compile(b, `reduce .Tags[] as $t ({}; .[$t.Key] = $t.Value)`)}, ps...)
		b.ReportAllocs()
		for b.Loop() {
			if o := e.Each(b.Context(), mixed, in)[0]; o.Value == nil {
				b.Fatal(o.Err)
			}
		}
	})
	b.Run("json", func(b *testing.B) { // for scale: the resource written and read
		b.ReportAllocs()
		for b.Loop() {
			text, _ := json.Marshal(in)
			var v any
			_ = json.Unmarshal(text, &v)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for name, text := range map[string]string{"text": `"us-east-1"`, "path": `.requestFunctionName`, "select": `.Tags[]? | select(.Key == "Name") | .Value`, "from_entries": `.Tags // [] | from_entries`} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				compile(b, text)
			}
		})
		b.Run(name+"/gojq", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q, _ := gojq.Parse(text)
				_, _ = gojq.Compile(q)
			}
		})
	}
}

func BenchmarkStartOfWorker(b *testing.B) {
	for b.Loop() {
		w, err := startWorker(DefaultMaxMemory)
		if err != nil {
			b.Fatal(err)
		}
		w.end()
	}
}
