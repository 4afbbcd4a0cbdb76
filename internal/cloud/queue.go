package cloud

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
)

// Queue names an SQS queue.
type Queue struct{ Account, Region, Name string }

var (
	queueARNForm = regexp.MustCompile(`^arn:aws[a-z-]*:sqs:([a-z0-9-]{1,64}):([0-9]{12}):([A-Za-z0-9_-]{1,80}(?:\.fifo)?)$`)
	// queueHostForm are the hosts of SQS. AWS: sqs.REGION.amazonaws.com,
	// REGION.queue.amazonaws.com before that, and the dual-stack ones.
	queueHostForm = regexp.MustCompile(`^(?:sqs\.([a-z0-9-]+)|([a-z0-9-]+)\.queue)\.([a-z.-]+)$`)
)

// ParseQueue reads the ARN of a queue, or its URL at AWS, which names the region
// too. The error says what the text is not.
func ParseQueue(text string) (Queue, error) {
	arn := text
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		region, ok := queueRegion(u.Hostname())
		path := strings.Split(strings.Trim(u.Path, "/"), "/")
		if !ok || len(path) != 2 {
			return Queue{}, fmt.Errorf("queue %q is not the URL of an SQS queue of AWS; give the queue's ARN, arn:aws:sqs:REGION:ACCOUNT:NAME", text)
		}
		arn = "arn:aws:sqs:" + region + ":" + path[0] + ":" + path[1]
	}
	m := queueARNForm.FindStringSubmatch(arn)
	if m == nil || !event.IsRegion(m[1]) || len(m[3]) > 80 {
		return Queue{}, fmt.Errorf("queue %q is neither the ARN (arn:aws:sqs:REGION:ACCOUNT:NAME) nor the URL of an SQS queue", text)
	}
	return Queue{Account: m[2], Region: m[1], Name: m[3]}, nil
}

// queueRegion is the region of a host of SQS.
func queueRegion(host string) (region string, ok bool) {
	m := queueHostForm.FindStringSubmatch(host)
	if m == nil {
		return "", false
	}
	region = m[1] + m[2]
	return region, m[3] == event.DNSSuffix(region) || m[3] == "api.aws" && m[1] != ""
}

// FIFO reports whether the queue keeps an order.
func (q Queue) FIFO() bool { return strings.HasSuffix(q.Name, ".fifo") }

// ARN is the queue's ARN.
func (q Queue) ARN() string {
	return "arn:" + event.Partition(q.Region) + ":sqs:" + q.Region + ":" + q.Account + ":" + q.Name
}

// URL is the queue's URL at AWS. Other endpoints look at its path alone.
func (q Queue) URL() string {
	return "https://sqs." + q.Region + "." + event.DNSSuffix(q.Region) + "/" + q.Account + "/" + q.Name
}
