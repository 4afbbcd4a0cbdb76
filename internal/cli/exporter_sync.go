package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newExporterSync(s *streams, c *client) *cobra.Command {
	return group("sync", "Full syncs: all that is configured is read, and what the events missed is found",
		newExporterSyncRun(s, c), newExporterSyncStatus(s, c), newExporterSyncRuns(s, c), newExporterSyncScopes(s, c),
		newExporterSyncChanges(s, c), newExporterSyncDrift(s, c), newExporterSyncConfirm(s, c), newExporterSyncCancel(s, c),
		newExporterSyncSettings(s, c))
}

// syncCounts is what tables show of the counts of a full sync.
type syncCounts struct {
	Scopes       int64 `json:"scopes"`
	ScopesDone   int64 `json:"scopes_done"`
	ScopesFailed int64 `json:"scopes_failed"`
	ScopesHeld   int64 `json:"scopes_held"`
	Expected     int64 `json:"expected"`
	Listed       int64 `json:"listed"`
	Created      int64 `json:"created"`
	Updated      int64 `json:"updated"`
	Removed      int64 `json:"removed"`
	Failed       int64 `json:"failed"`
	Missing      int64 `json:"missing"`
	Unread       int64 `json:"unread"`
	Held         int64 `json:"held"`
	Drift        int64 `json:"drift"`
	DriftPending int64 `json:"drift_pending"`
}

// exporterRun is what a table shows of a full sync of the exporter.
type exporterRun struct {
	ID         string     `json:"id"`
	Trigger    string     `json:"trigger"`
	DryRun     bool       `json:"dry_run"`
	Status     string     `json:"status"`
	CreatedAt  *time.Time `json:"created_at"`
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Error      *string    `json:"error"`
	syncCounts
	Kinds []syncKind `json:"kinds"`
}

// syncKind is what a full sync did for a kind.
type syncKind struct {
	Kind string `json:"kind"`
	syncCounts
	StartedAt  *time.Time `json:"started_at"`
	FinishedAt *time.Time `json:"finished_at"`
	Error      *string    `json:"error"`
}

// name is the kind's, or what stands for those entities that no resource has.
func (k *syncKind) name() string {
	if k.Kind == "" {
		return "(of no known resource)"
	}
	return k.Kind
}

func (k *syncKind) over() bool { return k.ScopesDone == k.Scopes }

// errors are all that went wrong with resources or scopes.
func (c *syncCounts) errors() int64 { return c.Failed + c.Unread + c.ScopesFailed }

// drift is what events have not told, and what they may still tell.
func (c *syncCounts) drift() string {
	if c.DriftPending == 0 {
		return count(c.Drift)
	}
	return fmt.Sprintf("%d (+%d?)", c.Drift, c.DriftPending)
}

func (r *exporterRun) over() bool { return r.Status != "waiting" && r.Status != "running" }

// failure is why a run that is over counts as failed; nil if it does not.
func (r *exporterRun) failure() error {
	switch r.Status {
	case "failed", "partial":
		return fmt.Errorf("full sync %s is %s: %s%s", r.ID, r.Status, text(r.Error), r.whereFailed())
	case "held":
		return fmt.Errorf("full sync %s is held: %s\n'rialto exporter sync changes %s --change held' lists what would go, 'rialto exporter sync confirm %s' lets it go", r.ID, text(r.Error), r.ID, r.ID)
	case "cancelled":
		return fmt.Errorf("full sync %s was cancelled; what it had changed stays", r.ID)
	}
	return nil
}

// whereFailed says which commands list what went wrong; nothing if that is all in the run.
func (r *exporterRun) whereFailed() string {
	var see []string
	if r.ScopesFailed > 0 {
		see = append(see, fmt.Sprintf("'rialto exporter sync scopes %s --status failed'", r.ID))
	}
	if r.Failed > 0 || r.Unread > 0 {
		see = append(see, fmt.Sprintf("'rialto exporter sync changes %s --change failed'", r.ID))
	}
	if len(see) == 0 {
		return ""
	}
	return "\nSee " + strings.Join(see, " and ")
}

func runPath(parts ...string) string { return exporterPath(append([]string{"sync_runs"}, parts...)...) }

