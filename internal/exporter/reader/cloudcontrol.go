package reader

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"

	"github.com/rialto-bus/rialto/internal/cloud"
)

func getResource(ctx context.Context, c *cloud.Clients, s Scope, identifier string) (Resource, error) {
	out, err := c.CloudControl.GetResource(ctx, &cloudcontrol.GetResourceInput{TypeName: &s.Kind, Identifier: &identifier})
	if err != nil {
		return Resource{}, err
	}
	if out.ResourceDescription == nil {
		return Resource{}, errors.New("the answer has no ResourceDescription")
	}
	properties, err := parseProperties(aws.ToString(out.ResourceDescription.Properties))
	if err != nil {
		return Resource{}, err
	}
	r := Resource{Identifier: aws.ToString(out.ResourceDescription.Identifier), Properties: properties}
	if r.Identifier == "" {
		r.Identifier = identifier
	}
	return r, nil
}

// listResources lists identifiers alone. AWS: which properties a list has differs by
// kind, and most have the identifier's only.
func listResources(ctx context.Context, c *cloud.Clients, s Scope, q ListQuery) (Page, error) {
	in := &cloudcontrol.ListResourcesInput{TypeName: &s.Kind}
	if q.Model != "" && q.Model != "{}" {
		in.ResourceModel = &q.Model
	}
	if q.Next != "" {
		in.NextToken = &q.Next
	}
	out, err := c.CloudControl.ListResources(ctx, in)
	if err != nil {
		return Page{}, err
	}
	page := Page{Next: aws.ToString(out.NextToken), Resources: make([]Resource, 0, len(out.ResourceDescriptions))}
	for _, d := range out.ResourceDescriptions {
		if aws.ToString(d.Identifier) == "" {
			return Page{}, errors.New("the answer has a resource without an identifier")
		}
		page.Resources = append(page.Resources, Resource{Identifier: *d.Identifier})
	}
	return page, nil
}

// parseProperties reads a JSON object whose integers stay integers, so that ids
// which are numbers keep all digits.
func parseProperties(text string) (map[string]any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return nil, fmt.Errorf("the properties are no JSON object: %w", err)
	}
	if object == nil || len(bytes.TrimSpace([]byte(text[dec.InputOffset():]))) > 0 {
		return nil, errors.New("the properties are no JSON object")
	}
	plain(object)
	return object, nil
}

// plain replaces the numbers of a decoded value by int or float64.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			switch member.(type) {
			case json.Number, map[string]any, []any:
				v[name] = plain(member)
			}
		}
	case []any:
		for i, item := range v {
			v[i] = plain(item)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		f, err := v.Float64()
		if err != nil {
			return v.String() // beyond a float64's range
		}
		return f
	}
	return v
}
