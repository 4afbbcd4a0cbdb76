package resource

import "testing"

// Parsing a schema is done once a version; checking a model at each operation.
func BenchmarkSchema(b *testing.B) {
	text, err := schemaFiles.ReadFile("schemas/aws-ecs-service.json")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := ParseSchema(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	s := parse(b, string(text))
	m := model(b, `{"ServiceName":"web","Cluster":"main","TaskDefinition":"web:1","DesiredCount":2,"Tags":[{"Key":"team","Value":"a"}],
		"NetworkConfiguration":{"AwsvpcConfiguration":{"Subnets":["subnet-1"],"AssignPublicIp":"ENABLED"}}}`)
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if err := s.CheckDesired(m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("coerce", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Coerce(m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
