package exporter

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// Queue is a queue of event records.
type Queue struct {
	// ARN is arn:aws:sqs:REGION:ACCOUNT:NAME; URL is its URL, as AWS has it if none was
	// given.
	ARN, URL string
	// Account is the followed account that a record is about which names none.
	Account string
	// Stack is the name of the stack that made the queue; empty for none.
	Stack                string
	CreatedAt, UpdatedAt time.Time

	// DeadLetterARN is the queue's own dead-letter queue, as its redrive policy says; its
	// messages become dead records.
	DeadLetterARN string
	// PolledAt is when the queue last answered, Waiting what it held then, Received
	// how many records came from it.
	PolledAt          time.Time
	Waiting, Received int64
	// FailedAt and FailedWhy say since when and why it is not read; zero when it is.
	FailedAt  time.Time
	FailedWhy string
}

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
	if strings.HasSuffix(m[3], ".fifo") {
		return queueRef{}, httpapi.Invalid("queue %q is a FIFO queue: a record that has to wait would hold up those behind it. Use a standard queue.", text)
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

// PutQueue has a queue of event records read. queue is its ARN, or its URL at AWS;
// account is the followed account that its records are about, stack the stack that made it,
// "" for none. It does not ask the queue: Queues says how it fares. Its errors are
// *httpapi.Error where it is not usable.
func (x *Exporter) PutQueue(ctx context.Context, queue, account, stack string) (Queue, error) {
	ref, err := parseQueue(queue)
	if err != nil {
		return Queue{}, err
	}
	if utf8.RuneCountInString(stack) > maxDescription {
		return Queue{}, httpapi.Invalid("stack is longer than %d characters.", maxDescription)
	}
	q := Queue{ARN: ref.arn(), URL: ref.url(), Account: account, Stack: stack}
	err = x.db.Update(ctx, func(tx *store.Tx) error {
		if _, found, err := loadAccount(ctx, tx, account); err != nil {
			return err
		} else if !found {
			return noAccount(account)
		}
		list, err := listQueues(ctx, tx)
		if err != nil {
			return err
		}
		q.CreatedAt, q.UpdatedAt = x.now(), x.now()
		known := false
		for _, old := range list {
			if old.ARN == q.ARN {
				q.CreatedAt, known = old.CreatedAt, true
			}
		}
		if !known && len(list) >= maxQueues {
			return httpapi.Invalid("The exporter reads at most %d queues.", maxQueues)
		}
		return saveQueue(ctx, tx, q)
	})
	if err != nil {
		return q, fmt.Errorf("put queue %s: %w", q.ARN, err)
	}
	x.wakePollers()
	return q, nil
}

// Queues lists the queues that are read, by account.
func (x *Exporter) Queues(ctx context.Context) ([]Queue, error) {
	list, err := listQueues(ctx, x.db)
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return list, nil
}

// DeleteQueue stops reading a queue, which stays where it is with what it holds.
func (x *Exporter) DeleteQueue(ctx context.Context, arn string) error {
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		found, err := deleteQueue(ctx, tx, arn)
		if err == nil && !found {
			err = httpapi.NotFound("The exporter does not read queue %q.", arn)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete queue %s: %w", arn, err)
	}
	x.wakePollers()
	return nil
}

// wakePollers tells that accounts or queues have changed.
func (x *Exporter) wakePollers() {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.changed)
	x.changed = make(chan struct{})
}

// accountsChanged returns a channel that is closed at the next change of accounts or
// queues on this node.
func (x *Exporter) accountsChanged() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changed
}
