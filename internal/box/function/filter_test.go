package function

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// filterCase is one file of testdata/filter.
type filterCase struct {
	Why      string
	Patterns []string
	Message  struct {
		Body              string
		Attributes        map[string]string
		MessageAttributes map[string]string
	}
	Want bool
}

func TestFilterCorpus(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/filter/*.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c filterCase
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			f, err := compileFilter(c.Patterns)
			if err != nil {
				t.Fatal(err)
			}
			m := sqs.Message{MessageId: new("m"), ReceiptHandle: new("h"), Body: &c.Message.Body, Attributes: c.Message.Attributes}
			if m.Attributes == nil {
				m.Attributes = map[string]string{"ApproximateReceiveCount": "1"}
			}
			for name, v := range c.Message.MessageAttributes {
				m.MessageAttributes = map[string]sqs.MessageAttributeValue{name: {DataType: new("String"), StringValue: &v}}
			}
			got, err := f.matches(newRecord(&m, queueARN{region, account, "orders"}))
			if err != nil || got != c.Want {
				t.Errorf("%s: got %v, %v", c.Why, got, err)
			}
		})
	}
}

// A message's body and attributes are anybody's: whatever they are, the record is JSON and a filter can judge it.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"", "订单", `{"a":1}`, `[`, `{"a":"\ud800"}`, "\xff", `{"a":1,"a":2}`} {
		f.Add(s, s)
	}
	wanted, err := compileFilter([]string{`{"body":{"a":[{"exists":true}]}}`, `{"body":[{"prefix":"订"}]}`, `{"messageAttributes":{"k":{"stringValue":["x"]}}}`})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body, attribute string) {
		r := newRecord(&sqs.Message{Body: &body, MessageAttributes: map[string]sqs.MessageAttributeValue{"k": {DataType: new("String"), StringValue: &attribute}}}, queueARN{region, account, "orders"})
		text, err := r.json()
		if err != nil || !json.Valid(text) {
			t.Fatalf("%s, %v", text, err)
		}
		if _, err := wanted.matches(r); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"", "null", `{"batchItemFailures":[{"itemIdentifier":"a"}]}`, `{"batchItemFailures":[{}]}`, `[`} {
		f.Add([]byte(s))
	}
	batch := []*record{{MessageID: "a"}, {MessageID: "b"}}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if failed := failedRecords(answer, batch); len(failed) > len(batch) || len(answer) > 0 && !json.Valid(answer) && len(failed) != len(batch) {
			t.Errorf("%q has failed %d", answer, len(failed))
		}
	})
}
