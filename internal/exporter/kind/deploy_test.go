package kind_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"

	"github.com/rialto-bus/rialto/examples/exporter"
	"github.com/rialto-bus/rialto/internal/app"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
)

// perTemplate is how many kinds go into one template.
const perTemplate = 12

// The rules of all kinds are deployed beside the queue, as they are printed.
func TestRulesDeployInStacks(t *testing.T) {
	cfg := startServer(t)
	stacks := cloudformation.NewFromConfig(cfg)
	deploy(t, stacks, kind.QueueStack, exporter.Queue())
	rules := 0
	for all, n := kind.All(), 1; len(all) > 0; n++ {
		some := all[:min(perTemplate, len(all))]
		all = all[len(some):]
		text, err := kind.RuleSet{Kinds: some}.Render(kind.CloudFormation)
		if err != nil {
			t.Fatal(err)
		}
		deploy(t, stacks, "rules-"+string(rune('0'+n)), string(text))
		for _, k := range some {
			rules += len(k.Rules)
		}
	}
	out, err := eventbridge.NewFromConfig(cfg).ListRules(t.Context(), &eventbridge.ListRulesInput{NamePrefix: aws.String("exporter-")})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Rules) != rules {
		t.Errorf("there are %d rules, want %d", len(out.Rules), rules)
	}
}

func startServer(t *testing.T) aws.Config {
	t.Helper()
	c := app.NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	ctx, cancel := context.WithCancel(context.Background())
	server, err := app.Start(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := server.Wait(ctx); err != nil {
			t.Error(err)
		}
	})
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: aws.String(server.LocalURL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("111122223333", "test", ""),
	}
}

func deploy(t *testing.T, stacks *cloudformation.Client, name, template string) {
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
