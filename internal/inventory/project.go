package inventory

import (
	"context"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
)

// Project groups servers, cloud accounts and enrollment tokens.
type Project struct {
	// ID is a UUID; projects are addressed by Name.
	ID string
	// Name is 1 to 255 letters, digits, hyphens, underscores and full stops.
	Name        string
	Description string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	// DeletedAt is zero for a project that exists.
	DeletedAt time.Time
}

// ASA: the same form.
var projectNameForm = regexp.MustCompile(`^[\w\-_.]{1,255}$`)

const maxDescription = 1024 // characters

func checkDescription(s string) error {
	if utf8.RuneCountInString(s) > maxDescription {
		return invalid("The description is longer than %d characters.", maxDescription)
	}
	return nil
}

// CreateProject makes a project. It returns ErrInvalid or ErrExists.
func (v *Inventory) CreateProject(ctx context.Context, name, description string) (Project, error) {
	if !projectNameForm.MatchString(name) {
		return Project{}, invalid("Project name %q must be 1 to 255 letters, digits, hyphens, underscores and full stops.", name)
	}
	if err := checkDescription(description); err != nil {
		return Project{}, err
	}
	now := v.now()
	p := Project{ID: uuid.NewString(), Name: name, Description: description, CreatedAt: now, UpdatedAt: now}
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		made, err := insertProject(ctx, tx, p)
		if err == nil && !made {
			err = refuse(ErrExists, "Project %s already exists.", name)
		}
		return err
	})
	if err != nil {
		return Project{}, fmt.Errorf("create project: %w", err)
	}
	return p, nil
}

// Project returns the project of that name, or ErrNotFound.
func (v *Inventory) Project(ctx context.Context, name string) (Project, error) {
	return projectNamed(ctx, v.db, name)
}

func projectNamed(ctx context.Context, q store.Querier, name string) (Project, error) {
	p, found, err := loadProject(ctx, q, name)
	if err != nil {
		return Project{}, fmt.Errorf("load project %s: %w", name, err)
	}
	if !found {
		return Project{}, notFound("Project %s does not exist.", name)
	}
	return p, nil
}

// Projects lists projects by name, at most limit, those after the name given
// there; with descending, in reverse.
func (v *Inventory) Projects(ctx context.Context, after string, limit int, descending bool) ([]Project, error) {
	list, err := listProjects(ctx, v.db, after, limit, descending)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	return list, nil
}

// UpdateProject sets a project's description.
func (v *Inventory) UpdateProject(ctx context.Context, name, description string) error {
	if err := checkDescription(description); err != nil {
		return err
	}
	return v.db.Update(ctx, func(tx *store.Tx) error {
		p, err := projectNamed(ctx, tx, name)
		if err != nil {
			return err
		}
		p.Description, p.UpdatedAt = description, v.now()
		return saveProject(ctx, tx, p)
	})
}

// DeleteProject deletes a project that holds no servers and no cloud accounts, and
// its enrollment tokens with it; ErrInvalid says what it still holds.
func (v *Inventory) DeleteProject(ctx context.Context, name string) error {
	return v.db.Update(ctx, func(tx *store.Tx) error {
		p, err := projectNamed(ctx, tx, name)
		if err != nil {
			return err
		}
		accounts, servers, err := countInProject(ctx, tx, p.ID)
		if err != nil {
			return err
		}
		if accounts+servers > 0 {
			return invalid("Project %s still holds %d cloud accounts and %d servers; delete them first.", name, accounts, servers)
		}
		p.DeletedAt = v.now()
		if err := deleteTokens(ctx, tx, p.ID, p.DeletedAt); err != nil {
			return err
		}
		return saveProject(ctx, tx, p)
	})
}