func printExporterRuns(s *streams, v any, list ...shown[exporterRun]) error {
	rows := make([][]string, 0, len(list))
	for _, v := range list {
		r := v.row
		trigger := r.Trigger
		if r.DryRun {
			trigger += ", dry run"
		}
		rows = append(rows, []string{
			r.ID, when(r.CreatedAt), trigger, r.Status, fmt.Sprintf("%d/%d", r.ScopesDone, r.Scopes), count(r.Listed), count(r.Created), count(r.Updated),
			count(r.Removed), count(r.errors()), count(r.Held), r.drift(), or(text(r.Error)),
		})
	}
	return s.print(v, []string{"RUN", "AT", "TRIGGER", "STATUS", "SCOPES", "LISTED", "CREATED", "UPDATED", "REMOVED", "ERRORS", "HELD", "DRIFT", "WHY"}, rows)
}

// printExporterRun shows one run by kind.
func printExporterRun(s *streams, v shown[exporterRun]) error {
	r := &v.row
	rows := make([][]string, 0, len(r.Kinds)+1)
	row := func(name string, c *syncCounts, took, why string) {
		removed := count(c.Removed)
		if n := c.Missing - c.Held; r.DryRun && n > 0 {
			removed = "would: " + count(n)
		}
		rows = append(rows, []string{
			name, fmt.Sprintf("%d/%d", c.ScopesDone, c.Scopes), count(c.Listed), count(c.Created), count(c.Updated), removed,
			count(c.errors()), count(c.Held), c.drift(), took, or(why),
		})
	}
	for i := range r.Kinds {
		k := &r.Kinds[i]
		row(k.name(), &k.syncCounts, took(k.StartedAt, k.FinishedAt), text(k.Error))
	}
	all := "all: " + r.Status
	if r.DryRun {
		all += ", dry run"
	}
	row(all, &r.syncCounts, took(r.StartedAt, r.FinishedAt), text(r.Error))
	return s.print(v, []string{"KIND", "SCOPES", "LISTED", "CREATED", "UPDATED", "REMOVED", "ERRORS", "HELD", "DRIFT", "TOOK", "WHY"}, rows)
}

func took(from, to *time.Time) string {
	if from == nil || to == nil {
		return "-"
	}
	return to.Sub(*from).Round(time.Millisecond).String()
}

func newExporterSyncRun(s *streams, c *client) *cobra.Command {
	var in struct {
		Accounts     []string `json:"accounts,omitempty"`
		Regions      []string `json:"regions,omitempty"`
		Kinds        []string `json:"kinds,omitempty"`
		DryRun       bool     `json:"dry_run,omitempty"`
		GraceSeconds *float64 `json:"grace_seconds,omitempty"`
	}
	var grace time.Duration
	var noWait bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Compare the catalog with the cloud now, and wait for the result",
		Long: `Read all that is configured, or what the flags select of it, bring the entities
into line, and wait until that ends. DRIFT counts what events should have told and did
not. (+2?) after it says that two more changes are pending: their events may still come
within the grace, and they become drift if none does. 'rialto exporter sync drift
--pending' lists them.

What a complete list lacks is looked for twice and then removed. If that is more than
may go unasked, the run is held: look at it, then 'rialto exporter sync confirm'.

Exits with 1 unless everything was synced.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("grace") {
				seconds := grace.Seconds()
				in.GraceSeconds = &seconds
			}
			var run shown[exporterRun]
			if err := c.do(cmd.Context(), http.MethodPost, runPath(), in, &run); err != nil {
				return err
			}
			if noWait {
				return printExporterRuns(s, run, run)
			}
			return followSync(cmd.Context(), s, c, run.row.ID)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&in.Accounts, "account", nil, "only these cloud accounts")
	f.StringSliceVar(&in.Regions, "region", nil, "only these regions")
	f.StringSliceVar(&in.Kinds, "kind", nil, "only these kinds, such as AWS::Lambda::Function")
	f.BoolVar(&in.DryRun, "dry-run", false, "say what would change, and change nothing")
	f.DurationVar(&grace, "grace", 2*time.Minute, "how long an event may take before what the run found is drift")
	f.BoolVar(&noWait, "no-wait", false, "return once the run is scheduled")
	_ = cmd.RegisterFlagCompletionFunc("kind", completeKinds)
	return listing(remote(cmd, c), s)
}

func newExporterSyncStatus(s *streams, c *client) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [RUN]",
		Short: "Show a full sync by kind; without RUN the one that runs, or the last",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := latestRun(cmd, c, args)
			if err != nil {
				return err
			}
			if watch {
				return followSync(cmd.Context(), s, c, id)
			}
			var run shown[exporterRun]
			if err := c.do(cmd.Context(), http.MethodGet, runPath(id), nil, &run); err != nil {
				return err
			}
			return printExporterRun(s, run)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "wait until it ends; exits with 1 unless everything was synced")
	return listing(remote(cmd, c), s)
}

// latestRun is the run that was named, the one under way or the last.
func latestRun(cmd *cobra.Command, c *client, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	list, err := listAll[exporterRun](cmd.Context(), c, runPath())
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", errors.New("there was no full sync yet; 'rialto exporter sync run' makes one")
	}
	for i := range list {
		if list[i].Status == "running" {
			return list[i].ID, nil
		}
	}
	return list[0].ID, nil
}

func newExporterSyncRuns(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "runs",
		Short: "List the latest full syncs",
		Long: `List the latest full syncs. DRIFT counts what events should have told and did not;
(+2?) after it, what they may still tell, as in 'rialto exporter sync run'.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listAll[shown[exporterRun]](cmd.Context(), c, runPath())
			if err != nil {
				return err
			}
			return printExporterRuns(s, list, list...)
		},
	}, c), s)
}

