package template

import (
	"bytes"
	"slices"
	"sort"
)

// Summary is what a template declares, for GetTemplateSummary and ValidateTemplate.
type Summary struct {
	Version, Description string
	// Metadata is the template's Metadata section as JSON text, "" without one.
	Metadata   string
	Parameters []Parameter
	// ResourceTypes are the types of all resources, each once, sorted.
	ResourceTypes []string
	// Resources are the logical ids of each of these types, in their order in the template: what the identifier summaries are
	// made of, together with each type's primary identifier.
	Resources          map[string][]string
	DeclaredTransforms []string
	// Capabilities are what a caller must acknowledge to create the stack: CAPABILITY_IAM or CAPABILITY_NAMED_IAM, and
	// CAPABILITY_AUTO_EXPAND where there is a transform and no change set. CapabilitiesReason says why.
	Capabilities       []string
	CapabilitiesReason string
}

// iamNames are the types of IAM (AWS: "Acknowledging IAM resources in CloudFormation templates") and the
// property that gives such a resource a name of one's own.
var iamNames = map[string]string{
	"AWS::IAM::AccessKey":           "",
	"AWS::IAM::Group":               "GroupName",
	"AWS::IAM::InstanceProfile":     "InstanceProfileName",
	"AWS::IAM::ManagedPolicy":       "ManagedPolicyName",
	"AWS::IAM::Policy":              "",
	"AWS::IAM::Role":                "RoleName",
	"AWS::IAM::User":                "UserName",
	"AWS::IAM::UserToGroupAddition": "",
}

// Summary returns what the template declares.
func (t *Template) Summary() Summary {
	s := Summary{
		Version: t.version, Description: t.description,
		Parameters: t.Parameters(), DeclaredTransforms: t.transforms, Resources: map[string][]string{},
	}
	if t.metadata != nil {
		var b bytes.Buffer
		if err := encode(&b, t.metadata.literal()); err == nil {
			s.Metadata = b.String()
		}
	}
	for _, r := range t.resources {
		if s.Resources[r.kind] == nil {
			s.ResourceTypes = append(s.ResourceTypes, r.kind)
		}
		s.Resources[r.kind] = append(s.Resources[r.kind], r.name)
	}
	sort.Strings(s.ResourceTypes)
	s.Capabilities, s.CapabilitiesReason = t.capabilities(s.ResourceTypes)
	return s
}

func (t *Template) capabilities(types []string) (capabilities []string, reason string) {
	var iam []string
	for _, name := range types {
		if _, ok := iamNames[name]; ok {
			iam = append(iam, name)
		}
	}
	if iam != nil {
		capabilities = append(capabilities, "CAPABILITY_IAM")
		if slices.ContainsFunc(t.resources, (*resource).hasIAMName) {
			capabilities[0] = "CAPABILITY_NAMED_IAM"
		}
		reason = "The following resource(s) require capabilities: " + quoteNames(iam)
	}
	if len(t.transforms) > 0 {
		capabilities = append(capabilities, "CAPABILITY_AUTO_EXPAND")
		if reason != "" {
			reason += "; "
		}
		reason += "the following transform(s) require capabilities: " + quoteNames(t.transforms)
	}
	return capabilities, reason
}

func (r *resource) hasIAMName() bool {
	property := iamNames[r.kind]
	return property != "" && r.properties != nil && r.properties.get(property) != nil
}
