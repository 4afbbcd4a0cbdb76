package reader

import (
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
)

const benchProperties = `{"FunctionName":"网","Arn":"arn:aws:lambda:eu-west-1:123456789012:function:web","Runtime":"python3.13","MemorySize":512,"Timeout":30,` +
	`"Environment":{"Variables":{"A":"1","B":"2","C":"3"}},"VpcConfig":{"SubnetIds":["subnet-1","subnet-2"],"SecurityGroupIds":["sg-1"]},` +
	`"Tags":[{"Key":"team","Value":"shop"},{"Key":"env","Value":"prod"}],"EphemeralStorage":{"Size":512},"Architectures":["arm64"]}`

// BenchmarkGet reads one resource over HTTP: with the reader, and with the SDK's client
// alone, which also decodes the properties. Their ratio is the reader's overhead.
func BenchmarkGet(b *testing.B) {
	e := newEndpoint(b, func(awsCall) (any, *awsError) {
		return object{"ResourceDescription": object{"Identifier": "web", "Properties": benchProperties}}, nil
	})
	accounts := accountsAt(b, e.URL, nil)
	s := in("AWS::Lambda::Function")
	b.Run("reader", func(b *testing.B) {
		r := New(Options{Cloud: accounts})
		for b.Loop() {
			if _, err := r.Get(b.Context(), s, "web"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sdk", func(b *testing.B) {
		cfg, err := accounts.Config(b.Context(), account, home)
		if err != nil {
			b.Fatal(err)
		}
		c := cloudcontrol.NewFromConfig(cfg)
		for b.Loop() {
			out, err := c.GetResource(b.Context(), &cloudcontrol.GetResourceInput{TypeName: &s.Kind, Identifier: aws.String("web")})
			if err != nil {
				b.Fatal(err)
			}
			var properties map[string]any
			if err := json.Unmarshal([]byte(*out.ResourceDescription.Properties), &properties); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkManyGets reads resources at once from an endpoint that takes 5 ms for each
// answer, which is what a full sync does most of the time.
func BenchmarkManyGets(b *testing.B) {
	e := newEndpoint(b, func(awsCall) (any, *awsError) {
		time.Sleep(5 * time.Millisecond) // the endpoint's latency
		return object{"ResourceDescription": object{"Identifier": "web", "Properties": benchProperties}}, nil
	})
	accounts := accountsAt(b, e.URL, nil)
	s := in("AWS::Lambda::Function")
	r := New(Options{Cloud: accounts})
	cfg, err := accounts.Config(b.Context(), account, home)
	if err != nil {
		b.Fatal(err)
	}
	c := cloudcontrol.NewFromConfig(cfg)
	for name, read := range map[string]func() error{
		"reader": func() error {
			_, err := r.Get(b.Context(), s, "web")
			return err
		},
		"sdk": func() error {
			_, err := c.GetResource(b.Context(), &cloudcontrol.GetResourceInput{TypeName: &s.Kind, Identifier: aws.String("web")})
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(16 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := read(); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "resources/s")
		})
	}
}
