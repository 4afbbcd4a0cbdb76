package instance

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

type noKeys struct{}

func (noKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, awsapi.ErrUnknownKey
}

func TestSDK(t *testing.T) {
	s := newFixture(t, storetest.SQLite(t))
	h := awsapi.New(awsapi.Config{Keys: noKeys{}, DevMode: func(context.Context) bool { return true }})
	h.Register(ec2.Bind(s.Instances))
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c := awsec2.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: &srv.URL, RetryMaxAttempts: 1, HTTPClient: srv.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(account, "any", ""),
	})
	ctx := t.Context()
	run, err := c.RunInstances(ctx, &awsec2.RunInstancesInput{
		ImageId: aws.String(image), InstanceType: types.InstanceTypeT4gNano, MinCount: aws.Int32(1), MaxCount: aws.Int32(2),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("网站")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{*run.Instances[0].InstanceId, *run.Instances[1].InstanceId}
	s.wait("running", ids...)
	pages := awsec2.NewDescribeInstancesPaginator(c, &awsec2.DescribeInstancesInput{
		Filters: []types.Filter{{Name: aws.String("tag:Name"), Values: []string{"网*"}}, {Name: aws.String("instance-state-name"), Values: []string{"running"}}},
	}, func(o *awsec2.DescribeInstancesPaginatorOptions) { o.Limit = 5 })
	var found []types.Instance
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Reservations {
			if *r.ReservationId != *run.ReservationId || *r.OwnerId != account {
				t.Errorf("reservation %s of %s", *r.ReservationId, *r.OwnerId)
			}
			found = append(found, r.Instances...)
		}
	}
	if len(found) != 2 {
		t.Fatalf("found %d instances, want 2", len(found))
	}
	i := found[0]
	if i.State.Name != types.InstanceStateNameRunning || i.Architecture != types.ArchitectureValuesArm64 || *i.NetworkInterfaces[0].PrivateIpAddress != *i.PrivateIpAddress ||
		*i.Tags[0].Value != "网站" || !i.LaunchTime.Equal(*run.Instances[0].LaunchTime) {
		t.Errorf("instance %+v", i)
	}
	if _, err := c.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	s.wait("terminated", ids...)
}
