package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func newTail(s *streams, c *client) *cobra.Command {
	var bus, pattern string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow events as they arrive",
		Long: `Follow the events of all buses, or of one, as they arrive. --pattern shows only
those that match an event pattern. -o json prints the whole event and the bus
that it came to, one a line: {"bus": ARN, "event": {…}}.`,
		Example: `  rialto tail
  rialto tail --pattern '{"source":["aws.ec2"]}' -o json | jq -c .event`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if bus != "" {
				query.Set("bus", bus)
			}
			if pattern != "" {
				query.Set("pattern", pattern)
			}
			return c.stream(cmd.Context(), "/v1/events/stream?"+query.Encode(), func(data []byte) error {
				return printEvent(s, data)
			})
		},
	}
	cmd.Flags().StringVar(&bus, "bus", "", "name or ARN of an event bus")
	cmd.Flags().StringVar(&pattern, "pattern", "", "event pattern that the events must match")
	return listing(remote(cmd, c), s)
}

func printEvent(s *streams, data []byte) error {
	var e struct {
		Bus   string          `json:"bus"`
		Event json.RawMessage `json:"event"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("read an event of the stream: %w", err)
	}
	switch s.format {
	case "json":
		_, err := fmt.Fprintln(s.out, string(data))
		return err
	case "yaml":
		fmt.Fprintln(s.out, "---")
		return s.printYAML(json.RawMessage(data))
	}
	var head struct {
		Time       string          `json:"time"`
		Source     string          `json:"source"`
		DetailType string          `json:"detail-type"`
		Detail     json.RawMessage `json:"detail"`
	}
	if err := json.Unmarshal(e.Event, &head); err != nil {
		return fmt.Errorf("read an event of the stream: %w", err)
	}
	var detail bytes.Buffer
	if err := json.Compact(&detail, head.Detail); err != nil {
		return fmt.Errorf("read an event of the stream: %w", err)
	}
	_, err := fmt.Fprintln(s.out, plain(strings.Join([]string{head.Time, shortBus(e.Bus), head.Source, head.DetailType, detail.String()}, "  ")))
	return err
}

// shortBus is REGION/NAME of a bus ARN.
func shortBus(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return arn
	}
	return parts[3] + "/" + strings.TrimPrefix(parts[5], "event-bus/")
}
