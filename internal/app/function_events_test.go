package app

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"

	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func (c *caller) functions() *lambda.Client {
	return lambda.New(lambda.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

// compiledWorker is testdata/worker as a bootstrap, compiled once.
var compiledWorker = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "worker")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, "./testdata/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return out, err
	}
	return os.ReadFile(bin)
})

// worker is a function of the tests and what it wrote down.
type worker struct {
	c    *caller
	name string
	out  string
}

// seen is an event that a worker got.
type seen struct {
	Request string
	Event   struct {
		ID      string
		Detail  struct{ Do, Text string }
		Records []struct {
			MessageID, Body, EventSource, EventSourceARN, AWSRegion, MD5OfBody string
			Attributes                                                         map[string]string
			MessageAttributes                                                  map[string]struct{ StringValue, DataType string }
			SNS                                                                struct{ Message, TopicARN, Type string } `json:"Sns"`
		}
	}
}

// workers are the forms of the same function: compiled, and for Node where the machine has it.
func workers(t *testing.T, test func(t *testing.T, runtime string)) {
	t.Run("compiled", func(t *testing.T) {
		t.Parallel()
		test(t, "provided.al2023")
	})
	t.Run("node", func(t *testing.T) {
		t.Parallel()
		if _, err := exec.LookPath("node"); err != nil {
			t.Skip("this machine has no node")
		}
		test(t, "nodejs20.x")
	})
}

// worker makes a function of the worker's code.
func (c *caller) worker(name, kind string, edit ...func(*lambda.CreateFunctionInput)) *worker {
	c.t.Helper()
	w := &worker{c: c, name: name, out: filepath.Join(c.t.TempDir(), "out")}
	files := map[string][]byte{}
	handler := "bootstrap"
	if kind == "provided.al2023" {
		bin, err := compiledWorker()
		if err != nil {
			c.t.Fatalf("compile the worker: %v\n%s", err, bin)
		}
		files["bootstrap"] = bin
	} else {
		source, err := os.ReadFile("testdata/worker/index.mjs")
		if err != nil {
			c.t.Fatal(err)
		}
		files["index.mjs"], handler = source, "index.handler"
	}
	in := &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: lambdatypes.Runtime(kind), Handler: &handler, Role: aws.String("arn:aws:iam::" + c.account + ":role/worker"),
		Code: &lambdatypes.FunctionCode{ZipFile: zipped(c.t, files)}, Timeout: aws.Int32(5),
		Environment: &lambdatypes.Environment{Variables: map[string]string{"OUT": w.out}},
	}
	for _, e := range edit {
		e(in)
	}
	if _, err := c.functions().CreateFunction(c.t.Context(), in); err != nil {
		c.t.Fatal(err)
	}
	return w
}

func zipped(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Store}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *worker) arn() string {
	return "arn:aws:lambda:" + w.c.region + ":" + w.c.account + ":function:" + w.name
}

// permit lets a service invoke the function for a source.
func (w *worker) permit(service, source string) {
	w.c.t.Helper()
	_, err := w.c.functions().AddPermission(w.c.t.Context(), &lambda.AddPermissionInput{
		FunctionName: &w.name, StatementId: aws.String(strings.NewReplacer(".", "-", ":", "-", "/", "-").Replace(service + source)), Action: aws.String("lambda:InvokeFunction"),
		Principal: &service, SourceArn: &source, SourceAccount: &w.c.account,
	})
	if err != nil {
		w.c.t.Fatal(err)
	}
}

// seen returns the events that the worker got until now.
func (w *worker) seen() []seen {
	w.c.t.Helper()
	text, err := os.ReadFile(w.out)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		w.c.t.Fatal(err)
	}
	var list []seen
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var s seen
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			w.c.t.Fatalf("%v in %s", err, line)
		}
		list = append(list, s)
	}
	return list
}

