package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// refusedMessage is a message that a source keeps.
type refusedMessage struct {
	ID        string     `json:"message_id"`
	Why       string     `json:"why"`
	RefusedAt *time.Time `json:"refused_at"`
}

func newSourceRefused(s *streams, c *client) *cobra.Command {
	cmd := group("refused", "Messages that were refused and taken off a queue without a redrive policy",
		newRefusedList(s, c),
		newRefusedEach(s, c, "retry", "Take refused messages in after all, where the source takes them now", retryRefused),
		newRefusedEach(s, c, "discard", "Forget refused messages; they are nowhere else", discardRefused))
	return cmd
}

func newRefusedList(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "list NAME",
		Short: "List the refused messages of a source; -o json shows them whole",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := listAll[shown[refusedMessage]](cmd.Context(), c, sourcePath(args[0], "refused"))
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, m := range list {
				rows = append(rows, []string{m.row.ID, when(m.row.RefusedAt), m.row.Why})
			}
			return s.print(list, []string{"MESSAGE", "REFUSED", "WHY"}, rows)
		},
	}, c), s)
}

// refusedAction does something about one message.
type refusedAction func(ctx context.Context, c *client, source, message string) error

func retryRefused(ctx context.Context, c *client, source, message string) error {
	return c.do(ctx, http.MethodPost, sourcePath(source, "refused", message, "retry"), nil, nil)
}

func discardRefused(ctx context.Context, c *client, source, message string) error {
	return c.do(ctx, http.MethodDelete, sourcePath(source, "refused", message), nil, nil)
}

// newRefusedEach is a command for the messages named, or for all.
func newRefusedEach(s *streams, c *client, use, short string, do refusedAction) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   use + " NAME [MESSAGE…]",
		Short: short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			messages := args[1:]
			if all == (len(messages) > 0) {
				return usagef("name the messages, or give --all; 'rialto source refused list %s' lists them", args[0])
			}
			if all {
				list, err := listAll[refusedMessage](cmd.Context(), c, sourcePath(args[0], "refused"))
				if err != nil {
					return err
				}
				for _, m := range list {
					messages = append(messages, m.ID)
				}
			}
			var failed []error
			for _, m := range messages {
				if err := do(cmd.Context(), c, args[0], m); err != nil {
					failed = append(failed, fmt.Errorf("message %s: %w", m, err))
				}
			}
			fmt.Fprintf(s.out, "%d of %d messages\n", len(messages)-len(failed), len(messages))
			return errors.Join(failed...)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all refused messages of the source")
	return remote(cmd, c)
}
