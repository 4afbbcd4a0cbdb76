package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
)

func newExporterInit(s *streams) *cobra.Command {
	var dir string
	var regions []string
	var force bool
	cmd := &cobra.Command{
		Use:   "init KIND…",
		Short: "Write blueprints and a configuration for kinds, ready to edit",
		Long: `Write two files to begin with: blueprints.json, a blueprint for each kind, and
config.json, which maps the resources to entities of those. Relations are to
kinds that are among those named. Edit them, check them with 'rialto exporter
lint', and apply them:

  rialto catalog apply -f blueprints.json
  rialto exporter config set config.json

Files that are there stay as they are, unless --force is given.`,
		Example: `  rialto exporter init AWS::Lambda::Function AWS::SQS::Queue
  rialto exporter init AWS::ECS::Cluster AWS::ECS::Service --region eu-west-1 --region us-east-1 --dir exporter`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeKinds,
		RunE: func(_ *cobra.Command, args []string) error {
			kinds, err := findKinds(args)
			if err != nil {
				return err
			}
			for _, r := range regions {
				if !event.IsRegion(r) {
					return usagef("--region %q is not the code of a region, such as eu-west-1", r)
				}
			}
			warnRegions(s, regions)
			files, err := kind.Initial(kinds, regions)
			if err != nil {
				return usageError{err}
			}
			return writeInitial(s, dir, files, force)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", ".", "directory that the files are written to; it is made if it is not there")
	f.StringSliceVar(&regions, "region", nil, "region whose resources are exported; may be repeated (default: each account's home region)")
	f.BoolVar(&force, "force", false, "overwrite files that are there")
	return listing(cmd, s)
}

// writeInitial writes all files, or none if one of them is there.
func writeInitial(s *streams, dir string, files []kind.File, force bool) error {
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if _, err := os.Lstat(name); err == nil && !force {
			return fmt.Errorf("%s is there already, and nothing was written; --force overwrites it, --dir writes elsewhere", name)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // what is written is no secret
		return usageError{err}
	}
	type written struct {
		File string `json:"file"`
	}
	list, rows := []written{}, [][]string{}
	for _, f := range files {
		name := filepath.Join(dir, f.Name)
		if err := writeWhole(name, f.Text); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		list, rows = append(list, written{name}), append(rows, []string{name})
	}
	return s.print(list, []string{"WRITTEN"}, rows)
}

// writeWhole writes a file, or leaves the one that is there.
func writeWhole(name string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(text); err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