// bodies are those of the messages that the worker got, in order.
func (w *worker) bodies() []string {
	var list []string
	for _, s := range w.seen() {
		for _, r := range s.Event.Records {
			list = append(list, r.Body)
		}
	}
	return list
}

func (w *worker) await(what string, enough func([]seen) bool) []seen {
	w.c.t.Helper()
	var got []seen
	eventually(w.c.t, what, func() bool { got = w.seen(); return enough(got) })
	return got
}

// mapTo has the worker get the messages of a queue, and waits until it does.
func (w *worker) mapTo(queue string, edit ...func(*lambda.CreateEventSourceMappingInput)) (id string) {
	w.c.t.Helper()
	in := &lambda.CreateEventSourceMappingInput{FunctionName: &w.name, EventSourceArn: aws.String(w.c.queueARN(queue))}
	for _, e := range edit {
		e(in)
	}
	out, err := w.c.functions().CreateEventSourceMapping(w.c.t.Context(), in)
	if err != nil {
		w.c.t.Fatal(err)
	}
	if *out.State != "Creating" {
		w.c.t.Errorf("a new mapping is %s", *out.State)
	}
	w.c.awaitMapping(*out.UUID, "Enabled")
	return *out.UUID
}

func (c *caller) awaitMapping(id, state string) {
	c.t.Helper()
	eventually(c.t, "the mapping is "+state, func() bool {
		got, err := c.functions().GetEventSourceMapping(c.t.Context(), &lambda.GetEventSourceMappingInput{UUID: &id})
		if err != nil {
			c.t.Fatal(err)
		}
		return *got.State == state
	})
}

// queueOf makes a queue with attributes.
func (c *caller) queueOf(name string, attributes map[string]string) (url string) {
	c.t.Helper()
	out, err := c.queues().CreateQueue(c.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		c.t.Fatal(err)
	}
	return *out.QueueUrl
}

func (c *caller) send(url string, bodies ...string) {
	c.t.Helper()
	for some := range slices.Chunk(bodies, 10) {
		var entries []sqstypes.SendMessageBatchRequestEntry
		for i, body := range some {
			entries = append(entries, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(string(rune('a' + i))), MessageBody: aws.String(body)})
		}
		out, err := c.queues().SendMessageBatch(c.t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
		if err != nil || len(out.Failed) > 0 {
			c.t.Fatal(err, out)
		}
	}
}

// left is how many messages a queue has, visible and in flight.
func (c *caller) left(url string) (visible, inFlight string) {
	c.t.Helper()
	out, err := c.queues().GetQueueAttributes(c.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		c.t.Fatal(err)
	}
	return out.Attributes["ApproximateNumberOfMessages"], out.Attributes["ApproximateNumberOfMessagesNotVisible"]
}

func (c *caller) awaitEmpty(url string) {
	c.t.Helper()
	eventually(c.t, "the queue is empty", func() bool {
		visible, inFlight := c.left(url)
		return visible == "0" && inFlight == "0"
	})
}

// impatient has functions that failed be tried again at once.
func impatient(c *Config) {
	c.FunctionRetryWaits = []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}
}

func TestARuleFeedsAFunction(t *testing.T) {
	t.Parallel()
	workers(t, func(t *testing.T, kind string) {
		c := startServer(t, impatient).caller("111122223333", "us-east-1")
		w := c.worker("ship", kind)
		w.permit("events.amazonaws.com", ruleARN(c, "to-fn"))
		c.putRule("", "to-fn", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(w.arn())})
		ids := c.put("shop", "order", `{"text":"订单 🛒"}`, `{"text":"second"}`)
		got := w.await("both events are there", func(got []seen) bool { return len(got) >= 2 })
		slices.SortFunc(got, func(a, b seen) int { return slices.Index(ids, a.Event.ID) - slices.Index(ids, b.Event.ID) })
		if len(got) != 2 || got[0].Event.ID != ids[0] || got[0].Event.Detail.Text != "订单 🛒" || got[1].Event.ID != ids[1] || got[0].Request == got[1].Request {
			t.Errorf("the function got %+v of %q", got, ids)
		}
	})
}

