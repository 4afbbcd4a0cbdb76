package exporter

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// CatalogSink writes entities to the catalog of this installation, in one transaction
// with what is known of their resources.
func CatalogSink(c *catalog.Catalog) Sink { return catalogSink{c} }

type catalogSink struct{ c *catalog.Catalog }

// Write implements Sink.
func (s catalogSink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	_, err := s.c.Apply(ctx, w, changes, catalog.ApplyOptions{Commit: commit, SameDatasource: isOurs})
	return err
}

// Preview implements Previewer.
func (s catalogSink) Preview(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange) ([]catalog.ChangeResult, error) {
	return s.c.Apply(ctx, w, changes, catalog.ApplyOptions{ValidateOnly: true, SameDatasource: isOurs})
}

// Transactional implements Sink.
func (s catalogSink) Transactional() bool { return true }

// BlueprintKeys implements Blueprints.
func (s catalogSink) BlueprintKeys(ctx context.Context, blueprint string) (properties, relations []string, err error) {
	b, err := s.c.Blueprint(ctx, blueprint)
	if err != nil {
		return nil, nil, err
	}
	return slices.Collect(maps.Keys(b.Properties)), slices.Collect(maps.Keys(b.Relations)), nil
}

// ownedPage is how many entities are asked for at once.
const ownedPage = 500

// Owned implements Sink.
func (s catalogSink) Owned(ctx context.Context, before time.Time, yield func(catalog.EntityRef) error) error {
	for from := ""; ; {
		page, next, err := s.c.DatasourceEntities(ctx, product, "", before, from, ownedPage)
		if err != nil {
			return err
		}
		for _, e := range page {
			if !isOurs(e.Datasource) {
				continue
			}
			if err := yield(catalog.EntityRef{Blueprint: e.Blueprint, Identifier: e.Identifier}); err != nil {
				return err
			}
		}
		if from = next; from == "" {
			return nil
		}
	}
}
