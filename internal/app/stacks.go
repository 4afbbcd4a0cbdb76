package app

import (
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/stack"
)

// makeStacks makes the stacks over the registry of resource types, and serves CloudFormation.
func (a *App) makeStacks(h hooks) {
	a.stacks = stack.New(a.db, a.work, stack.Options{
		Registry: a.resources, Types: a.resources, Sealer: a.auth.Sealer(), Services: a.aws, Logger: a.logger, Now: h.now,
	})
	a.aws.Register(cloudformation.Bind(a.stacks))
}
