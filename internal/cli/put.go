package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// maxPutFile bounds what put reads, in bytes; the server takes as much.
const maxPutFile = 1<<20 + 64<<10

func newPut(s *streams, c *client) *cobra.Command {
	var bus string
	cmd := &cobra.Command{
		Use:   "put FILE",
		Short: "Put events on a bus as they are, service events included",
		Long: `Put whole events on a bus: one JSON event, an array of them, or one a line. "-"
reads standard input. Id, time, account and region are kept where the event has
them and filled in where not. Unlike the PutEvents API this may put events of
AWS services (source aws.…), so it needs an admin key.`,
		Args:    cobra.ExactArgs(1),
		Example: "  rialto put event.json\n  rialto put - --bus orders < events.jsonl",
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := readInput(s, args[0])
			if err != nil {
				return err
			}
			if err := c.login(cmd.Context()); err != nil {
				return err
			}
			path := "/v1/events"
			if bus != "" {
				path += "?bus=" + url.QueryEscape(bus)
			}
			resp, err := c.send(cmd.Context(), http.MethodPost, path, "application/json", strings.NewReader(string(body)))
			if err != nil {
				return fmt.Errorf("put %s: %w", inputName(args[0]), err)
			}
			defer resp.Body.Close()
			return printPut(s, resp.Body)
		},
	}
	cmd.Flags().StringVar(&bus, "bus", "", "name or ARN of the event bus (default: your account's default bus in the event's region)")
	return listing(remote(cmd, c), s)
}

// inputName is the name of a file for people.
func inputName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

func readInput(s *streams, name string) ([]byte, error) {
	in := s.in
	if name != "-" {
		f, err := os.Open(filepath.Clean(name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxPutFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(body) > maxPutFile {
		return nil, usagef("%s holds more than the %d bytes that one call may put; split it", name, maxPutFile)
	}
	return body, nil
}

func printPut(s *streams, answer io.Reader) error {
	var raw struct {
		Events []struct {
			ID    string   `json:"id"`
			Bus   string   `json:"bus"`
			Notes []string `json:"notes,omitempty"`
		} `json:"events"`
	}
	if err := json.NewDecoder(answer).Decode(&raw); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	rows := make([][]string, 0, len(raw.Events))
	for _, e := range raw.Events {
		rows = append(rows, []string{e.ID, e.Bus, or(strings.Join(e.Notes, "; "))})
	}
	return s.print(raw, []string{"EVENT", "BUS", "NOTES"}, rows)
}
