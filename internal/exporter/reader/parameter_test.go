package reader

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	acm "github.com/aws/aws-sdk-go-v2/service/acm/types"
	cfn "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	ec2 "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	cache "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

func TestListParametersAreCheckedAgainstTheCall(t *testing.T) {
	for _, tt := range []struct{ kind, parameters, want string }{
		{"AWS::CloudFormation::Stack", `{"StackStatusFilter":["CREATE_COMPLETE","UPDATE_COMPLETE"]}`, ""},
		{"AWS::CloudFormation::Stack", `{"StackStatusFilters":[]}`, "list_parameters.StackStatusFilters: there is no such parameter; there are StackStatusFilter"},
		{"AWS::CloudFormation::Stack", `{"StackStatusFilter":["CREATE_COMPLETE","DONE"]}`, `list_parameters.StackStatusFilter[1]: "DONE" is none of`},
		{"AWS::CloudFormation::Stack", `{"StackStatusFilter":"CREATE_COMPLETE"}`, `list_parameters.StackStatusFilter: want a list, not "CREATE_COMPLETE"`},
		{"AWS::CloudFormation::Stack", `{"NextToken":"x"}`, "list_parameters.NextToken: pages are turned by the sync itself"},
		{"AWS::ElastiCache::CacheCluster", `{"Marker":"x"}`, "list_parameters.Marker: pages are turned by the sync itself"},
		{"AWS::ElastiCache::CacheCluster", `{"ShowCacheNodeInfo":true,"MaxRecords":20}`, ""},
		{"AWS::ElastiCache::CacheCluster", `{"ShowCacheNodeInfo":"yes"}`, `list_parameters.ShowCacheNodeInfo: want true or false, not "yes"`},
		{"AWS::ElastiCache::CacheCluster", `{"MaxRecords":20.5}`, "list_parameters.MaxRecords: want a whole number, not 20.5"},
		{"AWS::ElastiCache::CacheCluster", `{"MaxRecords":1e300}`, "list_parameters.MaxRecords: want a whole number, not 1e+300"},
		{"AWS::ElastiCache::CacheCluster", `{"MaxRecords":3000000000}`, "list_parameters.MaxRecords: want a whole number"},
		{"AWS::ElastiCache::CacheCluster", `{"maxRecords":20}`, ""},
		{"AWS::ElastiCache::CacheCluster", `{"MAXRECORDS":20}`, "list_parameters.MAXRECORDS: there is no such parameter"},
		{"AWS::ElasticLoadBalancingV2::LoadBalancer", `{"Names":["网"],"PageSize":100}`, ""},
		{"AWS::ElasticLoadBalancingV2::LoadBalancer", `{"Names":[1]}`, "list_parameters.Names[0]: want a string, not 1"},
		{"AWS::ACM::Certificate", `{"Includes":{"keyTypes":["RSA_2048"],"extendedKeyUsage":["ANY"]},"SortBy":"CREATED_AT","SortOrder":"ASCENDING"}`, ""},
		{"AWS::ACM::Certificate", `{"Includes":{"keyTypes":["RSA_2048"],"colour":1}}`, "list_parameters.Includes.colour: there is no such parameter; there are"},
		{"AWS::ACM::Certificate", `{"Includes":[]}`, "list_parameters.Includes: want an object, not []"},
		{"AWS::ACM::Certificate", `{"":1}`, "list_parameters.: there is no such parameter"},
		{"AWS::EC2::Instance", `{"Filters":[{"Name":"tag:环境","Values":["生产 🚀"]}]}`, ""},
		{"AWS::EC2::Instance", `{"Filters":[{"Name":"a"},{"Value":["b"]}]}`, "list_parameters.Filters[1].Value: there is no such parameter"},
		{"AWS::EC2::Instance", `{"ResultMetadata":{}}`, "list_parameters.ResultMetadata: there is no such parameter"},
		{"AWS::SQS::Queue", `{"QueueNamePrefix":"x"}`, "takes resources_models"},
		{"AWS::SQS::Queue", `{}`, ""},
	} {
		var parameters map[string]any
		if err := json.Unmarshal([]byte(tt.parameters), &parameters); err != nil {
			t.Fatal(err)
		}
		err := CheckParameters(tt.kind, parameters)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s %s: %v, want %q", tt.kind, tt.parameters, err, tt.want)
		}
	}
	for _, n := range []any{20, int64(20), 20.0, json.Number("20")} {
		if err := CheckParameters("AWS::ElastiCache::CacheCluster", map[string]any{"MaxRecords": n}); err != nil {
			t.Errorf("%T: %v", n, err)
		}
	}
	if err := CheckParameters("AWS::ElastiCache::CacheCluster", map[string]any{"MaxRecords": math.NaN()}); err == nil {
		t.Error("not a number is taken for one")
	}
}

// What a describe call may answer has to have a form in JSON, member by member.
func TestEveryMemberOfTheAnswersHasAForm(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var walk func(path string, of reflect.Type)
	walk = func(path string, of reflect.Type) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(path, of.Elem())
		case reflect.Map:
			if of.Key().Kind() != reflect.String {
				t.Errorf("%s is a %s", path, of)
			}
			walk(path, of.Elem())
		case reflect.Struct:
			if of == timeType || seen[of] {
				return
			}
			seen[of] = true
			for _, m := range membersOf(of) {
				walk(path+"."+m.name, of.Field(m.index).Type)
			}
		case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64, reflect.Float64, reflect.Uint8:
		default:
			t.Errorf("%s is a %s", path, of)
		}
	}
	for _, v := range []any{ec2.Instance{}, cfn.Stack{}, cfn.StackResource{}, elb.LoadBalancer{}, elb.Listener{}, elb.LoadBalancerAttribute{}, elb.Tag{}, acm.CertificateDetail{}, cache.CacheCluster{}, cache.Tag{}} {
		walk(reflect.TypeOf(v).String(), reflect.TypeOf(v))
	}
}

func TestTimesAreInUTCWithWhatTheyHave(t *testing.T) {
	zone := time.FixedZone("", 8*3600)
	for want, at := range map[string]time.Time{
		"2026-11-20T16:00:00Z":       time.Date(2026, 11, 21, 0, 0, 0, 0, zone),
		"2026-11-20T23:16:55.90565Z": time.Date(2026, 11, 20, 23, 16, 55, 905650000, time.UTC),
	} {
		if got := shape(ec2.Instance{LaunchTime: &at})["LaunchTime"]; got != want {
			t.Errorf("%v becomes %v", at, got)
		}
	}
	if got := shape(ec2.Instance{}); len(got) != 0 {
		t.Errorf("an empty answer becomes %v", got)
	}
}
