// Package template reads CloudFormation templates, JSON or YAML with short tags, and works out what they say: which resources a
// stack has, in which order they can be made, and what their properties are once the resources before them exist.
//
// It is pure: it knows no SQL, no API and no resource types. What a Ref or a Fn::GetAtt of a resource
// yields, and the value of another stack's export, come from the caller's [Resolver].
//
// The way of a template: [Parse] reads and checks what can be known without parameters; [Template.Bind] takes parameters and
// pseudo parameters, evaluates conditions and drops what they switch off; [Resource.Properties] evaluates one resource's properties.
// Every error is an *[Error] and names its place.
package template

// Limits of CloudFormation ("Understand CloudFormation quotas" in its user guide).
const (
	// MaxBytes is the size of a template in bytes: what AWS takes from S3. Of a TemplateBody
	// it takes MaxBodyBytes, which is the caller's to check.
	MaxBytes = 1 << 20
	// MaxBodyBytes is the size of a template that is passed as TemplateBody.
	MaxBodyBytes = 51200
	// MaxParameters, MaxResources, MaxOutputs and MaxMappings are how many of each a template may declare.
	MaxParameters = 200
	MaxResources  = 500
	MaxOutputs    = 200
	MaxMappings   = 200
	// MaxMappingAttributes is how many keys a mapping, and how many each of its keys, may have.
	MaxMappingAttributes = 200
	// MaxNameLength is the length of logical ids of parameters, resources, outputs and mappings, and of keys of mappings.
	MaxNameLength = 255
	// MaxDescriptionBytes is the size of the template's description.
	MaxDescriptionBytes = 1024
	// MaxParameterValue is the size of a parameter's value in bytes.
	MaxParameterValue = 4096
	// MaxDepth is how deeply objects and lists may be nested. AWS does not name its limit.
	MaxDepth = 200
)
