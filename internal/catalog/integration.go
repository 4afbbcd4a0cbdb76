package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
)

// The limits of integrations.
const (
	maxIntegrations       = 1000
	integrationPage       = 20
	maxInstallationID     = 250
	maxIntegrationText    = 250       // characters of type, title and version
	maxIntegrationBody    = 512 << 10 // bytes as JSON, and of a resync state
	maxKinds              = 500       // with examples, of an integration
	maxName               = 250       // bytes of the name of a kind, a full sync, a run
	maxExamples           = 100
	maxExamplesBytes      = 256 << 10
	maxAllExamplesBytes   = 32 << 20 // of an integration
	maxCursors            = 2000
	maxCursorBytes        = 64 << 10
	provisionEnabled      = "provision-enabled" // a path of the API that an id must not be
	createdByPort         = "Port"
	pollingListener       = "POLLING"
	integrationType       = "installationAppType"
	integrationID         = "installationId"
	integrationConfig     = "config"
	integrationVersion    = "version"
	integrationTitle      = "title"
	changelogDestination  = "changelogDestination"
	actionsProcessing     = "actionsProcessingEnabled"
	portResourcesOrigin   = "createPortResourcesOrigin"
	warningNoActions      = "actionsProcessingEnabled is kept false: there are no actions here"
	changelogNotDelivered = "is not offered: changes of an integration are not sent anywhere; let it poll (event listener POLLING)"
)

// Integration is a program that writes into the catalog from elsewhere, as it
// describes itself: an Ocean integration, an exporter.
type Integration struct {
	ID             string // ours
	InstallationID string // the one that it gives itself
	LogIngestID    string
	// Body is what it says of itself: installationAppType, title, version, config, and
	// members that only it knows.
	Body map[string]any
	// ResyncState is what it says of its full sync; empty: nothing yet.
	ResyncState map[string]any
	CreatedBy   string
	CreatedAt   time.Time
	UpdatedBy   string
	// UpdatedAt is when it or its config was last written: who polls it takes that for
	// a request to sync.
	UpdatedAt   time.Time
	HeartbeatAt time.Time // zero: never
}

// serverOwned are the members of an integration that are not its own to say.
var serverOwned = []string{
	"_id", "_orgId", "createdAt", "createdBy", "updatedAt", "updatedBy", "resyncState", "logAttributes", "metricAttributes",
	"ingestAttributes", "processingMode", "heartbeatAt",
}

// PutIntegration stores what an integration says of itself. One that is there is
// identifier_taken without upsert; with it, the members given replace those
// that are there, and where all are the same nothing is written. Warnings tell of
// what was left out.
func (c *Catalog) PutIntegration(ctx context.Context, w Writer, body map[string]any, upsert bool) (in Integration, created bool, warnings []string, err error) {
	id, ok := body[integrationID].(string)
	if !ok {
		return in, false, nil, invalid("installationId must be a string.")
	}
	if err := checkInstallationID(id); err != nil {
		return in, false, nil, err
	}
	body, warnings, err = integrationBody(body)
	if err != nil {
		return in, false, nil, err
	}
	put := func(tx *store.Tx) error {
		var found bool
		if in, found, err = loadIntegration(ctx, tx, byInstallation, id, tx.Dialect().ForUpdate()); err != nil {
			return err
		}
		if found && !upsert {
			return taken("Integration %q exists already.", id)
		}
		if found {
			created = false
			in, err = c.mergeIntegration(ctx, tx, w, in, body, false)
			return err
		}
		created = true
		in, err = c.addIntegration(ctx, tx, w, id, body)
		return err
	}
	if err = c.db.Update(ctx, put); store.IsUnique(err) {
		err = c.db.Update(ctx, put) // another node was faster
	}
	return in, created, warnings, annotate(err, "put integration %s", id)
}

// annotate says what was being done when err, if any, happened.
func annotate(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

func checkInstallationID(id string) error {
	switch {
	case id == "" || len(id) > maxInstallationID:
		return invalid("installationId must have 1 to %d bytes.", maxInstallationID)
	case id == "." || id == ".." || id == provisionEnabled:
		return invalid("installationId %q is not allowed: it could not be found by its path.", id)
	}
	return checkPlain("installationId", id)
}

// checkPlain refuses what is no single line of text.
func checkPlain(field, s string) error {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return invalid("%s must be a line of text.", field)
	}
	return nil
}

