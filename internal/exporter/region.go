package exporter

import (
	"slices"

	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

// selects reports whether a pass exports what is in the region that keys have. A
// global kind is selected by any region.
func selects(r *config.Resource, account, region, home string) bool {
	switch {
	case !reader.Global(r.Kind):
		return r.Selects(account, region, home)
	case r.Regions == nil:
		return r.Selects(account, home, home)
	}
	return slices.ContainsFunc(r.Regions, func(named string) bool { return r.Selects(account, named, home) })
}
