package reader_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/rialto-bus/rialto/internal/app"
	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const (
	boxAccount = "111122223333"
	boxRegion  = "eu-west-1"
)

// box is a reader of an account in the box of a running server, and the account's
// clients.
type box struct {
	*reader.Reader
	t *testing.T
	*cloud.Clients
}

func startBox(t *testing.T) *box {
	t.Helper()
	c := app.NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.Start(ctx, c, slog.New(slog.DiscardHandler))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	accounts := cloud.Open(storetest.SQLite(t), cloud.Options{
		BoxEndpoint: a.LocalURL, BoxCredentials: func(account string) (string, string) { return account, "any" },
	})
	t.Cleanup(func() {
		accounts.Close()
		cancel()
		if err := a.Wait(ctx); err != nil {
			t.Error(err)
		}
	})
	clients, err := accounts.Clients(t.Context(), boxAccount, boxRegion)
	if err != nil {
		t.Fatal(err)
	}
	return &box{reader.New(reader.Options{Cloud: accounts}), t, clients}
}

func of(kind string) reader.Scope {
	return reader.Scope{Account: boxAccount, Region: boxRegion, Kind: kind}
}

func (b *box) get(kind, identifier string) reader.Resource {
	b.t.Helper()
	r, err := b.Get(b.t.Context(), of(kind), identifier)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *box) missing(kind, identifier string) {
	b.t.Helper()
	if _, err := b.Get(b.t.Context(), of(kind), identifier); reader.ClassOf(err) != reader.NotFound {
		b.t.Errorf("%s %s: %v", kind, identifier, err)
	}
}

// listed are the identifiers of all pages.
func (b *box) listed(kind string, q reader.ListQuery) (ids []string) {
	b.t.Helper()
	for {
		page, err := b.List(b.t.Context(), of(kind), q)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, r := range page.Resources {
			ids = append(ids, r.Identifier)
		}
		if q.Next = page.Next; q.Next == "" {
			return ids
		}
	}
}

