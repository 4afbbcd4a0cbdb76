package config

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/jq"
)

func TestMain(m *testing.M) {
	jq.Main()
	m.Run()
}

func TestSmoke(t *testing.T) {
	c, err := Parse([]byte(`{"resources":[{"kind":"AWS::Lambda::Function","selector":{"query":".FunctionName","aws":{"regions":["us-east-1"]}},
	"port":{"entity":{"mappings":[{"identifier":".Arn","title":".FunctionName","blueprint":"\"lambda\"","properties":{"runtime":".Runtime"},"relations":{"vpc":".VpcId"}}]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	ev := jq.New(jq.Options{})
	defer ev.Close()
	m, err := c.Resources[0].Map(t.Context(), ev, map[string]any{"FunctionName": "f", "Arn": "arn:f"})
	t.Logf("%+v %v", m, err)
	r, err := ParseRecords(t.Context(), ev, []byte(`{"resource_type":"AWS::Lambda::Function","region":"\"us-east-1\"","identifier":"[.a,.a,.b]","a":"x","b":"y","action":"\"DELETE\""}`))
	t.Logf("%+v %v", r, err)
	_, err = ParseRecords(t.Context(), ev, []byte(`{"resource_type":"AWS::Lambda::Function","region":"us-east-1","identifier":"[.a,.a,.b]","a":"x","b":"y","action":"\"DELETE\""}`))
	t.Logf("%v", err)
	_, err = Parse([]byte("{\"resources\":[\n{\"kind\":\"x\",\n\"port\":{\"entity\":{\"mappings\":[{\"identifier\":\".[\"}]}}}]}"))
	t.Logf("%v", err)
}
