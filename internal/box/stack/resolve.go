package stack

import (
	"context"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/store"
)

// resolver knows what an operation has made so far.
type resolver struct {
	ctx context.Context
	r   *run
}

// Ref returns the physical id of a resource.
func (v *resolver) Ref(logicalID string) (any, error) {
	res := v.r.live(logicalID)
	if res == nil {
		return nil, errNoResource(v.r.stack, logicalID)
	}
	return res.PhysicalID, nil
}

// GetAtt returns an attribute of a resource.
func (v *resolver) GetAtt(logicalID, attribute string) (any, error) {
	res := v.r.live(logicalID)
	if res == nil {
		return nil, errNoResource(v.r.stack, logicalID)
	}
	return attributeOf(res, attribute)
}

// Import returns the value of an export.
func (v *resolver) Import(name string) (string, error) {
	return importValue(v.ctx, v.r.s.db, v.r.stack.Ref, name)
}

func importValue(ctx context.Context, q store.Querier, r Ref, name string) (string, error) {
	value, found, err := selectExport(ctx, q, r.Account, r.Region, name)
	if err == nil && !found {
		err = fmt.Errorf("No export named %s found.", name) //nolint:revive,staticcheck // AWS's text
	}
	return value, err
}

// attributeOf reads an attribute by its path: Arn, Endpoint.Address.
func attributeOf(res *Resource, attribute string) (any, error) {
	path := resource.Path(strings.Split(attribute, "."))
	v, ok := path.Get(res.details.Model)
	if !ok {
		v, ok = path.Get(res.details.Properties)
	}
	if !ok {
		return nil, fmt.Errorf("Requested attribute %s does not exist in schema for %s", attribute, res.Type) //nolint:revive,staticcheck // AWS's text
	}
	return v, nil
}
