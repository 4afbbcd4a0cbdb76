package kind

import (
	"context"
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// permission is AWS::Lambda::Permission, one statement of a function's policy, by the function as it was given and
// the statement's Sid.
type permission struct{ api }

// permissionRef is what Ref gives. AWS: the Sid.
func permissionRef(m resource.Model) string { return text(m["Id"]) }

// permissionProperties are what the API calls by the same names.
var permissionProperties = []string{
	"FunctionName", "Action", "Principal", "SourceArn", "SourceAccount", "PrincipalOrgID", "EventSourceToken", "FunctionUrlAuthType", "InvokedViaFunctionUrl",
}

// Create adds the statement, whose Sid follows from the request: what has it is what an earlier try added.
func (h permission) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	in := &lambda.AddPermissionInput{}
	if err := shape("", pick(r.Desired, permissionProperties...), in); err != nil {
		return nil, err
	}
	in.StatementId = new("Permission-" + random(r.Token, "Permission"))
	_, err := call[lambda.AddPermissionOutput](ctx, h.api, r, "lambda", "AddPermission", in)
	if err = asExisting(err); err != nil && !(r.Again && is(err, resource.AlreadyExists)) {
		return nil, err
	}
	return h.read(ctx, r, str(in.FunctionName), *in.StatementId)
}

// Read returns the statement as it stands in the policy.
func (h permission) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	name, id, err := permissionIdentifier(r)
	if err != nil {
		return nil, err
	}
	return h.read(ctx, r, name, id)
}

func permissionIdentifier(r resource.Request) (name, id string, err error) {
	name, id, ok := strings.Cut(r.Identifier, "|")
	if !ok || name == "" || id == "" {
		return "", "", resource.Errorf(resource.InvalidRequest, "The identifier %s is not of the form FunctionName|Id.", r.Identifier)
	}
	return name, id, nil
}

func (h permission) policy(ctx context.Context, r resource.Request, name string) (policyDocument, error) {
	out, err := call[lambda.GetPolicyOutput](ctx, h.api, r, "lambda", "GetPolicy", &lambda.GetPolicyInput{FunctionName: &name})
	if err != nil {
		return policyDocument{}, err
	}
	return readPolicy(str(out.Policy)), nil
}

func (h permission) read(ctx context.Context, r resource.Request, name, id string) (resource.Model, error) {
	policy, err := h.policy(ctx, r, name)
	if err != nil {
		return nil, err
	}
	i, s := policy.find(id)
	if i < 0 {
		return nil, missing("AWS::Lambda::Permission", name+"|"+id)
	}
	m := permissionOut(s)
	m["FunctionName"], m["Id"] = name, id
	return m, nil
}

var rootForm = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):root$`)

// permissionOut takes a statement apart. Principals and conditions are as AddPermission writes them.
func permissionOut(s map[string]any) resource.Model {
	m := resource.Model{}
	put(m, "Action", s["Action"])
	principal := s["Principal"]
	if p, ok := principal.(map[string]any); ok {
		if principal = p["Service"]; principal == nil {
			principal = p["AWS"]
		}
	}
	if root := rootForm.FindStringSubmatch(text(principal)); root != nil {
		principal = root[1]
	}
	put(m, "Principal", principal)
	conditions, _ := s["Condition"].(map[string]any)
	for _, tests := range conditions {
		keys, _ := tests.(map[string]any)
		for key, v := range keys {
			if property := conditionProperties[strings.ToLower(key)]; property != "" {
				put(m, property, v)
			}
		}
	}
	if v := text(m["InvokedViaFunctionUrl"]); v != "" {
		m["InvokedViaFunctionUrl"] = v == "true"
	}
	return m
}

// conditionProperties are the properties that become conditions, by the condition's key.
var conditionProperties = map[string]string{
	"aws:sourcearn": "SourceArn", "aws:sourceaccount": "SourceAccount", "aws:principalorgid": "PrincipalOrgID", "lambda:eventsourcetoken": "EventSourceToken",
	"lambda:functionurlauthtype": "FunctionUrlAuthType", "lambda:invokedviafunctionurl": "InvokedViaFunctionUrl",
}

// Update is refused: another permission is another statement.
func (h permission) Update(context.Context, resource.Request) (resource.Model, error) {
	return nil, resource.Errorf(resource.NotUpdatable, "A permission cannot be changed. Replace it.")
}

// Delete removes the statement.
func (h permission) Delete(ctx context.Context, r resource.Request) error {
	name, id, err := permissionIdentifier(r)
	if err != nil {
		return err
	}
	in := &lambda.RemovePermissionInput{FunctionName: &name, StatementId: &id}
	_, err = call[lambda.RemovePermissionOutput](ctx, h.api, r, "lambda", "RemovePermission", in)
	return gone(r, err)
}

// List lists the statements of a function if the model that narrows the list names one, else those of the
// functions of a page.
func (h permission) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	names, next := []string{text(r.Desired["FunctionName"])}, ""
	if names[0] == "" {
		var err error
		if names, next, err = h.functions(ctx, r); err != nil {
			return nil, "", err
		}
	}
	var models []resource.Model
	for _, name := range names {
		policy, err := h.policy(ctx, r, name)
		if is(err, resource.NotFound) {
			continue // no policy
		}
		if err != nil {
			return nil, "", err
		}
		for _, s := range policy.statements {
			members, _ := s.(map[string]any)
			if sid := text(members["Sid"]); sid != "" {
				models = append(models, resource.Model{"FunctionName": name, "Id": sid})
			}
		}
	}
	return models, next, nil
}
