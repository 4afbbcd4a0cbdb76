package instance

import (
	"context"
	"fmt"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

func open(b *testing.B) (*Instances, context.Context) {
	b.Helper()
	db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	ctx := awsapi.WithCaller(b.Context(), awsapi.Caller{Account: account, Region: region})
	return New(db, work.New(db, "bench", nil), Options{}), ctx
}

// BenchmarkRunInstances launches up to the limit of one call.
func BenchmarkRunInstances(b *testing.B) {
	for _, n := range []int32{1, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, ctx := open(b)
			for k := 0; b.Loop(); k++ {
				ctx := awsapi.WithCaller(ctx, awsapi.Caller{Account: account, Region: fmt.Sprint("region-", k/50)})
				_, err := s.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: new(image), MinCount: &n, MaxCount: &n})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDescribeInstances lists 10,000 instances.
func BenchmarkDescribeInstances(b *testing.B) {
	s, ctx := open(b)
	for range 50 {
		if _, err := s.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: new(image), MinCount: new(int32(200)), MaxCount: new(int32(200))}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		out, err := s.DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
		if err != nil || len(out.Reservations) != 50 {
			b.Fatal(len(out.Reservations), err)
		}
	}
}
