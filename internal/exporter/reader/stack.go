package reader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/cloud"
)

const stackKind = "AWS::CloudFormation::Stack"

// A stack is what DescribeStacks says, with StackResources and TemplateBody. It is
// known by its ARN, and found by its name, too.
var stack = special{get: getStack, list: listStacks, input: func() any { return &cloudformation.ListStacksInput{} }}

func getStack(ctx context.Context, c *cloud.Clients, identifier string) (Resource, error) {
	out, err := c.CloudFormation.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &identifier})
	if err != nil {
		return Resource{}, err
	}
	if len(out.Stacks) != 1 {
		return Resource{}, notFound("there is no stack %s", identifier)
	}
	st := out.Stacks[0]
	// AWS: deleted stacks are described for 90 days, by their ARN.
	if st.StackStatus == types.StackStatusDeleteComplete {
		return Resource{}, notFound("the stack %s is deleted", identifier)
	}
	var (
		resources []types.StackResource
		body      string
	)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { resources, err = stackResources(ctx, c, st.StackId); return err })
	g.Go(func() (err error) { body, err = templateBody(ctx, c, st); return err })
	if err := g.Wait(); err != nil {
		return Resource{}, err
	}
	properties := shape(st)
	properties["StackResources"] = shapes(resources)
	if body != "" {
		properties["TemplateBody"] = body
	}
	return Resource{aws.ToString(st.StackId), properties}, nil
}

const (
	// describedResources is how many resources DescribeStackResources has at most.
	describedResources = 100
	// maxResourcePages bounds the pages that are read of a stack's resources. AWS: a
	// stack has at most 500, and a page 100 or so.
	maxResourcePages = 20
)

// stackResources returns all resources of a stack. AWS: ListStackResources has all,
// and less of each.
func stackResources(ctx context.Context, c *cloud.Clients, id *string) ([]types.StackResource, error) {
	out, err := c.CloudFormation.DescribeStackResources(ctx, &cloudformation.DescribeStackResourcesInput{StackName: id})
	if err != nil || len(out.StackResources) < describedResources {
		return orEmpty(out, err)
	}
	list := out.StackResources
	known := map[string]bool{}
	for _, r := range list {
		known[aws.ToString(r.LogicalResourceId)] = true
	}
	in := &cloudformation.ListStackResourcesInput{StackName: id}
	for range maxResourcePages {
		page, err := c.CloudFormation.ListStackResources(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, r := range page.StackResourceSummaries {
			if !known[aws.ToString(r.LogicalResourceId)] {
				list = append(list, described(list[0], r))
			}
		}
		if in.NextToken = page.NextToken; aws.ToString(in.NextToken) == "" {
			return list, nil
		}
	}
	return nil, errors.New("the stack's resources have too many pages")
}

func orEmpty(out *cloudformation.DescribeStackResourcesOutput, err error) ([]types.StackResource, error) {
	if err != nil {
		return nil, err
	}
	return out.StackResources, nil
}

// described is a summary in the form of the resources that are described, one of
// which is first.
func described(first types.StackResource, r types.StackResourceSummary) types.StackResource {
	d := types.StackResource{
		StackId: first.StackId, StackName: first.StackName, LogicalResourceId: r.LogicalResourceId, PhysicalResourceId: r.PhysicalResourceId,
		ResourceType: r.ResourceType, ResourceStatus: r.ResourceStatus, ResourceStatusReason: r.ResourceStatusReason,
		Timestamp: r.LastUpdatedTimestamp, ModuleInfo: r.ModuleInfo,
	}
	if r.DriftInformation != nil {
		d.DriftInformation = &types.StackResourceDriftInformation{
			StackResourceDriftStatus: r.DriftInformation.StackResourceDriftStatus, LastCheckTimestamp: r.DriftInformation.LastCheckTimestamp,
		}
	}
	return d
}

// templateBody returns a stack's template as YAML, whichever way it was written. AWS:
// a stack that only has a change set has none.
func templateBody(ctx context.Context, c *cloud.Clients, st types.Stack) (string, error) {
	out, err := c.CloudFormation.GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: st.StackId})
	switch {
	case st.StackStatus == types.StackStatusReviewInProgress && codeOf(err) == "ValidationError":
		return "", nil
	case err != nil:
		return "", err
	}
	return yamlText(aws.ToString(out.TemplateBody)), nil
}

// yamlText writes a template that is JSON as YAML, its members in their order. One
// that would not say the same stays as it is.
func yamlText(body string) string {
	var value any
	var node yaml.Node
	if !strings.HasPrefix(strings.TrimSpace(body), "{") || json.Unmarshal([]byte(body), &value) != nil || yaml.Unmarshal([]byte(body), &node) != nil {
		return body
	}
	if !block(&node, maxDepth) {
		return body
	}
	text, err := yaml.Marshal(&node)
	if err != nil || !says(text, value) {
		return body
	}
	return string(text)
}

// says reports whether a YAML text has the value of a JSON one.
func says(text []byte, value any) bool {
	var got any
	if yaml.Unmarshal(text, &got) != nil {
		return false
	}
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(value)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// oldBool is what readers of YAML 1.1 take for true or false where it has no quotes.
var oldBool = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$`)

// maxDepth is how deep what is written over lines may be nested: each level indents
// all that is in it.
const maxDepth = 64

// block has a node written over lines, with quotes where they are needed alone. It is
// false for one that is nested deeper than depth.
func block(n *yaml.Node, depth int) bool {
	switch {
	case n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "\n"):
		n.Style = yaml.LiteralStyle
	case n.Kind != yaml.ScalarNode || n.Tag == "!!str" && !oldBool.MatchString(n.Value):
		n.Style = 0
	}
	for _, child := range n.Content {
		if depth == 0 || !block(child, depth-1) {
			return false
		}
	}
	return true
}

// liveStackStatuses are all but that of deleted stacks.
var liveStackStatuses = slices.DeleteFunc(types.StackStatus("").Values(), func(s types.StackStatus) bool {
	return s == types.StackStatusDeleteComplete
})

func listStacks(ctx context.Context, c *cloud.Clients, q ListQuery) (Page, error) {
	in := &cloudformation.ListStacksInput{NextToken: optional(q.Next)}
	if err := setParameters(in, q.Parameters); err != nil {
		return Page{}, err
	}
	if len(in.StackStatusFilter) == 0 {
		in.StackStatusFilter = liveStackStatuses
	}
	out, err := c.CloudFormation.ListStacks(ctx, in)
	if err != nil {
		return Page{}, err
	}
	page := Page{Next: aws.ToString(out.NextToken)}
	for _, st := range out.StackSummaries {
		if st.StackStatus != types.StackStatusDeleteComplete {
			page.Resources = append(page.Resources, Resource{Identifier: aws.ToString(st.StackId)})
		}
	}
	return page, nil
}
