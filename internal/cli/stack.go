package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/spf13/cobra"
)

func newStack(s *streams, c *client) *cobra.Command {
	a := &awsAPI{c: c}
	cmd := group("stack", "Stacks: resources from CloudFormation templates, made, changed and deleted together",
		newStackDeploy(s, a), newStackDelete(s, a), newStackList(s, a), newStackEvents(s, a), newStackOutputs(s, a), newStackResources(s, a), newStackRegisterType(s, a))
	cmd.Long = `Stacks make, change and delete the resources of a CloudFormation template together.
These commands show their progress; 'aws cloudformation' does the same and more.`
	return cmd
}

// stacks is the server's CloudFormation.
func (a *awsAPI) stacks() *cloudformation.Client { return cloudformation.NewFromConfig(a.config()) }

// shownStack is a stack as the commands print it.
type shownStack struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	Reason      string            `json:"reason,omitempty"`
	Description string            `json:"description,omitempty"`
	CreatedAt   *time.Time        `json:"created_at"`
	UpdatedAt   *time.Time        `json:"updated_at,omitempty"`
	DeletedAt   *time.Time        `json:"deleted_at,omitempty"`
	Outputs     []shownOutput     `json:"outputs,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// shownOutput is an output of a stack as the commands print it.
type shownOutput struct {
	Key         string `json:"key"`
	Value       string `json:"value"`
	Export      string `json:"export,omitempty"`
	Description string `json:"description,omitempty"`
}

func newShownStack(st types.Stack) shownStack {
	v := shownStack{
		Name: text(st.StackName), ID: text(st.StackId), Status: string(st.StackStatus), Reason: text(st.StackStatusReason), Description: text(st.Description),
		CreatedAt: st.CreationTime, UpdatedAt: st.LastUpdatedTime, DeletedAt: st.DeletionTime,
	}
	for _, o := range st.Outputs {
		v.Outputs = append(v.Outputs, shownOutput{text(o.OutputKey), text(o.OutputValue), text(o.ExportName), text(o.Description)})
	}
	for _, t := range st.Tags {
		if v.Tags == nil {
			v.Tags = map[string]string{}
		}
		v.Tags[text(t.Key)] = text(t.Value)
	}
	return v
}

// describe returns a stack, by name or id.
func (a *awsAPI) describe(ctx context.Context, name string) (types.Stack, error) {
	out, err := a.stacks().DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if err != nil {
		return types.Stack{}, a.fails(ctx, err)
	}
	return out.Stacks[0], nil
}

func newStackList(s *streams, a *awsAPI) *cobra.Command {
	var deleted bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List stacks, and with --deleted those that are gone",
		Example: `  rialto stack list
  rialto stack list --deleted -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in := &cloudformation.ListStacksInput{}
			list := []shownStack{}
			for pages := cloudformation.NewListStacksPaginator(a.stacks(), in); pages.HasMorePages(); {
				page, err := pages.NextPage(cmd.Context())
				if err != nil {
					return a.fails(cmd.Context(), err)
				}
				for _, st := range page.StackSummaries {
					if st.StackStatus == types.StackStatusDeleteComplete && !deleted {
						continue
					}
					list = append(list, shownStack{
						Name: text(st.StackName), ID: text(st.StackId), Status: string(st.StackStatus), Reason: text(st.StackStatusReason),
						Description: text(st.TemplateDescription), CreatedAt: st.CreationTime, UpdatedAt: st.LastUpdatedTime, DeletedAt: st.DeletionTime,
					})
				}
			}
			rows := make([][]string, 0, len(list))
			for _, v := range list {
				rows = append(rows, []string{v.Name, v.Status, when(v.CreatedAt), when(v.UpdatedAt), or(v.Description)})
			}
			return s.print(list, []string{"NAME", "STATUS", "CREATED", "UPDATED", "DESCRIPTION"}, rows)
		},
	}
	cmd.Flags().BoolVar(&deleted, "deleted", false, "also list stacks that were deleted in the last 90 days")
	return listing(a.regional(cmd), s)
}

