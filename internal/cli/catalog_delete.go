package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newCatalogDelete(s *streams, c *client) *cobra.Command {
	var dependents, all bool
	cmd := &cobra.Command{
		Use:   "delete BLUEPRINT [IDENTIFIER…]",
		Short: "Delete entities, or a blueprint",
		Long: `Delete entities of a blueprint. An entity that others need, by a required relation,
is refused; --dependents deletes those too. Relations that are not required
become empty.

Without an identifier delete the blueprint. It is refused while it has entities, or
another blueprint's relation points to it; --all-entities deletes its entities first,
and waits until that is done.

What the exporter has made of a resource comes back when the resource is read next.`,
		Example: `  rialto catalog delete service orders
  rialto catalog delete team payments --dependents
  rialto catalog delete service --all-entities`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			blueprint, identifiers := args[0], args[1:]
			switch {
			case all && len(identifiers) > 0:
				return usagef("--all-entities is of a whole blueprint: rialto catalog delete BLUEPRINT --all-entities")
			case dependents && len(identifiers) == 0:
				return usagef("--dependents is of entities: rialto catalog delete BLUEPRINT IDENTIFIER --dependents")
			case all:
				return deleteAllEntities(cmd.Context(), s, c, blueprint)
			case len(identifiers) == 0:
				return deleteBlueprint(cmd.Context(), s, c, blueprint)
			}
			return deleteEntities(cmd.Context(), s, c, blueprint, identifiers, dependents)
		},
	}
	cmd.Flags().BoolVar(&dependents, "dependents", false, "delete entities that need these as well, and those that need them")
	cmd.Flags().BoolVar(&all, "all-entities", false, "delete all entities of the blueprint, then the blueprint")
	return remote(cmd, c)
}

// deleteEntities deletes one after another, so that what is refused holds up no others.
func deleteEntities(ctx context.Context, s *streams, c *client, blueprint string, identifiers []string, dependents bool) error {
	var failed []error
	for _, id := range identifiers {
		path := catalogPath("blueprints", blueprint, "entities", id)
		if dependents {
			path += "?delete_dependents=true"
		}
		if err := c.do(ctx, http.MethodDelete, path, nil, nil); err != nil {
			failed = append(failed, err)
			continue
		}
		if _, err := fmt.Fprintf(s.out, "Deleted entity %s of blueprint %s\n", plain(id), plain(blueprint)); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func deleteBlueprint(ctx context.Context, s *streams, c *client, blueprint string) error {
	err := c.do(ctx, http.MethodDelete, catalogPath("blueprints", blueprint), nil, nil)
	if refused, ok := errors.AsType[*refusedError](err); ok && refused.code == "has_dependents" && strings.Contains(refused.message, "it has entities") {
		return fmt.Errorf("%w\n'rialto catalog delete %s --all-entities' deletes them with the blueprint", err, plain(blueprint))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "Deleted blueprint %s\n", plain(blueprint))
	return err
}

// migrationPoll is how often the server is asked how far it is.
const migrationPoll = 200 * time.Millisecond

// deleteAllEntities deletes a blueprint with its entities, which the server does in the
// background.
func deleteAllEntities(ctx context.Context, s *streams, c *client, blueprint string) error {
	var begun struct {
		MigrationID string `json:"migrationId"`
	}
	path := catalogPath("blueprints", blueprint, "all-entities")
	if err := c.do(ctx, http.MethodDelete, path+"?delete_blueprint=true", nil, &begun); err != nil {
		return err
	}
	tick := time.NewTicker(migrationPoll)
	defer tick.Stop()
	for {
		var v struct {
			Migration struct {
				Status  string `json:"status"`
				Message string `json:"message"`
				Deleted int    `json:"deletedEntities"`
			} `json:"migration"`
		}
		if err := c.do(ctx, http.MethodGet, catalogPath("migrations", begun.MigrationID), nil, &v); err != nil {
			return err
		}
		switch m := v.Migration; m.Status {
		case "COMPLETED":
			_, err := fmt.Fprintf(s.out, "Deleted blueprint %s and %s\n", plain(blueprint), entityCount(m.Deleted))
			return err
		case "FAILURE":
			return fmt.Errorf("blueprint %s is not deleted, but %s of it: %s", blueprint, entityCount(m.Deleted), m.Message)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the deletion of blueprint %s goes on on the server: %w", blueprint, ctx.Err())
		}
	}
}

func entityCount(n int) string {
	if n == 1 {
		return "1 entity"
	}
	return fmt.Sprintf("%d entities", n)
}
