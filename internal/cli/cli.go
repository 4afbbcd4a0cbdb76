// Package cli is the command line: one file a command. Commands speak to a
// running server over its HTTP API; serve, demo, rule test and keys on a stopped
// server are the ones that do not.
//
// It holds no rules of the product: what a command may do, the server decides.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/app"
)

// Exit codes of the program.
const (
	// ExitOK: done as asked.
	ExitOK = 0
	// ExitFailed: it could not be done; the message says why.
	ExitFailed = 1
	// ExitUsage: the command line is wrong.
	ExitUsage = 2
	// ExitUnreachable: no server answers at the address.
	ExitUnreachable = 3
	// ExitRefused: the server refuses: no such thing, no permission, bad input.
	ExitRefused = 4
)

// streams are where a command reads and writes, and how it prints.
type streams struct {
	in       io.Reader
	out, err io.Writer
	format   string // table, json or yaml
}

// usageError is an error of the command line itself.
type usageError struct{ error }

// Unwrap returns what is wrong.
func (e usageError) Unwrap() error { return e.error }

// errInterrupted ends a command that its user interrupted, without a word: it failed,
// and its user knows why.
var errInterrupted = errors.New("interrupted")

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run runs one command line, without the program's name, and returns the exit
// code.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	s := &streams{in: in, out: out, err: errOut}
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if !errors.Is(err, errInterrupted) {
		fmt.Fprintf(errOut, "rialto: %s\n", plainLines(err.Error()))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var usage usageError
	var unreachable *unreachableError
	var refused *refusedError
	switch {
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &unreachable):
		return ExitUnreachable
	case errors.As(err, &refused):
		return ExitRefused
	}
	return ExitFailed
}

func newRoot(s *streams) *cobra.Command {
	c := &client{}
	root := &cobra.Command{
		Use:   "rialto",
		Short: "An EventBridge-compatible event bus, and records that follow the cloud",
		Long: `Rialto keeps records true to the cloud in seconds: an EventBridge-compatible
event bus, and the records that follow it, in one program.

Start with 'rialto demo', or 'rialto serve' and the AWS CLI with
AWS_ENDPOINT_URL=http://127.0.0.1:7425.`,
		Version:       app.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w\nRun '%s --help' for what it takes", err, cmd.CommandPath())
	})
	root.AddCommand(
		newServe(s), newDemo(s), newKeys(s, c), newPut(s, c), newTail(s, c), newTrace(s, c),
		newInventory(s, c), newAgent(s), newRule(s), newDeadLetters(s, c), newReplay(s, c), newSource(s, c), newStack(s, c), newFunction(s, c), newCatalog(s, c), newExporter(s, c),
	)
	forEachLeaf(root, func(cmd *cobra.Command) {
		args := cmd.Args
		if args == nil {
			args = cobra.NoArgs
		}
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if cmd.HasSubCommands() && len(given) > 0 {
				return unknownCommand(cmd, given[0])
			}
			if err := args(cmd, given); err != nil {
				return usagef("%s: %w\nUsage: %s", strings.TrimPrefix(cmd.CommandPath(), "rialto "), err, cmd.UseLine())
			}
			return nil
		}
	})
	return root
}

// unknownCommand names the commands that may have been meant.
func unknownCommand(cmd *cobra.Command, given string) error {
	text := fmt.Sprintf("unknown command %q for %q", given, cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if given == "version" && !cmd.HasParent() {
		return usagef("%s; 'rialto --version' prints the version", text)
	}
	if near := cmd.SuggestionsFor(given); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("%s\nRun '%s --help' for the commands there are", text, cmd.CommandPath())
}

func forEachLeaf(cmd *cobra.Command, fn func(*cobra.Command)) {
	for _, sub := range cmd.Commands() {
		forEachLeaf(sub, fn)
	}
	if cmd.RunE != nil {
		fn(cmd)
	}
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}

// remote gives a command the flags of all that speak to a server.
func remote(cmd *cobra.Command, c *client) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&c.server, "server", envOr("RIALTO_SERVER", "http://127.0.0.1:7425"), "URL of the server (RIALTO_SERVER)")
	return cmd
}

// listing gives a command that lists or shows the output flag.
func listing(cmd *cobra.Command, s *streams) *cobra.Command {
	cmd.Flags().StringVarP(&s.format, "output", "o", "table", "output: table, json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.format != "table" && s.format != "json" && s.format != "yaml" {
			return usagef("-o %q is none of table, json and yaml", s.format)
		}
		return run(cmd, args)
	}
	return cmd
}

func envOr(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}
