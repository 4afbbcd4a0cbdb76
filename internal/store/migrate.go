package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the schema up to this program's. Numbers may have gaps, and a
// lower one that was missing so far is applied late.
func migrate(ctx context.Context, db *sql.DB, d Dialect) error {
	dir, err := fs.Sub(migrations, "migrations/"+d.String())
	if err != nil {
		return err
	}
	opts := []goose.ProviderOption{goose.WithAllowOutofOrder(true), goose.WithDisableGlobalRegistry(true)}
	gd := goose.DialectSQLite3
	if d == Postgres {
		gd = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(gd, db, dir, opts...)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	if have > want {
		return fmt.Errorf("the database has schema %d and was written by a newer Rialto; this one knows schema %d: install the newer program, or restore a backup made with this one", have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

// SchemaHash names the schema that this program's migrations make: tests keep
// a migrated database under it. It changes with every edit of a migration.
func SchemaHash(d Dialect) string {
	h := sha256.New()
	err := fs.WalkDir(migrations, "migrations/"+d.String(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := migrations.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
		return err
	})
	if err != nil {
		panic(err) // the files are part of the program
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