// integrationBody checks what an integration says of itself and takes out what is
// not its own to say.
func integrationBody(given map[string]any) (body map[string]any, warnings []string, err error) {
	body = maps.Clone(given)
	for _, name := range append([]string{integrationID}, serverOwned...) {
		delete(body, name)
	}
	for _, name := range []string{integrationType, integrationTitle, integrationVersion} {
		if err := checkIntegrationText(body, name); err != nil {
			return nil, nil, err
		}
	}
	if config, ok := body[integrationConfig]; ok && config != nil {
		if _, isObject := config.(map[string]any); !isObject {
			return nil, nil, invalid("config must be an object.")
		}
	}
	if err := checkChangelogDestination(body[changelogDestination]); err != nil {
		return nil, nil, err
	}
	if body[portResourcesOrigin] == createdByPort {
		return nil, nil, invalid("createPortResourcesOrigin Port is not offered: no resources are made here; use Ocean.")
	}
	if enabled, ok := body[actionsProcessing]; ok {
		if enabled == true {
			warnings = append(warnings, warningNoActions)
		}
		body[actionsProcessing] = false
	}
	return body, warnings, checkSize("An integration", body, maxIntegrationBody)
}

func checkIntegrationText(body map[string]any, name string) error {
	v, ok := body[name]
	if !ok || v == nil {
		return nil
	}
	s, isString := v.(string)
	if !isString {
		return invalid("%s must be a string.", name)
	}
	if utf8.RuneCountInString(s) > maxIntegrationText {
		return invalid("%s must have at most %d characters.", name, maxIntegrationText)
	}
	return checkPlain(name, s)
}

func checkChangelogDestination(v any) error {
	if v == nil {
		return nil
	}
	destination, ok := v.(map[string]any)
	if !ok {
		return invalid("changelogDestination must be an object.")
	}
	switch kind := destination["type"]; kind {
	case nil, "", pollingListener:
		return nil
	default:
		return invalid("changelogDestination.type %s %s.", strings.Trim(inBrief(kind), `"`), changelogNotDelivered)
	}
}

func checkSize(what string, v any, limit int) error {
	text, err := json.Marshal(v)
	if err != nil {
		return invalid("%s cannot be written as JSON: %v.", what, err)
	}
	if len(text) > limit {
		return tooLarge("%s has %d bytes as JSON; at most %d are taken.", what, len(text), limit)
	}
	return nil
}

func (c *Catalog) addIntegration(ctx context.Context, tx *store.Tx, w Writer, id string, body map[string]any) (Integration, error) {
	n, err := countIntegrations(ctx, tx)
	if err != nil {
		return Integration{}, err
	}
	if n >= maxIntegrations {
		return Integration{}, invalid("There are %d integrations, as many as are allowed; delete some first.", n)
	}
	now := c.now()
	in := Integration{
		ID: strings.ReplaceAll(uuid.NewString(), "-", ""), InstallationID: id, LogIngestID: uuid.NewString(),
		Body: body, ResyncState: map[string]any{}, CreatedBy: w.By, CreatedAt: now, UpdatedBy: w.By, UpdatedAt: now,
	}
	return in, insertIntegration(ctx, tx, in)
}

// mergeIntegration puts the members given in place of those that are there. Touch
// makes it a change even where they are the same.
func (c *Catalog) mergeIntegration(ctx context.Context, tx *store.Tx, w Writer, in Integration, given map[string]any, touch bool) (Integration, error) {
	body := maps.Clone(in.Body)
	maps.Copy(body, given)
	if err := checkSize("An integration", body, maxIntegrationBody); err != nil {
		return in, err
	}
	if !touch && sameMembers(body, in.Body) {
		return in, nil
	}
	in.Body, in.UpdatedBy = body, w.By
	// Who polls compares times: a second change in the same millisecond must show.
	in.UpdatedAt = laterThan(c.now(), in.UpdatedAt)
	return in, updateIntegration(ctx, tx, in)
}

// laterThan is now, or a millisecond after last where that is not earlier.
func laterThan(now, last time.Time) time.Time {
	if now.After(last) {
		return now
	}
	return last.Add(time.Millisecond)
}

