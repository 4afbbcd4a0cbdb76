package cli

import (
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/rialto-bus/rialto/examples/exporter"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
)

// kindsPerTemplate is how many kinds go into one template.
const kindsPerTemplate = 12

// The rules of all kinds are deployed beside the queue, as they are printed.
func TestRulesOfAllKindsDeployInStacks(t *testing.T) {
	t.Parallel()
	server, stop, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	cfg := aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.LocalURL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("111122223333", "test", ""),
	}
	stacks := cloudformation.NewFromConfig(cfg)
	deployStack(t, stacks, kind.QueueStack, exporter.Queue())
	rules := 0
	for all := kind.All(); len(all) > 0; {
		some := all[:min(kindsPerTemplate, len(all))]
		text, err := kind.RuleSet{Kinds: some}.Render(kind.CloudFormation)
		if err != nil {
			t.Fatal(err)
		}
		deployStack(t, stacks, "rules-"+strconv.Itoa(len(all)), string(text))
		for _, k := range some {
			rules += len(k.Rules)
		}
		all = all[len(some):]
	}
	out, err := eventbridge.NewFromConfig(cfg).ListRules(t.Context(), &eventbridge.ListRulesInput{NamePrefix: aws.String("exporter-")})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Rules) != rules {
		t.Errorf("there are %d rules, want %d", len(out.Rules), rules)
	}
}

func deployStack(t *testing.T, stacks *cloudformation.Client, name, template string) {
	t.Helper()
	if _, err := stacks.CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: &name, TemplateBody: &template}); err != nil {
		t.Fatalf("create stack %s: %v", name, err)
	}
	waiter := cloudformation.NewStackCreateCompleteWaiter(stacks, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	})
	if err := waiter.Wait(t.Context(), &cloudformation.DescribeStacksInput{StackName: &name}, time.Minute); err != nil {
		t.Fatalf("wait for stack %s: %v", name, err)
	}
}
