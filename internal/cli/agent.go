package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/app"
	"github.com/rialto-bus/rialto/internal/inventory"
)

// agentFlags are what the agent command is told.
type agentFlags struct {
	token, tokenFile, stateFile, imds string
	account, region, instanceID       string
	hostname, canonicalName, address  string
	altNames                          []string
	labels                            map[string]string
}

func newAgent(s *streams) *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run on a server: enroll it in the inventory and send heartbeats",
		Long: `Enroll this machine with a token from 'rialto inventory token create' and send
heartbeats until stopped. An EC2 instance that the inventory has discovered
keeps its entry, which becomes ACTIVE.

The instance is asked of the instance metadata service, unless --instance-id,
--account and --region say which it is, or --imds none says that it is none.`,
		Example: `  rialto agent --token-file /etc/rialto/enrollment.token
  rialto agent --token "$TOKEN" --instance-id i-0abcd1234ef567890 --account 000000000000 --region us-east-1`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, token, err := f.agent(s)
			if err != nil {
				return err
			}
			if err := a.Run(cmd.Context(), token); err != nil && cmd.Context().Err() == nil {
				return err
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.token, "token", "", "enrollment token (RIALTO_ENROLLMENT_TOKEN)")
	flags.StringVar(&f.tokenFile, "token-file", "", "file that holds the enrollment token")
	flags.StringVar(&f.stateFile, "state-file", "/var/lib/rialto/agent.json", "where the agent keeps its key and identity")
	flags.StringVar(&f.imds, "imds", inventory.DefaultIMDSEndpoint, "URL of the instance metadata service, or none")
	flags.StringVar(&f.account, "account", "", "account of the instance, instead of asking")
	flags.StringVar(&f.region, "region", "", "region of the instance, instead of asking")
	flags.StringVar(&f.instanceID, "instance-id", "", "instance id, instead of asking")
	flags.StringVar(&f.hostname, "hostname", "", "host name to show (default: the machine's)")
	flags.StringVar(&f.canonicalName, "canonical-name", "", "name that clients should use")
	flags.StringVar(&f.address, "access-address", "", "address that clients dial")
	flags.StringSliceVar(&f.altNames, "alt-name", nil, "further name; may be repeated")
	flags.StringToStringVar(&f.labels, "label", nil, "label KEY=VALUE; may be repeated")
	return cmd
}

func (f *agentFlags) agent(s *streams) (*inventory.Agent, string, error) {
	token, err := f.readToken()
	if err != nil {
		return nil, "", err
	}
	identify, err := f.identify()
	if err != nil {
		return nil, "", err
	}
	return &inventory.Agent{
		StateFile: f.stateFile,
		Identify:  identify,
		Facts:     f.facts,
		Logger:    slog.New(slog.NewTextHandler(s.err, nil)),
	}, token, nil
}

func (f *agentFlags) readToken() (string, error) {
	if f.token != "" {
		return f.token, nil
	}
	if f.tokenFile == "" {
		return os.Getenv("RIALTO_ENROLLMENT_TOKEN"), nil
	}
	b, err := os.ReadFile(f.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the enrollment token: %w", err)
	}
	// What 'token create -o json' prints will do as it is.
	var created enrollmentToken
	if json.Unmarshal(b, &created) == nil && created.Token != nil {
		return *created.Token, nil
	}
	return strings.TrimSpace(string(b)), nil
}

func (f *agentFlags) identify() (func(context.Context) (inventory.InstanceIdentity, error), error) {
	given := 0
	for _, v := range []string{f.account, f.region, f.instanceID} {
		if v != "" {
			given++
		}
	}
	switch {
	case given == 3:
		id := inventory.InstanceIdentity{AccountID: f.account, Region: f.region, InstanceID: f.instanceID}
		return func(context.Context) (inventory.InstanceIdentity, error) { return id, nil }, nil
	case given > 0:
		return nil, usagef("--instance-id, --account and --region go together")
	case f.imds == "none":
		return nil, nil
	}
	return func(ctx context.Context) (inventory.InstanceIdentity, error) {
		return inventory.IMDSIdentity(ctx, f.imds)
	}, nil
}

// facts are the machine's own, with what the flags say instead.
func (f *agentFlags) facts(context.Context) (inventory.AgentFacts, error) {
	facts, err := inventory.MachineFacts(app.Version())
	if err != nil {
		return facts, err
	}
	if f.hostname != "" {
		facts.Hostname = f.hostname
	}
	facts.CanonicalName, facts.AltNames, facts.AccessAddress, facts.Labels = f.canonicalName, f.altNames, f.address, f.labels
	return facts, nil
}
