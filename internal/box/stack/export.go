package stack

import (
	"context"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/store"
)

// exportConflict is of exports that a stack cannot have, change or give up. It is told as the reason of a failed operation.
type exportConflict struct{ text string }

// Error says which export, and who is in the way.
func (e exportConflict) Error() string { return e.text }

// setExports makes a stack's exports those of its outputs. AWS: their names are unique in an account and region, and
// those that other stacks import cannot be changed or deleted.
func setExports(ctx context.Context, tx *store.Tx, st *Stack) error {
	wanted := map[string]string{}
	for _, o := range st.Outputs {
		if o.Export != "" {
			wanted[o.Export] = o.Value
		}
	}
	name, users, err := firstImported(ctx, tx, st, wanted)
	if err != nil {
		return err
	}
	if name != "" {
		verb := "deleted"
		if _, kept := wanted[name]; kept {
			verb = "updated"
		}
		return exportConflict{exportUsed(verb, name, users)}
	}
	if err := deleteExports(ctx, tx, st.id); err != nil {
		return err
	}
	for _, o := range st.Outputs {
		if o.Export == "" {
			continue
		}
		owner, err := insertExport(ctx, tx, st, o.Export, o.Value)
		if err != nil {
			return err
		}
		if owner != "" {
			return exportConflict{"Export with name " + o.Export + " is already exported by stack " + owner}
		}
	}
	return nil
}

// firstImported returns the first of a stack's exports that other stacks import, unless it is wanted with the value that it has, and
// the names of those stacks. name is empty if there is none.
func firstImported(ctx context.Context, tx *store.Tx, st *Stack, wanted map[string]string) (name string, users []string, err error) {
	have, err := selectExportsOf(ctx, tx, st.id)
	if err != nil {
		return "", nil, err
	}
	for _, e := range have {
		if value, ok := wanted[e.name]; ok && value == e.value {
			continue
		}
		users, err := selectImporters(ctx, tx, st.Ref, e.name, "", maxStacks)
		if err != nil {
			return "", nil, err
		}
		users = slices.DeleteFunc(users, func(user string) bool { return user == st.Name })
		if len(users) > 0 {
			return e.name, users, nil
		}
	}
	return "", nil, nil
}

// exportUsed is AWS's text for an export that others import.
func exportUsed(verb, name string, users []string) string {
	const most = 5
	shown := users[:min(len(users), most)]
	text := "Export " + name + " cannot be " + verb + " as it is in use by " + joinAnd(shown)
	if len(users) > most {
		text += " and others"
	}
	return text
}

// joinAnd writes "a", "a and b", "a, b and c".
func joinAnd(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// useExports notes what the stack imports, which from then on stays as it is. It returns the first that is missing.
func (r *run) useExports(ctx context.Context) (missing string, err error) {
	names := r.bound.Imports()
	if len(names) == 0 {
		return "", nil
	}
	err = r.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		missing = ""
		for _, name := range names {
			_, found, err := selectExport(ctx, tx, r.stack.Account, r.stack.Region, name)
			if err != nil {
				return err
			}
			if !found {
				missing = name
				return nil
			}
			if err := insertImport(ctx, tx, r.stack, name); err != nil {
				return err
			}
		}
		return nil
	})
	return missing, err
}

// setImports makes a stack's imports these.
func setImports(ctx context.Context, tx *store.Tx, st *Stack, names []string) error {
	have, err := selectImportsOf(ctx, tx, st.id)
	if err != nil {
		return err
	}
	for _, name := range have {
		if slices.Contains(names, name) {
			continue
		}
		if err := deleteImport(ctx, tx, st, name); err != nil {
			return err
		}
	}
	return nil
}
