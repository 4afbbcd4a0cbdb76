package inputtransform

import (
	"encoding/json"
	"strings"
	"testing"
)

const benchEvent = `{"version":"0","id":"7bf73129-1428-4cd3-a780-95db273d1602","detail-type":"EC2 Instance State-change Notification",` +
	`"source":"aws.ec2","account":"123456789012","time":"2015-11-11T21:29:54Z","region":"us-east-1",` +
	`"resources":["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],` +
	`"detail":{"instance-id":"i-abcd1111","state":"running","tags":[{"key":"team","value":"平台"},{"key":"stage","value":"prod"}],"cpu":72.5}}`

// BenchmarkUnmarshal is what the others are measured by: the decoding of the same event into maps.
func BenchmarkUnmarshal(b *testing.B) {
	event := []byte(benchEvent)
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		var decoded map[string]any
		if err := json.Unmarshal(event, &decoded); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	paths := map[string]string{"id": "$.detail.instance-id", "state": "$.detail.state", "at": "$.time", "tags": "$.detail.tags", "keys": "$.detail.tags[*].key"}
	for _, bench := range []struct {
		name string
		in   Input
	}{
		{"path", Input{Path: new("$.detail.state")}},
		{"object", withTemplate(`{"id":<id>,"text":"<id> is <state> at <at>","tags":<tags>}`, paths)},
		{"text", withTemplate(`"<id> is <state> at <at>, tags <tags>"`, paths)},
		{"each", withTemplate(`{"id":<id>,"keys":<keys>}`, paths)},
		{"reserved", withTemplate(`{"rule":<aws.events.rule-arn>,"event":<aws.events.event.json>}`, nil)},
		{"head", withTemplate(`{"event":<aws.events.event>}`, nil)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			transform := mustCompile(b, bench.in)
			event := []byte(benchEvent)
			b.SetBytes(int64(len(event)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := transform.Render(event, caseVariables); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRenderLarge(b *testing.B) {
	event := []byte(strings.Replace(benchEvent, `"cpu":72.5`, `"text":"`+strings.Repeat("0123456789 海上 ", 14_000)+`"`, 1))
	transform := mustCompile(b, withTemplate(`{"id":<id>,"state":<state>}`, map[string]string{"id": "$.detail.instance-id", "state": "$.detail.state"}))
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transform.Render(event, caseVariables); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	in := withTemplate(`{"id":<id>,"text":"<id> is <state>"}`, map[string]string{"id": "$.detail.instance-id", "state": "$.detail.state"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(in); err != nil {
			b.Fatal(err)
		}
	}
}
