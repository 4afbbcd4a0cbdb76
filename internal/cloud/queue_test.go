package cloud

import (
	"strings"
	"testing"
)

func TestQueuesAreNamedByARNOrURL(t *testing.T) {
	for text, want := range map[string]string{
		"arn:aws:sqs:us-east-1:111122223333:q":                         "arn:aws:sqs:us-east-1:111122223333:q",
		"https://sqs.eu-west-1.amazonaws.com/111122223333/orders.fifo": "arn:aws:sqs:eu-west-1:111122223333:orders.fifo",
		"https://eu-west-1.queue.amazonaws.com/111122223333/orders":    "arn:aws:sqs:eu-west-1:111122223333:orders",
		"https://sqs.cn-north-1.amazonaws.com.cn/111122223333/orders":  "arn:aws-cn:sqs:cn-north-1:111122223333:orders",
		"https://sqs.eusc-de-east-1.amazonaws.eu/111122223333/orders":  "arn:aws-eusc:sqs:eusc-de-east-1:111122223333:orders",
		"https://sqs.us-gov-west-1.amazonaws.com/111122223333/orders":  "arn:aws-us-gov:sqs:us-gov-west-1:111122223333:orders",
		"https://sqs.us-east-1.api.aws/111122223333/orders":            "arn:aws:sqs:us-east-1:111122223333:orders",
		"":                                     "",
		"orders":                               "",
		"arn:aws:sns:us-east-1:111122223333:q": "",
		"arn:aws:sqs:us-east-1:1111:q":         "",
		"arn:aws:sqs:nowhere:111122223333:q":   "",
		"arn:aws:sqs:us-east-1:111122223333:" + strings.Repeat("x", 81):  "",
		"https://sqs.us-east-1.amazonaws.com/111122223333":               "",
		"https://sqs.us-east-1.amazonaws.com/111122223333/a/b":           "",
		"https://sqs.us-east-1.amazonaws.com.example.com/111122223333/q": "",
		"http://127.0.0.1:7425/000000000000/q":                           "",
	} {
		q, err := ParseQueue(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is taken for %s", text, q.ARN())
		case want != "" && (err != nil || q.ARN() != want):
			t.Errorf("%q is %s, %v; want %s", text, q.ARN(), err, want)
		}
	}
	if got := (Queue{"111122223333", "cn-north-1", "q"}).URL(); got != "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/q" {
		t.Errorf("the URL is %s", got)
	}
}
