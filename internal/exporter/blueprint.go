package exporter

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

// blueprintsTime bounds how long the blueprints of a configuration are looked up.
const blueprintsTime = 10 * time.Second

// Blueprints is what a Sink may be besides: it tells of its blueprints.
type Blueprints interface {
	// BlueprintKeys returns the properties and the relations that entities of a blueprint
	// may be given. Its error is a *catalog.Error of status 404 where there is no such one.
	BlueprintKeys(ctx context.Context, blueprint string) (properties, relations []string, err error)
}

// checkBlueprints returns warnings of what a configuration maps to and the sink does not have:
// it may be made after the configuration is in force.
func (x *Exporter) checkBlueprints(ctx context.Context, cfg *config.Config) []config.Problem {
	sink, ok := x.o.Sink.(Blueprints)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, blueprintsTime)
	defer cancel()
	return config.CheckBlueprints(cfg, func(blueprint string) (*config.BlueprintKeys, error) {
		properties, relations, err := sink.BlueprintKeys(ctx, blueprint)
		if isNotFound(err) {
			return nil, nil
		}
		return &config.BlueprintKeys{Properties: properties, Relations: relations}, err
	})
}
