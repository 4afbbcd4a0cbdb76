package catalog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// MigrationStatus is how far a migration is. Port's words.
type MigrationStatus string

// The statuses of migrations.
const (
	MigrationPending   MigrationStatus = "PENDING"
	MigrationRunning   MigrationStatus = "RUNNING"
	MigrationCompleted MigrationStatus = "COMPLETED"
	MigrationFailed    MigrationStatus = "FAILURE"
)

// Migration is the deletion of all entities of a blueprint, done in the background.
type Migration struct {
	ID              string
	Blueprint       string
	DeleteBlueprint bool // and the blueprint, once they are gone
	Status          MigrationStatus
	Deleted         int64  // entities so far
	Error           string // why it failed
	Writer          Writer
	CreatedAt       time.Time
	UpdatedAt       time.Time

	lastEntityID int64 // the newest entity when it was asked for
}

const (
	// queueMigration holds the migrations to do; key: id.
	queueMigration = "catalog.migration"
	// migrationChunk is how many entities one transaction deletes.
	migrationChunk = 50
	keepMigrations = 30 * 24 * time.Hour
	maxMigrationID = 64
	migrationAge   = 24 * time.Hour
)

// handleMigrations registers the job that does migrations.
func (c *Catalog) handleMigrations() {
	c.o.Jobs.Handle(queueMigration, work.QueueOptions{
		Concurrency: 1, LeaseFor: time.Minute, MaxAge: migrationAge, OnGiveUp: c.giveUpMigration,
	}, c.migrationJob)
}

// DeleteAllEntities deletes all entities of a blueprint that there are now, in the
// background, and then the blueprint, if asked to. Refused at once, with nothing
// done, where others point to a blueprint that is to go.
func (c *Catalog) DeleteAllEntities(ctx context.Context, w Writer, blueprint string, withBlueprint bool) (Migration, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return Migration{}, err
	}
	b, err := m.blueprint(blueprint)
	if err != nil {
		return Migration{}, err
	}
	if by := m.pointersTo(b); withBlueprint && len(by) > 0 {
		return Migration{}, hasDependents("Blueprint %q cannot be deleted: it is the target of %s.", blueprint, by[0])
	}
	now := c.now()
	mig := Migration{
		ID: uuid.NewString(), Blueprint: b.Identifier, DeleteBlueprint: withBlueprint, Status: MigrationPending,
		Writer: w, CreatedAt: now, UpdatedAt: now,
	}
	mig.Writer.Cause.Why = "all entities of the blueprint are deleted"
	err = c.db.Update(ctx, func(tx *store.Tx) error {
		if mig.lastEntityID, err = newestEntity(ctx, tx); err != nil {
			return err
		}
		if err := insertMigration(ctx, tx, mig); err != nil {
			return err
		}
		return c.o.Jobs.Enqueue(ctx, tx, work.NewJob{Queue: queueMigration, Key: mig.ID, Payload: []byte(mig.ID)})
	})
	return mig, annotate(err, "delete all entities of blueprint %s", blueprint)
}

// Migration returns a migration of the last 30 days, or a not_found *Error.
func (c *Catalog) Migration(ctx context.Context, id string) (Migration, error) {
	if len(id) > maxMigrationID || checkPlain("", id) != nil {
		return Migration{}, notFound("Migration %q does not exist.", shorten(id))
	}
	m, found, err := loadMigration(ctx, c.db, id)
	if err == nil && !found {
		err = notFound("Migration %q does not exist.", id)
	}
	return m, annotate(err, "read migration %s", shorten(id))
}

// migrationJob deletes chunk after chunk; killed between two, it goes on where it was.
func (c *Catalog) migrationJob(ctx context.Context, j work.Job) work.Outcome {
	id := string(j.Payload)
	m, found, err := loadMigration(ctx, c.db, id)
	if err != nil {
		return work.Retry(err.Error())
	}
	if !found || m.Status == MigrationCompleted || m.Status == MigrationFailed {
		return work.Done()
	}
	err = c.migrate(ctx, &m)
	if refusal, ok := errors.AsType[*Error](err); ok {
		m.Status, m.Error = MigrationFailed, refusal.Message
		err = c.saveMigration(ctx, &m)
	}
	if err != nil {
		return work.Retry(err.Error())
	}
	return work.Done()
}