// filters are flags that become parameters of a list.
type filters map[string]*string

// with gives a command flags of the same names as the parameters.
func (f filters) with(cmd *cobra.Command, flags ...[2]string) {
	for _, flag := range flags {
		f[flag[0]] = cmd.Flags().String(flag[0], "", flag[1])
	}
}

func (f filters) query() string {
	q := url.Values{}
	for name, value := range f {
		if *value != "" {
			q.Set(name, *value)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

var scopeFlags = [][2]string{{"account", "only this cloud account"}, {"region", "only this region"}, {"kind", "only this kind"}}

func newExporterSyncScopes(s *streams, c *client) *cobra.Command {
	type scope struct {
		Account *string `json:"account"`
		Region  *string `json:"region"`
		Kind    *string `json:"kind"`
		Source  string  `json:"source"`
		Stage   string  `json:"stage"`
		Status  *string `json:"status"`
		Error   *string `json:"error"`
		syncCounts
	}
	f := filters{}
	cmd := &cobra.Command{
		Use:   "scopes [RUN]",
		Short: "List what a full sync did in each account, region and kind",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := latestRun(cmd, c, args)
			if err != nil {
				return err
			}
			list, err := listAll[shown[scope]](cmd.Context(), c, runPath(id, "scopes")+f.query())
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				r := v.row
				state := r.Stage
				if r.Status != nil {
					state = *r.Status
				}
				rows = append(rows, []string{
					or(text(r.Account)), or(text(r.Region)), or(text(r.Kind)), r.Source, state, count(r.Listed), count(r.Created), count(r.Updated),
					count(r.Removed), count(r.Missing), count(r.Failed + r.Unread), or(text(r.Error)),
				})
			}
			return s.print(list, []string{"ACCOUNT", "REGION", "KIND", "SOURCE", "STATUS", "LISTED", "CREATED", "UPDATED", "REMOVED", "MISSING", "ERRORS", "WHY"}, rows)
		},
	}
	f.with(cmd, append(scopeFlags, [2]string{"status", "only those that are complete, failed, held or skipped"})...)
	return listing(remote(cmd, c), s)
}

func newExporterSyncChanges(s *streams, c *client) *cobra.Command {
	type change struct {
		Account    *string `json:"account"`
		Region     *string `json:"region"`
		Kind       *string `json:"kind"`
		Identifier string  `json:"identifier"`
		Change     string  `json:"change"`
		Why        string  `json:"why"`
	}
	f := filters{}
	cmd := &cobra.Command{
		Use:   "changes [RUN]",
		Short: "List what a full sync changed, would change, holds or failed at; of each scope the first hundred or so",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := latestRun(cmd, c, args)
			if err != nil {
				return err
			}
			list, err := listAll[shown[change]](cmd.Context(), c, runPath(id, "changes")+f.query())
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				r := v.row
				rows = append(rows, []string{r.Change, or(text(r.Account)), or(text(r.Region)), or(text(r.Kind)), r.Identifier, r.Why})
			}
			return s.print(list, []string{"CHANGE", "ACCOUNT", "REGION", "KIND", "IDENTIFIER", "WHY"}, rows)
		},
	}
	f.with(cmd, append(scopeFlags, [2]string{"change", "only created, updated, removed, held or failed ones"})...)
	return listing(remote(cmd, c), s)
}

// drift is what a table shows of a change that no event told of.
type drift struct {
	Run        string     `json:"run"`
	Account    string     `json:"account"`
	Region     string     `json:"region"`
	Kind       string     `json:"kind"`
	Identifier string     `json:"identifier"`
	Missed     string     `json:"missed"`
	Since      *time.Time `json:"since"`
	FoundAt    *time.Time `json:"found_at"`
}

