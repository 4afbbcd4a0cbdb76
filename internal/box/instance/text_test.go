package instance

import (
	"errors"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/awsapitest"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
)

// inputs are calls of all operations, with every text that a caller can give and
// that is not refused for being given. ID is an instance's.
var inputs = map[string]string{
	"CreateTags":         `{"Resources":["ID"],"Tags":[{"Key":"k","Value":"v"}]}`,
	"DeleteTags":         `{"Resources":["ID"],"Tags":[{"Key":"k","Value":"v"}]}`,
	"DescribeInstances":  `{"InstanceIds":["ID"],"Filters":[{"Name":"tag:k","Values":["v"]}]}`,
	"DescribeRegions":    `{"RegionNames":["eu-west-1"],"Filters":[{"Name":"region-name","Values":["eu-west-1"]}]}`,
	"DescribeTags":       `{"Filters":[{"Name":"key","Values":["k"]}],"NextToken":"t"}`,
	"RebootInstances":    `{"InstanceIds":["ID"]}`,
	"RunInstances":       `{"ImageId":"ami-0abcdef1234567890","InstanceType":"m1.small","MinCount":1,"MaxCount":1,"ClientToken":"once","KeyName":"key","Placement":{"AvailabilityZone":"eu-west-1a"},"SecurityGroups":["default"],"MetadataOptions":{"HttpTokens":"required"},"InstanceMarketOptions":{"MarketType":"spot"},"IamInstanceProfile":{"Name":"p"},"TagSpecifications":[{"ResourceType":"instance","Tags":[{"Key":"k","Value":"v"}]}]}`,
	"StartInstances":     `{"InstanceIds":["ID"]}`,
	"StopInstances":      `{"InstanceIds":["ID"]}`,
	"TerminateInstances": `{"InstanceIds":["ID"]}`,
}

// PostgreSQL does not keep the character U+0000.
func TestNoTextFailsTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		h := awsapi.New(awsapi.Config{Keys: noKeys{}})
		h.Register(ec2.Bind(s.Instances))
		id := s.run(1)[0]
		for _, op := range ec2.API.Operations {
			input, ok := inputs[op.Name]
			if !ok {
				t.Errorf("no input for %s", op.Name)
			}
			for what, in := range awsapitest.Spoiled(t, op, strings.ReplaceAll(input, "ID", id), "\x00") {
				_, err := h.Invoke(t.Context(), awsapi.Caller{Account: account, Region: region, Role: "admin"}, "ec2", op.Name, in)
				if refusal, ok := errors.AsType[*awsapi.Error](err); err != nil && (!ok || refusal.Fault) {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
	})
}
