package reader

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"

	"github.com/rialto-bus/rialto/internal/cloud"
)

// A certificate is what DescribeCertificate says. It is known by its ARN.
var certificate = special{get: getCertificate, list: listCertificates, input: func() any { return &acm.ListCertificatesInput{} }}

func getCertificate(ctx context.Context, c *cloud.Clients, identifier string) (Resource, error) {
	out, err := c.Certificates.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: &identifier})
	if err != nil {
		return Resource{}, err
	}
	if out.Certificate == nil {
		return Resource{}, notFound("there is no certificate %s", identifier)
	}
	return Resource{aws.ToString(out.Certificate.CertificateArn), shape(out.Certificate)}, nil
}

// listCertificates lists those of every kind of key, unless a list parameter says
// which. AWS: without a filter, a list has those of 1024 and 2048 bits of RSA alone.
func listCertificates(ctx context.Context, c *cloud.Clients, q ListQuery) (Page, error) {
	in := &acm.ListCertificatesInput{NextToken: optional(q.Next)}
	if err := setParameters(in, q.Parameters); err != nil {
		return Page{}, err
	}
	if in.Includes == nil {
		in.Includes = &types.Filters{}
	}
	if len(in.Includes.KeyTypes) == 0 {
		in.Includes.KeyTypes = types.KeyAlgorithm("").Values()
	}
	out, err := c.Certificates.ListCertificates(ctx, in)
	if err != nil {
		return Page{}, err
	}
	page := Page{Next: aws.ToString(out.NextToken)}
	for _, s := range out.CertificateSummaryList {
		page.Resources = append(page.Resources, Resource{Identifier: aws.ToString(s.CertificateArn)})
	}
	return page, nil
}