// sameMembers compares what integrations say of themselves.
func sameMembers(a, b map[string]any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// PatchIntegration puts the members given in place of those that are there, and is
// a request to sync.
func (c *Catalog) PatchIntegration(ctx context.Context, w Writer, id string, body map[string]any) (in Integration, warnings []string, err error) {
	if other, ok := body[integrationID]; ok && other != nil {
		if s, isString := other.(string); !isString || s != id {
			return in, nil, invalid("installationId is %s in the body; that of an integration cannot be changed.", inBrief(other))
		}
	}
	body, warnings, err = integrationBody(body)
	if err != nil {
		return in, nil, err
	}
	in, err = c.changeIntegration(ctx, id, func(tx *store.Tx, in Integration) (Integration, error) {
		return c.mergeIntegration(ctx, tx, w, in, body, true)
	})
	return in, warnings, err
}

// changeIntegration runs change on the integration of an installation id.
func (c *Catalog) changeIntegration(ctx context.Context, id string, change func(tx *store.Tx, in Integration) (Integration, error)) (in Integration, err error) {
	err = c.db.Update(ctx, func(tx *store.Tx) error {
		if in, err = findIntegration(ctx, tx, id, tx.Dialect().ForUpdate()); err != nil {
			return err
		}
		in, err = change(tx, in)
		return err
	})
	return in, annotate(err, "change integration %s", id)
}

// findIntegration finds an integration by its installation id, or by ours. Lock ends
// the SELECT.
func findIntegration(ctx context.Context, q store.Querier, id, lock string) (Integration, error) {
	if len(id) > maxInstallationID || checkPlain("", id) != nil {
		return Integration{}, notFound("Integration %q does not exist.", shorten(id))
	}
	for _, by := range []integrationColumn{byInstallation, byID} {
		in, found, err := loadIntegration(ctx, q, by, id, lock)
		if err != nil || found {
			return in, err
		}
	}
	return Integration{}, notFound("Integration %q does not exist.", id)
}

// Integration returns an integration by its installation id or by ours; with
// byLogIngest by its log ingest id. One that is not there is not_found.
func (c *Catalog) Integration(ctx context.Context, id string, byLogIngest bool) (Integration, error) {
	if !byLogIngest {
		in, err := findIntegration(ctx, c.db, id, "")
		return in, annotate(err, "read integration %s", shorten(id))
	}
	if len(id) > maxInstallationID || checkPlain("", id) != nil {
		return Integration{}, notFound("Integration with log ingest id %q does not exist.", shorten(id))
	}
	in, found, err := loadIntegration(ctx, c.db, byLogIngestID, id, "")
	if err == nil && !found {
		err = notFound("Integration with log ingest id %q does not exist.", id)
	}
	return in, annotate(err, "read integration of log ingest id %s", shorten(id))
}

// Integrations returns 20 integrations in the order of their installation ids, from
// the one that follows after on; fewer are the last.
func (c *Catalog) Integrations(ctx context.Context, after string) ([]Integration, error) {
	list, err := listIntegrations(ctx, c.db, after, integrationPage)
	return list, annotate(err, "list integrations")
}

// SetResyncState stores what an integration says of its full sync; the members
// given replace those that are there. It is no request to sync.
func (c *Catalog) SetResyncState(ctx context.Context, id string, state map[string]any) (Integration, error) {
	return c.changeIntegration(ctx, id, func(tx *store.Tx, in Integration) (Integration, error) {
		merged := maps.Clone(in.ResyncState)
		maps.Copy(merged, state)
		if err := checkSize("The resync state", merged, maxIntegrationBody); err != nil {
			return in, err
		}
		in.ResyncState = merged
		return in, updateResyncState(ctx, tx, in)
	})
}

// Heartbeat notes that an integration is alive.
func (c *Catalog) Heartbeat(ctx context.Context, id string) error {
	_, err := c.changeIntegration(ctx, id, func(tx *store.Tx, in Integration) (Integration, error) {
		in.HeartbeatAt = c.now()
		return in, updateHeartbeat(ctx, tx, in)
	})
	return err
}

// DeleteIntegration removes an integration with all that it has sent about itself;
// entities stay.
func (c *Catalog) DeleteIntegration(ctx context.Context, id string) error {
	in, err := findIntegration(ctx, c.db, id, "")
	if err != nil {
		return annotate(err, "delete integration %s", shorten(id))
	}
	for _, chunk := range []func(context.Context, *store.Tx, string) (int64, error){deleteLogsChunk, deleteMetricsChunk} {
		if err := c.deleteInChunks(ctx, func(tx *store.Tx) (int64, error) { return chunk(ctx, tx, in.ID) }); err != nil {
			return fmt.Errorf("delete integration %s: %w", id, err)
		}
	}
	err = c.db.Update(ctx, func(tx *store.Tx) error { return deleteIntegration(ctx, tx, in.ID) })
	return annotate(err, "delete integration %s", id)
}

// deleteInChunks runs a statement, each time in a transaction of its own, until it
// changes no row: none holds the writer for long.
func (c *Catalog) deleteInChunks(ctx context.Context, run func(*store.Tx) (int64, error)) error {
	for {
		var n int64
		err := c.db.Update(ctx, func(tx *store.Tx) (err error) {
			n, err = run(tx)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
