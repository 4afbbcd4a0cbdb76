package intake

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// messageIDForm is that of SQS's message ids. AWS: at most 100 characters.
var messageIDForm = regexp.MustCompile(`^[!-~]{1,100}$`)

// queueRef names an SQS queue.
type queueRef struct{ account, region, name string }

var (
	queueARNForm = regexp.MustCompile(`^arn:aws[a-z-]*:sqs:([a-z0-9-]{1,64}):([0-9]{12}):([A-Za-z0-9_-]{1,80}(?:\.fifo)?)$`)
	// queueHostForm are the hosts of SQS. AWS: sqs.REGION.amazonaws.com,
	// REGION.queue.amazonaws.com before that, and the dual-stack ones.
	queueHostForm = regexp.MustCompile(`^(?:sqs\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)|([a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?)$`)
)

// parseQueue reads the ARN of a queue, or its URL at AWS, which names the region
// too.
func parseQueue(text string) (queueRef, error) {
	arn := text
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		m := queueHostForm.FindStringSubmatch(u.Hostname())
		path := strings.Split(strings.Trim(u.Path, "/"), "/")
		if m == nil || len(path) != 2 {
			return queueRef{}, httpapi.Invalid("queue %q is not the URL of an SQS queue of AWS; give the queue's ARN, arn:aws:sqs:REGION:ACCOUNT:NAME.", text)
		}
		arn = "arn:aws:sqs:" + m[1] + m[2] + ":" + path[0] + ":" + path[1]
	}
	m := queueARNForm.FindStringSubmatch(arn)
	if m == nil || !regionForm.MatchString(m[1]) || len(m[3]) > 80 {
		return queueRef{}, httpapi.Invalid("queue %q is neither the ARN (arn:aws:sqs:REGION:ACCOUNT:NAME) nor the URL of an SQS queue.", text)
	}
	return queueRef{account: m[2], region: m[1], name: m[3]}, nil
}

func (q queueRef) arn() string {
	return "arn:" + event.Partition(q.region) + ":sqs:" + q.region + ":" + q.account + ":" + q.name
}

// url is the queue's URL at AWS. Other endpoints look at its path alone.
func (q queueRef) url() string {
	domain := "amazonaws.com"
	if event.Partition(q.region) == "aws-cn" {
		domain = "amazonaws.com.cn"
	}
	return "https://sqs." + q.region + "." + domain + "/" + q.account + "/" + q.name
}
