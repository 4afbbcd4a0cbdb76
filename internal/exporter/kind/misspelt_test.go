package kind

import (
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

func TestAMisspeltKindIsToldFromOneOfItsOwn(t *testing.T) {
	for name, want := range map[string]string{
		"AWS::SQS::Que":                              "AWS::SQS::Queue",
		"AWS::SQS::Qeueue":                           "AWS::SQS::Queue",
		"AWS::SQS::Queues":                           "AWS::SQS::Queue",
		"AWS::SQS::queue":                            "AWS::SQS::Queue",
		"aws::sqs::queue":                            "AWS::SQS::Queue",
		"AWS::SSQ::Queue":                            "AWS::SQS::Queue",
		"AWS::SQSS::Queue":                           "AWS::SQS::Queue",
		"AW::SQS::Queue":                             "AWS::SQS::Queue",
		"AWS::Lamda::Function":                       "AWS::Lambda::Function",
		"AWS::Lambda::Funtcion":                      "AWS::Lambda::Function",
		"AWS::RDS::Instance":                         "AWS::RDS::DBInstance",
		"AWS::EC2::Secutitygroup":                    "AWS::EC2::SecurityGroup",
		"AWS::ElasticLoadBalancingV2::LoadBallancer": "AWS::ElasticLoadBalancingV2::LoadBalancer",
		"AWS::StepFunction::StateMachine":            "AWS::StepFunctions::StateMachine",
		"AWS::KMS::Kye":                              "AWS::KMS::Key",

		"AWS::SNS::TopicPolicy":                     "",
		"AWS::SQS::QueuePolicy":                     "",
		"AWS::SQS::QueueInlinePolicy":               "",
		"AWS::MediaConvert::Queue":                  "",
		"AWS::S3::BucketPolicy":                     "",
		"AWS::S3::AccessPoint":                      "",
		"AWS::EC2::EIP":                             "",
		"AWS::EC2::IPAM":                            "",
		"AWS::EC2::VPCEndpoint":                     "",
		"AWS::EC2::SubnetCidrBlock":                 "",
		"AWS::EC2::SecurityGroupIngress":            "",
		"AWS::IAM::User":                            "",
		"AWS::IAM::Policy":                          "",
		"AWS::IAM::RolePolicy":                      "",
		"AWS::KMS::Alias":                           "",
		"AWS::KMS::ReplicaKey":                      "",
		"AWS::DAX::Cluster":                         "",
		"AWS::EMR::Cluster":                         "",
		"AWS::MSK::Cluster":                         "",
		"AWS::MemoryDB::Cluster":                    "",
		"AWS::ECS::TaskDefinition":                  "",
		"AWS::Neptune::DBInstance":                  "",
		"AWS::DocDB::DBCluster":                     "",
		"AWS::RDS::DBProxy":                         "",
		"AWS::DynamoDB::GlobalTable":                "",
		"AWS::Logs::LogStream":                      "",
		"AWS::Events::EventBusPolicy":               "",
		"AWS::Events::Archive":                      "",
		"AWS::WAF::Rule":                            "",
		"AWS::CloudFormation::StackSet":             "",
		"AWS::CloudFront::Function":                 "",
		"AWS::Lambda::Version":                      "",
		"AWS::ACMPCA::Certificate":                  "",
		"AWS::CertificateManager::Certificate":      "",
		"AWS::ApiGateway::Stage":                    "",
		"AWS::ApiGatewayV2::Stage":                  "",
		"AWS::ElasticLoadBalancing::LoadBalancer":   "",
		"AWS::ElastiCache::ReplicationGroup":        "",
		"AWS::ElasticBeanstalk::ApplicationVersion": "",
		"AWS::KinesisVideo::Stream":                 "",
		"AWS::KinesisFirehose::DeliveryStream":      "",
		"AWS::SSO::Instance":                        "",
		"AWS::Route53::RecordSet":                   "",
		"AWS::ECR::PublicRepository":                "",
		"AWS::CodeCommit::Repository":               "",
		"Example::SQS::Queue":                       "",
		"AWS::SQS::Queue::MODULE":                   "",
	} {
		if have := strings.Join(Misspelt(name), " "); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	for _, k := range All() {
		if near := Misspelt(k.Name); near != nil {
			t.Errorf("%s is of the table, and taken for %q", k.Name, near)
		}
	}
}

func TestNearFindsPartsAndMisspellings(t *testing.T) {
	for name, want := range map[string]string{
		"dynamodb":         "AWS::DynamoDB::Table",
		"AWS::SQS::Qeueue": "AWS::SQS::Queue",
		"AWS::SQS::Que":    "AWS::SQS::Queue",
		"nothing":          "",
	} {
		if have := strings.Join(Near(name), " "); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
}

func TestAMisspeltKindOfAConfigurationIsWarnedOf(t *testing.T) {
	const rest = `"port": {"entity": {"mappings": [{"identifier": ".Arn", "blueprint": "queue"}]}}}`
	cfg, err := config.Parse([]byte("{\"resources\": [\n{\"kind\": \"AWS::SNS::TopicPolicy\", " + rest + ",\n{\"kind\": \"AWS::SQS::Que\", " + rest + "]}"))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Problem{{
		Path: "resources[1].kind", Line: 3, Warning: true,
		Message: "AWS::SQS::Que is none of the kinds that Rialto knows; did you mean AWS::SQS::Queue?",
	}}
	if have := CheckNames(cfg); !slices.Equal(have, want) {
		t.Errorf("%+v, want %+v", have, want)
	}
}