func TestAQueueFeedsAFunction(t *testing.T) {
	t.Parallel()
	workers(t, func(t *testing.T, kind string) {
		c := startServer(t, nil).caller("111122223333", "us-east-1")
		w, url := c.worker("ship", kind), c.queue("orders")
		w.mapTo("orders")
		_, err := c.queues().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("订单 🛒"), MessageAttributes: map[string]sqstypes.MessageAttributeValue{
			"kind": {DataType: aws.String("String"), StringValue: aws.String("rush")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		got := w.await("the message is there", func(got []seen) bool { return len(got) > 0 })
		r := got[0].Event.Records[0]
		if r.Body != "订单 🛒" || r.EventSource != "aws:sqs" || r.EventSourceARN != c.queueARN("orders") || r.AWSRegion != "us-east-1" || len(r.MD5OfBody) != 32 ||
			r.Attributes["ApproximateReceiveCount"] != "1" || r.Attributes["SenderId"] == "" || r.MessageAttributes["kind"].StringValue != "rush" {
			t.Errorf("the function got %+v", r)
		}
		c.awaitEmpty(url)
		var all []string
		for i := range 50 {
			all = append(all, strings.Repeat("x", i+1))
		}
		c.send(url, all...)
		w.await("all are there", func([]seen) bool { return len(w.bodies()) >= 51 })
		c.awaitEmpty(url)
		if n := len(w.bodies()); n != 51 {
			t.Errorf("the function got %d messages, want 51", n)
		}
	})
}

// A function that times out or crashes leaves its messages to the queue, whose
// redrive policy puts them off.
func TestWhatAFunctionFailsGoesToTheQueuesDeadLetters(t *testing.T) {
	t.Parallel()
	workers(t, func(t *testing.T, kind string) {
		c := startServer(t, nil).caller("111122223333", "us-east-1")
		w := c.worker("ship", kind, func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(1) })
		dead := c.queue("dead")
		url := c.queueOf("orders", map[string]string{
			"VisibilityTimeout": "1", "RedrivePolicy": `{"deadLetterTargetArn":"` + c.queueARN("dead") + `","maxReceiveCount":"2"}`,
		})
		id := w.mapTo("orders", func(in *lambda.CreateEventSourceMappingInput) { in.BatchSize = aws.Int32(1) })
		c.send(url, "hang", "crash", "fail", "fine")
		got := map[string]bool{}
		eventually(t, "three messages are dead letters", func() bool {
			out, err := c.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &dead, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range out.Messages {
				got[*m.Body] = true
			}
			return len(got) >= 3
		})
		if !got["hang"] || !got["crash"] || !got["fail"] {
			t.Errorf("the dead letters are %v", got)
		}
		c.awaitEmpty(url)
		tries := map[string]int{}
		for _, body := range w.bodies() {
			tries[body]++
		}
		if tries["hang"] != 2 || tries["crash"] != 2 || tries["fail"] != 2 || tries["fine"] != 1 {
			t.Errorf("the function was tried %v times", tries)
		}
		out, err := c.functions().GetEventSourceMapping(t.Context(), &lambda.GetEventSourceMappingInput{UUID: &id})
		if err != nil || aws.ToString(out.LastProcessingResult) == "" {
			t.Errorf("the mapping is %+v, %v", out, err)
		}
	})
}

// ReportBatchItemFailures: what the function names comes again, the rest is done.
func TestAFunctionFailsHalfABatch(t *testing.T) {
	t.Parallel()
	workers(t, func(t *testing.T, kind string) {
		c := startServer(t, nil).caller("111122223333", "us-east-1")
		w := c.worker("ship", kind, func(in *lambda.CreateFunctionInput) { in.Timeout = aws.Int32(2) })
		dead := c.queue("dead")
		url := c.queueOf("orders", map[string]string{
			"VisibilityTimeout": "2", "RedrivePolicy": `{"deadLetterTargetArn":"` + c.queueARN("dead") + `","maxReceiveCount":"2"}`,
		})
		c.send(url, "one", "bad", "two", "three")
		w.mapTo("orders", func(in *lambda.CreateEventSourceMappingInput) {
			in.FunctionResponseTypes = []lambdatypes.FunctionResponseType{lambdatypes.FunctionResponseTypeReportBatchItemFailures}
		})
		if m := c.rawMessage(dead); *m.Body != "bad" {
			t.Errorf("the dead letter is %q", *m.Body)
		}
		c.awaitEmpty(url)
		got := w.seen()
		if len(got) != 2 || len(got[0].Event.Records) != 4 || len(got[1].Event.Records) != 1 || got[1].Event.Records[0].Attributes["ApproximateReceiveCount"] != "2" {
			t.Errorf("the function got %+v", got)
		}
	})
}

func TestAnAsynchronousInvocationIsTriedThreeTimesAndThenADeadLetter(t *testing.T) {
	t.Parallel()
	workers(t, func(t *testing.T, kind string) {
		c := startServer(t, impatient).caller("111122223333", "us-east-1")
		dead := c.queue("dead")
		w := c.worker("ship", kind, func(in *lambda.CreateFunctionInput) {
			in.DeadLetterConfig = &lambdatypes.DeadLetterConfig{TargetArn: aws.String(c.queueARN("dead"))}
		})
		payload := `{"detail":{"do":"fail"}}`
		out, err := c.functions().Invoke(t.Context(), &lambda.InvokeInput{FunctionName: &w.name, InvocationType: lambdatypes.InvocationTypeEvent, Payload: []byte(payload)})
		if err != nil || out.StatusCode != 202 {
			t.Fatal(out, err)
		}
		m := c.rawMessage(dead)
		got := w.seen()
		if len(got) != 3 || got[0].Request != got[2].Request {
			t.Errorf("the function was tried as %+v", got)
		}
		a := m.MessageAttributes
		if *m.Body != payload || *a["RequestID"].StringValue != got[0].Request || *a["ErrorCode"].StringValue != "200" || *a["ErrorCode"].DataType != "Number" ||
			*a["ErrorMessage"].StringValue != "it was told to fail: 失败 💥" {
			t.Errorf("the dead letter is %q with %+v", *m.Body, a)
		}
	})
}

func TestATopicFeedsAFunction(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "us-east-1")
	w := c.worker("ship", "provided.al2023")
	topic := c.topic("news")
	w.permit("sns.amazonaws.com", topic)
	c.subscribe(topic, "lambda", w.arn(), nil)
	if _, err := c.topics().Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: aws.String("新闻 📰")}); err != nil {
		t.Fatal(err)
	}
	got := w.await("the message is there", func(got []seen) bool { return len(got) > 0 })
	r := got[0].Event.Records[0]
	if r.SNS.Message != "新闻 📰" || r.SNS.TopicARN != topic || r.SNS.Type != "Notification" {
		t.Errorf("the function got %+v", got)
	}
}

// AWS: a rule or a topic needs the function's permission, also in its own account.
func TestAFunctionWithoutPermissionIsNotInvoked(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "us-east-1")
	w := c.worker("ship", "provided.al2023")
	w.permit("events.amazonaws.com", ruleARN(c, "another"))
	dead := c.queue("dead")
	c.putRule("", "fn", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(w.arn()), DeadLetterConfig: c.deadLetters("dead")})
	c.deadLetter(dead, c.put("shop", "order", `{}`)[0], map[string]string{
		"RULE_ARN": ruleARN(c, "fn"), "TARGET_ARN": w.arn(), "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "User: events.amazonaws.com is not authorized to perform: lambda:InvokeFunction on resource: " + w.arn(),
	})
	if got := w.seen(); got != nil {
		t.Errorf("the function got %+v", got)
	}
}
