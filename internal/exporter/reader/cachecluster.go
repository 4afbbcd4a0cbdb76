package reader

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/rialto-bus/rialto/internal/cloud"
)

// A cache cluster is what DescribeCacheClusters says, with Tags. It is known by its
// CacheClusterId.
var cacheCluster = special{
	canonical: lastPart, get: getCacheCluster, list: listCacheClusters, input: func() any { return &elasticache.DescribeCacheClustersInput{} },
}

func getCacheCluster(ctx context.Context, c *cloud.Clients, identifier string) (Resource, error) {
	out, err := c.Caches.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &identifier})
	if err != nil {
		return Resource{}, err
	}
	if len(out.CacheClusters) != 1 {
		return Resource{}, notFound("there is no cache cluster %s", identifier)
	}
	cluster := out.CacheClusters[0]
	properties := shape(cluster)
	tags, err := c.Caches.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: cluster.ARN})
	switch {
	case err == nil:
		properties["Tags"] = shapes(tags.TagList)
	case !untaggable[codeOf(err)]:
		return Resource{}, err
	}
	return Resource{aws.ToString(cluster.CacheClusterId), properties}, nil
}

// untaggable are the codes with which the tags of a cluster are not told that is
// being made or changed. AWS: it is as if it were not there.
var untaggable = map[string]bool{
	"CacheClusterNotFound": true, "CacheClusterNotFoundFault": true, "InvalidCacheClusterState": true, "InvalidCacheClusterStateFault": true,
}

func listCacheClusters(ctx context.Context, c *cloud.Clients, q ListQuery) (Page, error) {
	in := &elasticache.DescribeCacheClustersInput{Marker: optional(q.Next)}
	if err := setParameters(in, q.Parameters); err != nil {
		return Page{}, err
	}
	out, err := c.Caches.DescribeCacheClusters(ctx, in)
	if err != nil {
		return Page{}, err
	}
	page := Page{Next: aws.ToString(out.Marker)}
	for _, cluster := range out.CacheClusters {
		page.Resources = append(page.Resources, Resource{Identifier: aws.ToString(cluster.CacheClusterId)})
	}
	return page, nil
}
