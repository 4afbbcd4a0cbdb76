package stack

import (
	"errors"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
)

// The errors below carry AWS's codes and, where they are known, its messages.

// invalid is ValidationError, the code of most of what CloudFormation refuses.
func invalid(format string, args ...any) error {
	return awsapi.Errorf("ValidationError", format, args...)
}

// templateError is what is wrong with a template or its parameters, told to the caller.
func templateError(err error) error {
	if missing, ok := errors.AsType[missingImport](err); ok {
		return missing
	}
	if e, ok := errors.AsType[*template.Error](err); ok {
		return invalid("%s", e.Error())
	}
	return err
}

func errNoStack(id string) error { return invalid("Stack with id %s does not exist", id) }

func errExists(name string) error {
	return cloudformation.ErrAlreadyExistsException("Stack [%s] already exists", name)
}

func errTooManyStacks(account string) error {
	return cloudformation.ErrLimitExceededException("Limit for stack has been exceeded: account %s has %d in this region. Delete some.", account, maxStacks)
}

func errNotUpdatable(st *Stack) error {
	return invalid("Stack:%s is in %s state and can not be updated.", st.ARN(), st.Status)
}

func errNotDeletable(st *Stack) error {
	return invalid("Stack [%s] cannot be deleted while in status %s", st.ARN(), st.Status)
}

func errOnlyAfterFailure(st *Stack) error {
	return invalid("Invalid operation on stack [%s]. RetainResources and FORCE_DELETE_STACK are for stacks in the DELETE_FAILED state; it is in the %s state.", st.ARN(), st.Status)
}

func errNothingToRetain(st *Stack, id string) error {
	return invalid("Resource %s of RetainResources does not exist for stack %s", id, st.Name)
}

func errTokenUsed(token string) error {
	return cloudformation.ErrTokenAlreadyExistsException("A stack operation with the client request token %s was already asked for, with other parameters.", token)
}

func errExportUsed(verb, name string, users []string) error {
	return invalid("%s", exportUsed(verb, name, users))
}

func errNoUpdates() error { return invalid("No updates are to be performed.") }

func errUnknownTypes(types []string) error {
	return invalid("Template format error: Unrecognized resource types: [%s]", strings.Join(types, ", "))
}

func errCapabilities(missing []string) error {
	return cloudformation.ErrInsufficientCapabilitiesException("Requires capabilities : [%s]", strings.Join(missing, ", "))
}

func errTypeNotAllowed(name string) error {
	return invalid("Resource type %s is not allowed by parameter ResourceTypes", name)
}

func errTypeChanged(ids []string) error {
	return invalid("Update of resource type is not permitted. The new template modifies resource type of the following resources: %s", list(ids))
}

func errParameterTwice(key string) error {
	return invalid("Parameter %s is given twice.", key)
}

func errPreviousAndValue(key string) error {
	return invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true and non empty value for a parameter", key)
}

func errNoPrevious(key string) error {
	return invalid("Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", key)
}

func errNoResource(st *Stack, logicalID string) error {
	return invalid("Resource %s does not exist for stack %s", logicalID, st.Name)
}

// errNamed is AWS's for a replacement that would have the name of what it replaces.
func errNamed(old *Resource) error {
	return errors.New("CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename " + old.PhysicalID + " and update the stack again.")
}

func errNoChangeSet(id string) error {
	return cloudformation.ErrChangeSetNotFoundException("ChangeSet [%s] does not exist", id)
}

// refused is of an input that nothing here honours.
func refused(name, why string) error {
	return invalid("%s is not available here: %s. Leave it out.", name, why)
}

func errChangeSetExists(name string) error {
	return cloudformation.ErrAlreadyExistsException("ChangeSet %s already exists", name)
}

func errStackMissing(id string) error { return invalid("Stack [%s] does not exist", id) }

func errStackName(name string) error {
	return invalid("1 validation error detected: Value '%s' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", name)
}