func (c *Catalog) migrate(ctx context.Context, m *Migration) error {
	m.Status = MigrationRunning
	if err := c.saveMigration(ctx, m); err != nil {
		return err
	}
	if err := c.deleteAll(ctx, m); err != nil {
		return fmt.Errorf("delete all entities of blueprint %s: %w", m.Blueprint, err)
	}
	if m.DeleteBlueprint {
		err := c.DeleteBlueprint(ctx, m.Writer, m.Blueprint)
		if gone, ok := errors.AsType[*Error](err); ok && gone.Code == CodeNotFound {
			err = nil // a kill came between this and the status
		}
		if err != nil {
			return err
		}
	}
	m.Status = MigrationCompleted
	return c.saveMigration(ctx, m)
}

// deleteAll deletes in passes over the entities: what others need goes in a later
// pass than they do. A pass that deletes nothing is the end, and a failure where
// something is left.
func (c *Catalog) deleteAll(ctx context.Context, m *Migration) error {
	for {
		deleted, refusal, err := c.deletePass(ctx, m)
		if err != nil || refusal == nil {
			return err
		}
		if deleted == 0 {
			return refusal
		}
	}
}

// deletePass tries to delete each entity once. It returns how many were deleted and
// why one was not, if one was not.
func (c *Catalog) deletePass(ctx context.Context, m *Migration) (deleted int64, refusal *Error, err error) {
	than := entityPlace{math.MaxInt64, math.MaxInt64}
	for {
		b, err := c.Blueprint(ctx, m.Blueprint)
		if gone, ok := errors.AsType[*Error](err); ok && gone.Code == CodeNotFound {
			return deleted, nil, nil // and its entities with it
		}
		if err != nil {
			return deleted, refusal, err
		}
		// The newest first: what points to others is mostly younger than they are.
		last, identifiers, err := olderEntities(ctx, c.db, b.id, than, m.lastEntityID, migrationChunk)
		if err != nil || len(identifiers) == 0 {
			return deleted, refusal, err
		}
		than = last
		n, refused, err := c.deleteChunk(ctx, m, identifiers)
		deleted += n
		if err != nil {
			return deleted, refusal, err
		}
		if refused != nil {
			refusal = refused
		}
	}
}

func (c *Catalog) deleteChunk(ctx context.Context, m *Migration, identifiers []string) (deleted int64, refusal *Error, err error) {
	changes := make([]EntityChange, len(identifiers))
	for i, id := range identifiers {
		changes[i] = EntityChange{Delete: true, Blueprint: m.Blueprint, Identifier: id}
	}
	saved := *m
	_, err = c.Apply(ctx, m.Writer, changes, ApplyOptions{Separate: true, Commit: func(ctx context.Context, tx *store.Tx, results []ChangeResult) error {
		deleted, refusal = 0, nil
		for _, result := range results {
			if result.Err == nil {
				deleted++
			} else if e, ok := errorOf(result.Err); !ok {
				return result.Err
			} else if e.Code != CodeNotFound {
				refusal = e
			}
		}
		saved.Deleted, saved.UpdatedAt = m.Deleted+deleted, c.now()
		return updateMigration(ctx, tx, saved)
	}})
	if err == nil {
		*m = saved
	}
	return deleted, refusal, err
}

func (c *Catalog) saveMigration(ctx context.Context, m *Migration) error {
	m.UpdatedAt = c.now()
	err := c.db.Update(ctx, func(tx *store.Tx) error { return updateMigration(ctx, tx, *m) })
	return annotate(err, "save migration %s", m.ID)
}

// giveUpMigration fails a migration that could not be done for a day.
func (c *Catalog) giveUpMigration(ctx context.Context, tx *store.Tx, g work.GivenUp) error {
	m, found, err := loadMigration(ctx, tx, string(g.Job.Payload))
	if err != nil || !found {
		return err
	}
	m.Status, m.Error, m.UpdatedAt = MigrationFailed, "it could not be done for a day: "+g.Reason, c.now()
	return updateMigration(ctx, tx, m)
}

// sweepMigrations forgets migrations that ended long ago.
func (c *Catalog) sweepMigrations(ctx context.Context) error {
	before := c.now().Add(-keepMigrations)
	err := c.deleteInChunks(ctx, func(tx *store.Tx) (int64, error) { return deleteMigrationsBefore(ctx, tx, before) })
	return annotate(err, "delete old migrations")
}

// sweepHourly deletes what integrations sent, and ended migrations, past their time. On
// several nodes all do: what one has deleted the others do not find.
func (c *Catalog) sweepHourly(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for _, sweep := range []func(context.Context) error{c.sweepIntegrations, c.sweepMigrations} {
			if err := sweep(ctx); err != nil && ctx.Err() == nil {
				c.log.ErrorContext(ctx, "sweep the catalog", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
