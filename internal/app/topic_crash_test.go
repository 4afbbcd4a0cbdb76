package app

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Messages that were acknowledged reach the queues of a topic, though the server
// is killed while it takes and delivers them.
func TestPublishedMessagesSurviveAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, serverSettings{DataDir: dir, EventLogBytes: 64 << 20})
	connect := func(p *serverProcess) *caller {
		return &caller{t: t, url: p.url, account: testAccount, region: testRegion, key: credentials.NewStaticCredentialsProvider("test", "any", "")}
	}
	c := connect(p)
	topic := c.topic("t")
	c.queue("a")
	c.queue("b")
	raw := map[string]string{"RawMessageDelivery": "true"}
	c.subscribe(topic, "sqs", c.queueARN("a"), raw)
	c.subscribe(topic, "sqs", c.queueARN("b"), raw)

	var mu sync.Mutex
	acknowledged := map[string]bool{}
	enough := make(chan struct{})
	var once sync.Once
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				message := fmt.Sprint("消息 ", n.Add(1))
				if _, err := c.topics().Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: &message}); err != nil {
					return // it was killed
				}
				mu.Lock()
				acknowledged[message] = true
				if len(acknowledged) == 400 {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	select {
	case <-enough:
	case <-t.Context().Done():
		t.Fatal("the server took no messages")
	}
	p.kill()
	wg.Wait()

	c = connect(startProcess(t, serverSettings{DataDir: dir, EventLogBytes: 64 << 20}))
	for _, name := range []string{"a", "b"} {
		url, missing := c.queue(name), make(map[string]bool, len(acknowledged))
		for message := range acknowledged {
			missing[message] = true
		}
		eventually(t, fmt.Sprintf("all %d messages are in queue %s", len(acknowledged), name), func() bool {
			out, err := c.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range out.Messages {
				delete(missing, *m.Body)
			}
			return len(missing) == 0
		})
	}
}
