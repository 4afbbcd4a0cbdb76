package app

import (
	"fmt"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/resource/kind"
)

// makeResources makes the registry of resource types, whose handlers call our own services, and
// serves Cloud Control over it.
func (a *App) makeResources(h hooks) error {
	a.resources = resource.New(a.db, a.work, resource.Options{Sealer: a.auth.Sealer(), Logger: a.logger, Now: h.now})
	types, err := kind.Types(a.aws)
	if err != nil {
		return fmt.Errorf("resource types of the box: %w", err)
	}
	a.resources.Add(types...)
	a.aws.Register(cloudcontrol.Bind(a.resources.CloudControl()))
	return nil
}
