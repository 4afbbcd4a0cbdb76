package reader

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/cloud"
)

type object = map[string]any

func TestAResourceOfCloudControlIsReadWhole(t *testing.T) {
	const service = "arn:aws:ecs:eu-west-1:123456789012:service/店/网|arn:aws:ecs:eu-west-1:123456789012:cluster/店"
	e := newEndpoint(t, func(c awsCall) (any, *awsError) {
		return object{"TypeName": c.text("TypeName"), "ResourceDescription": object{
			"Identifier": service,
			"Properties": `{"ServiceName":"网 🛒","DesiredCount":2,"Ratio":0.5,"Number":9007199254740993,"Big":1e400,"Nothing":null,"On":true,"Tags":[{"Key":"a","Value":"1"}]}`,
		}}, nil
	})
	got, err := readerAt(t, e, nil).Get(t.Context(), in("AWS::ECS::Service"), `{"Cluster":"店","ServiceArn":"x"}`)
	if err != nil {
		t.Fatal(err)
	}
	want := Resource{service, object{
		"ServiceName": "网 🛒", "DesiredCount": 2, "Ratio": 0.5, "Number": 9007199254740993, "Big": "1e400", "Nothing": nil, "On": true,
		"Tags": []any{object{"Key": "a", "Value": "1"}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	c := e.last(t, "GetResource")
	if c.Region != home || c.text("Identifier") != `{"Cluster":"店","ServiceArn":"x"}` || c.text("TypeName") != "AWS::ECS::Service" {
		t.Errorf("asked with %+v", c)
	}
}

func TestPropertiesThatAreNoObjectAreAFailure(t *testing.T) {
	for _, properties := range []string{"", "null", "[]", `"x"`, `{"a":1} {`, `{"a":`} {
		e := newEndpoint(t, func(awsCall) (any, *awsError) {
			return object{"ResourceDescription": object{"Identifier": "x", "Properties": properties}}, nil
		})
		if _, err := readerAt(t, e, nil).Get(t.Context(), in("AWS::SQS::Queue"), "x"); err == nil || ClassOf(err) != Failed {
			t.Errorf("%s: %v", properties, err)
		}
	}
}

func TestAListIsReadPageByPage(t *testing.T) {
	const size, total = 3, 8
	e := newEndpoint(t, func(c awsCall) (any, *awsError) {
		from, _ := strconv.Atoi(c.text("NextToken"))
		out := object{"TypeName": c.text("TypeName")}
		var list []any
		for i := from; i < min(from+size, total); i++ {
			list = append(list, object{"Identifier": "r" + strconv.Itoa(i), "Properties": `{"part":true}`})
		}
		out["ResourceDescriptions"] = list
		if from+size < total {
			out["NextToken"] = strconv.Itoa(from + size)
		}
		return out, nil
	})
	r := readerAt(t, e, nil)
	const model = `{"LoadBalancerArn":"arn:x"}`
	var ids []string
	q := ListQuery{Model: model}
	for {
		page, err := r.List(t.Context(), in("AWS::ElasticLoadBalancingV2::Listener"), q)
		if err != nil {
			t.Fatal(err)
		}
		if page.Whole {
			t.Error("what Cloud Control lists is not whole")
		}
		for _, got := range page.Resources {
			if got.Properties != nil {
				t.Errorf("%s has the properties of a list: %v", got.Identifier, got.Properties)
			}
			ids = append(ids, got.Identifier)
		}
		if c := e.last(t, "ListResources"); c.text("ResourceModel") != model {
			t.Errorf("listed with the model %q", c.text("ResourceModel"))
		}
		if q.Next = page.Next; q.Next == "" {
			break
		}
	}
	if want := []string{"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"}; !cmp.Equal(ids, want) {
		t.Errorf("listed %v", ids)
	}
	if _, err := r.List(t.Context(), in("AWS::SQS::Queue"), ListQuery{Model: "{}"}); err != nil {
		t.Fatal(err)
	}
	if _, given := e.last(t, "ListResources").Body["ResourceModel"]; given {
		t.Error("the empty model is sent")
	}
}

func TestGlobalKindsAreReadWhereTheyAnswer(t *testing.T) {
	for _, tt := range []struct{ kind, region, want string }{
		{"AWS::IAM::Role", "eu-west-1", "us-east-1"},
		{"AWS::CloudFront::Distribution", "ap-south-1", "us-east-1"},
		{"AWS::IAM::Role", "cn-northwest-1", "cn-north-1"},
		{"AWS::Route53::HostedZone", "us-gov-east-1", "us-gov-west-1"},
		{"AWS::GlobalAccelerator::Accelerator", "eu-west-1", "us-west-2"},
		{"AWS::Lambda::Function", "eu-west-1", "eu-west-1"},
		{"AWS::S3::Bucket", "eu-west-1", "eu-west-1"},
	} {
		if got := Region(tt.kind, tt.region); got != tt.want {
			t.Errorf("%s of %s is read in %s, want %s", tt.kind, tt.region, got, tt.want)
		}
		if Global(tt.kind) != (tt.want != tt.region) {
			t.Errorf("%s: global %v", tt.kind, Global(tt.kind))
		}
	}
}

// An account whose settings leave the home of global services out is asked where it
// may be.
func TestGlobalKindsAreReadInTheRegionsOfTheSettings(t *testing.T) {
	e := newEndpoint(t, func(awsCall) (any, *awsError) {
		return object{"ResourceDescription": object{"Identifier": "r", "Properties": `{}`}}, nil
	})
	r := readerAt(t, e, func(s *cloud.Settings) { s.Regions = []string{"eu-central-1", "eu-west-1"} })
	if _, err := r.Get(t.Context(), Scope{account, "us-east-1", "AWS::IAM::Role"}, "r"); err != nil {
		t.Fatal(err)
	}
	if c := e.last(t, "GetResource"); c.Region != "eu-central-1" {
		t.Errorf("read in %s", c.Region)
	}
	_, err := r.Get(t.Context(), Scope{account, "us-east-1", "AWS::SQS::Queue"}, "r")
	if ClassOf(err) != RegionOff {
		t.Errorf("a region that the settings leave out: %v, %v", ClassOf(err), err)
	}
}
