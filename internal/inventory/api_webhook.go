package inventory

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// WebhookPath is the pattern under which the webhooks are served.
const WebhookPath = "POST /v1/webhooks/{id}"

// tellURL answers a GET of a webhook with the URL itself. Version 1 of the AWS
// CLI fetches parameters that are URLs and passes on what it gets; so
// --invocation-endpoint with the webhook's URL means the same in all versions.
func (v *Inventory) tellURL(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, v.webhookURL(r.PathValue("id"))) //nolint:gosec // plain text; an error is that the caller is gone
}

// receiptJSON answers a webhook call.
type receiptJSON struct {
	Status  Receipt `json:"status"`
	EventID string  `json:"event_id,omitempty"`
}

// webhook takes one event in from EventBridge. AWS: an API destination's call is
// given five seconds; 401 makes EventBridge fetch a new token, 429 and 5xx make it
// try again, other 4xx make it give the event up.
func (v *Inventory) webhook(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, MaxWebhookBody)
	receipt, id, err := v.takeIn(r)
	if err != nil {
		v.writeWebhookError(w, r, err)
		return
	}
	status := http.StatusOK
	if receipt == Stored {
		status = http.StatusAccepted
	}
	httpapi.JSON(w, status, receiptJSON{Status: receipt, EventID: id})
}

func (v *Inventory) takeIn(r *http.Request) (Receipt, string, error) {
	webhookID := r.PathValue("id")
	if err := v.authenticateWebhook(r, webhookID); err != nil {
		return "", "", err
	}
	select {
	case v.intake <- struct{}{}:
		defer func() { <-v.intake }()
	default:
		return "", "", &httpapi.Error{
			Status: http.StatusTooManyRequests, Code: httpapi.CodeTooManyRequests, RetryAfter: time.Second,
			Message: "Too many events arrive at once. Try again.",
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(r.Context(), intakeTime)
	defer cancel()
	receipt, id, err := v.Receive(ctx, webhookID, body)
	if err != nil && !callersDoing(err) {
		v.log.ErrorContext(ctx, "event not taken in", "webhook", webhookID, "event", id, "error", err)
		err = storeUnavailable(err)
	}
	return receipt, id, err
}

func storeUnavailable(err error) error {
	if store.IsFull(err) {
		return httpapi.Unavailable(time.Minute, "The disk of this server is full; the event was not stored.")
	}
	return httpapi.Unavailable(5*time.Second, "The event could not be stored. Try again.")
}

func (v *Inventory) authenticateWebhook(r *http.Request, webhookID string) error {
	_, err := v.o.Auth.VerifyToken(r.Context(), auth.BearerToken(r.Header.Get("Authorization")), webhookAudience(webhookID))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auth.ErrToken):
		v.counters.unauthorized.Add(1)
		return httpapi.Unauthenticated("%s; get a new one from %s.", err, v.o.PublicURL()+httpapi.TokenPath)
	case !errors.Is(err, auth.ErrAudience):
		v.log.ErrorContext(r.Context(), "webhook token not checked", "webhook", webhookID, "error", err)
		return storeUnavailable(err)
	}
	v.counters.unauthorized.Add(1)
	_, found, err := accountByWebhook(r.Context(), v.db, webhookID)
	if err != nil {
		return storeUnavailable(err)
	}
	if !found {
		return httpapi.NotFound("There is no webhook %s.", webhookID)
	}
	return httpapi.Forbidden("The token is valid, but for another webhook than %s.", webhookID)
}

func (v *Inventory) writeWebhookError(w http.ResponseWriter, r *http.Request, err error) {
	e, ok := errors.AsType[*httpapi.Error](toAPIError(err))
	if ok && e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="rialto", error="invalid_token"`)
	}
	httpapi.WriteError(w, r, toAPIError(err))
}
