package cli

import (
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func newInventory(s *streams, c *client) *cobra.Command {
	return group("inventory", "The server inventory: projects, cloud accounts, servers",
		group("project", "Projects hold servers",
			newProjectCreate(s, c), newProjectList(s, c), newProjectDelete(c)),
		group("account", "Cloud accounts that a project follows",
			newAccountAdd(s, c), newAccountList(s, c), newAccountUpdate(s, c), newAccountRemove(c), newAccountMonitor(s, c), newAccountHealth(s, c)),
		group("credential", "Real-time credentials: what EventBridge calls the webhook with",
			newCredentialList(s, c), newCredentialRotate(s, c), newCredentialRevoke(c)),
		group("sync", "Full syncs: what the events missed",
			newSyncRun(s, c), newSyncRuns(s, c), newSyncConfirm(s, c)),
		group("token", "Enrollment tokens for agents",
			newTokenCreate(s, c), newTokenList(s, c), newTokenDelete(c)),
		newServers(s, c),
		group("server", "One server",
			newServerShow(s, c), newServerHistory(s, c), newServerLabel(c), newServerDelete(c)),
	)
}

// inProject gives a command the required flag --project.
func inProject(cmd *cobra.Command, project *string) *cobra.Command {
	cmd.Flags().StringVar(project, "project", "", "name of the project (required)")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *project == "" {
			return usagef("--project is missing: name the project; 'rialto inventory project list' lists them")
		}
		return run(cmd, args)
	}
	return cmd
}

// project is what a table shows of a project.
type project struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	CreatedAt   *time.Time `json:"created_at"`
}

func printProjects(s *streams, v any, list ...shown[project]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		p := v.row
		rows = append(rows, []string{p.Name, p.ID, when(p.CreatedAt), or(p.Description)})
	}
	return s.print(v, []string{"NAME", "ID", "CREATED", "DESCRIPTION"}, rows)
}

func newProjectCreate(s *streams, c *client) *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a project",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p shown[project]
			in := map[string]string{"name": args[0], "description": description}
			if err := c.do(cmd.Context(), http.MethodPost, teamPath("projects"), in, &p); err != nil {
				return err
			}
			return printProjects(s, p, p)
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "what the project is for")
	return listing(remote(cmd, c), s)
}

func newProjectList(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "list",
		Short: "List the projects",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[project]](cmd.Context(), c, teamPath("projects"))
			if err != nil {
				return err
			}
			return printProjects(s, list, list...)
		},
	}, c), s)
}

func newProjectDelete(c *client) *cobra.Command {
	return remote(&cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a project",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), http.MethodDelete, teamPath("projects", args[0]), nil, nil)
		},
	}, c)
}

// enrollmentToken is what a table shows of a token; Token is there only when it
// was made.
type enrollmentToken struct {
	ID          string     `json:"id"`
	Token       *string    `json:"token"`
	Description string     `json:"description"`
	IssuedAt    *time.Time `json:"issued_at"`
	LastUsedAt  *time.Time `json:"last_used_at"`
	Uses        int64      `json:"uses"`
}

func newTokenCreate(s *streams, c *client) *cobra.Command {
	var projectName, description string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an enrollment token; it is shown this once",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var t shown[enrollmentToken]
			in := map[string]string{"description": description}
			if err := c.do(cmd.Context(), http.MethodPost, teamPath("projects", projectName, "server_enrollment_tokens"), in, &t); err != nil {
				return err
			}
			return s.print(t, []string{"ID", "TOKEN (shown this once)"}, [][]string{{t.row.ID, text(t.row.Token)}})
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "what the token is for")
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newTokenList(s *streams, c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the enrollment tokens",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[enrollmentToken]](cmd.Context(), c, teamPath("projects", projectName, "server_enrollment_tokens"))
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				t := v.row
				rows = append(rows, []string{t.ID, when(t.IssuedAt), when(t.LastUsedAt), count(t.Uses), or(t.Description)})
			}
			return s.print(list, []string{"ID", "ISSUED", "LAST USED", "USES", "DESCRIPTION"}, rows)
		},
	}
	return listing(remote(inProject(cmd, &projectName), c), s)
}

func newTokenDelete(c *client) *cobra.Command {
	var projectName string
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Delete an enrollment token; servers that enrolled with it stay",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), http.MethodDelete, teamPath("projects", projectName, "server_enrollment_tokens", args[0]), nil, nil)
		},
	}
	return remote(inProject(cmd, &projectName), c)
}
