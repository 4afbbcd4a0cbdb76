package catalog

import (
	"context"
	"errors"
)

// Sweep does at once what sweepHourly does.
func (c *Catalog) Sweep(ctx context.Context) error {
	return errors.Join(c.sweepIntegrations(ctx), c.sweepMigrations(ctx))
}