func newExporterSyncDrift(s *streams, c *client) *cobra.Command {
	f := filters{}
	var pending bool
	cmd := &cobra.Command{
		Use:   "drift [RUN]",
		Short: "List what the events missed, and since when; of all runs, or of one",
		Long: `List what full syncs found changed that no event told of, the latest found first.
The change happened between SINCE, when the resource (or, of a new one, its account,
region and kind) was last known to be as it was stored, and FOUND.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f["run"] = &args[0]
			}
			if pending {
				yes := "true"
				f["pending"] = &yes
			}
			list, err := listAll[shown[drift]](cmd.Context(), c, exporterPath("drift")+f.query())
			if err != nil {
				return err
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				r := v.row
				rows = append(rows, []string{r.Missed, r.Account, r.Region, r.Kind, r.Identifier, when(r.Since), when(r.FoundAt), r.Run})
			}
			return s.print(list, []string{"MISSED", "ACCOUNT", "REGION", "KIND", "IDENTIFIER", "SINCE", "FOUND", "RUN"}, rows)
		},
	}
	f.with(cmd, append(scopeFlags, [2]string{"missed", "only create, update or delete"})...)
	cmd.Flags().BoolVar(&pending, "pending", false, "what an event may yet tell, instead of what is certain")
	return listing(remote(cmd, c), s)
}

func newExporterSyncConfirm(s *streams, c *client) *cobra.Command {
	var noWait bool
	cmd := &cobra.Command{
		Use:   "confirm RUN",
		Short: "Let a held full sync remove what it would, and wait for the result",
		Long: `Sync the scopes that a run held once more, with the removals. All is read again:
what has come back since stays. Exits with 1 unless everything was synced.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var run shown[exporterRun]
			if err := c.do(cmd.Context(), http.MethodPost, runPath(args[0], "confirm"), nil, &run); err != nil {
				return err
			}
			if noWait {
				return printExporterRuns(s, run, run)
			}
			return followSync(cmd.Context(), s, c, run.row.ID)
		},
	}
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "return once the run is scheduled")
	return listing(remote(cmd, c), s)
}

func newExporterSyncCancel(s *streams, c *client) *cobra.Command {
	return listing(remote(&cobra.Command{
		Use:   "cancel RUN",
		Short: "Stop a full sync; what it has changed stays changed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var run shown[exporterRun]
			if err := c.do(cmd.Context(), http.MethodPost, runPath(args[0], "cancel"), nil, &run); err != nil {
				return err
			}
			return printExporterRuns(s, run, run)
		},
	}, c), s)
}

func newExporterSyncSettings(s *streams, c *client) *cobra.Command {
	type settings struct {
		Interval       string `json:"interval"`
		RemovalCount   int    `json:"removal_count"`
		RemovalPercent int    `json:"removal_percent"`
	}
	var every time.Duration
	var removals, percent int
	cmd := &cobra.Command{
		Use:   "settings",
		Short: "Show when full syncs run and how much they may remove unasked, or change it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := map[string]any{}
			if cmd.Flags().Changed("every") {
				in["interval"] = every.String()
			}
			if cmd.Flags().Changed("removal-count") {
				in["removal_count"] = removals
			}
			if cmd.Flags().Changed("removal-percent") {
				in["removal_percent"] = percent
			}
			var v shown[settings]
			var err error
			if len(in) == 0 {
				err = c.do(cmd.Context(), http.MethodGet, exporterPath("sync_settings"), nil, &v)
			} else {
				err = c.do(cmd.Context(), http.MethodPut, exporterPath("sync_settings"), in, &v)
			}
			if err != nil {
				return err
			}
			interval := v.row.Interval
			if interval == "0s" {
				interval = "on demand"
			}
			return s.print(v, []string{"EVERY", "REMOVAL COUNT", "REMOVAL PERCENT"}, [][]string{{interval, strconv.Itoa(v.row.RemovalCount), strconv.Itoa(v.row.RemovalPercent)}})
		},
	}
	f := cmd.Flags()
	f.DurationVar(&every, "every", 0, "time between full syncs, such as 6h; 0s for full syncs on demand only")
	f.IntVar(&removals, "removal-count", 0, "how many resources of an account, region and kind may go unasked …")
	f.IntVar(&percent, "removal-percent", 0, "… or how many in a hundred, whichever is more")
	return listing(remote(cmd, c), s)
}
