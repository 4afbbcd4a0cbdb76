package reader

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/cloud"
)

// A load balancer is what DescribeLoadBalancers says, with Attributes, Listeners and
// Tags. It is known by its ARN, and found by its name, too.
var loadBalancer = special{
	get: getLoadBalancer, getMany: getLoadBalancers, many: balancersPerCall, list: listLoadBalancers,
	input: func() any { return &elb.DescribeLoadBalancersInput{} },
}

const (
	// balancersPerCall is how many load balancers a call may name. AWS: 20.
	balancersPerCall = 20
	// balancersAtOnce is how many load balancers of one call are read further at once.
	balancersAtOnce = 4
	// maxListenerPages bounds the pages that are read of a load balancer's listeners.
	maxListenerPages = 10
)

func getLoadBalancer(ctx context.Context, c *cloud.Clients, identifier string) (Resource, error) {
	list, err := describeLoadBalancers(ctx, c, []string{identifier})
	if err != nil {
		return Resource{}, err
	}
	if len(list) != 1 {
		return Resource{}, notFound("there is no load balancer %s", identifier)
	}
	var tags map[string][]types.Tag
	var properties map[string]any
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { tags, err = balancerTags(ctx, c, list); return err })
	g.Go(func() (err error) { properties, err = balancerProperties(ctx, c, list[0]); return err })
	if err := g.Wait(); err != nil {
		return Resource{}, err
	}
	arn := aws.ToString(list[0].LoadBalancerArn)
	properties["Tags"] = shapes(tags[arn])
	return Resource{arn, properties}, nil
}

// describeLoadBalancers describes load balancers by name or ARN. AWS: all of them
// have to be there.
func describeLoadBalancers(ctx context.Context, c *cloud.Clients, identifiers []string) ([]types.LoadBalancer, error) {
	var arns, names []string
	for _, id := range identifiers {
		if strings.HasPrefix(id, "arn:") {
			arns = append(arns, id)
		} else {
			names = append(names, id)
		}
	}
	var list []types.LoadBalancer
	for _, in := range []*elb.DescribeLoadBalancersInput{{LoadBalancerArns: arns}, {Names: names}} {
		if len(in.LoadBalancerArns)+len(in.Names) == 0 {
			continue
		}
		out, err := c.LoadBalancers.DescribeLoadBalancers(ctx, in)
		if err != nil {
			return nil, err
		}
		list = append(list, out.LoadBalancers...)
	}
	return list, nil
}

// balancerTags returns the tags of at most 20 load balancers by ARN.
func balancerTags(ctx context.Context, c *cloud.Clients, list []types.LoadBalancer) (map[string][]types.Tag, error) {
	in := &elb.DescribeTagsInput{}
	for _, lb := range list {
		in.ResourceArns = append(in.ResourceArns, aws.ToString(lb.LoadBalancerArn))
	}
	out, err := c.LoadBalancers.DescribeTags(ctx, in)
	if err != nil {
		return nil, err
	}
	tags := map[string][]types.Tag{}
	for _, d := range out.TagDescriptions {
		tags[aws.ToString(d.ResourceArn)] = d.Tags
	}
	return tags, nil
}

// balancerProperties are all properties but Tags.
func balancerProperties(ctx context.Context, c *cloud.Clients, lb types.LoadBalancer) (map[string]any, error) {
	var attributes []types.LoadBalancerAttribute
	var listeners []types.Listener
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		out, err := c.LoadBalancers.DescribeLoadBalancerAttributes(ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: lb.LoadBalancerArn})
		if err == nil {
			attributes = out.Attributes
		}
		return err
	})
	g.Go(func() (err error) { listeners, err = balancerListeners(ctx, c, lb.LoadBalancerArn); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	properties := shape(lb)
	properties["Attributes"], properties["Listeners"] = shapes(attributes), shapes(listeners)
	return properties, nil
}

func balancerListeners(ctx context.Context, c *cloud.Clients, arn *string) ([]types.Listener, error) {
	var list []types.Listener
	in := &elb.DescribeListenersInput{LoadBalancerArn: arn}
	for range maxListenerPages {
		out, err := c.LoadBalancers.DescribeListeners(ctx, in)
		if err != nil {
			return nil, err
		}
		list = append(list, out.Listeners...)
		if in.Marker = out.NextMarker; aws.ToString(in.Marker) == "" {
			return list, nil
		}
	}
	return nil, errors.New("the load balancer's listeners have too many pages")
}

func getLoadBalancers(ctx context.Context, c *cloud.Clients, identifiers []string) (map[string]Answer, error) {
	answers := map[string]Answer{}
	list, err := describeLoadBalancers(ctx, c, identifiers)
	if codeOf(err) == "LoadBalancerNotFound" || codeOf(err) == "LoadBalancerNotFoundException" {
		for _, id := range identifiers { // it does not say which
			r, err := getLoadBalancer(ctx, c, id)
			answers[id] = Answer{r, err}
		}
		return answers, nil
	}
	if err != nil {
		return nil, err
	}
	tags, err := balancerTags(ctx, c, list)
	if err != nil {
		return nil, err
	}
	read := make([]Answer, len(list))
	var wg sync.WaitGroup
	free := make(chan struct{}, balancersAtOnce)
	for i, lb := range list {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			read[i] = balancerAnswer(ctx, c, lb, tags)
		})
	}
	wg.Wait()
	for i, lb := range list {
		for _, name := range []*string{lb.LoadBalancerArn, lb.LoadBalancerName} {
			answers[aws.ToString(name)] = read[i]
		}
	}
	return answers, nil
}

func balancerAnswer(ctx context.Context, c *cloud.Clients, lb types.LoadBalancer, tags map[string][]types.Tag) Answer {
	properties, err := balancerProperties(ctx, c, lb)
	if err != nil {
		return Answer{Err: err}
	}
	arn := aws.ToString(lb.LoadBalancerArn)
	properties["Tags"] = shapes(tags[arn])
	return Answer{Resource: Resource{arn, properties}}
}

func listLoadBalancers(ctx context.Context, c *cloud.Clients, q ListQuery) (Page, error) {
	in := &elb.DescribeLoadBalancersInput{Marker: optional(q.Next)}
	if err := setParameters(in, q.Parameters); err != nil {
		return Page{}, err
	}
	out, err := c.LoadBalancers.DescribeLoadBalancers(ctx, in)
	if err != nil {
		return Page{}, err
	}
	page := Page{Next: aws.ToString(out.NextMarker)}
	for _, lb := range out.LoadBalancers {
		page.Resources = append(page.Resources, Resource{Identifier: aws.ToString(lb.LoadBalancerArn)})
	}
	return page, nil
}
