package kind

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// archive is AWS::Events::Archive, by its name.
type archive struct{ api }

// Create makes the archive.
func (h archive) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	name := nameOf(r, "ArchiveName", "Archive")
	in := &events.CreateArchiveInput{EventPattern: givenDocument(r.Desired["EventPattern"]), EventSourceArn: given(r.Desired["SourceArn"])}
	if err := shape("", pick(r.Desired, "Description", "RetentionDays", "KmsKeyIdentifier"), in); err != nil {
		return nil, err
	}
	in.ArchiveName = &name
	_, err := call[events.CreateArchiveOutput](ctx, h.api, r, "events", "CreateArchive", in)
	if err != nil && !(r.Again && is(err, resource.AlreadyExists)) {
		return nil, err
	}
	have, errRead := h.read(ctx, r, name)
	if errRead != nil {
		return nil, errRead
	}
	properties := []string{"SourceArn", "Description", "EventPattern", "RetentionDays"}
	if err != nil && !ours(r.Desired, have, resource.Model{"RetentionDays": 0}, properties, nil) {
		return nil, err
	}
	return have, nil
}

// Read describes the archive.
func (h archive) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h archive) read(ctx context.Context, r resource.Request, name string) (resource.Model, error) {
	have, err := call[events.DescribeArchiveOutput](ctx, h.api, r, "events", "DescribeArchive", &events.DescribeArchiveInput{ArchiveName: &name})
	if err != nil {
		return nil, err
	}
	m := resource.Model{}
	put(m, "ArchiveName", have.ArchiveName)
	put(m, "Arn", have.ArchiveArn)
	put(m, "SourceArn", have.EventSourceArn)
	put(m, "Description", have.Description)
	putDocument(m, "EventPattern", have.EventPattern)
	put(m, "RetentionDays", have.RetentionDays)
	put(m, "KmsKeyIdentifier", have.KmsKeyIdentifier)
	return m, nil
}

// Update changes the archive.
func (h archive) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	if !anyChanged(r, "Description", "EventPattern", "RetentionDays", "KmsKeyIdentifier") {
		return h.read(ctx, r, r.Identifier)
	}
	in := &events.UpdateArchiveInput{EventPattern: givenDocument(r.Desired["EventPattern"])}
	if err := shape("", pick(r.Desired, "Description", "RetentionDays", "KmsKeyIdentifier"), in); err != nil {
		return nil, err
	}
	in.ArchiveName = &r.Identifier
	if removed(r, "Description") {
		in.Description = new("")
	}
	if removed(r, "EventPattern") {
		in.EventPattern = new("")
	}
	if removed(r, "RetentionDays") {
		in.RetentionDays = new(int32)
	}
	if _, err := call[events.UpdateArchiveOutput](ctx, h.api, r, "events", "UpdateArchive", in); err != nil {
		return nil, err
	}
	return h.read(ctx, r, r.Identifier)
}

// Delete deletes the archive.
func (h archive) Delete(ctx context.Context, r resource.Request) error {
	_, err := call[events.DeleteArchiveOutput](ctx, h.api, r, "events", "DeleteArchive", &events.DeleteArchiveInput{ArchiveName: &r.Identifier})
	return gone(r, err)
}

// List lists the archives by name.
func (h archive) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &events.ListArchivesInput{Limit: pageSize(r, maxPage), NextToken: pageToken(r)}
	out, err := call[events.ListArchivesOutput](ctx, h.api, r, "events", "ListArchives", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, have := range out.Archives {
		models = append(models, resource.Model{"ArchiveName": *have.ArchiveName, "SourceArn": *have.EventSourceArn})
	}
	return models, str(out.NextToken), nil
}
