package app

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Asynchronous invocations and messages that were acknowledged reach their function,
// though the server is killed while they wait and run.
func TestWhatWaitsForAFunctionSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	settings := serverSettings{DataDir: dir, EventLogBytes: 64 << 20}
	p := startProcess(t, settings)
	connect := func(p *serverProcess) *caller {
		return &caller{t: t, url: p.url, account: testAccount, region: testRegion, key: credentials.NewStaticCredentialsProvider("test", "any", "")}
	}
	c := connect(p)
	w := c.worker("ship", "provided.al2023")
	url := c.queueOf("orders", map[string]string{"VisibilityTimeout": "5"})
	w.mapTo("orders")

	var mu sync.Mutex
	acknowledged := map[string]bool{}
	ack := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		acknowledged[text] = true
	}
	for round := range 2 {
		var n atomic.Int64
		enough := make(chan struct{})
		var once sync.Once
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					text := fmt.Sprintf("事件 %d/%d", round, n.Add(1))
					do := "fine"
					if n.Load()%20 == 0 {
						do = "slow"
					}
					payload := fmt.Sprintf(`{"detail":{"text":%q,"do":%q}}`, text, do)
					_, err := c.functions().Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &w.name, InvocationType: lambdatypes.InvocationTypeEvent, Payload: []byte(payload)})
					if err != nil {
						return // it was killed
					}
					ack(text)
					message := fmt.Sprintf("消息 %d/%d", round, n.Add(1))
					if _, err := c.queues().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String(message)}); err != nil {
						return
					}
					ack(message)
					if n.Load() > 300 {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		p.kill()
		wg.Wait()
		p = startProcess(t, settings)
		c = connect(p)
		url = c.queueOf("orders", map[string]string{"VisibilityTimeout": "5"})
	}
	arrived := map[string]int{}
	eventually(t, "all that was acknowledged has arrived", func() bool {
		clear(arrived)
		for _, s := range w.seen() {
			arrived[s.Event.Detail.Text]++
			for _, r := range s.Event.Records {
				arrived[r.Body]++
			}
		}
		missing := 0
		for text := range acknowledged {
			if arrived[text] == 0 {
				missing++
			}
		}
		return missing == 0
	})
	twice := 0
	for text := range acknowledged {
		twice += arrived[text] - 1
	}
	c.awaitEmpty(url)
	t.Logf("%d acknowledged over 2 kills, all arrived, %d of them more than once", len(acknowledged), twice)
}

// A server that stops lets functions finish for a moment, whose messages are then deleted; those of the
// others are back in their queue at once, and not when their visibility timeout ends.
func TestMessagesThatRunAreSettledWhenTheServerStops(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, func(c *Config) { c.DataDir = dir })
	c := s.caller(testAccount, testRegion)
	w := c.worker("ship", "provided.al2023", func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(300) })
	url := c.queueOf("orders", map[string]string{"VisibilityTimeout": "900"})
	w.mapTo("orders", func(in *lambda.CreateEventSourceMappingInput) { in.BatchSize = aws.Int32(1) })
	c.send(url, "slow", "hang")
	w.await("both run", func(got []seen) bool { return len(got) == 2 })
	s.stop()
	s = startServer(t, func(c *Config) { c.DataDir, c.Functions = dir, new(false) })
	out, err := s.queues(testRegion).GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		t.Fatal(err)
	}
	if there, hidden := out.Attributes["ApproximateNumberOfMessages"], out.Attributes["ApproximateNumberOfMessagesNotVisible"]; there != "1" || hidden != "0" {
		t.Errorf("%s messages are there, and %s hidden", there, hidden)
	}
}
