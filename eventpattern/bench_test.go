package eventpattern

import (
	"fmt"
	"testing"
)

const benchEvent = `{"version":"0","id":"7bf73129-1428-4cd3-a780-95db273d1602","detail-type":"EC2 Instance State-change Notification",` +
	`"source":"aws.ec2","account":"123456789012","time":"2015-11-11T21:29:54Z","region":"us-east-1",` +
	`"resources":["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],` +
	`"detail":{"instance-id":"i-abcd1111","state":"running","tags":[{"key":"team","value":"平台"},{"key":"stage","value":"prod"}],"cpu":72.5}}`

func BenchmarkCompile(b *testing.B) {
	pattern := []byte(benchPattern(1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(pattern); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPatternMatch(b *testing.B) {
	for _, bench := range []struct{ name, pattern string }{
		{"exact", `{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"],"detail":{"state":["running"]}}`},
		{"wildcard", `{"resources":[{"wildcard":"arn:aws:ec2:*:instance/*1111"}]}`},
		{"numeric", `{"detail":{"cpu":[{"numeric":[">",70,"<=",100]}]}}`},
		{"elements", `{"detail":{"tags":{"key":["stage"],"value":["prod"]}}}`},
		{"no match", `{"source":["aws.s3"]}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := mustCompile(b, bench.pattern)
			event := []byte(benchEvent)
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Match(event); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchPattern is a rule as they are on a bus: a source, a detail type, and one or two fields of the detail.
func benchPattern(i int) string {
	sources := []string{"aws.ec2", "aws.s3", "shop.orders", "aws.ecs", "payments"}
	types := []string{"EC2 Instance State-change Notification", "Object Created", "Order placed", "ECS Task State Change"}
	head := fmt.Sprintf(`{"source":["%s"],"detail-type":["%s"],"detail":{`, sources[i%len(sources)], types[i%len(types)])
	switch i % 4 {
	case 0:
		return head + fmt.Sprintf(`"instance-id":["i-%08x"],"state":["running","stopped"]}}`, i)
	case 1:
		return head + fmt.Sprintf(`"bucket":{"name":["bucket-%d"]},"object":{"key":[{"prefix":"in/"}]}}}`, i)
	case 2:
		return head + fmt.Sprintf(`"customer":["c-%d"],"total":[{"numeric":[">",%d]}]}}`, i, i%500)
	}
	return head + fmt.Sprintf(`"state":[{"anything-but":"pending"}],"owner":["team-%d"]}}`, i)
}

func benchSet(b *testing.B, n int) *Set {
	s := NewSet()
	for i := range n {
		s.Add(uint64(i), mustCompile(b, benchPattern(i)))
	}
	s.Add(uint64(n), mustCompile(b, `{"source":["aws.ec2"],"detail":{"instance-id":["i-abcd1111"]}}`))
	return s
}

func BenchmarkSetMatch(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			s := benchSet(b, n)
			event := []byte(benchEvent)
			b.ResetTimer()
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var ids []uint64
				for pb.Next() {
					var err error
					if ids, err = s.Match(ids[:0], event); err != nil || len(ids) == 0 {
						b.Fatal(ids, err)
					}
				}
			})
		})
	}
}

func BenchmarkSetAdd(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			patterns := make([]*Pattern, n)
			for i := range patterns {
				patterns[i] = mustCompile(b, benchPattern(i))
			}
			b.ReportAllocs()
			for b.Loop() {
				s := NewSet()
				for i, p := range patterns {
					s.Add(uint64(i), p)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/rule")
		})
	}
}
