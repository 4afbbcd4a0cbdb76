package cli

import (
	"github.com/spf13/cobra"
)

// newExporter holds the exporter's commands; each file of them adds a line.
func newExporter(s *streams, c *client) *cobra.Command {
	subs := []*cobra.Command{
		newExporterInstall(s, c),
		newExporterUninstall(s, c),
		newExporterAccounts(s, c),
		newExporterKinds(s),
		newExporterInit(s),
		newExporterRules(s, c),
		newExporterLint(s),
		newExporterConfig(s, c),
		newExporterSync(s, c),
		newExporterFreshness(s, c),
		newExporterRecords(s, c),
		newExporterResources(s, c),
	}
	cmd := group("exporter", "The exporter: resources of cloud accounts as entities of the catalog", subs...)
	cmd.Long = `The exporter keeps the catalog true to cloud accounts: event rules put records of
changes on a queue, the exporter reads each resource that they name and maps it to
entities, and a full sync finds what the events missed.`
	return cmd
}