// create makes a resource by Cloud Control and returns its identifier.
func (b *box) create(kind, properties string) string {
	b.t.Helper()
	out, err := b.CloudControl.CreateResource(b.t.Context(), &cloudcontrol.CreateResourceInput{TypeName: &kind, DesiredState: &properties})
	if err != nil {
		b.t.Fatal(err)
	}
	token := out.ProgressEvent.RequestToken
	done, err := cloudcontrol.NewResourceRequestSuccessWaiter(b.CloudControl, func(o *cloudcontrol.ResourceRequestSuccessWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).WaitForOutput(b.t.Context(), &cloudcontrol.GetResourceRequestStatusInput{RequestToken: token}, time.Minute)
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToString(done.ProgressEvent.Identifier)
}

func TestTheBoxIsReadAsAWSIs(t *testing.T) {
	b := startBox(t)
	t.Run("stacks", b.stacks)
	t.Run("instances", b.instances)
	t.Run("cloud control", b.cloudControl)
	t.Run("errors", b.errors)
}

// manyQueues is a template of n queues, as JSON.
func manyQueues(n int) string {
	resources := map[string]any{}
	for i := range n {
		resources[fmt.Sprintf("Queue%03d", i)] = map[string]any{"Type": "AWS::SQS::Queue", "Properties": map[string]any{"QueueName": fmt.Sprint("many-", i)}}
	}
	text, err := json.Marshal(map[string]any{"Description": "队列 🛒", "Resources": resources})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (b *box) stacks(t *testing.T) {
	b.t = t
	const kind = "AWS::CloudFormation::Stack"
	ctx := t.Context()
	templates := map[string]string{"many": manyQueues(130), "one": "Resources:\n  Topic: # 注释\n    Type: AWS::SNS::Topic\n"}
	for _, name := range []string{"many", "one"} {
		_, err := b.CloudFormation.CreateStack(ctx, &cloudformation.CreateStackInput{
			StackName: &name, TemplateBody: aws.String(templates[name]), Tags: []cfntypes.Tag{{Key: aws.String("团队"), Value: aws.String("店")}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range templates {
		err := cloudformation.NewStackCreateCompleteWaiter(b.CloudFormation, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
			o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
		}).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: &name}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
	}
	one := b.get(kind, "one")
	if again := b.get(kind, one.Identifier); !strings.HasPrefix(one.Identifier, "arn:aws:cloudformation:") || again.Identifier != one.Identifier {
		t.Errorf("identified by %s and %s", one.Identifier, again.Identifier)
	}
	p := one.Properties
	if p["StackName"] != "one" || p["StackStatus"] != "CREATE_COMPLETE" || p["TemplateBody"] != templates["one"] {
		t.Errorf("the stack is %v", p)
	}
	if _, err := time.Parse(time.RFC3339, p["CreationTime"].(string)); err != nil {
		t.Error(err)
	}
	topic := p["StackResources"].([]any)[0].(map[string]any)
	if topic["LogicalResourceId"] != "Topic" || topic["ResourceType"] != "AWS::SNS::Topic" || !strings.HasPrefix(topic["PhysicalResourceId"].(string), "arn:aws:sns:") {
		t.Errorf("its resource is %v", topic)
	}
	many := b.get(kind, "many").Properties
	names := map[string]bool{}
	for _, r := range many["StackResources"].([]any) {
		names[r.(map[string]any)["LogicalResourceId"].(string)] = true
	}
	if len(names) != 130 || len(many["StackResources"].([]any)) != 130 {
		t.Errorf("a stack of 130 resources has %d of %d names", len(many["StackResources"].([]any)), len(names))
	}
	if body := many["TemplateBody"].(string); !strings.HasPrefix(body, "Description: ") || !strings.Contains(body, "\n    Queue042:\n        Properties:\n            QueueName: many-42\n") {
		t.Errorf("its template is %.200s", body)
	}
	if got := b.listed(kind, reader.ListQuery{}); len(got) != 2 || !slices.Contains(got, one.Identifier) {
		t.Errorf("listed %v", got)
	}
	filter := map[string]any{"StackStatusFilter": []any{"UPDATE_COMPLETE"}}
	if got := b.listed(kind, reader.ListQuery{Parameters: filter}); len(got) != 0 {
		t.Errorf("updated are %v", got)
	}
	if _, err := b.CloudFormation.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String("one")}); err != nil {
		t.Fatal(err)
	}
	err := cloudformation.NewStackDeleteCompleteWaiter(b.CloudFormation, func(o *cloudformation.StackDeleteCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).Wait(ctx, &cloudformation.DescribeStacksInput{StackName: &one.Identifier}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b.missing(kind, "one")
	b.missing(kind, one.Identifier)
	if got := b.listed(kind, reader.ListQuery{}); len(got) != 1 || got[0] == one.Identifier {
		t.Errorf("listed %v", got)
	}
}

func (b *box) instances(t *testing.T) {
	b.t = t
	const kind = "AWS::EC2::Instance"
	out, err := b.EC2.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(3), MaxCount: aws.Int32(3), InstanceType: ec2types.InstanceTypeT3Micro,
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("网 🛒")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, *i.InstanceId)
	}
	slices.Sort(ids)
	p := b.get(kind, ids[0]).Properties
	if p["InstanceId"] != ids[0] || p["InstanceType"] != "t3.micro" || p["Tags"].([]any)[0].(map[string]any)["Value"] != "网 🛒" {
		t.Errorf("the instance is %v", p)
	}
	if _, err := time.Parse(time.RFC3339, p["LaunchTime"].(string)); err != nil {
		t.Error(err)
	}
	got := b.listed(kind, reader.ListQuery{Parameters: map[string]any{"MaxResults": 5}})
	if slices.Sort(got); !slices.Equal(got, ids) {
		t.Errorf("listed %v, want %v", got, ids)
	}
	if _, err := b.EC2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: ids[:1]}); err != nil {
		t.Fatal(err)
	}
	err = ec2.NewInstanceTerminatedWaiter(b.EC2, func(o *ec2.InstanceTerminatedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).Wait(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: ids[:1]}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b.missing(kind, ids[0])
	for i, a := range b.GetMany(t.Context(), of(kind), append(slices.Clone(ids), "i-0badbadbad")) {
		if gone := i == 0 || i == 3; gone != (reader.ClassOf(a.Err) == reader.NotFound) || !gone && a.Resource.Identifier != ids[i] {
			t.Errorf("instance %d: %+v", i, a)
		}
	}
	if got := b.listed(kind, reader.ListQuery{}); len(got) != 2 {
		t.Errorf("listed %v", got)
	}
}

func (b *box) cloudControl(t *testing.T) {
	b.t = t
	cluster := b.create("AWS::ECS::Cluster", `{"ClusterName":"shop"}`)
	service := b.create("AWS::ECS::Service", `{"ServiceName":"web","Cluster":"shop","TaskDefinition":"t:1"}`)
	p := b.get("AWS::ECS::Service", service)
	arn, clusterARN, composite := strings.Cut(p.Identifier, "|")
	if !composite || p.Identifier != service || p.Properties["ServiceArn"] != arn || p.Properties["DesiredCount"] != 1 {
		t.Errorf("the service is %+v", p)
	}
	// AWS: a part of an identifier may be an alias, such as a cluster's name.
	if alias := b.get("AWS::ECS::Service", arn+"|"+cluster); alias.Identifier != service {
		t.Errorf("by the cluster's name it is %s", alias.Identifier)
	}
	if got := b.listed("AWS::ECS::Service", reader.ListQuery{Model: `{"Cluster":"` + clusterARN + `"}`}); !slices.Equal(got, []string{service}) {
		t.Errorf("listed %v", got)
	}
	b.create("AWS::S3::Bucket", `{"BucketName":"shop-data"}`)
	if got := b.listed("AWS::S3::Bucket", reader.ListQuery{}); !slices.Equal(got, []string{"shop-data"}) {
		t.Errorf("listed %v", got)
	}
	b.create("AWS::IAM::Role", `{"RoleName":"web","AssumeRolePolicyDocument":{"Version":"2012-10-17","Statement":[]}}`)
	if got := b.listed("AWS::IAM::Role", reader.ListQuery{}); !slices.Contains(got, "web") {
		t.Errorf("listed %v", got)
	}
	b.missing("AWS::IAM::Role", "nobody")
	if queues := b.listed("AWS::SQS::Queue", reader.ListQuery{}); len(queues) != 130 {
		t.Errorf("%d queues are listed", len(queues))
	}
}

func (b *box) errors(t *testing.T) {
	for _, tt := range []struct {
		kind, id string
		want     reader.Class
	}{
		{"AWS::Nothing::There", "x", reader.Unsupported},
		{"AWS::ElasticLoadBalancingV2::LoadBalancer", "web", reader.Unsupported},
		{"AWS::ACM::Certificate", "arn:aws:acm:eu-west-1:111122223333:certificate/1", reader.Unsupported},
		{"AWS::ElastiCache::CacheCluster", "c", reader.Unsupported},
		{"AWS::CloudFormation::Stack", "none", reader.NotFound},
		{"AWS::Lambda::Function", "none", reader.NotFound},
		{"AWS::SQS::Queue", "none", reader.Invalid}, // it is no URL
		{"AWS::EC2::Instance", "i-00000000", reader.NotFound},
	} {
		if _, err := b.Get(t.Context(), of(tt.kind), tt.id); reader.ClassOf(err) != tt.want {
			t.Errorf("%s: %s, want %s: %v", tt.kind, reader.ClassOf(err), tt.want, err)
		}
	}
}