func newStackOutputs(s *streams, a *awsAPI) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "outputs NAME [KEY]",
		Short: "Show a stack's outputs, or the value of one",
		Example: `  rialto stack outputs shop
  url=$(rialto stack outputs shop QueueURL)`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			st, err := a.describe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			outputs := newShownStack(st).Outputs
			if len(args) == 1 {
				return printOutputs(s, outputs)
			}
			i := slices.IndexFunc(outputs, func(o shownOutput) bool { return o.Key == args[1] })
			if i < 0 {
				return fmt.Errorf("stack %s has no output %s; 'rialto stack outputs %s' lists those it has", args[0], args[1], args[0])
			}
			if s.format != "table" {
				return s.print(outputs[i], nil, nil)
			}
			_, err = fmt.Fprintln(s.out, plainLines(outputs[i].Value))
			return err
		},
	}
	return listing(a.regional(cmd), s)
}

func printOutputs(s *streams, outputs []shownOutput) error {
	rows := make([][]string, 0, len(outputs))
	for _, o := range outputs {
		rows = append(rows, []string{o.Key, o.Value, or(o.Export), or(o.Description)})
	}
	return s.print(append([]shownOutput{}, outputs...), []string{"KEY", "VALUE", "EXPORT", "DESCRIPTION"}, rows)
}

// shownResource is a resource of a stack as the commands print it.
type shownResource struct {
	LogicalID  string     `json:"logical_id"`
	PhysicalID string     `json:"physical_id,omitempty"`
	Type       string     `json:"type"`
	Status     string     `json:"status"`
	Reason     string     `json:"reason,omitempty"`
	UpdatedAt  *time.Time `json:"updated_at"`
}

func newStackResources(s *streams, a *awsAPI) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "resources NAME",
		Short:   "List a stack's resources",
		Example: `  rialto stack resources shop`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list := []shownResource{}
			for pages := cloudformation.NewListStackResourcesPaginator(a.stacks(), &cloudformation.ListStackResourcesInput{StackName: &args[0]}); pages.HasMorePages(); {
				page, err := pages.NextPage(cmd.Context())
				if err != nil {
					return a.fails(cmd.Context(), err)
				}
				for _, r := range page.StackResourceSummaries {
					list = append(list, shownResource{
						text(r.LogicalResourceId), text(r.PhysicalResourceId), text(r.ResourceType), string(r.ResourceStatus), text(r.ResourceStatusReason), r.LastUpdatedTimestamp,
					})
				}
			}
			rows := make([][]string, 0, len(list))
			for _, r := range list {
				rows = append(rows, []string{r.LogicalID, r.Type, r.Status, or(r.PhysicalID)})
			}
			return s.print(list, []string{"LOGICAL ID", "TYPE", "STATUS", "PHYSICAL ID"}, rows)
		},
	}
	return listing(a.regional(cmd), s)
}

func newStackRegisterType(s *streams, a *awsAPI) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "register-type FILE",
		Short: "Register a resource type by its schema, so that stacks can have such resources",
		Long: `Register a resource type by its schema, a JSON file as CloudFormation's registry
has them. Resources of the type are documents: what a template says of them is
checked against the schema and kept. Registering a type again makes a new version
of it.`,
		Example: `  rialto stack register-type library-shelf.json
  aws cloudformation describe-type --type RESOURCE --type-name Acme::Library::Shelf`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			schema, err := os.ReadFile(args[0])
			if err != nil {
				return usageError{err}
			}
			var v struct {
				TypeName string `json:"typeName"`
			}
			if err := json.Unmarshal(schema, &v); err != nil {
				return usagef("%s is no JSON: %w", args[0], err)
			}
			if v.TypeName == "" {
				return usagef("%s has no typeName, such as Acme::Library::Shelf", args[0])
			}
			pkg, err := packedSchema(schema)
			if err != nil {
				return err
			}
			_, err = a.stacks().RegisterType(cmd.Context(), &cloudformation.RegisterTypeInput{
				Type: types.RegistryTypeResource, TypeName: &v.TypeName, SchemaHandlerPackage: &pkg,
			})
			if err != nil {
				return a.fails(cmd.Context(), err)
			}
			_, err = fmt.Fprintf(s.out, "Registered %s\n", plain(v.TypeName))
			return err
		},
	}
	return a.regional(cmd)
}

// packedSchema is a schema as RegisterType takes one: compressed, in a data: URL.
func packedSchema(schema []byte) (string, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(schema); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return "data:application/gzip;base64," + base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
